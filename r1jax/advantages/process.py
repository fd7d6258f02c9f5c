"""What single tokens gain from rewards that are implicit in log-probabilities (PRIME)."""

from __future__ import annotations

import numpy as np

from r1jax.advantages.returns import inside
from r1jax.losses.implicit import PrimeConfig


def process_gains(
    config: PrimeConfig,
    ratios: np.ndarray,
    group_ids: np.ndarray,
    lengths: np.ndarray,
    judged: np.ndarray,
) -> np.ndarray:
    """f64[N, C]: the weight of what each token earns against the rest of its group (RLOO).

    n/(n − 1) rₜ − Σ r̄ / (n − 1) over a group of n, r̄ being a completion's mean over its tokens (as
    PRIME's code and verl's have it); advantages are the sums of these from a token to the end.

    Args:
      config: of its fields, `weight`, `beta`, `norm`, `times_beta` and `last_token`.
      ratios: f[N, C], log φ − log π_ref of each token.
      group_ids: i[N], equal numbers form a group.
      lengths: i[N], tokens of each completion.
      judged: bool[N]; the others gain nothing and are no part of their group.
    """
    lengths = np.asarray(lengths)
    own = inside(lengths, ratios.shape[1]) & np.asarray(judged)[:, None]
    earned = np.where(own, ratios, 0.0).astype(np.float64)
    if config.times_beta:
        earned *= config.beta
    if not config.last_token:
        earned[np.arange(earned.shape[1]) == lengths[:, None] - 1] = 0.0
    if config.norm == "batch":
        to_come = np.cumsum(earned[:, ::-1], axis=1)
        earned /= np.max(np.abs(to_come), initial=0.0) + 1e-6
    group = np.unique(group_ids, return_inverse=True)[1]
    means = earned.sum(axis=1) / np.maximum(lengths, 1)
    others = (np.bincount(group, judged) - 1)[group]  # beside each completion
    rest = np.bincount(group, means)[group]
    gained = (earned * (others + 1)[:, None] - rest[:, None]) / np.maximum(others, 1)[:, None]
    return config.weight * np.where(own & (others > 0)[:, None], gained, 0.0)


def pairs_ordered(scores: np.ndarray, outcomes: np.ndarray, group_ids: np.ndarray) -> float:
    """Share of a group's pairs of a right and a wrong one whose scores f[N] say which is which.

    The mean over groups that have such a pair; NaN where none has. Equal scores are half a hit. NaN
    outcomes do not count.
    """
    shares = []
    for group in np.unique(group_ids):
        right, wrong = (scores[(group_ids == group) & (outcomes == told)] for told in (1, 0))
        if len(right) and len(wrong):
            ahead = right[:, None] - wrong[None]
            shares.append(np.mean((ahead > 0) + 0.5 * (ahead == 0)))
    return float(np.mean(shares)) if shares else float("nan")
