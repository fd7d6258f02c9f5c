"""Curves of several seeds in one picture: a thin line each, their mean, its 95 % interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from experiments.gates.tinyzero_table import t_interval
from r1jax.report.chart import Chart, Theme

Points = Sequence[Sequence[float]]
"""(update, value) pairs, the updates rising."""

PICTURES = {
    "pass_at_1": ("accuracy", "Held-out pass@1", "held-out pass@1", True),
    "length_mean": ("length", "Length of held-out responses", "tokens", False),
    "tries": ("tries", "Tries per response in training", "tries", False),
}
NAMES = {"random": "random reward"}


def charts(curves: Mapping[str, Mapping[str, Points]]) -> list[Chart]:
    """One picture for each measure that any run has; `curves` are points by run and measure."""
    found = []
    for key, (name, title, unit, share) in PICTURES.items():
        of = {run: measures[key] for run, measures in curves.items() if measures.get(key)}
        if of:
            found.append(_chart(of, name, title, unit, share))
    return found


def band(seeds: Sequence[Points]) -> list[dict[str, Any]]:
    """Mean over seeds and its interval (None for one seed) at the updates that all of them have."""
    tables = [{int(update): value for update, value in points} for points in seeds]
    shared = sorted(set.intersection(*map(set, tables)))
    return [
        {
            "update": update,
            "mean": sum(values) / len(values),
            "interval": t_interval(values),
        }
        for update in shared
        for values in [[table[update] for table in tables]]
    ]


def _chart(of: Mapping[str, Points], name: str, title: str, unit: str, share: bool) -> Chart:
    seeds = [points for run, points in of.items() if run.startswith("seed")]
    rest = {run: points for run, points in of.items() if not run.startswith("seed")}

    def draw(axes: Axes, theme: Theme) -> None:
        for points in seeds:
            axes.plot(*zip(*points, strict=True), color=theme.lines[0], lw=0.7, alpha=0.45)
        if seeds:
            _mean(axes, band(seeds), theme.lines[0], f"mean of {len(seeds)} seeds")
        for (run, points), color in zip(rest.items(), theme.lines[1:], strict=False):
            style = "--" if len(points) > 1 else "o"
            label = NAMES.get(run, run)
            axes.plot(*zip(*points, strict=True), style, color=color, lw=1.4, label=label)
        axes.set_ylim(bottom=0)
        axes.set_ylabel(unit)
        if share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))

    caption = "Thin: one seed. Thick: their mean, with its 95 % interval over seeds."
    return Chart(name, title, caption, draw)


def _mean(axes: Axes, rows: Sequence[Mapping[str, Any]], color: str, label: str) -> None:
    updates = [row["update"] for row in rows]
    axes.plot(updates, [row["mean"] for row in rows], color=color, lw=2.0, label=label)
    if rows and all(row["interval"] for row in rows):
        low, high = zip(*(row["interval"] for row in rows), strict=True)
        axes.fill_between(updates, low, high, color=color, alpha=0.18, lw=0)
