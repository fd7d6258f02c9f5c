"""How a chart looks: its colours in light and dark, its axes, and the one way to draw lines."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, NullFormatter, PercentFormatter, StrMethodFormatter

Points = Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Theme:
    """Colours of a picture."""

    paper: str
    ink: str
    grid: str
    lines: tuple[str, ...]

    def color(self, place: int) -> str:
        """The colour of a line; they come round again where there are many."""
        return self.lines[place % len(self.lines)]


LIGHT = Theme(
    "#ffffff", "#5c6068", "#e8e6e1",
    ("#2f5d9b", "#c2622d", "#3d8361", "#8a5aa3", "#a38a2b", "#b0476a", "#4a8fa3", "#7d7368"),
)  # fmt: skip
DARK = Theme(
    "#1d2024", "#a3a7af", "#33373d",
    ("#86b1ea", "#e8a06f", "#7cc4a0", "#c39be0", "#d8c162", "#e58bab", "#83c9dc", "#b9aea2"),
)  # fmt: skip
Draw = Callable[[Axes, Theme], None]


@dataclass(frozen=True)
class Chart:
    """One picture: file name, heading, what to look for, and how it is drawn."""

    name: str
    title: str
    caption: str
    draw: Draw
    wide: bool = False

    def png(self, theme: Theme = LIGHT) -> bytes:
        """The picture, twice the pixels of its size on the page."""
        size = (10.4, 3.4) if self.wide else (5.1, 2.9)
        return picture([self], theme, size, legend_columns=6 if self.wide else 4)


@dataclass(frozen=True)
class Line:
    """One line of a chart: (x, y) points in the order of x, and how it is told from the others.

    `style` is matplotlib's, or "~": where there are many points, thin under their running mean.
    `ends` are intervals (x, low, high), drawn as a band, over named places as bars. `color` is a
    place among the theme's colours, the line's own place where it is None. An empty label, or one
    that an earlier line has, is not said. `right` puts the line on an axis of its own.
    """

    label: str
    points: Points
    style: str = "o-"
    color: int | None = None
    ends: Sequence[tuple[float, float, float]] = ()
    thin: bool = False
    right: bool = False


def lines(
    name: str,
    title: str,
    caption: str,
    unit: str,
    drawn: Iterable[Line],
    *,
    x: str = "update",
    span: tuple[float | None, float | None] = (None, None),
    share: bool = False,
    log: bool = False,
    wide: bool = False,
    places: Sequence[str] = (),
    also: Draw | None = None,
) -> Chart | None:
    """The chart of all lines that have points; None where none has.

    `span` are the ends of the y axis where they are fixed; `share` writes it in percent, `log`
    leaves out what is not positive. `places` are the names of x = 0, 1, ...; `also` draws whatever
    else the picture has.
    """
    kept = list(drawn)
    if log:
        kept = [
            replace(line, points=[p for p in line.points if 0 < p[1] < np.inf]) for line in kept
        ]
    kept = [line for line in kept if line.points]
    if not kept:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        said = {""}
        for place, line in enumerate(kept):
            color = theme.color(place if line.color is None else line.color)
            label = None if line.label in said else _plain(line.label)
            said.add(line.label)
            on = axes
            if line.right:
                on = _right(axes, color)
                axes.plot([], [], color=color, lw=1.6, label=label)
            _line(on, line, color, None if line.right else label, bars=bool(places))
        if places:
            axes.set_xticks(range(len(places)), [_plain(p).replace(" ", "\n") for p in places])
            axes.set_xlim(-0.3, len(places) - 0.7)
        axes.set_xlabel("" if places else _plain(x))
        axes.set_ylabel(_plain(unit))
        if also:
            also(axes, theme)
        if span != (None, None):
            axes.set_ylim(*span)
        _scale(axes, share, log)

    return Chart(name, title, caption, draw, wide)


def picture(
    charts: Sequence[Chart],
    theme: Theme,
    size: tuple[float, float],
    dpi: int = 200,
    legend_columns: int = 4,
    titles: bool = False,
) -> bytes:
    """The charts side by side as one PNG; `titles` writes that of each above it."""
    figure = Figure(figsize=size, facecolor=theme.paper)
    FigureCanvasAgg(figure)
    for axes, chart in zip(figure.subplots(1, len(charts), squeeze=False)[0], charts, strict=True):
        _dress(axes, theme)
        chart.draw(axes, theme)
        _legend(axes, theme, legend_columns)
        if titles:
            axes.set_title(_plain(chart.title), fontsize=10, color=theme.ink, pad=22)
    figure.tight_layout(pad=0.6)
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=dpi, metadata={"Software": None})
    return stream.getvalue()


def _line(axes: Axes, line: Line, color: str, label: str | None, bars: bool) -> None:
    x, y = (np.asarray(values, float) for values in zip(*line.points, strict=True))
    window = len(y) // 25 if line.style == "~" else 0
    if line.thin or window >= 2:
        axes.plot(x, y, color=color, lw=0.7, alpha=0.3)
    if window >= 2:
        sums = np.cumsum(np.insert(y, 0, 0.0))
        ends = np.arange(1, len(y) + 1)
        begins = np.maximum(0, ends - window)
        y = (sums[ends] - sums[begins]) / (ends - begins)
    if not line.thin:
        style = line.style if line.style != "~" else "-" if len(y) > 1 else "o"
        axes.plot(x, y, style, color=color, lw=1.7, ms=4, label=label)
    if line.ends:
        at, low, high = (np.asarray(values, float) for values in zip(*line.ends, strict=True))
        if bars:
            axes.errorbar(at, (low + high) / 2, (high - low) / 2, fmt="none", ecolor=color,
                          elinewidth=1.7, capsize=3)  # fmt: skip
        else:
            axes.fill_between(at, low, high, color=color, alpha=0.15, lw=0)


def _right(axes: Axes, color: str) -> Axes:
    """An axis at the right, for a line of another unit."""
    other = axes.twinx()
    for spine in other.spines.values():
        spine.set_visible(False)
    other.tick_params(colors=color, labelsize=8, length=0)
    return other


def _plain(text: str) -> str:
    """A label as it is: `$` begins no formula, a leading `_` does not hide it."""
    return (" " + text if text.startswith("_") else text).replace("$", r"\$")


def _scale(axes: Axes, share: bool, log: bool) -> None:
    """How the numbers at the y axis are written."""
    low, high = axes.get_ylim()
    if log:
        values = np.concatenate([line.get_ydata() for line in axes.lines])
        axes.set_yscale("log")
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.set_ylim(10 ** np.floor(np.log10(values.min())),
                      10 ** np.ceil(np.log10(values.max()) + 0.1))  # fmt: skip
    elif share:
        axes.set_ylim(top=max(0.01, high))
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, 0 if high - low > 0.25 else None))
    elif 0 < max(abs(low), abs(high)) < 0.01:
        axes.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
    elif max(abs(low), abs(high)) >= 1000:
        axes.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


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
    axes.xaxis.label.set(color=theme.ink, fontsize=8)
    axes.yaxis.label.set(color=theme.ink, fontsize=8)
    axes.yaxis.get_offset_text().set(color=theme.ink, fontsize=8)


def _legend(axes: Axes, theme: Theme, columns: int) -> None:
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        axes.legend(
            loc="lower left", bbox_to_anchor=(-0.01, 1.0), ncols=min(len(labels), columns),
            fontsize=8, frameon=False, labelcolor=theme.ink, handlelength=1.4, borderpad=0,
        )  # fmt: skip
