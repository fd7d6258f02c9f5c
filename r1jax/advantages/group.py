"""Rewards become advantages: each completion is judged against its own group, on the host."""

from __future__ import annotations

import numpy as np

from r1jax.errors import UserError
from r1jax.losses.config import Baseline, Std


def group_advantages(
    rewards: np.ndarray,
    group_ids: np.ndarray,
    std: Std = "none",
    epsilon: float = 1e-6,
    baseline: Baseline = "group",
    lengths: np.ndarray | None = None,
) -> np.ndarray:
    """Aᵢ = (rᵢ − baseline) / (std r + ε) over the group of i; with std "none" not divided.

    Compute it over whole groups, before a rollout is split into updates; the members of a group
    need not be neighbours. The baseline is the mean of the "group", of the "others" in it (RLOO),
    that of the group weighed by `lengths` ("length", OPO: arXiv 2505.23585), "second" (only the
    best of a group gets anything: its lead over the second, arXiv 2503.19595) or "none".
    "population" divides the squared deviations by G, "unbiased" by G − 1: the paper does not say
    which (DeepSeek-R1, eq. 3). "batch" takes the unbiased deviation of all rewards, "mean" divides
    by the group's mean reward and adds no ε (MaxRL). A NaN reward means that nothing judged this
    completion: it gets 0, and the rest of its group is treated as if it were absent. With a
    baseline, a group of one and a group of equal rewards get exactly 0.

    Args:
      rewards: f[N].
      group_ids: i[N], equal numbers form a group.
      lengths: i[N], tokens of each completion; None: all alike. Only "length" reads them.

    Returns:
      f32[N].

    Raises:
      UserError: a negative reward with std "mean", which would turn signs around.
    """
    rewards = np.asarray(rewards, np.float64)
    group = np.unique(group_ids, return_inverse=True)[1]
    judged = ~np.isnan(rewards)
    deviation, count = _deviations(rewards, group, judged)
    scale = _scale(rewards, group, judged, deviation, count, std, epsilon)
    difference = deviation
    if baseline == "others":
        difference = deviation * (count / np.maximum(count - 1, 1))[group]
    if baseline == "length":
        difference = _less_weighed_mean(deviation, group, judged, lengths)
    if baseline == "second":
        difference = _lead(deviation, group, judged)
    if baseline == "none":
        difference = np.where(judged, rewards, 0.0)
    return (difference / np.where(difference == 0, 1.0, scale)).astype(np.float32)


def zero_std_frac(rewards: np.ndarray, group_ids: np.ndarray) -> float:
    """Share of the groups whose rewards are all equal, which therefore teach nothing.

    NaN rewards do not count; a group that has nothing else is one of these.
    """
    rewards = np.asarray(rewards, np.float64)
    group = np.unique(group_ids, return_inverse=True)[1]
    return float(flat_groups(rewards, group, ~np.isnan(rewards)).mean()) if len(group) else 0.0


def _scale(
    rewards: np.ndarray,
    group: np.ndarray,
    judged: np.ndarray,
    deviation: np.ndarray,
    count: np.ndarray,
    std: Std,
    epsilon: float,
) -> np.ndarray:
    """What each difference is divided by, f64[N]."""
    if std == "none":
        return np.ones(len(rewards))
    if std == "batch":
        return np.full(len(rewards), _unbiased_std(rewards[judged]) + epsilon)
    if std == "mean":
        if np.any(rewards[judged] < 0):
            worst = float(np.nanmin(rewards))
            raise UserError(f"--loss.advantage_std mean: rewards must not be negative, got {worst}")
        return (np.bincount(group, np.where(judged, rewards, 0.0)) / np.maximum(count, 1))[group]
    degrees = count - 1 if std == "unbiased" else count
    return np.sqrt(np.bincount(group, deviation**2) / np.maximum(degrees, 1))[group] + epsilon


def _unbiased_std(values: np.ndarray) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else 0.0


def _deviations(
    rewards: np.ndarray, group: np.ndarray, judged: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """rᵢ − mean of its group, f64[N], and the judged members of each group, f64[groups]."""
    values = np.where(judged, rewards, 0.0)
    count = np.bincount(group, judged)
    mean = np.bincount(group, values) / np.maximum(count, 1)
    # The mean of equal floats can differ from them in the last bit; a std would blow that up to 1.
    flat = flat_groups(rewards, group, judged)
    return np.where(judged & ~flat[group], values - mean[group], 0.0), count


def _less_weighed_mean(
    deviation: np.ndarray, group: np.ndarray, judged: np.ndarray, lengths: np.ndarray | None
) -> np.ndarray:
    """rᵢ − Σ l r / Σ l over its group, f64[N], from deviations; a flat group keeps its zeros."""
    weights = np.where(judged, 1.0 if lengths is None else lengths, 0.0)
    total = np.maximum(np.bincount(group, weights), 1.0)
    mean = np.bincount(group, weights * deviation) / total
    return np.where(judged, deviation - mean[group], 0.0)


def _lead(deviation: np.ndarray, group: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """By how much the best of each group is above its second, at the best; else 0, f64[N]."""
    lead = np.zeros(len(deviation))
    for members in range(group.max(initial=-1) + 1):
        at = np.flatnonzero((group == members) & judged)
        if len(at) > 1:
            second, best = at[np.argsort(deviation[at], kind="stable")[-2:]]
            lead[best] = deviation[best] - deviation[second]
    return lead


def flat_groups(rewards: np.ndarray, group: np.ndarray, judged: np.ndarray) -> np.ndarray:
    """bool[groups], True where all judged rewards are one number, or there is none."""
    low = np.full(group.max(initial=-1) + 1, np.inf)
    high = -low
    np.minimum.at(low, group[judged], rewards[judged])
    np.maximum.at(high, group[judged], rewards[judged])
    return low >= high
