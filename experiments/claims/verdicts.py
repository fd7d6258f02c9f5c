"""Numbers of bases and seeds in, verdicts out.

A base is a unit: what a line says is taken within each pair of base and seed, averaged over the
seeds (or their median, where the claim says so), and then estimated over bases by Student's t; what
was judged problem by problem on the same problems has these drawn too (`gates.verdicts.crossed`).
Lines of a claim share its level by Holm. Before that a line is not tested because: its runs are
missing, an arm diverged, a condition does not hold, or its arms have no room for the effect.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from experiments.claims.claim import Claim, ClaimLine, Condition, Number, Numbers
from experiments.claims.trial import BaseAndSeed, Study
from experiments.gates.verdicts import LEVEL, Estimate, crossed, holm, over_units, word

Measured = Mapping[BaseAndSeed, Numbers]
FULL = 100.0
"""Points that there are."""


class LineFound(NamedTuple):
    """A line and what came of it."""

    line: ClaimLine
    pairs: int
    by_unit: tuple[float, ...] = ()
    estimate: Estimate | None = None
    with_problems: bool = False
    level: float = 1 - LEVEL
    verdict: str = ""

    @property
    def interval(self) -> tuple[float, float] | None:
        """At its level; None where nothing was estimated."""
        return None if self.estimate is None else self.estimate.interval(self.level)


def pairs(claim: Claim, study: Study) -> list[BaseAndSeed]:
    """The bases and seeds that a claim is tested on."""
    every = study.pairs(claim.seeds)
    return [pair for pair in every if not pair.base] if claim.one_base else every


def measured(claim: Claim, study: Study) -> dict[BaseAndSeed, Numbers]:
    """The numbers of every pair of which anything is there."""
    found = {pair: claim.measure(study, pair) for pair in pairs(claim, study)}
    return {pair: row for pair, row in found.items() if any(v is not None for v in row.values())}


def difference(line: ClaimLine | Condition, row: Numbers) -> Number:
    """plus - minus of a pair, problem by problem where both are; None where one is missing."""
    plus, minus = row.get(line.plus), row.get(line.minus) if line.minus else 0.0
    if plus is None or minus is None:
        return None
    value = np.asarray(plus, np.float64) - np.asarray(minus, np.float64)
    return value.tolist() if value.ndim else float(value)


def units(claim: Claim, values: Mapping[BaseAndSeed, Number]) -> list[Number]:
    """A value for each unit: the seeds of one base, or the bases with their seeds made one."""
    if claim.one_base:
        return list(values.values())
    by_base: dict[int, list[Number]] = {}
    for pair, value in values.items():
        by_base.setdefault(pair.base, []).append(value)
    return [together(claim, of_base) for _, of_base in sorted(by_base.items())]


def together(claim: Claim, values: Sequence[Number]) -> Number:
    """The seeds of a base as one; of medians, what problems say is averaged first."""
    if claim.over == "median":
        return median(map(average, values))
    if all(isinstance(value, Sequence) for value in values):
        return np.mean(np.asarray(values, np.float64), 0).tolist()
    return fmean(map(average, values))


def average(value: Number) -> float:
    """A number, or the mean over problems."""
    return fmean(value) if isinstance(value, Sequence) else float(value)


def look(claim: Claim, line: ClaimLine, rows: Measured) -> LineFound:
    """What is found of a line, without a verdict; an estimate from two units on."""
    values = {pair: difference(line, row) for pair, row in rows.items()}
    values = {pair: value for pair, value in values.items() if value is not None}
    every = units(claim, values)
    found = LineFound(line, len(values), tuple(map(average, every)))
    if len(every) < 2:
        return found
    same = len({len(value) if isinstance(value, Sequence) else 0 for value in every}) == 1
    if same and isinstance(every[0], Sequence):
        return found._replace(estimate=crossed(every), with_problems=True)
    return found._replace(estimate=over_units(found.by_unit))


def untested(claim: Claim, line: ClaimLine, rows: Measured, wanted: int) -> str:
    """Why a line cannot be tested; empty where it can."""
    there = look(claim, line, rows).pairs
    for arm in line.arms:
        if any(row.get(f"diverged/{arm}") for row in rows.values()):
            return f"{arm} diverged"
    if there < wanted:
        return f"{there} of {wanted} pairs of base and seed are there" if there else "not run"
    for condition in claim.conditions:
        if (value := mean_of(condition, rows)) is None:
            return f"it is not known whether {condition.says}"
        if not condition.low <= value <= condition.high:
            return f"it is not so that {condition.says} ({value:.1f})"
    room = mean_of(Condition("", line.minus), rows) if line.minus else None
    if room is None or line.unit != "points" or line.within or line.null == line.least:
        return ""
    if not 0 <= room + line.least <= FULL:
        return f"{line.arms[-1]} at {room:.1f} leaves no room for {line.least:+g} points"
    return ""


def mean_of(condition: Condition, rows: Measured) -> float | None:
    """Mean over pairs; None where it is nowhere."""
    values = [difference(condition, row) for row in rows.values()]
    known = [average(value) for value in values if value is not None]
    return fmean(known) if known else None


def judge(claim: Claim, study: Study, rows: Measured) -> list[LineFound]:
    """The primary lines with their verdicts, in their order."""
    wanted = len(pairs(claim, study))
    why = {line.says: untested(claim, line, rows, wanted) for line in claim.lines}
    every = {line.says: look(claim, line, rows) for line in claim.lines}
    tested = {name: one for name, one in every.items() if not why[name] and one.estimate}
    steps = holm({name: p_value(one) for name, one in tested.items()}, len(claim.lines))
    found = []
    for name, one in every.items():
        if name in tested:
            level, rejected = steps[name]
            one = one._replace(level=1 - level)
            found.append(one._replace(verdict=verdict(one, rejected)))
        else:
            said = why[name] or "a single unit has no interval"
            found.append(one._replace(verdict=f"not tested because {said}"))
    return found


def p_value(found: LineFound) -> float:
    """Of the line's null."""
    estimate, line = found.estimate, found.line
    return estimate.p_beyond(line.within) if line.within else estimate.p_value(line.null)


def verdict(found: LineFound, rejected: bool) -> str:
    """The word for a line that was tested."""
    line, estimate = found.line, found.estimate
    if line.within:
        low, high = estimate.interval(1 - 2 * LEVEL)
        if -line.within <= low and high <= line.within:
            return "supported"
        return "larger than claimed" if rejected else "inconclusive"
    high = max(line.sign * end for end in found.interval)
    mean, least = (line.sign * (v - line.null) for v in (estimate.mean, line.least))
    return word(mean, least, rejected, short=high < line.sign * line.least)


def beside(claim: Claim, rows: Measured) -> list[LineFound]:
    """What is estimated without a verdict."""
    return [look(claim, line, rows) for line in claim.beside]
