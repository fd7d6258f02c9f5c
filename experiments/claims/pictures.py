"""The picture of a claim: its measures over the arms, every pair a thin line, means thick."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.gates.tinyzero_plots import spread
from r1jax.report.chart import Chart, Line, lines

Pairs = Sequence[Mapping[str, Any]]


def table(pairs: Pairs) -> dict[str, dict[str, list[float]]]:
    """The values of all pairs by measure and arm, in the order in which these first occur."""
    by_measure: dict[str, dict[str, list[float]]] = {}
    for pair in pairs:
        for key, value in pair["numbers"].items():
            measure, _, arm = key.rpartition("/")
            values = by_measure.setdefault(measure, {}).setdefault(arm, [])
            if value is not None:
                values.append(value)
    return by_measure


def chart(record: Mapping[str, Any]) -> Chart | None:
    """The picture that the claim asks for; None where nothing of it was measured."""
    picture, values = record["picture"], table(record["pairs"])
    measures = picture["measures"]
    arms = list(dict.fromkeys(arm for measure in measures for arm in values[measure]))
    drawn = []
    for color, measure in enumerate(measures):
        points = {place: values[measure][arm] for place, arm in enumerate(arms)
                  if values[measure].get(arm)}  # fmt: skip
        label = measure if len(measures) > 1 else ""
        drawn += [Line("", _heights(pair, measure, arms), color=color, thin=True)
                  for pair in record["pairs"]]  # fmt: skip
        drawn.append(spread(label, points, "o-", color))
    caption = "Thin: one base with one seed. Thick: their mean, with its 95 % interval."
    name = f"claims_{record['letter']}"
    return lines(name, picture["title"], caption, picture["unit"], drawn, places=arms)


def _heights(
    pair: Mapping[str, Any], measure: str, arms: Sequence[str]
) -> list[tuple[float, float]]:
    """A point for each arm; the line breaks where a number is missing."""
    values = [pair["numbers"].get(f"{measure}/{arm}") for arm in arms]
    return [(place, math.nan if v is None else v) for place, v in enumerate(values)]
