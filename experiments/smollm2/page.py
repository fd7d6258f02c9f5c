"""The results of the study on a real model, from its figures into docs/real_model.md.

    python -m experiments.smollm2.page

Replaces what stands below "## Results" in the page; what was fixed before the runs stays as it is.
A second; no accelerator.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean as mean
from typing import Any

from experiments.gates import study
from experiments.smollm2 import figures, tables
from experiments.smollm2.arms import EXPLORE
from experiments.smollm2.arms import Config as Study
from experiments.smollm2.verdicts import arm, judge
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.report.chart import Chart, Line, lines
from r1jax.report.markdown import markdown_table

BREAK = "## Results\n"
SEEDS = Study().seeds  # pairs of a primary line, as fixed before the runs
ARMS = {
    "grpo": "grpo", "coin": "coin", "rejection": "rejection", "unverified": "unverified",
    "worked": "judge-worked", "answer": "judge-answer", "answer-grpo": "answer-grpo",
    "worked-grpo": "worked-grpo", "worked-grpo, empty thought": "empty-worked-grpo",
}  # fmt: skip
"""Every arm of the page, and the runs that judge it."""
PARAMETERS = 134.5e6
TITLES = {
    "accuracy": ("Accuracy of the samples in training", "share"),
    "tokens": ("Length of the samples in training", "tokens"),
    "entropy": ("Entropy of the policy", "nats per token"),
    "same": ("Groups whose rewards are all alike", "share"),
}


@dataclass(frozen=True)
class Config:
    """Where the figures are and where the page is."""

    figures: str = Study.figures
    """File with a line for each run."""
    page: str = "docs/real_model.md"
    """Page whose results are written anew."""
    images: str = "docs/images"
    """Directory of the pictures."""


def main(config: Config) -> None:
    """Writes results and pictures."""
    found = study.read(config.figures)
    if not found:
        raise UserError(f"--figures {config.figures}: has no runs; run experiments.smollm2.study")
    page, images = Path(config.page), Path(config.images)
    before, cut, _ = page.read_text(encoding="utf-8").partition(BREAK)
    if not cut:
        raise UserError(f"--page {page}: has no line {BREAK.strip()!r}")
    images.mkdir(parents=True, exist_ok=True)
    shown = []
    for chart in charts(found):
        (images / f"{chart.name}.png").write_bytes(chart.png())
        where = os.path.relpath(images / f"{chart.name}.png", page.parent)
        shown.append(f"![{chart.title}]({where})\n\n{chart.caption}")
    parts = [verdict_table(found), arm_table(found), *tables.tables(found), explore_table(found)]
    parts += [*shown, transcripts(found)]
    text = "\n\n".join(part for part in parts if part)
    page.write_text(f"{before}{BREAK}\n{text}\n", encoding="utf-8")
    print(page)


def verdict_table(found: Mapping[str, Any]) -> str:
    """The primary lines."""
    rows = []
    for row in judge(found):
        line, low_high, pairs = row["line"], row.get("interval"), len(row["differences"])
        rows.append(
            [
                f"{line.name}: {line.plus} - {line.minus}, at least +{line.bar:g}",
                f"{pairs} of {SEEDS}",
                f"{row['mean']:+.1f}" if "mean" in row else "–",
                "{:+.1f} to {:+.1f}".format(*low_high) if low_high else "–",
                f"{100 * row['level']:.1f} %" if low_high else "–",
                f"{row['p']:.1g}" if "p" in row else "–",
                row["verdict"] + (", so far" if low_high and pairs < SEEDS else ""),
            ]
        )
    heads = ["line (points of pass@1)", "pairs", "mean", "interval", "level", "p", "verdict"]
    return markdown_table(heads, rows)


def arm_table(found: Mapping[str, Any]) -> str:
    """Every arm, means over seeds: the trained tasks, transfer, forgetting, cost."""
    rows = [base_row(found)]
    for name, runs in ARMS.items():
        if of := list(arm(found, runs).values()):
            cost = [operations(found, row) for row in arm(found, name).values()]
            known = [c for c in cost if c]
            rows.append(
                [name, str(len(of)), *numbers([row["after"] for row in of]),
                 f"{mean(known) / 1e15:.2f}" if known else "–"]
            )  # fmt: skip
    heads = ["arm", "seeds", "pass@1", *figures.SETS, "format", "tokens", "cut", "10^15 operations"]
    return markdown_table(heads, [row for row in rows if row])


def base_row(found: Mapping[str, Any]) -> list[str]:
    """The base, as the runs of GRPO have seen it."""
    of = [row["before"] for row in arm(found, "grpo").values()]
    return ["base", str(len(of)), *numbers(of), "–"] if of else []


def numbers(sides: Sequence[Mapping[str, Any]]) -> list[str]:
    """Percent right of the trained tasks and of every set; what the trained ones look like."""

    def over(key: str, names: Sequence[str]) -> float:
        return mean([mean([side[name][key] for name in names]) for side in sides])

    there = [name for name in figures.SETS if all(name in side for side in sides)]
    sets = [f"{100 * over('pass_at_1', [n]):.1f}" if n in there else "–" for n in figures.SETS]
    trained = [name for name in figures.TRAINED if name in there]
    return [
        f"{100 * over('pass_at_1', trained):.1f}", *sets, f"{100 * over('format', trained):.0f}",
        f"{over('length_mean', trained):.0f}", f"{100 * over('truncated', trained):.1f}",
    ]  # fmt: skip


def operations(found: Mapping[str, Any], row: Mapping[str, Any]) -> float:
    """2 for a parameter and sampled token, 6 for one that is trained; 0 where nothing was.

    Of a chain, those of its supervised stage are counted in.
    """
    before = (
        found.get(row["name"].replace("-grpo-s", "-s"), row) if "-grpo-s" in row["name"] else row
    )
    stages = [row] if before is row else [before, row]
    sampled, trained = (
        sum(s.get(k, 0) for s in stages) for k in ("sampled_tokens", "trained_tokens")
    )
    return PARAMETERS * (2 * sampled + 6 * trained)


def explore_table(found: Mapping[str, Any]) -> str:
    """What each change to the plain run does."""
    rows = []
    for name in EXPLORE:
        if of := list(arm(found, f"explore-{name}").values()):
            last = [mean([row["course"][key][-1] for row in of]) for key in ("entropy", "same")]
            rows.append([name, str(len(of)), f"{mean([figures.score(r) for r in of]):.1f}",
                         f"{last[0]:.2f}", f"{100 * last[1]:.0f}"])  # fmt: skip
    heads = ["exploration", "seeds", "pass@1", "entropy at the end", "groups alike, %"]
    return markdown_table(heads, rows) if rows else ""


def charts(found: Mapping[str, Any]) -> list[Chart]:
    """The course of training of the arms, and of what keeps exploration alive: thin a seed each."""
    main = {name: name for name in ("grpo", "coin", "answer-grpo", "worked-grpo")}
    trials = {name: f"explore-{name}" for name in EXPLORE}
    drawn = [course(found, f"real_model_{key}", key, main) for key in TITLES]
    drawn += [course(found, f"real_model_explore_{key}", key, trials) for key in TITLES]
    return [chart for chart in drawn if chart is not None]


def course(found: Mapping[str, Any], name: str, key: str, shown: Mapping[str, str]) -> Chart | None:
    """One number over the rollouts of the runs `shown`; None where there are none yet."""
    title, unit = TITLES[key]
    curves = []
    for color, (label, runs) in enumerate(shown.items()):
        for place, row in enumerate(arm(found, runs).values()):
            points = [(x + 1, y) for x, y in enumerate(row["course"].get(key, []))]
            if points:
                curves.append(Line("" if place else label, points, color=color, thin=bool(place)))
    said = "Thick: seed 0; thin: the others."
    return lines(name, title, said, unit, curves) if curves else None


def transcripts(found: Mapping[str, Any]) -> str:
    """What the first seed of each arm answers to the first questions."""
    blocks = []
    for name, runs in ARMS.items():
        row = arm(found, runs).get(0)
        for text in row["texts"][:2] if row else ():
            said = text["after"]
            sign = "right" if said["correct"] else "wrong"
            blocks.append(f"**{name}** ({sign}): {text['question']}\n\n```\n{said['text']}\n```")
    return "\n\n".join(["### Transcripts", *blocks]) if blocks else ""


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
