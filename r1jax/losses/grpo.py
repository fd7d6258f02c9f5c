"""Group relative policy optimisation and the choices on which its descendants differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from r1jax.errors import UserError
from r1jax.losses.advantages import Std
from r1jax.losses.kl import ESTIMATORS, k3
from r1jax.losses.policy import bounded, clipped_tokens, importance_weights, surrogate
from r1jax.losses.quantile import quantile
from r1jax.losses.reduce import REDUCTIONS, masked, masked_sum
from r1jax.types import Batch, Loss, Max, Mean, Metrics, Stats


@dataclass(frozen=True)
class GRPO:
    """The choices of a GRPO run; the defaults are the preset `research`."""

    advantage_std: Std = "none"
    """Divide A = r - mean by the group's standard deviation: none (Dr. GRPO), population (with G)
    or unbiased (with G - 1)."""
    advantage_epsilon: float = 1e-6
    """Added to that standard deviation; without effect when advantage_std is none."""
    reduction: Literal["sequence_mean", "token_mean", "constant"] = "constant"
    """What tokens count: sequence_mean (GRPO: each sequence the same), token_mean (DAPO: each token
    the same), constant (Dr. GRPO: token sum over sequences x max_tokens)."""
    clip_low: float = 0.2
    """Probability ratios below 1 - clip_low are clipped where the advantage is negative."""
    clip_high: float = 0.28
    """Probability ratios above 1 + clip_high are clipped where the advantage is positive."""
    dual_clip: float | None = None
    """Bound the loss of a negative advantage by this many times its size; above 1, None is off."""
    beta: float = 0.0
    """Weight of the KL term that holds the policy near the reference; 0 needs no reference."""
    kl_estimator: Literal["k1", "k2", "k3"] = "k3"
    """Estimator of that KL term as a loss; k3 is the paper's."""
    importance_cap: float | None = 2.0
    """Weigh each token by min(trainer / sampler probability, this cap); None weighs all alike."""

    def __post_init__(self) -> None:
        for name in ("advantage_epsilon", "clip_low", "clip_high", "beta"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "a number from 0 up")
        dual, cap = self.dual_clip, self.importance_cap
        _require(dual is None or dual > 1, "dual_clip", dual, "a number above 1, or None")
        _require(cap is None or cap > 0, "importance_cap", cap, "a number above 0, or None")


def grpo(config: GRPO, on_policy: bool = False) -> Loss:
    """The loss of `config`, in the contract of `r1jax.types.Loss`.

    Σ w · surrogate + β · KL, reduced with the denominators of the whole update. The ratio is taken
    token by token: the papers of R1 write it for the whole output (eq. 1), which overflows at
    thousands of tokens; the token form is DeepSeekMath's (eq. 3).

    Args:
      config: static choices.
      on_policy: the batch serves one update only, so the policy at its start is the policy itself.
        `batch.old_logp` is then not read: every ratio is exactly 1, and the gradient flows.

    Returns:
      (stats, batch) -> (share f32[], metrics). Whatever `stats` holds outside the mask is ignored.
    """

    def loss(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
        logp = masked(stats.logp, batch)
        old_logp = jax.lax.stop_gradient(logp) if on_policy else masked(batch.old_logp, batch)
        log_ratio = logp - old_logp
        advantages = masked(batch.advantages, batch)
        clip = (config.clip_low, config.clip_high, config.dual_clip)

        per_token = surrogate(log_ratio, advantages, *clip)
        metrics = _ratio_metrics(log_ratio, advantages, clip, batch)
        metrics["policy/entropy"] = _mean(stats.entropy, batch)

        sampler_logp = masked(batch.sampler_logp, batch)
        metrics |= _difference_metrics(old_logp, sampler_logp, batch)
        if config.importance_cap is not None:
            weights = importance_weights(old_logp, sampler_logp, config.importance_cap)
            per_token = weights * per_token
            metrics["policy/importance_mean"] = _mean(weights, batch)
        if config.beta > 0:
            ref_logp = masked(batch.ref_logp, batch)
            per_token += config.beta * ESTIMATORS[config.kl_estimator](logp, ref_logp)
            metrics["policy/kl_ref"] = _mean(k3(logp, ref_logp), batch)
        return REDUCTIONS[config.reduction](per_token, batch), jax.lax.stop_gradient(metrics)

    return loss


def _ratio_metrics(
    log_ratio: jax.Array,
    advantages: jax.Array,
    clip: tuple[float, float, float | None],
    batch: Batch,
) -> Metrics:
    clipped = clipped_tokens(log_ratio, advantages, *clip)
    return {
        "policy/ratio_mean": _mean(jnp.exp(bounded(log_ratio)), batch),
        "policy/clip_frac": _mean(clipped.low | clipped.high | clipped.dual, batch),
        "policy/clip_low_frac": _mean(clipped.low, batch),
        "policy/clip_high_frac": _mean(clipped.high, batch),
    }


def _difference_metrics(old_logp: jax.Array, sampler_logp: jax.Array, batch: Batch) -> Metrics:
    """How far trainer and sampler disagree on the very same policy, in nats."""
    difference = jnp.abs(old_logp - sampler_logp)
    return {
        "policy/logp_diff_mean": _mean(difference, batch),
        "policy/logp_diff_p99": quantile(difference, batch),
        "policy/logp_diff_max": Max(jnp.max(masked(difference, batch))),
    }


def _mean(values: jax.Array, batch: Batch) -> Mean:
    """Mean over scored tokens, as a sum and a count that both add up over micro-batches."""
    return Mean(masked_sum(values.astype(batch.mask.dtype), batch), jnp.sum(batch.mask))


def _require(holds: bool, name: str, value: float | None, right: str) -> None:
    if not holds:
        raise UserError(f"--loss.{name} {value}: must be {right}")
