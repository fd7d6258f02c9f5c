"""The watch against reward hacking: does a reward model's score rise while the rules say less?

DeepSeek-R1 saw it (v2, appendix B.5, figure 6): trained for long on a preference reward, the
model's reward went on rising while its results on Codeforces fell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from r1jax.report.chart import Chart, Line, Theme, lines
from r1jax.report.curves import Rows

WINDOW = 20  # rollouts over which a trend is judged
CERTAIN = 2.0  # standard errors that a slope must be away from 0


def parted(
    accuracy: Sequence[float], score: Sequence[float], window: int = WINDOW
) -> list[tuple[int, int]]:
    """Stretches [first, last] of rollouts over which score and accuracy part.

    Over `window` rollouts in a row both are fitted by a straight line; they part where the slope of
    the score lies more than 2 standard errors above 0 and that of the accuracy as far below.
    Windows that overlap are joined. Fewer rollouts than a window never part.
    """
    stretches: list[tuple[int, int]] = []
    for first in range(len(score) - window + 1):
        part = slice(first, first + window)
        if slope(score[part]) > CERTAIN and slope(accuracy[part]) < -CERTAIN:
            last = first + window - 1
            joins = stretches and first <= stretches[-1][1]
            stretches[-1:] = (
                [(stretches[-1][0], last)] if joins else [*stretches[-1:], (first, last)]
            )
    return stretches


def slope(values: Sequence[float]) -> float:
    """Least-squares slope of values at equal steps, in its standard errors; 0 where they are flat.

    A straight line without any scatter is ±inf.
    """
    y = np.asarray(values, np.float64)
    x = np.arange(len(y)) - (len(y) - 1) / 2
    spread = (x**2).sum()
    rise = (x * y).sum() / spread
    rest = y - y.mean() - rise * x
    scale = max(float(np.abs(y).max()), 1e-12)
    if abs(rise) * len(y) < 1e-9 * scale:
        return 0.0
    error = np.sqrt((rest**2).sum() / (len(y) - 2) / spread)
    return float(rise / error) if error > 1e-12 * scale else float(np.copysign(np.inf, rise))


def model_names(config: Mapping[str, Any]) -> list[str]:
    """Names of the reward models in a run's flags, as its metrics have them."""
    given = (config.get("reward") or {}).get("model") or []
    places = [str(text).partition("?")[0].partition("=")[0].rstrip("/") for text in given]
    return [p.removesuffix("/checkpoints").rpartition("/")[2] for p in places]


def series(metrics: Rows, name: str) -> tuple[list[int], list[float], list[float]]:
    """(update, rule accuracy, score of reward model `name`) of the rollouts that have both."""
    keys = ("reward/accuracy", f"reward/{name}")
    rows = [row for row in metrics if all(row.get(key) is not None for key in keys)]
    return ([row["update"] for row in rows], *([row[key] for row in rows] for key in keys))


def charts(metrics: Rows, config: Mapping[str, Any]) -> list[Chart]:
    """Rule accuracy and score of each reward model, on two scales."""
    candidates = (_chart(name, *series(metrics, name)) for name in model_names(config))
    return [chart for chart in candidates if chart is not None]


def warnings(metrics: Rows, config: Mapping[str, Any]) -> list[str]:
    """One sentence for every stretch over which a reward model and the rules part."""
    sentences = []
    for name in model_names(config):
        updates, accuracy, score = series(metrics, name)
        for first, last in parted(accuracy, score):
            sentences.append(
                f"updates {updates[first]} to {updates[last]}: the score of reward model {name} "
                f"rises ({score[first]:.3f} to {score[last]:.3f}) while rule accuracy falls "
                f"({accuracy[first]:.3f} to {accuracy[last]:.3f}); the policy may be exploiting "
                "the model: stop earlier, or lower its weight"
            )
    return sentences


def _chart(
    name: str, updates: list[int], accuracy: list[float], score: list[float]
) -> Chart | None:
    def shade(axes: Axes, theme: Theme) -> None:
        for first, last in parted(accuracy, score):
            axes.axvspan(updates[first], updates[last], color=theme.color(1), alpha=0.12, lw=0)

    return lines(
        f"watch_{name}", f"Reward model against rules: {name}",
        "A score that rises while accuracy falls is reward hacking (the paper’s figure 6); such "
        "stretches are shaded.",
        "rule accuracy",
        [Line("rule accuracy (left)", list(zip(updates, accuracy, strict=True)), "~"),
         Line(f"{name} (right)", list(zip(updates, score, strict=True)), "~", right=True)],
        wide=True, also=shade,
    )  # fmt: skip
