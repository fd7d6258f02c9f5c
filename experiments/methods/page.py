"""docs/methods.md from the figures of the runs: tables, curves, flags, family by family.

    python -m experiments.methods.page

Seconds; no accelerator. What has no line yet stands there as not run.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean as mean
from typing import Any

from experiments.gates import study
from experiments.gates.study import Figures
from experiments.methods.arms import Config as Study
from experiments.methods.arms import MethodTrial, told
from experiments.methods.changes import CHANGES, REFERENCE
from experiments.methods.families import FAMILIES, MethodFamily
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.report.chart import Chart, Line, lines
from r1jax.report.markdown import markdown_table

HEAD = """\
# Methods beside each other

Written by `python -m experiments.methods.page` from `docs/methods/figures.jsonl`;
`tests/lab/test_methods.py` holds it to that file.

The methods of this package that teach a policy, each once (or not run yet, as its row then says),
on the embedded base and its problems, beside GRPO: 60 updates on 256 completions each (`--preset
demo`). What GRPO's policy takes for writing, scoring and learning (its reference's passes too) is
what every other student may spend (`--until-operations`), in at most twice as many rollouts; what
critic, reward tower and teacher compute stands beside it. Of a preset its loss, critic or reward
tower is taken; problems, reward (accuracy + 0.3 format), lengths and the rate of 1e-4 are the
demo's.

**What this page is not.** One base of 1.8M parameters, one seed unless said otherwise, one rate
for all, nobody's settings searched for: it shows that each method runs and what its curve looks
like, not which is better. Differences of a few points mean nothing here. Claims, with seeds and
bars fixed beforehand, are in `docs/claims.md`.

    python -m experiments.methods --devices 2 --jobs 5 --memory-fraction 0.15 --minutes 9.5

goes on where it stood and needs `docs/methods/figures.jsonl` alone for that (`--only NAME` runs
one).
"""
HEADS = (
    "method", "pass@1", "95 %", "strict", "format", "tokens", "entropy", "updates",
    "10^12 operations", "others'", "seconds",
)  # fmt: skip
READING = """\
pass@1 (lenient, 256 held-out problems x 16 samples at T 0.6, top-p 0.95), strict and format in
percent; entropy in nats a token in the last rollout; operations of the student, and those of
whoever stands beside it. Seconds are of runs that share a device (of one that was stopped, since
then). Curves: accuracy of the samples in training (T 1) over the student's operations, running
means; of several seeds everything is the mean, the others thin.
"""
WINDOW = 5


@dataclass(frozen=True)
class Config:
    """Where the figures are and where the page goes."""

    figures: str = Study.figures
    """File with a line for each run."""
    page: str = "docs/methods.md"
    """File to write."""
    images: str = "docs/images"
    """Directory of the pictures."""


def main(config: Config) -> None:
    """Writes page and pictures; UserError where there is no file of figures."""
    if not Path(config.figures).exists():
        raise UserError(f"--figures {config.figures}: no such file; run experiments.methods")
    found, images = study.read(config.figures), Path(config.images)
    images.mkdir(parents=True, exist_ok=True)
    for chart in filter(None, (curves(family, found) for family in FAMILIES)):
        (images / f"{chart.name}.png").write_bytes(chart.png())
    where = os.path.relpath(images, Path(config.page).parent)
    Path(config.page).write_text(markdown(found, where), encoding="utf-8")
    print(config.page)


def markdown(found: Figures, images: str) -> str:
    """The page; `images` is the folder of the pictures as seen from it."""
    parts = [HEAD, ran_on(found)]
    if found:
        parts += [before(found), READING]
    parts += [section(family, found, images) for family in FAMILIES]
    return "\n".join(part.strip("\n") + "\n" for part in parts if part)


def ran_on(found: Figures) -> str:
    """Machines and versions, or that nothing was run."""
    seen = [row["machine"] for row in found.values() if "machine" in row]
    if not seen:
        return "**Not run yet**: the command above makes the figures."
    said = dict.fromkeys(
        f"{m['device']}, jax {m['jax']}, Python {m['python']}, {m['date']}" for m in seen
    )
    return "Run on: " + "; ".join(said) + "."


def before(found: Figures) -> str:
    """The base, which GRPO's runs have judged."""
    sides = [row["before"] for row in of(found, REFERENCE) if "before" in row]
    if not sides:
        return ""
    return (
        f"The base: pass@1 {percent(mean(s['pass_at_1'] for s in sides))} %, majority vote "
        f"{percent(mean(s['cons'] for s in sides))}, format "
        f"{percent(mean(s['format'] for s in sides))}, "
        f"{mean(s['length_mean'] for s in sides):.0f} tokens."
    )


