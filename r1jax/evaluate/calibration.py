"""How good a judge is: its calibration, its ranking, and intervals that respect shared prompts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


def reliability(
    probability: np.ndarray, outcome: np.ndarray, low: float = 0.0, bins: int = 10
) -> list[dict[str, Any]]:
    """Stated probability against what happened, by `bins` equal steps from `low` to 1.

    Each row: low, high, count, stated (mean probability), happened (mean outcome); steps without
    a case are left out. `outcome` is 1 where the event happened, 0 where not, 0.5 where undecided.
    """
    edges = np.linspace(low, 1.0, bins + 1)
    at = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, bins - 1)
    rows = []
    for i in np.unique(at):
        in_bin = at == i
        rows.append({
            "low": float(edges[i]), "high": float(edges[i + 1]), "count": int(in_bin.sum()),
            "stated": float(probability[in_bin].mean()), "happened": float(outcome[in_bin].mean()),
        })  # fmt: skip
    return rows


def expected_calibration_error(
    probability: np.ndarray, outcome: np.ndarray, low: float = 0.0, bins: int = 10
) -> float:
    """Σ count/N · |stated − happened| over the rows of `reliability` (Naeini et al. 2015)."""
    rows = reliability(probability, outcome, low, bins)
    gaps = [row["count"] * abs(row["stated"] - row["happened"]) for row in rows]
    return float(sum(gaps) / len(probability))


def auc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that a positive scores above a negative, ties half; NaN without one of each."""
    positive, negative = np.asarray(scores)[labels > 0.5], np.asarray(scores)[labels <= 0.5]
    if not len(positive) or not len(negative):
        return float("nan")
    ranked = np.sort(negative)
    below = np.searchsorted(ranked, positive, "left") + np.searchsorted(ranked, positive, "right")
    return float(below.mean() / 2 / len(negative))


def clustered_interval(
    statistic: Callable[[np.ndarray], float],
    clusters: np.ndarray,
    resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
) -> list[float] | None:
    """Percentile bootstrap interval [low, high] of `statistic(index of cases)`.

    Cases of one cluster (responses to one prompt) are drawn together, since they are not
    independent. None where the statistic is not defined in some resample.
    """
    _, cluster_of = np.unique(clusters, return_inverse=True)
    order = np.argsort(cluster_of, kind="stable")
    members = np.split(order, np.cumsum(np.bincount(cluster_of))[:-1])
    rng = np.random.default_rng(seed)
    n = len(members)
    values = np.asarray(
        [
            statistic(np.concatenate([members[k] for k in rng.integers(n, size=n)]))
            for _ in range(resamples)
        ]
    )
    if np.isnan(values).any():
        return None
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return [float(low), float(high)]
