"""Corrections for data that another policy sampled: they weigh or drop parts of the policy term.

All are constants to differentiation. None touches a denominator: what is dropped still counts, so
that shares add up without anyone knowing beforehand what will be dropped.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.losses.policy import bounded
from r1jax.losses.segments import segment_mean, segment_sum
from r1jax.types import Batch


def importance_weights(
    old_logp: jax.Array,
    sampler_logp: jax.Array,
    batch: Batch,
    mode: str = "token_truncate",
    cap: float = 2.0,
    floor: float = 0.0,
) -> jax.Array:
    """π_old / π_sampler within [floor, cap], f32[B, T], for the policy term only.

    It corrects for the sampler not having been quite the policy that is trained (other kernels,
    other precision). Of the four modes, `token_*` take each token's ratio and `sequence_*` the
    product over the sequence, exp of the sum of differences (not of their mean); `*_truncate`
    moves a ratio out of bounds to the bound, `*_mask` gives it the weight 0. TRL's default is
    sequence_mask with cap 3, verl's rollout_is are the truncated ones with cap 2.
    """
    level, _, action = mode.partition("_")
    difference = old_logp - sampler_logp
    if level == "sequence":
        difference = segment_sum(difference, batch)
    ratio = jnp.exp(bounded(difference))
    if action == "truncate":
        weights = jnp.clip(ratio, floor, cap)
    else:
        weights = jnp.where((ratio >= floor) & (ratio <= cap), ratio, 0.0)
    return jax.lax.stop_gradient(weights)


def on_policy_enough(
    logp: jax.Array, sampler_logp: jax.Array, advantages: jax.Array, batch: Batch, limit: float
) -> jax.Array:
    """bool[B, T], False for what the off-policy mask leaves out (DeepSeek-V3.2, section 3.1).

    A sequence stays if its advantage is not negative or if the mean over its tokens of
    log(π_sampler / π) is at most `limit` nats.
    """
    drift = segment_mean(sampler_logp - logp, batch)
    return (advantages >= 0) | (jax.lax.stop_gradient(drift) <= limit)


def near_enough(
    old_logp: jax.Array,
    sampler_logp: jax.Array,
    batch: Batch,
    geometric: float | None = None,
    k3: float | None = None,
    veto: float | None = None,
) -> jax.Array:
    """bool[B, T], False in sequences whose sampler was too far from the trainer's policy.

    With w = π_old / π_sampler of each token a sequence stays if |exp(mean log w) − 1| is at most
    `geometric` (SkyRL's geometric mask), if the mean of w − 1 − log w is at most `k3` (verl's
    seq_mean_k3), and if no w is below `veto` (verl's and SkyRL's worst token).
    """
    log_w = jax.lax.stop_gradient(old_logp - sampler_logp)
    keep = jnp.ones(log_w.shape, bool)
    if geometric is not None:
        keep &= jnp.abs(jnp.expm1(bounded(segment_mean(log_w, batch)))) <= geometric
    if k3 is not None:
        d = bounded(log_w)
        keep &= segment_mean(jnp.expm1(d) - d, batch) <= k3
    if veto is not None:
        keep &= segment_sum((log_w < jnp.log(veto)).astype(log_w.dtype), batch) == 0
    return keep
