"""Numbers of bases and seeds in, verdicts out.

A base is a unit: what a line says is taken within each pair of base and seed, averaged over the
seeds (or their median, where the claim says so), and then estimated over bases by Student's t; what
was judged problem by problem on the same problems has these drawn too (`gates.verdicts.crossed`).
Lines of a claim share its level by Holm; after the first that fails all intervals are of the level
that failed, so that none contradicts its word. Of lines within a margin Holm is for what lies
beyond; each is alike at 5 % by itself (two one-sided tests, a 90 % interval), and only all of them
together, the claim, are at 5 %. Before that a line is not tested because: its runs are missing, an
arm diverged, its arms were judged on different problems, a condition does not hold, or its arms
have no room for the effect.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import fmean, median
from typing import NamedTuple

import numpy as np

from experiments.claims.claim import Claim, ClaimLine, Condition, Number, Numbers
from experiments.claims.results import DIVERGED
from experiments.claims.trial import BaseAndSeed, Study
from experiments.gates.verdicts import LEVEL, Estimate, crossed, holm, over_units, word

Measured = Mapping[BaseAndSeed, Numbers]
FULL = 100.0
"""Points that there are."""
UNKNOWN = "it is not known whether"
ALIKE = "alike"
"""The word for a line that lies within its margin."""
UNLIKE = "larger than claimed"


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
    """plus - minus of a pair, problem by problem where both are.

    None where one is missing, or they were judged on different problems.
    """
    plus, minus = row.get(line.plus), row.get(line.minus) if line.minus else 0.0
    if plus is None or minus is None or len(problems(line, [row])) > 1:
        return None
    value = np.asarray(plus, np.float64) - np.asarray(minus, np.float64)
    return value.tolist() if value.ndim else float(value)


def problems(line: ClaimLine | Condition, rows: Iterable[Numbers]) -> set[int]:
    """The numbers of problems on which its arms were judged; more than one: on different ones."""
    values = (row.get(key) for row in rows for key in (line.plus, line.minus))
    return {len(value) for value in values if isinstance(value, Sequence)}


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
    if len({len(value) if isinstance(value, Sequence) else 0 for value in values}) > 1:
        return fmean(map(average, values))
    if isinstance(values[0], Sequence):
        return np.mean(np.asarray(values, np.float64), 0).tolist()
    return fmean(map(average, values))


def average(value: Number) -> float:
    """A number, or the mean over problems."""
    return fmean(value) if isinstance(value, Sequence) else float(value)


def look(claim: Claim, line: ClaimLine, rows: Measured) -> LineFound:
    """What is found of a line, without a verdict; an estimate from two units on.

    None where units were judged on different problems.
    """
    values = {pair: difference(line, row) for pair, row in rows.items()}
    values = {pair: value for pair, value in values.items() if value is not None}
    every = units(claim, values)
    found = LineFound(line, len(values), tuple(map(average, every)))
    if len(every) < 2 or len(problems(line, rows.values())) > 1:
        return found
    if all(isinstance(value, Sequence) for value in every):
        return found._replace(estimate=crossed(every), with_problems=True)
    return found._replace(estimate=over_units(found.by_unit))


def untested(claim: Claim, line: ClaimLine, rows: Measured, wanted: int) -> str:
    """Why a line cannot be tested; empty where it can."""
    there = look(claim, line, rows).pairs
    for arm in line.arms:
        for how in DIVERGED:
            if any(row.get(f"{how}/{arm}") for row in rows.values()):
                return f"{arm} {how}"
    if len(problems(line, rows.values())) > 1:
        return "judged on other problems"
    asked = [c for c in claim.conditions if not c.lines or line.says in c.lines]
    broken = [failed for c in asked if (failed := fails(claim, c, rows, wanted))]
    known = [failed for failed in broken if not failed.startswith(UNKNOWN)]
    if known:
        return known[0]
    if there < wanted:
        return f"{there} of {wanted} pairs of base and seed are there" if there else "not run"
    return broken[0] if broken else without_room(line, rows)


def fails(claim: Claim, condition: Condition, rows: Measured, wanted: int) -> str:
    """Why a condition does not hold, or is not known to; empty where it holds.

    It is known where all `wanted` pairs are.
    """
    values = {pair: difference(condition, row) for pair, row in rows.items()}
    known = {pair: value for pair, value in values.items() if value is not None}
    if len(known) < wanted:
        return f"{UNKNOWN} {condition.says}"
    every = list(map(average, units(claim, known)))
    found = every if condition.each else [fmean(map(average, known.values()))]
    outside = [value for value in found if not condition.low <= value <= condition.high]
    return f"it is not so that {condition.says} ({outside[0]:.1f})" if outside else ""


def without_room(line: ClaimLine, rows: Measured) -> str:
    """Why the arm compared with leaves no room for the effect; empty where it does."""
    values = [row.get(line.minus) for row in rows.values()] if line.minus else []
    known = [average(value) for value in values if value is not None]
    if not known or line.unit != "points" or line.within or line.null == line.least:
        return ""
    if not 0 <= (room := fmean(known)) + line.least <= FULL:
        return f"{line.arms[-1]} at {room:.1f} leaves no room for {line.least:+g} points"
    return ""


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
            found.append(within(one, rejected) if one.line.within else word_of(one, rejected))
        else:
            said = why[name] or "a single unit has no interval"
            found.append(one._replace(verdict=f"not tested because {said}"))
    return found


def p_value(found: LineFound) -> float:
    """Of the line's null."""
    estimate, line = found.estimate, found.line
    return estimate.p_beyond(line.within) if line.within else estimate.p_value(line.null)


def within(found: LineFound, rejected: bool) -> LineFound:
    """With the word for a line within a margin; of one that is alike, with its 90 % interval."""
    margin, level = found.line.within, 1 - 2 * LEVEL
    low, high = found.estimate.interval(level)
    if -margin <= low and high <= margin:
        return found._replace(verdict=ALIKE, level=level)
    return found._replace(verdict=UNLIKE if rejected else "inconclusive")


def word_of(found: LineFound, rejected: bool) -> LineFound:
    """With the word for any other line. A bound is met, beyond, or neither: nothing falls short."""
    line = found.line
    high = max(line.sign * end for end in found.interval)
    mean, least = (line.sign * (v - line.null) for v in (found.estimate.mean, line.least))
    short = line.null != line.least and high < line.sign * line.least
    return found._replace(verdict=word(mean, least, rejected, short))


def together_said(judged: Sequence[LineFound]) -> str:
    """The one verdict of a claim whose lines all lie within a margin; empty of others.

    Supported where all are alike, contradicted where one lies beyond.
    """
    if not judged or not all(one.line.within for one in judged):
        return ""
    words = [one.verdict for one in judged]
    if UNLIKE in words:
        return "contradicted"
    if lost := [said for said in words if said.startswith("not tested")]:
        return lost[0]
    return "supported" if set(words) == {ALIKE} else "inconclusive"


def beside(claim: Claim, study: Study, rows: Measured) -> list[LineFound]:
    """What is estimated without a verdict; nothing where a condition of the line does not hold."""
    found, wanted = [], len(pairs(claim, study))
    for line in claim.beside:
        asked = [c for c in claim.conditions if line.says in c.lines]
        why = [failed for c in asked if (failed := fails(claim, c, rows, wanted))]
        one = look(claim, line, rows)
        found.append(one._replace(estimate=None, by_unit=(), verdict=why[0]) if why else one)
    return found