def of(found: Figures, arm: str) -> list[Mapping[str, Any]]:
    """The lines of a method, seed by seed; where it was judged apart, with what was found there."""
    rows = []
    while (row := found.get(f"{arm}-s{len(rows)}")) is not None:
        judged = found.get(f"judge-{row['name']}", {})
        rows.append({**judged, **row})
    return rows


def percent(value: float) -> str:
    """A share, in percent."""
    return f"{100 * value:.1f}"


def section(family: MethodFamily, found: Figures, images: str) -> str:
    """One family: its table, its curves, what each method is and its flags."""
    rows = [row(arm, of(found, arm)) for arm in compared(family)]
    said = [f"## {family.title}", "", family.says, "", markdown_table(HEADS, rows), ""]
    if picture := curves(family, found):
        said += [f"![{picture.title}]({images}/{picture.name}.png)", ""]
    for arm, says in family.methods.items():
        asked = flags(arm, of(found, arm))
        said.append(f"- `{arm}`: {says}" + (f". `{asked}`" if asked else ""))
    return "\n".join(said)


def compared(family: MethodFamily) -> list[str]:
    """The methods of a table: what the family is compared with first."""
    return list(dict.fromkeys((family.reference, *family.methods)))


def row(arm: str, runs: Sequence[Mapping[str, Any]]) -> list[str]:
    """A method's row: means over its seeds."""
    done = [run for run in runs if "after" in run]
    if not done:
        return [arm, "not run", *[""] * (len(HEADS) - 2)]
    sides = [run["after"] for run in done]
    ends = [mean(side["pass_at_1_ci"][i] for side in sides) for i in (0, 1)]
    entropies = [run["course"]["entropy"][-1] for run in done if "course" in run]
    updates = [run["updates"] for run in done if "updates" in run]
    return [
        arm if len(done) == 1 else f"{arm} ({len(done)} seeds)",
        *(percent(mean(side["pass_at_1"] for side in sides)), " to ".join(map(percent, ends))),
        *(percent(mean(side[key] for side in sides)) for key in ("pass_at_1_strict", "format")),
        f"{mean(side['length_mean'] for side in sides):.0f}",
        f"{mean(entropies):.2f}" if entropies else "–",
        f"{mean(updates):.0f}" if updates else "–",
        f"{mean(run['operations']['student'] for run in done) / 1e12:.2f}",
        beside(done),
        f"{mean(run['seconds'] for run in done):.0f}",
    ]


def beside(done: Sequence[Mapping[str, Any]]) -> str:
    """What others than the student have computed, in 10^12 operations."""
    names = dict.fromkeys(name for run in done for name in run["operations"] if name != "student")
    spent = {name: mean(run["operations"].get(name, 0.0) for run in done) for name in names}
    return ", ".join(f"{name} {value / 1e12:.2f}" for name, value in spent.items()) or "–"


def flags(arm: str, runs: Sequence[Mapping[str, Any]]) -> str:
    """What a reinforcement learning changed in GRPO's flags as it ran; of none, what it would."""
    if runs:
        return runs[0].get("flags", "")
    plain = MethodTrial(Study(), 0).zero
    return told(CHANGES[arm](plain), plain) if arm in CHANGES else ""


def curves(family: MethodFamily, found: Figures) -> Chart | None:
    """Accuracy in training over the student's operations; None where nothing is compared."""
    others = [arm for arm in family.methods if arm != family.reference]
    if not any("course" in run for arm in others for run in of(found, arm)):
        return None
    drawn = []
    for place, arm in enumerate(compared(family)):
        for seed, run in enumerate(of(found, arm)):
            course = run.get("course", {})
            spent = [value / 1e12 for value in course.get("operations", ())]
            points = list(zip(spent, smoothed(course.get("accuracy", ())), strict=False))
            style = "-" if place < 8 else "--"
            label = "" if seed else arm
            drawn.append(Line(label, points, style, color=place, thin=bool(seed)))
    title = f"{family.title}: accuracy in training"
    unit = "share of samples that are right"
    return lines(f"methods_{family.name}", title, "", unit, drawn, x="10^12 operations", wide=True)


def smoothed(values: Sequence[float]) -> list[float]:
    """Running means of the last few; of fewer at the beginning."""
    parts = (values[max(0, i + 1 - WINDOW) : i + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
