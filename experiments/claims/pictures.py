"""The picture of a claim: its measures over the arms, every pair a thin line, means thick."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import AutoLocator

from experiments.gates.tinyzero_table import t_interval
from r1jax.report.chart import Chart, Theme, cycle

Pairs = Sequence[Mapping[str, Any]]


def table(pairs: Pairs) -> dict[str, dict[str, list[float]]]:
    """The values of all pairs by measure and arm, in the order in which these first occur."""
    found: dict[str, dict[str, list[float]]] = {}
    for pair in pairs:
        for key, value in pair["numbers"].items():
            measure, _, arm = key.rpartition("/")
            values = found.setdefault(measure, {}).setdefault(arm, [])
            if value is not None:
                values.append(value)
    return found


def chart(record: Mapping[str, Any]) -> Chart:
    """The picture that the claim asks for."""
    picture, pairs = record["picture"], record["pairs"]

    def draw(axes: Axes, theme: Theme) -> None:
        arms = list(dict.fromkeys(arm for m in picture["measures"] for arm in table(pairs)[m]))
        for measure, color in zip(
            picture["measures"], cycle(theme, picture["measures"]), strict=True
        ):
            label = measure if len(picture["measures"]) > 1 else None
            _lines(axes, pairs, measure, arms, color)
            _means(axes, table(pairs)[measure], arms, color, label)
        axes.set_xticks(range(len(arms)), [arm.replace(" ", "\n") for arm in arms])
        axes.set_xlim(-0.3, len(arms) - 0.7)
        axes.yaxis.set_major_locator(AutoLocator())
        axes.set_xlabel("")
        axes.set_ylabel(picture["unit"])

    caption = "Thin: one base with one seed. Thick: their mean, with its 95 % interval."
    return Chart(f"claims_{record['letter']}", picture["title"], caption, draw)


def _lines(axes: Axes, pairs: Pairs, measure: str, arms: Sequence[str], color: str) -> None:
    """One line for each pair; broken where a number is missing."""
    nan = float("nan")
    for pair in pairs:
        values = [pair["numbers"].get(f"{measure}/{arm}") for arm in arms]
        heights = [nan if v is None else v for v in values]
        axes.plot(range(len(arms)), heights, color=color, lw=0.6, alpha=0.35)


def _means(
    axes: Axes,
    values: Mapping[str, Sequence[float]],
    arms: Sequence[str],
    color: str,
    label: str | None,
) -> None:
    """Means over pairs and their intervals, where there are any."""
    places = [i for i, arm in enumerate(arms) if values.get(arm)]
    means = [sum(values[arms[i]]) / len(values[arms[i]]) for i in places]
    ends = [
        t_interval(values[arms[i]]) or (mean, mean) for i, mean in zip(places, means, strict=True)
    ]
    errors = [
        [mean - low for mean, (low, _) in zip(means, ends, strict=True)],
        [high - mean for mean, (_, high) in zip(means, ends, strict=True)],
    ]
    axes.errorbar(
        places, means, yerr=errors, color=color, lw=1.8, marker="o", ms=4, capsize=3, label=label
    )
