"""The curves of a whole pipeline, one stage beside the next; a curve without data is left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate

from matplotlib.axes import Axes

from r1jax.report.chart import Chart, Line, Theme, lines
from r1jax.report.curves import Curves, ends, held_out, series
from r1jax.run.directory import Record


@dataclass(frozen=True)
class StageCurves:
    """What one stage of reinforcement learning recorded: its metrics and its evaluations."""

    name: str
    metrics: Sequence[Record]
    evaluations: Sequence[Record]

    @property
    def updates(self) -> int:
        """The last update there is a record of."""
        return max((row["update"] for row in [*self.metrics, *self.evaluations]), default=0)

    def drawn(self, keys: Mapping[str, str], start: int) -> list[Line]:
        """Training, and the held-out set that the run was judged on first, from `start` on."""
        sets = held_out(self.evaluations, "update")
        judged = next(iter(sets.values()), [])
        sides = zip(keys.items(), ((self.metrics, "~"), (judged, "o-")), strict=True)
        return [Line(label, [(start + x, y) for x, y in series(rows, key)], style, color)
                for color, ((key, label), (rows, style)) in enumerate(sides)]  # fmt: skip


ACROSS = (
    Curves(
        "accuracy", "Accuracy",
        "Share of right answers in training, and held-out pass@1 (the paper’s figure 2). Every "
        "stage starts from its own parent, so the lines do not join.",
        "right answers", {"reward/accuracy": "training", "pass_at_1": "held out"}, share=True,
    ),
    Curves(
        "length", "Response length", "Mean tokens of a completion (the paper’s figure 3).",
        "tokens", {"completion/length_mean": "training", "length_mean": "held out"},
    ),
    Curves(
        "language", "Language consistency",
        "Share of a thought’s words in the language of the question: as a reward, where there is "
        "one, and held out.", "consistency",
        {"reward/language": "training", "language_consistency": "held out"}, share=True,
    ),
)  # fmt: skip
"""Charts over the updates of all courses, each of a metric of training and one held out."""


def charts(courses: Sequence[StageCurves]) -> list[Chart]:
    """Accuracy, length and language over the updates of all courses; only those with data."""
    candidates = [across(kind, [c for c in courses if c.updates]) for kind in ACROSS]
    return [chart for chart in candidates if chart is not None]


def across(kind: Curves, courses: Sequence[StageCurves]) -> Chart | None:
    """One chart over the cumulative updates of `courses`; None where none recorded anything."""
    starts = [0, *accumulate(course.updates for course in courses)]

    def stages(axes: Axes, theme: Theme) -> None:
        for number, course in enumerate(courses):
            start, end = starts[number : number + 2]
            if number % 2 == 0:
                axes.axvspan(start, end, color=theme.grid, alpha=0.45, lw=0, zorder=0)
            axes.text((start + end) / 2, 0.03, course.name, color=theme.ink, fontsize=8,
                      ha="center", transform=axes.get_xaxis_transform())  # fmt: skip
        axes.set_xlim(0, starts[-1])

    drawn = [line for course, start in zip(courses, starts, strict=False)
             for line in course.drawn(kind.keys, start)]  # fmt: skip
    return lines(
        kind.name, kind.title, kind.caption, kind.unit, drawn, x="updates of all stages",
        span=(0, 1.02 if kind.share else None), share=kind.share, wide=True, also=stages,
    )  # fmt: skip


def stage_chart(records: Mapping[str, Record]) -> Chart | None:
    """pass@1 with its interval, format and language consistency of every checkpoint."""
    if len(records) < 2:
        return None
    rows = [{"update": place, **record} for place, record in enumerate(records.values())]
    kinds = (("pass_at_1", "pass@1"), ("format", "strict format"),
             ("language_consistency", "language consistency"))  # fmt: skip
    return lines(
        "stages", "The checkpoints",
        "Held-out accuracy (the bar is its 95 % interval), format and language of every one.", "",
        [Line(label, series(rows, key), "o:", color, ends(rows, key))
         for color, (key, label) in enumerate(kinds)],
        places=list(records), span=(0, 1.02), share=True, wide=True,
    )  # fmt: skip
