"""What a report says of rounds of search: accuracy with and without it, values, what it cost."""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.report.chart import Chart, Line, lines
from r1jax.report.curves import series
from r1jax.run.directory import Record

ACCURACY = {
    "policy/pass_at_1": "one sample", "search/best": "search", "search/vote": "search, vote",
    "sample/best": "best of N", "sample/vote": "vote",
}  # fmt: skip
COST = {
    "operations/rollout": "drawing", "operations/value": "values", "operations/update": "policy",
    "operations/value_update": "value model",
}  # fmt: skip


def is_search(row: Record) -> bool:
    """Whether a row of metrics is that of a round of search."""
    return "found/solved" in row


def charts(metrics: Sequence[Record]) -> list[Chart]:
    """The charts of a run of search, by round; none of another run."""
    if not any(map(is_search, metrics)):
        return []
    depths = {f"value/auc_{n}": f"{n} steps" for n in range(1, 9)}
    curves = lambda keys: [Line(name, series(metrics, key)) for key, name in keys.items()]  # noqa: E731
    candidates = [
        lines("search", "With a search, and without",
              "Held-out accuracy: one sample; what the value model likes best of the search’s "
              "ends, and their vote; the same of plain samples for as many tokens.",
              "accuracy", curves(ACCURACY), x="round", share=True, wide=True),
        lines("found", "Problems solved in training",
              "Share of the searched problems with a right solution; steps cut at the limit.",
              "share", curves({"found/solved": "solved", "found/capped_frac": "steps cut"}),
              x="round", share=True),
        lines("value_auc", "Does the value model know?",
              "Chance that a held-out prefix that ends right is valued above one that does not, by "
              "the steps of the prefix; 0.5 knows nothing.",
              "AUC", curves({"value/auc": "all", **depths}), x="round"),
        lines("value_brier", "Calibration of values",
              "Mean squared error of (V + 1) / 2, and of the share that ends right alone.",
              "Brier score",
              curves({"value/brier": "values", "value/brier_of_share": "share alone"}), x="round"),
        lines("operations", "What it costs", "Operations of a round, by what they are for.",
              "operations, log scale", curves(COST), x="round", log=True),
    ]  # fmt: skip
    return [chart for chart in candidates if chart is not None]
