"""What a report says of runs on judged responses: accuracy, margins, calibration."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter

from r1jax.report.chart import Chart, Theme, curve, cycle

Record = Mapping[str, Any]

ROWS: tuple[tuple[str, str, str, bool, int], ...] = (
    ("accuracy", "accuracy", "held-out pairs, or responses, judged right", True, 1),
    ("auc", "AUC", "a safe response scores above an unsafe one", True, 1),
    ("ece", "calibration error", "expected |stated − observed|", True, 1),
    ("loss", "loss", "held-out negative log-likelihood of the judgements", False, 4),
    ("margin", "margin", "chosen minus rejected", False, 3),
)
"""Lines of the digest: key, name, meaning, in percent, decimals."""


def headline(before: Record, after: Record) -> list[str]:
    """Accuracy before and after with its interval, as an element of the report's headline."""
    if before.get("accuracy") is None or after.get("accuracy") is None:
        return []
    shown = f"{100 * before['accuracy']:.1f} % → {100 * after['accuracy']:.1f} %"
    interval = ""
    if after.get("accuracy_ci"):
        low, high = after["accuracy_ci"]
        interval = f"; 95 % interval {100 * low:.1f} to {100 * high:.1f} %"
    return [f"<div><b>{shown}</b><span>held-out accuracy{interval}</span></div>"]


def charts(metrics: Sequence[Record], evaluations: Sequence[Record]) -> list[Chart]:
    """Accuracy and margin in training and held out, and the reliability diagram."""
    judged = [row for row in evaluations if row.get("accuracy") is not None]
    found = [
        _curves("judged", "Judged right",
                "Share of the pairs, or responses, that are judged right; the band is the 95 % "
                "interval of what is held out.", "accuracy", metrics, judged),
        _curves("margin", "Margin", "Chosen minus rejected: scores of a reward model, implicit "
                "rewards of a policy.", "margin", metrics, judged),
        _diagram(judged),
    ]  # fmt: skip
    return [chart for chart in found if chart is not None]


def section(summary: Record) -> str:
    """The reliability table of the first held-out set after training, as HTML."""
    rows = (summary.get("after") or {}).get("reliability")
    if not rows:
        return ""
    lines = "".join(
        f'<tr><th scope="row">{100 * r["low"]:.0f} to {100 * r["high"]:.0f} %</th>'
        f"<td>{r['count']:,}</td><td>{100 * r['stated']:.1f} %</td>"
        f"<td>{100 * r['happened']:.1f} %</td></tr>"
        for r in rows
    )
    what = {
        "pairwise": "How sure the model was of the response it preferred, and how often that was "
        "the chosen one.",
        "pointwise": "The stated probability that a response is safe, and how often it was.",
    }.get(str(summary.get("kind")), "")
    head = "".join(
        f'<th scope="col">{name}</th>' for name in ("stated", "cases", "mean stated", "observed")
    )
    return (
        f'<p class="soft">{escape(what)}</p><div class="scroll"><table><thead><tr>{head}</tr>'
        f"</thead><tbody>{lines}</tbody></table></div>"
    )


def _curves(
    name: str,
    title: str,
    caption: str,
    key: str,
    metrics: Sequence[Record],
    judged: Sequence[Record],
) -> Chart | None:
    learnt = [
        (row["update"], row[f"preference/{key}"])
        for row in metrics
        if row.get(f"preference/{key}") is not None
    ]
    sets: dict[str, list[Record]] = {}
    for row in judged:
        if row.get(key) is not None:
            sets.setdefault(str(row.get("set", "held out")), []).append(row)
    if not learnt and not sets:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        first, *others = cycle(theme, [None, *sets])
        if learnt:
            curve(axes, learnt, first, "training")
        for (label, rows), color in zip(sets.items(), others, strict=True):
            updates = [row["update"] for row in rows]
            values = [row[key] for row in rows]
            axes.plot(updates, values, "o-", color=color, lw=1.8, ms=4, label=label)
            if all(row.get(f"{key}_ci") for row in rows):
                low, high = zip(*(row[f"{key}_ci"] for row in rows), strict=True)
                axes.fill_between(updates, low, high, color=color, alpha=0.15, lw=0)
        if key == "accuracy":
            axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.set_ylabel(key)

    return Chart(name, title, caption, draw)


def _diagram(judged: Sequence[Record]) -> Chart | None:
    """Stated against observed, of every set at its last evaluation."""
    last = {str(row.get("set")): row["reliability"] for row in judged if row.get("reliability")}
    if not last:
        return None

    def draw(axes: Axes, theme: Theme) -> None:
        low = min(row["low"] for rows in last.values() for row in rows)
        axes.plot([low, 1], [low, 1], "--", color=theme.grid, lw=1.2)
        for (name, rows), color in zip(last.items(), cycle(theme, last), strict=True):
            points = [(row["stated"], row["happened"]) for row in rows]
            axes.plot(*zip(*points, strict=True), "o-", color=color, lw=1.6, ms=4, label=name)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(PercentFormatter(1.0, decimals=0))
        axes.xaxis.get_major_locator().set_params(integer=False)
        axes.set_xlabel("stated", color=theme.ink, fontsize=8)
        axes.set_ylabel("observed")

    return Chart(
        "reliability", "Calibration",
        "Stated probability against what was observed; a calibrated judge lies on the diagonal.",
        draw,
    )  # fmt: skip
