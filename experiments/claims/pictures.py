"""The picture of a claim: its measures over the arms, every base a thin line, means thick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from experiments.claims.claim import Claim
from experiments.claims.results import DIVERGED
from experiments.claims.verdicts import Measured, average
from r1jax.evaluate.statistics import t_interval
from r1jax.report.chart import Chart, Line, lines

Table = Mapping[str, Mapping[str, Mapping[int, list[float]]]]
"""The values of all pairs by measure, arm and unit, in the order in which these first occur."""


def table(claim: Claim, rows: Measured) -> dict[str, dict[str, dict[int, list[float]]]]:
    """All numbers that are there; problems are averaged. The unit is the base, or the seed."""
    found: dict[str, dict[str, dict[int, list[float]]]] = {}
    for pair, row in rows.items():
        unit = pair.seed if claim.one_base else pair.base
        for key, value in row.items():
            measure, _, arm = key.rpartition("/")
            if measure not in DIVERGED:
                of_arm = found.setdefault(measure, {}).setdefault(arm, {})
                of_arm.setdefault(unit, []).extend([] if value is None else [average(value)])
    return found


def chart(claim: Claim, rows: Measured) -> Chart | None:
    """The picture that the claim asks for, of the arms that were measured; None of fewer than two.

    One alone shows nothing that is claimed: it was made for another claim.
    """
    values = table(claim, rows)
    measures = [measure for measure in claim.picture.measures if measure in values]
    means = {
        measure: {arm: {unit: sum(v) / len(v) for unit, v in by_unit.items() if v}
                  for arm, by_unit in values[measure].items()}
        for measure in measures
    }  # fmt: skip
    named = dict.fromkeys(arm for measure in measures for arm in means[measure])
    arms = [arm for arm in named if any(means[measure].get(arm) for measure in measures)]
    if len(arms) < 2:
        return None
    drawn = []
    for color, measure in enumerate(measures):
        of = means[measure]
        points = {place: list(of[arm].values()) for place, arm in enumerate(arms) if of.get(arm)}
        for unit in dict.fromkeys(unit for by_unit in of.values() for unit in by_unit):
            thin = [(i, of.get(arm, {}).get(unit, math.nan)) for i, arm in enumerate(arms)]
            drawn.append(Line("", thin, color=color, thin=True))
        if points:
            label = measure if len(measures) > 1 else ""
            drawn.append(spread(label, points, "o-", color))
    unit = "seed" if claim.one_base else "base"
    caption = f"Thin: one {unit}. Thick: their mean, with its 95 % interval."
    picture = claim.picture
    name = f"claims_{claim.letter}"
    return lines(name, picture.title, caption, picture.unit, drawn, places=arms)


def spread(label: str, values: Mapping[int, Sequence[float]], style: str, color: int) -> Line:
    """The mean of the values at each x, with its 95 % interval where they are two or more."""
    ends = [(x, *bounds) for x, numbers in values.items() if (bounds := t_interval(numbers))]
    return Line(label, [(x, fmean(numbers)) for x, numbers in values.items()], style, color, ends)
