"""The page of all claims from the figures of their runs: protocols, verdicts, numbers, pictures.

    python -m experiments.claims.page

Reads docs/claims/figures.jsonl and docs/claims/first.json (the first campaign) and leaves
docs/claims.md with one picture for each claim in docs/images. A claim that was not run stands there
with its protocol and its command. Seconds; no accelerator.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from experiments.claims import pictures, verdicts
from experiments.claims.claim import Claim
from experiments.claims.every import CLAIMS
from experiments.claims.page_text import FIRST, HEAD
from experiments.claims.runs import Config as Flags
from experiments.claims.study import settled
from experiments.claims.trial import Study
from experiments.claims.verdicts import LineFound, Measured
from experiments.gates import study
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.report.markdown import markdown_table
from r1jax.run.directory import read_json

COMMAND = (
    "python -m experiments.claims --only {} --devices 1 --jobs {} --memory-fraction {:.2f} "
    "--minutes 9.5"
)
MEMORY = 0.85
"""Of a device, shared by the runs."""
LINES = ("primary line", "claimed", "mean", "interval", "level", "by base", "pairs", "verdict")
BESIDE = ("beside (no verdict)", "mean", "95 %", "by base", "pairs")


@dataclass(frozen=True)
class Config:
    """Where figures are and where the page goes."""

    figures: str = Flags.figures
    """File with a line for each run; none yet: nothing was run."""
    first: str = "docs/claims/first.json"
    """What the first campaign found."""
    page: str = "docs/claims.md"
    """File to write."""
    images: str = "docs/images"
    """Directory for the pictures."""


def main(config: Config) -> None:
    """Writes page and pictures."""
    if not Path(config.first).is_file():
        raise UserError(f"--first {config.first}: no such file")
    known = settled(Flags(), study.read(config.figures))
    images, page = Path(config.images), Path(config.page)
    images.mkdir(parents=True, exist_ok=True)
    where = os.path.relpath(images, page.parent)
    parts, rows = [], []
    for claim in sorted(CLAIMS.values(), key=lambda claim: (len(claim.letter), claim.letter)):
        found = verdicts.measured(claim, known)
        judged = verdicts.judge(claim, known, found)
        drawn = pictures.chart(claim, found)
        if drawn:
            (images / f"{drawn.name}.png").write_bytes(drawn.png())
        rows.append((f"[({claim.letter})](#{anchor(claim)})", claim.title, spoken(judged, found)))
        image = f"{where}/{drawn.name}.png" if drawn else ""
        parts.append(section(claim, known, judged, found, image))
    text = [HEAD, ran_on(known), markdown_table(("", "claim", "verdict"), rows), *parts]
    text += [rates(known), first_campaign(read_json(Path(config.first)))]
    page.write_text("\n\n".join(part.strip("\n") for part in text if part) + "\n", "utf-8")
    print(config.page)


def spoken(judged: Sequence[LineFound], found: Measured) -> str:
    """A claim's verdicts in a word or two; each line's where they differ."""
    if not judged:
        return "reported, not judged" if found else "not run"
    if said := verdicts.together_said(judged):
        return f"**{said}**"
    words = [one.verdict for one in judged]
    if len(set(words)) == 1:
        return f"**{words[0]}**"
    return "; ".join(f"{one.line.says}: **{one.verdict}**" for one in judged)


def anchor(claim: Claim) -> str:
    """The link to a claim's heading."""
    kept = (c for c in heading(claim).lower() if c.isalnum() or c in " -_")
    return "".join(kept).replace(" ", "-")


def heading(claim: Claim) -> str:
    """The title of a claim's section."""
    return f"({claim.letter}) {claim.title}"


def section(
    claim: Claim, known: Study, judged: Sequence[LineFound], found: Measured, image: str
) -> str:
    """One claim: protocol, lines, what stands beside them, numbers of the arms, picture."""
    conditions = "; ".join(
        condition.says + (f" (of {', '.join(condition.lines)})" if condition.lines else "")
        for condition in claim.conditions
    )
    command = COMMAND.format(claim.letter, claim.jobs, MEMORY / claim.jobs)
    parts = [
        f"## {heading(claim)}",
        f"{claim.hypothesis}",
        f"*Source:* {claim.source}",
        f"*Protocol:* {claim.protocol}" + (f" *Condition:* {conditions}." if conditions else ""),
        f"*Command* (about {claim.minutes} minutes of one H200 by reckoning, less where other "
        f"claims have made runs that it shares):"
        f"\n\n    {command}",
        markdown_table(LINES, [line_row(one) for one in judged]) if judged else "",
    ]
    if found:
        beside = [one for one in verdicts.beside(claim, known, found) if one.pairs]
        parts += [
            markdown_table(BESIDE, [beside_row(one) for one in beside]) if beside else "",
            arms(claim, found),
            f"![{claim.picture.title}]({image})" if image else "",
        ]
    return "\n\n".join(part for part in parts if part)


