"""The primary lines: differences paired by seed, Student's t, Holm's step-down, verdicts."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from scipy.special import stdtr

from experiments.smollm2 import figures
from r1jax.evaluate.statistics import t_interval

LEVEL = 0.05
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


def p_value(values: Sequence[float]) -> float:
    """Two-sided, of the mean being 0, by Student's t; values without spread are certain."""
    n, mean = len(values), sum(values) / len(values)
    spread = math.sqrt(sum((v - mean) ** 2 for v in values) / (n - 1))
    if not spread:
        return 1.0 if mean == 0 else 0.0
    return 2 * float(stdtr(n - 1, -abs(mean) / (spread / math.sqrt(n))))


def holm(values: Mapping[str, Sequence[float]], family: int) -> dict[str, tuple[float, bool]]:
    """(level of its step, whether its null is rejected) of every line, of `family` lines in all.

    The smallest p-value is held against LEVEL / family, the next against LEVEL / (family - 1), and
    after the first that fails all do.
    """
    order = sorted(values, key=lambda name: p_value(values[name]))
    rejected, found = True, {}
    for step, name in enumerate(order):
        level = LEVEL / (family - step)
        rejected = rejected and p_value(values[name]) <= level
        found[name] = level, rejected
    return found


def verdict(mean: float, bar: float, rejected: bool) -> str:
    """The word for a line that was tested."""
    if not rejected:
        return "inconclusive"
    if mean < 0:
        return "of the other sign"
    return "supported" if mean >= bar else "smaller than claimed"


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
    values, rows = {}, []
    for line in LINES:
        plus, minus = arm(found, line.plus), arm(found, line.minus)
        seeds = sorted(plus.keys() & minus.keys())
        why = untested([plus[s] for s in seeds], [minus[s] for s in seeds], line)
        differences = [figures.score(plus[s]) - figures.score(minus[s]) for s in seeds]
        rows.append({"line": line, "why": why, "differences": differences})
        if not why:
            values[line.name] = differences
    steps = holm(values, len(LINES))
    for row in rows:
        if row["why"]:
            row["verdict"] = f"not tested because {row['why']}"
            continue
        level, rejected = steps[row["line"].name]
        mean = sum(row["differences"]) / len(row["differences"])
        row |= {
            "mean": mean,
            "level": 1 - level,
            "interval": t_interval(row["differences"], 1 - level),
            "p": p_value(row["differences"]),
            "verdict": verdict(mean, row["line"].bar, rejected),
        }
    return rows
