"""The README's picture of a run: held-out accuracy, response length, parts of the reward.

python docs/picture.py runs/demo docs/images/demo.png
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from r1jax.report.chart import LIGHT
from r1jax.run.directory import read_json, read_jsonl

Rows = Sequence[dict[str, Any]]
BLUE, ORANGE, GREEN = LIGHT.lines[:3]


def accuracy(axes: Axes, evaluations: Rows) -> None:
    """Held-out pass@1 with its interval, and the base's majority vote."""
    x = [row["update"] for row in evaluations]
    low, high = zip(*(row["pass_at_1_ci"] for row in evaluations), strict=True)
    axes.plot(x, [row["pass_at_1"] for row in evaluations], "o-", color=BLUE, ms=4, label="pass@1")
    axes.fill_between(x, low, high, color=BLUE, alpha=0.15, lw=0)
    vote = next(key for key in evaluations[0] if key.startswith("cons_at_"))
    axes.axhline(evaluations[0][vote], color=ORANGE, ls="--", lw=1.4,
                 label=f"the base’s {vote.replace('_at_', '@')}")  # fmt: skip
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title("Held-out accuracy")


def length(axes: Axes, metrics: Rows) -> None:
    """Mean tokens of a completion."""
    curve(axes, metrics, "completion/length_mean", BLUE, "")
    axes.set_ylim(bottom=0)
    axes.set_title("Response length (tokens)")


def reward(axes: Axes, metrics: Rows) -> None:
    """Accuracy and format, each without its weight."""
    curve(axes, metrics, "reward/accuracy", BLUE, "accuracy")
    curve(axes, metrics, "reward/format", GREEN, "format")
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.set_title("Reward parts in training")


def curve(axes: Axes, rows: Rows, key: str, color: str, label: str) -> None:
    """One metric against updates, wherever it was recorded."""
    points = [(row["update"], row[key]) for row in rows if row.get(key) is not None]
    axes.plot(*zip(*points, strict=True), color=color, lw=1.6, label=label)


def main(run: str, out: str) -> None:
    """Draws the three panels side by side."""
    matplotlib.use("agg")
    metrics = read_jsonl(Path(run) / "metrics.jsonl")
    evaluations = read_json(Path(run) / "eval.json")
    first = [row for row in evaluations if row["set"] == evaluations[0]["set"]]
    figure, panels = plt.subplots(1, 3, figsize=(11, 3.1), facecolor=LIGHT.paper)
    accuracy(panels[0], first)
    length(panels[1], metrics)
    reward(panels[2], metrics)
    for axes in panels:
        dress(axes)
    figure.tight_layout(w_pad=2)
    figure.savefig(out, dpi=130, metadata={"Software": None})


def dress(axes: Axes) -> None:
    """Light axes, and a legend where there is more than one line."""
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(LIGHT.ink)
    axes.grid(axis="y", color=LIGHT.grid)
    axes.tick_params(colors=LIGHT.ink, length=0, labelsize=8)
    axes.title.set(fontsize=10, color=LIGHT.ink)
    axes.set_xlabel("update", fontsize=8, color=LIGHT.ink)
    if len(axes.lines) > 1:
        axes.legend(frameon=False, fontsize=8, labelcolor=LIGHT.ink, loc="lower right")


if __name__ == "__main__":
    main(*sys.argv[1:])
