"""Group relative policy optimisation, put together from the choices of its settings."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from r1jax.losses.config import GRPO
from r1jax.losses.importance import importance_weights, on_policy_enough
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
from r1jax.types import Batch, Loss, Max, Mean, Metrics, Stats


@functools.lru_cache(maxsize=16)
def grpo(config: GRPO, on_policy: bool = False) -> Loss:
    """The loss of `config`, in the contract of `r1jax.types.Loss`.

    Σ w · policy term + β · KL − c · entropy, reduced with the denominators of the whole update. By
    default the ratio is taken token by token: the papers of R1 write it for the whole output
    (eq. 1), which overflows at thousands of tokens; the token form is DeepSeekMath's (eq. 3). What
    concerns advantages and denominators (`advantage_*`, `truncated`, `kl_as`) was settled before:
    `r1jax.advantages.returns` and `r1jax.advantages.selection`.

    Args:
      config: static choices.
      on_policy: the batch serves one update only, so the policy at its start is the policy itself.
        `batch.old_logp` is then not read: every ratio is exactly 1, and the gradient flows.

    Returns:
      (stats, batch) -> (share f32[], metrics). Whatever `stats` holds outside the mask is ignored.
    """

    def loss(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
        logp, entropy = masked(stats.logp, batch), masked(stats.entropy, batch)
        old_logp = jax.lax.stop_gradient(logp) if on_policy else masked(batch.old_logp, batch)
        sampler_logp = masked(batch.sampler_logp, batch)
        advantages = masked(batch.advantages, batch)
        log_ratio = RATIOS[config.ratio](logp, old_logp, batch)

        per_token, clipped = _policy_term(config, log_ratio, logp, advantages)
        metrics = _ratio_metrics(log_ratio, clipped, batch)
        metrics["policy/entropy"] = _mean(entropy, batch)
        metrics |= _difference_metrics(old_logp, sampler_logp, batch)
        if config.importance_cap is not None:
            bounds = (config.importance_cap, config.importance_floor)
            weights = importance_weights(old_logp, sampler_logp, batch, config.importance, *bounds)
            per_token = weights * per_token
            metrics["policy/importance_mean"] = _mean(weights, batch)
        if config.off_policy_limit is not None:
            limit = config.off_policy_limit
            keep = on_policy_enough(logp, sampler_logp, advantages, batch, limit)
            per_token = jnp.where(keep, per_token, 0.0)
            metrics["policy/off_policy_frac"] = _mean(~keep, batch)
        if config.beta > 0:
            ref_logp = masked(batch.ref_logp, batch)
            metrics["policy/kl_ref"] = _mean(k3(logp, ref_logp), batch)
            if config.kl_as == "loss":
                per_token += config.beta * _kl_term(config, logp, ref_logp, log_ratio)
        if config.entropy_bonus:
            per_token -= config.entropy_bonus * entropy
        return REDUCTIONS[config.reduction](per_token, batch), jax.lax.stop_gradient(metrics)

    return loss


def _policy_term(
    config: GRPO, log_ratio: jax.Array, logp: jax.Array, advantages: jax.Array
) -> tuple[jax.Array, Clipped]:
    """Per token what is minimised, and where a bound was met."""
    if config.objective == "clip":
        clip = (config.clip_low, config.clip_high, config.dual_clip)
        clipped = clipped_tokens(log_ratio, advantages, *clip)
        return surrogate(log_ratio, advantages, *clip), clipped
    bounds = (1.0 - config.clip_low, 1.0 + config.clip_high)
    if config.objective == "cispo_cap":
        bounds = (0.0, config.clip_high)
    return cispo(log_ratio, logp, advantages, *bounds), capped_tokens(log_ratio, *bounds)


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
