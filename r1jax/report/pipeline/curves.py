"""The curves of a whole pipeline, one stage beside the next; a curve without data is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from r1jax.report.chart import Chart, Theme, curve

Record = Mapping[str, Any]
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Course:
    """What one stage of reinforcement learning recorded: its metrics and its evaluations."""

    name: str
    metrics: Sequence[Record]
    evaluations: Sequence[Record]

    @property
    def updates(self) -> int:
        """The last update there is a record of."""
        return max((row["update"] for row in [*self.metrics, *self.evaluations]), default=0)

    def learnt(self, key: str) -> Points:
        """(update, value) of a metric of training."""
        return [(row["update"], row[key]) for row in self.metrics if row.get(key) is not None]

    def judged(self, key: str) -> Points:
        """(update, value) of the held-out set that the run was judged on first."""
        rows = [row for row in self.evaluations if row.get("update") is not None]
        first = [row for row in rows if row.get("set") == rows[0].get("set")]
        return sorted((row["update"], row[key]) for row in first if row.get(key) is not None)


@dataclass(frozen=True)
class Across:
    """A chart over the updates of all courses: a metric of training, one of the held-out set."""

    name: str
    title: str
    caption: str
    unit: str
    learnt: str
    judged: str
    share: bool = False


ACROSS = (
    Across(
        "accuracy", "Accuracy",
        "Share of right answers in training, and held-out pass@1 (the paper’s figure 2). Every "
        "stage starts from its own parent, so the lines do not join.",
        "right answers", "reward/accuracy", "pass_at_1", share=True,
    ),
    Across(
        "length", "Response length", "Mean tokens of a completion (the paper’s figure 3).",
        "tokens", "completion/length_mean", "length_mean",
    ),
    Across(
        "language", "Language consistency",
        "Share of a thought’s words in the language of the question: as a reward, where there is "
        "one, and held out.",
        "consistency", "reward/language", "language_consistency", share=True,
    ),
)  # fmt: skip


def charts(courses: Sequence[Course]) -> list[Chart]:
    """Accuracy, length and language over the updates of all courses; only those with data."""
    found = [across(kind, [c for c in courses if c.updates]) for kind in ACROSS]
    return [chart for chart in found if chart is not None]


def across(kind: Across, courses: Sequence[Course]) -> Chart | None:
    """One chart over the cumulative updates of `courses`; None where none recorded anything."""
    if not any(c.learnt(kind.learnt) or c.judged(kind.judged) for c in courses):
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        start, named = 0, set[str]()

        def label(name: str) -> str | None:
            return None if name in named or named.add(name) else name

        for number, course in enumerate(courses):
            learnt = [(start + x, y) for x, y in course.learnt(kind.learnt)]
            judged = [(start + x, y) for x, y in course.judged(kind.judged)]
            if learnt:
                curve(axes, learnt, theme.lines[0], label("training"))
            if judged:
                axes.plot(*zip(*judged, strict=True), "o-", color=theme.lines[1], lw=1.6, ms=3.5,
                          label=label("held out"))  # fmt: skip
            end = start + course.updates
            if number % 2 == 0:
                axes.axvspan(start, end, color=theme.grid, alpha=0.45, lw=0, zorder=0)
            axes.text((start + end) / 2, 0.03, course.name, color=theme.ink, fontsize=8,
                      ha="center", transform=axes.get_xaxis_transform())  # fmt: skip
            start = end
        axes.set_xlim(0, start)
        axes.set_ylim(0, 1.02 if kind.share else None)
        if kind.share:
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel(kind.unit)
        axes.set_xlabel("updates of all stages", color=theme.ink, fontsize=8)

    return Chart(kind.name, kind.title, kind.caption, draw, wide=True)


def stage_chart(records: Mapping[str, Record]) -> Chart | None:
    """pass@1 with its interval, format and language consistency of every checkpoint."""
    names = list(records)
    kinds = (("pass_at_1", "pass@1"), ("format", "strict format"),
             ("language_consistency", "language consistency"))  # fmt: skip
    if len(names) < 2:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        for (key, label), color in zip(kinds, theme.lines, strict=False):
            found = [(i, records[n][key]) for i, n in enumerate(names)
                     if records[n].get(key) is not None]  # fmt: skip
            if found:
                axes.plot(*zip(*found, strict=True), "o:", color=color, lw=1.2, ms=6, label=label)
        for i, name in enumerate(names):
            if records[name].get("pass_at_1_ci"):
                low, high = records[name]["pass_at_1_ci"]
                axes.plot([i, i], [low, high], color=theme.lines[0], lw=4, alpha=0.3)
        axes.set_xticks(range(len(names)), names)
        axes.set_ylim(0, 1.02)
        axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_xlabel("")

    return Chart(
        "stages", "The checkpoints",
        "Held-out accuracy (the bar is its 95 % interval), format and language of every one.",
        draw, wide=True,
    )  # fmt: skip
