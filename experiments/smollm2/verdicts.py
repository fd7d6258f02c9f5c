"""The primary lines: differences paired by seed, Student's t, Holm's step-down, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from experiments.gates.verdicts import holm, over_units, word
from experiments.smollm2 import figures

CUT = 0.05
"""Share of cut completions above which an arm is void."""


@dataclass(frozen=True)
class ArmClaim:
    """What is claimed: the arm `plus` beats the arm `minus` by `bar` points of pass@1."""

    name: str
    plus: str
    minus: str
    bar: float


LINES = (
    ArmClaim("P1", "grpo", "coin", 10),
    ArmClaim("P2", "worked-grpo", "answer-grpo", 5),
    ArmClaim("P3", "worked-grpo", "empty-worked-grpo", 5),
)


def arm(found: Mapping[str, Any], name: str) -> dict[int, Mapping[str, Any]]:
    """The figures of an arm by seed."""
    start = f"{name}-s"
    return {int(key[len(start) :]): row for key, row in found.items()
            if key.startswith(start) and key[len(start) :].isdigit()}  # fmt: skip


def untested(plus: Sequence[Any], minus: Sequence[Any], line: ArmClaim) -> str:
    """Why a line cannot be tested; empty where it can."""
    if len(plus) < 2:
        return "fewer than two pairs of seeds are there"
    for name, rows in ((line.plus, plus), (line.minus, minus)):
        if any(math.isnan(figures.score(row)) for row in rows):
            return f"{name} diverged"
        if (cut := figures.mean_truncated(rows)) > CUT:
            return f"{name} is void: {100 * cut:.1f} % of its completions were cut"
    if sum(map(figures.score, minus)) / len(minus) > 100 - line.bar:
        return f"{line.minus} leaves less than {line.bar:g} points of room"
    return ""


def judge(found: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The three lines with what was found, in their order."""
    p_values, rows = {}, []
    for line in LINES:
        plus, minus = arm(found, line.plus), arm(found, line.minus)
        seeds = sorted(plus.keys() & minus.keys())
        why = untested([plus[s] for s in seeds], [minus[s] for s in seeds], line)
        differences = [figures.score(plus[s]) - figures.score(minus[s]) for s in seeds]
        rows.append({"line": line, "why": why, "differences": differences})
        if not why:
            rows[-1]["estimate"] = over_units(differences)
            p_values[line.name] = rows[-1]["estimate"].p_value()
    steps = holm(p_values, len(LINES))
    for row in rows:
        if row["why"]:
            row["verdict"] = f"not tested because {row['why']}"
            continue
        level, rejected = steps[row["line"].name]
        estimate = row["estimate"]
        row |= {
            "mean": estimate.mean,
            "level": 1 - level,
            "interval": estimate.interval(1 - level),
            "p": estimate.p_value(),
            "verdict": word(estimate.mean, row["line"].bar, rejected),
        }
    return rows
