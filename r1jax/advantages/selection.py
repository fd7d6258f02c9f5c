"""Which completions of a rollout are learnt from: decided on the host, from what was judged."""

from __future__ import annotations

import numpy as np

from r1jax.advantages.group import flat_groups


def mixed_groups(
    accuracy: np.ndarray, group_ids: np.ndarray, low: float = 0.0, high: float = 1.0
) -> np.ndarray:
    """bool[N], True for the members of groups that got some answers right and some wrong.

    And whose mean accuracy is from `low` to `high` (PRIME: 0.2 to 0.8).

    DAPO's dynamic sampling (section 3.2, 0 < correct < G) keeps these and samples more prompts
    until the rollout is full. It looks at the raw accuracy: a format or length term would make a
    group of wrong answers look mixed. NaN answers (nothing judged them) do not count either way.

    Args:
      accuracy: f[N], the accuracy term before weighting.
      group_ids: i[N], equal numbers form a group.
    """
    accuracy = np.asarray(accuracy, np.float64)
    group = np.unique(group_ids, return_inverse=True)[1]
    judged = ~np.isnan(accuracy)
    sums = np.bincount(group, np.where(judged, accuracy, 0.0))
    mean = sums / np.maximum(np.bincount(group, judged), 1)
    within = (mean >= low) & (mean <= high)
    return (within & ~flat_groups(accuracy, group, judged))[group]


def first_groups(keep: np.ndarray, group_ids: np.ndarray, wanted: int) -> np.ndarray:
    """i64[K], the completions of the first `wanted` kept groups, in their order.

    Groups rank by their first completion, so what is chosen depends on the order of sampling alone.
    """
    keep, group_ids = np.asarray(keep, bool), np.asarray(group_ids)
    kept, first = np.unique(group_ids[keep], return_index=True)
    chosen = kept[np.argsort(first)[:wanted]]
    return np.flatnonzero(keep & np.isin(group_ids, chosen))


def without_truncated(lengths: np.ndarray, truncated: np.ndarray) -> np.ndarray:
    """i[N], `lengths` with 0 for the completions the token limit cut off (DAPO, section 3.4).

    Advantages are computed before, over whole groups. Denominators counted from the result leave
    the truncated out (--loss.truncated drop); counted from `lengths` they keep them (count), which
    is what TRL's mask_truncated_completions does under its loss_type grpo.
    """
    return np.where(truncated, 0, lengths).astype(np.asarray(lengths).dtype)
