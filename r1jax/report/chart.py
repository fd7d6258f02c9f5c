"""How a chart looks: its colours in light and dark, its axes, its curves."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator


@dataclass(frozen=True)
class Theme:
    """Colours of a picture."""

    paper: str
    ink: str
    grid: str
    lines: tuple[str, ...]


LIGHT = Theme(
    "#ffffff", "#5c6068", "#e8e6e1",
    ("#2f5d9b", "#c2622d", "#3d8361", "#8a5aa3", "#a38a2b", "#b0476a", "#4a8fa3", "#7d7368"),
)  # fmt: skip
DARK = Theme(
    "#1d2024", "#a3a7af", "#33373d",
    ("#86b1ea", "#e8a06f", "#7cc4a0", "#c39be0", "#d8c162", "#e58bab", "#83c9dc", "#b9aea2"),
)  # fmt: skip


@dataclass(frozen=True)
class Chart:
    """One picture: file name, heading, what to look for, and how it is drawn."""

    name: str
    title: str
    caption: str
    draw: Callable[[Axes, Theme], None]
    wide: bool = False

    def png(self, theme: Theme = LIGHT) -> bytes:
        """The picture, twice the pixels of its size on the page."""
        figure = Figure(figsize=(10.4, 3.4) if self.wide else (5.1, 2.9), facecolor=theme.paper)
        FigureCanvasAgg(figure)
        axes = figure.add_subplot()
        _dress(axes, theme)
        self.draw(axes, theme)
        _legend(axes, theme, self.wide)
        figure.tight_layout(pad=0.6)
        stream = io.BytesIO()
        figure.savefig(stream, format="png", dpi=200, metadata={"Software": None})
        return stream.getvalue()


def curve(axes: Axes, points: Sequence[tuple[int, float]], color: str, label: str | None) -> None:
    """The points; where there are many, thin under their running mean."""
    x, y = map(np.asarray, zip(*points, strict=True))
    window = len(y) // 25
    if window < 2:
        axes.plot(x, y, "-" if len(y) > 1 else "o", color=color, lw=1.6, label=label)
        return
    axes.plot(x, y, color=color, lw=0.7, alpha=0.3)
    sums = np.cumsum(np.insert(y.astype(float), 0, 0.0))
    ends = np.arange(1, len(y) + 1)
    begins = np.maximum(0, ends - window)
    axes.plot(x, (sums[ends] - sums[begins]) / (ends - begins), color=color, lw=1.7, label=label)


def cycle(theme: Theme, items: Any) -> list[str]:
    """A colour for each item; they come round again where there are many."""
    return [theme.lines[i % len(theme.lines)] for i in range(len(items))]


def _dress(axes: Axes, theme: Theme) -> None:
    axes.set_facecolor(theme.paper)
    for side, spine in axes.spines.items():
        spine.set_visible(side == "bottom")
        spine.set_color(theme.ink)
        spine.set_linewidth(0.6)
    axes.grid(axis="y", color=theme.grid, lw=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(colors=theme.ink, labelsize=8, length=0, which="both")
    axes.xaxis.set_major_locator(MaxNLocator(7, integer=True))
    axes.set_xlabel("update", color=theme.ink, fontsize=8)
    axes.yaxis.label.set(color=theme.ink, fontsize=8)
    axes.yaxis.get_offset_text().set(color=theme.ink, fontsize=8)


def _legend(axes: Axes, theme: Theme, wide: bool) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(len(labels), 6 if wide else 4),
            fontsize=8, frameon=False, labelcolor=theme.ink, handlelength=1.4, borderpad=0,
        )  # fmt: skip