def line_row(one: LineFound) -> list[str]:
    """A primary line."""
    tested = one.estimate is not None and not one.verdict.startswith("not tested")
    return [
        one.line.says, one.line.claimed, number(one.estimate.mean) if one.estimate else "",
        interval(one) if tested else "", f"{100 * one.level:.1f} %" if tested else "",
        " / ".join(map(number, one.by_unit)), str(one.pairs), one.verdict,
    ]  # fmt: skip


def beside_row(one: LineFound) -> list[str]:
    """What stands beside; where a condition of the line does not hold, that alone."""
    mean = f"not shown: {one.verdict}"
    if one.by_unit:
        mean = number(one.estimate.mean if one.estimate else fmean(one.by_unit))
    by_unit = " / ".join(map(number, one.by_unit))
    return [one.line.says, mean, interval(one), by_unit, str(one.pairs)]


def interval(one: LineFound) -> str:
    """Its ends; a star where the problems are drawn as well."""
    if one.interval is None:
        return ""
    return " to ".join(map(number, one.interval)) + ("\\*" if one.with_problems else "")


def arms(claim: Claim, found: Measured) -> str:
    """Means over units by arm and measure, the more of which go down the page."""
    measures = {
        measure: {arm: mean_of(by_unit) for arm, by_unit in of_arms.items()}
        for measure, of_arms in pictures.table(claim, found).items()
    }
    names = list(dict.fromkeys(arm for values in measures.values() for arm in values))
    if len(names) >= len(measures):
        rows = [(arm, *(values.get(arm, "") for values in measures.values())) for arm in names]
        return markdown_table(("mean", *measures), rows)
    rows = [(name, *(values.get(arm, "") for arm in names)) for name, values in measures.items()]
    return markdown_table(("mean", *names), rows)


def mean_of(by_unit: Mapping[int, Sequence[float]]) -> str:
    """The mean over units; empty where nothing is there."""
    means = [fmean(values) for values in by_unit.values() if values]
    return number(fmean(means)) if means else ""


def rates(known: Study) -> str:
    """The rates that were chosen, with what was found of all."""
    every = "|".join(re.escape(f"{rate:g}") for rate in known.config.rates)
    named = re.compile(rf"select-(.+)-b{known.config.bases}-(?:{every})-s\d+")
    names = (match[1] for name in known.found if (match := named.fullmatch(name)))
    rows = []
    for arm in sorted(set(names)):
        tried, grid = known.tried(arm), known.config.rates
        if (rate := known.rate(arm)) is not None:
            edge = " (the grid's end)" if rate in (grid[0], grid[-1]) else ""
            values = (f"{100 * tried[r]:.1f}" if r in tried else "–" for r in grid)
            rows.append([arm, f"{rate:g}{edge}", *values])
        elif tried is not None:
            rows.append([arm, "none", *("–" for _ in grid)])
    if not rows:
        return ""
    heads = ("arm", "chosen", *(f"{rate:g}" for rate in known.config.rates))
    said = "pass@1 on the selection set, mean of two seeds; – is a rate with which a run diverged."
    return f"## Rates\n\n{said}\n\n{markdown_table(heads, rows)}"


def ran_on(known: Study) -> str:
    """Machines and versions, or that nothing was run."""
    machines = (row["machine"] for row in known.found.values() if "machine" in row)
    said = dict.fromkeys(
        f"{m['device']}, jax {m['jax']}, Python {m['python']}, {m['date']}" for m in machines
    )
    return f"Run on: {'; '.join(said)}." if said else "**Nothing of this campaign was run yet.**"


def first_campaign(first: Mapping[str, Any]) -> str:
    """What was found with two bases, and what of it stands."""
    return "\n\n".join([FIRST, *first_sections(first)])


def first_sections(first: Mapping[str, Any]) -> Iterator[str]:
    """Claim by claim."""
    for letter, record in first.items():
        rows = [
            (says, number(mean), " / ".join(map(number, by_base)), str(count))
            for says, mean, by_base, count in record["lines"]
        ]
        table = markdown_table(("", "mean", "by base", "pairs"), rows)
        yield f"### First campaign: ({letter})\n\n{record['stands']}\n\n{table}"


def number(value: float) -> str:
    """A number for a reader."""
    return f"{value:.2f}" if abs(value) < 10 else f"{value:.1f}"


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
