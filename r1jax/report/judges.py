"""What a report says of runs on judged responses: accuracy, margins, calibration."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from r1jax.report.chart import Chart, Line, Theme, lines
from r1jax.report.curves import learnt_and_held_out
from r1jax.report.html import Fact, Measure, Table, changed, percent
from r1jax.run.directory import Record

MEASURES = (
    Measure("accuracy", "accuracy", "held-out pairs, responses or steps judged right"),
    Measure("f1", "F1 of first errors", "harmonic mean of the two below (ProcessBench)"),
    Measure("error_accuracy", "errors found", "of wrong solutions, the first error told exactly"),
    Measure(
        "correct_accuracy", "right ones left alone", "of right solutions, no step called wrong"
    ),
    Measure("auc", "AUC", "a safe response scores above an unsafe one"),
    Measure("ece", "calibration error", "expected |stated − observed|"),
    Measure("loss", "loss", "held-out negative log-likelihood of the judgements", False, 4),
    Measure("margin", "margin", "chosen minus rejected", False, 3),
)


def headline(before: Record, after: Record) -> list[Fact]:
    """Accuracy before and after with its interval."""
    interval = ""
    if after.get("accuracy_ci"):
        low, high = after["accuracy_ci"]
        interval = f"; 95 % interval {100 * low:.1f} to {percent(high)}"
    return changed("accuracy", f"held-out accuracy{interval}", before, after)


def charts(metrics: Sequence[Record], evaluations: Sequence[Record]) -> list[Chart]:
    """Accuracy and margin in training and held out, and the reliability diagram."""
    judged = [row for row in evaluations if row.get("accuracy") is not None]
    kind = "process" if any("process/accuracy" in row for row in metrics) else "preference"
    drawn = {key: learnt_and_held_out(metrics, f"{kind}/{key}", judged, key)
             for key in ("accuracy", "margin")}  # fmt: skip
    candidates = [
        lines("judged", "Judged right",
              "Share of the pairs, responses or steps that are judged right; the band is the 95 % "
              "interval of what is held out.", "accuracy", drawn["accuracy"], share=True),
        lines("margin", "Margin", "Chosen minus rejected: scores of a reward model, implicit "
              "rewards of a policy.", "margin", drawn["margin"]),
        _diagram(judged),
    ]  # fmt: skip
    return [chart for chart in candidates if chart is not None]


def calibration(after: Record) -> Table:
    """The reliability table of the first held-out set after training."""
    rows = after.get("reliability") or []
    return Table(
        ("stated", "cases", "mean stated", "observed"),
        [(f"{100 * r['low']:.0f} to {100 * r['high']:.0f} %",
          [f"{r['count']:,}", percent(r["stated"]), percent(r["happened"])], "") for r in rows],
    )  # fmt: skip


def _diagram(judged: Sequence[Record]) -> Chart | None:
    """Stated against observed, of every set at its last evaluation."""
    last = {str(row.get("set")): row["reliability"] for row in judged if row.get("reliability")}
    low = min((row["low"] for rows in last.values() for row in rows), default=0.0)

    def diagonal(axes: Axes, theme: Theme) -> None:
        axes.plot([low, 1], [low, 1], "--", color=theme.grid, lw=1.2, zorder=1)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.get_major_locator().set_params(integer=False)

    return lines(
        "reliability", "Calibration",
        "Stated probability against what was observed; a calibrated judge lies on the diagonal.",
        "observed",
        [Line(name, [(row["stated"], row["happened"]) for row in rows])
         for name, rows in last.items()],
        x="stated", share=True, also=diagonal,
    )  # fmt: skip
