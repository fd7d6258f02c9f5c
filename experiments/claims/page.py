"""The page of all claims from their JSON files: declarations, verdicts, numbers, pictures.

    python -m experiments.claims.page

Reads docs/claims/<letter>.json and leaves docs/claims.md with one picture for each claim in
docs/images. A claim that was not run stands there with its declaration. Seconds; no accelerator.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.claims.every import CLAIMS
from experiments.claims.pictures import chart, table
from experiments.claims.verdicts import collate
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.report.markdown import markdown_table
from r1jax.run.directory import read_json

HEAD = """\
# The paper's claims in miniature

What *DeepSeek-R1* (arXiv 2501.12948) and its readers claim, tried on the embedded world: models of
0.4 to 2 million parameters, three families of problems, two languages. A verdict speaks of this
world alone; where it differs from the paper's, that is a finding about small bases as much as about
the claim. Hypotheses, measures, signs and smallest effects stood in `experiments/claims/` before
the first run.

Each claim is run with every seed on every base (independently trained): a pair. A value is a
difference within a pair, on the same held-out problems; its interval is Student's 95 % interval of
the mean over pairs. Pairs on one base share that base, so the means of each base stand beside it.

- *supported*: the whole interval lies beyond the null on the claimed side, and the mean reaches the
  smallest effect that counts (a bound is both at once);
- *contradicted*: the whole interval falls short of the smallest effect;
- *inconclusive*: anything else.

A claim is supported when everything that decides is, contradicted when part of it is; without its
condition it cannot be tested and stays inconclusive. Lines marked *beside* have no say in it. This
page is made by `python -m experiments.claims.page` from `docs/claims/*.json`.
"""


@dataclass(frozen=True)
class Config:
    """Where results are and where the page goes."""

    results: str = "docs/claims"
    """Directory of the claims' JSON files."""
    page: str = "docs/claims.md"
    """File to write."""
    images: str = "docs/images"
    """Directory for the pictures."""


def main(config: Config) -> None:
    """Writes page and pictures."""
    if not Path(config.results).is_dir():
        raise UserError(f"--results {config.results}: no such directory; run experiments.claims")
    records = [read(Path(config.results), letter) for letter in CLAIMS]
    images = Path(config.images)
    images.mkdir(parents=True, exist_ok=True)
    for record in records:
        if record["pairs"] and (picture := chart(record)):
            (images / f"{picture.name}.png").write_bytes(picture.png())
    where = os.path.relpath(images, Path(config.page).parent)
    Path(config.page).write_text(markdown(records, where), encoding="utf-8")
    print(config.page)


def read(results: Path, letter: str) -> dict[str, Any]:
    """The claim's JSON, or its bare declaration."""
    path = results / f"{letter}.json"
    return read_json(path) if path.exists() else collate(CLAIMS[letter], [], 0)


def markdown(records: Sequence[Mapping[str, Any]], images: str) -> str:
    """The page; `images` is the folder of the pictures as seen from it."""
    rows = [
        (f"[({r['letter']})](#{anchor(r)})", r["title"], f"**{r['verdict']}**",
         f"{len(r['pairs'])} of {r['planned']}" if r["planned"] else "")
        for r in records
    ]  # fmt: skip
    lines = [HEAD, markdown_table(("", "claim", "verdict", "pairs"), rows)]
    for record in records:
        lines += ["", *section(record, images)]
    return "\n".join(lines) + "\n"


def anchor(record: Mapping[str, Any]) -> str:
    """The link to a claim's heading."""
    kept = (c for c in heading(record).lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def heading(record: Mapping[str, Any]) -> str:
    """The title of a claim's section."""
    return f"({record['letter']}) {record['title']}"


def section(record: Mapping[str, Any], images: str) -> list[str]:
    """One claim: declaration, comparisons, numbers of the arms, picture."""
    rows = [
        (c["says"] + ("" if c["role"] == "decides" else f" (*{c['role']}*)"), c["claimed"],
         number(c["mean"]), interval(c["interval"]),
         " / ".join(number(v) for v in c["by_base"].values()), str(c["n"]), c["verdict"])
        for c in record["comparisons"]
    ]  # fmt: skip
    heads = ("", "claimed", "mean", "95 %", "by base", "n", "verdict")
    lines = [
        f"## {heading(record)}", "",
        f"**{record['verdict'].capitalize()}.** {record['hypothesis']}", "",
        f"*Source:* {record['source']}", "",
        f"*Protocol:* {record['protocol']}", "",
        markdown_table(heads, rows),
    ]  # fmt: skip
    if record["pairs"]:
        name = f"claims_{record['letter']}.png"
        lines += ["", arms(record), "", f"![{record['picture']['title']}]({images}/{name})"]
    return lines


def arms(record: Mapping[str, Any]) -> str:
    """Means over pairs by arm and measure, the more of which go down the page."""
    measures = table(record["pairs"])
    names = list(dict.fromkeys(arm for values in measures.values() for arm in values))
    mean = lambda values: number(sum(values) / len(values)) if values else ""  # noqa: E731
    if len(names) >= len(measures):
        rows = [(arm, *(mean(values.get(arm)) for values in measures.values())) for arm in names]
        return markdown_table(("mean over pairs", *measures), rows)
    rows = [(name, *(mean(values.get(arm)) for arm in names)) for name, values in measures.items()]
    return markdown_table(("mean over pairs", *names), rows)


def number(value: float | None) -> str:
    """A number for a reader."""
    return "" if value is None else f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


def interval(ends: Sequence[float] | None) -> str:
    """An interval for a reader."""
    return "" if ends is None else f"{number(ends[0])} to {number(ends[1])}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
