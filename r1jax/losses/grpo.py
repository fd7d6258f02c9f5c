"""Group relative policy optimisation, put together from the choices of its settings."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from r1jax.losses.config import GRPO, TRUST_REGIONS
from r1jax.losses.importance import importance_weights, near_enough, on_policy_enough
from r1jax.losses.kl import ESTIMATORS, importance_weighted, k3, straight_through
from r1jax.losses.policy import (
    Clipped,
    bounded,
    capped_tokens,
    cispo,
    clipped_tokens,
    surrogate,
)
from r1jax.losses.quantile import quantile
from r1jax.losses.ratio import RATIOS
from r1jax.losses.reduce import REDUCTIONS, masked, masked_sum
from r1jax.losses.smooth import gmpo, sapo, vespo
from r1jax.losses.trust_region import outside, trust_region
from r1jax.types import Batch, Loss, Max, Mean, Metrics, Stats


@functools.lru_cache(maxsize=16)
def grpo(config: GRPO, on_policy: bool = False) -> Loss:
    """The loss of `config`, in the contract of `r1jax.types.Loss`.

    Σ w · policy term + β · KL − c · entropy, reduced with the denominators of the whole update. By
    default the ratio is taken token by token: the papers of R1 write it for the whole output
    (eq. 1), which overflows at thousands of tokens; the token form is DeepSeekMath's (eq. 3). What
    concerns advantages and denominators (`advantage_*`, `truncated`, `kl_as`) was settled before:
    `r1jax.advantages.returns` and `r1jax.advantages.selection`; so was which tokens are marked
    (`top_entropy`, `covariance`: `r1jax.advantages.marks`). What is left out stays in the
    denominators.

    Args:
      config: static choices.
      on_policy: the batch serves one update only, so the policy at its start is the policy itself.
        `batch.old_logp` is then not read: every ratio is exactly 1, and the gradient flows.

    Returns:
      (stats, batch) -> (share f32[], metrics). Whatever `stats` holds outside the mask is ignored.
    """

    def loss(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
        # f32[B, T] all of them, 0 outside the mask: nobody vouches for prompts and padding.
        logp, entropy = masked(stats.logp, batch), masked(stats.entropy, batch)
        # On policy the ratio is 1, but its gradient is that of log p.
        old_logp = jax.lax.stop_gradient(logp) if on_policy else masked(batch.old_logp, batch)
        sampler_logp = masked(batch.sampler_logp, batch)
        advantages = masked(batch.advantages, batch)
        start_logp = sampler_logp if config.ratio_to == "sampler" else old_logp
        log_ratio = RATIOS[config.ratio](logp, start_logp, batch)

        per_token, clipped = _policy_term(config, log_ratio, logp, start_logp, advantages, batch)
        metrics = _ratio_metrics(log_ratio, clipped, batch)
        metrics["policy/entropy"] = _mean(entropy, batch)
        metrics |= _difference_metrics(old_logp, sampler_logp, batch)
        if config.importance_cap is not None:
            bounds = (config.importance_cap, config.importance_floor)
            weights = importance_weights(old_logp, sampler_logp, batch, config.importance, *bounds)
            per_token = weights * per_token
            metrics["policy/importance_mean"] = _mean(weights, batch)
        # Left out of the sum, not of what it is divided by: who remains counts no more for it.
        for name, keep in _kept(config, logp, old_logp, sampler_logp, advantages, batch).items():
            per_token = jnp.where(keep, per_token, 0.0)
            metrics[f"policy/{name}_frac"] = _mean(~keep, batch)
        if config.drift:
            per_token += config.drift * jnp.square(log_ratio)
        if config.beta > 0:
            ref_logp = masked(batch.ref_logp, batch)
            metrics["policy/kl_ref"] = _mean(k3(logp, ref_logp), batch)
            if config.kl_as == "loss":
                per_token += config.beta * _kl_term(config, logp, ref_logp, log_ratio)
        if config.entropy_target is not None:  # the weight of this rollout, which a run adapts
            per_token -= masked(batch.column("entropy_weight"), batch) * entropy
        elif config.entropy_bonus:
            per_token -= config.entropy_bonus * entropy
        # f32[B, T] -> f32[], this batch's share of the update's loss.
        return REDUCTIONS[config.reduction](per_token, batch), jax.lax.stop_gradient(metrics)

    return loss


def _policy_term(
    config: GRPO,
    log_ratio: jax.Array,
    logp: jax.Array,
    start_logp: jax.Array,
    advantages: jax.Array,
    batch: Batch,
) -> tuple[jax.Array, Clipped]:
    """Per token what is minimised, and where a bound was met."""
    name, low, high = config.objective, config.clip_low, config.clip_high
    never = jnp.zeros(log_ratio.shape, bool)
    clipped = Clipped(never, never, never)
    if name == "clip":
        clipped = clipped_tokens(log_ratio, advantages, low, high, config.dual_clip)
        loss = surrogate(log_ratio, advantages, low, high, config.dual_clip)
    elif name in TRUST_REGIONS:
        beyond = outside(name, logp, start_logp, advantages, low, high)
        loss, clipped = trust_region(log_ratio, logp, advantages, beyond, config.dual_clip)
    elif name == "sapo":
        loss = sapo(log_ratio, advantages, config.gate_positive, config.gate_negative)
    elif name == "gmpo":
        loss = gmpo(log_ratio, advantages, batch, low, high)
    elif name == "vespo":
        loss = vespo(log_ratio, logp, advantages, batch)
    elif name == "reinforce":
        loss = -advantages * logp
    else:
        bounds = (0.0, high) if name == "cispo_cap" else (1.0 - low, 1.0 + high)
        clipped = capped_tokens(log_ratio, *bounds)
        loss = cispo(log_ratio, logp, advantages, *bounds)
    if config.covariance == "kl":
        pulled = masked(batch.column("token_pull"), batch)
        loss += config.covariance_weight * pulled * jnp.abs(log_ratio)
    return loss, clipped


def _kept(
    config: GRPO,
    logp: jax.Array,
    old_logp: jax.Array,
    sampler_logp: jax.Array,
    advantages: jax.Array,
    batch: Batch,
) -> dict[str, jax.Array]:
    """bool[B, T] by reason: False where the policy term is left out for it."""
    kept = {}
    if config.off_policy_limit is not None:
        limit = config.off_policy_limit
        kept["off_policy"] = on_policy_enough(logp, sampler_logp, advantages, batch, limit)
    limits = (config.geometric_limit, config.k3_limit, config.veto)
    if any(limit is not None for limit in limits):
        kept["far_sampler"] = near_enough(old_logp, sampler_logp, batch, *limits)
    if config.masks_tokens:
        kept["masked_token"] = masked(batch.column("token_keep"), batch) > 0
    return kept


def _kl_term(config: GRPO, logp: jax.Array, ref_logp: jax.Array, log_ratio: jax.Array) -> jax.Array:
    value = ESTIMATORS[config.kl_estimator](logp, ref_logp)
    if config.kl_gradient == "straight_through":
        return straight_through(value, logp, ref_logp)
    if config.kl_gradient == "importance":
        return importance_weighted(value, log_ratio)
    return value


def _ratio_metrics(log_ratio: jax.Array, clipped: Clipped, batch: Batch) -> Metrics:
    return {
        "policy/ratio_mean": _mean(jnp.exp(bounded(log_ratio)), batch),
        "policy/clip_frac": _mean(clipped.low | clipped.high | clipped.dual, batch),
        "policy/clip_low_frac": _mean(clipped.low, batch),
        "policy/clip_high_frac": _mean(clipped.high, batch),
    }


def _difference_metrics(old_logp: jax.Array, sampler_logp: jax.Array, batch: Batch) -> Metrics:
    """How far trainer and sampler disagree on the very same policy, in nats and as π_old/μ."""
    signed = masked(old_logp - sampler_logp, batch)
    difference = jnp.abs(signed)
    return {
        "policy/logp_diff_mean": _mean(difference, batch),
        "policy/logp_diff_p99": quantile(difference, batch),
        "policy/logp_diff_max": Max(jnp.max(difference)),
        "policy/sampler_ratio_max": Max(jnp.max(jnp.exp(bounded(signed)))),
        "policy/sampler_kl": _mean(k3(sampler_logp, old_logp), batch),
    }


def _mean(values: jax.Array, batch: Batch) -> Mean:
    """Mean over scored tokens, as a sum and a count that both add up over micro-batches."""
    return Mean(masked_sum(values.astype(batch.mask.dtype), batch), jnp.sum(batch.mask))
