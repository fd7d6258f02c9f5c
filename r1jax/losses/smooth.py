"""Policy terms that weigh smoothly where others clip, per token; all take and return f32[B, T]."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.losses.policy import bounded
from r1jax.losses.segments import segment_mean, segment_sum
from r1jax.types import Batch

# VESPO's k and λ, where A ≥ 0 and where A < 0, and the least log W (TRL's defaults).
_VESPO = ((2.0, 3.0), (3.0, 2.0))
_LEAST = float(np.log(1e-8))


def sapo(
    log_ratio: jax.Array, advantages: jax.Array, positive: float = 1.0, negative: float = 1.05
) -> jax.Array:
    """−A · (4/τ) · σ(τ(ρ − 1)): at ρ = 1 the gradient is −A, and it fades both ways (2511.20347).

    τ is `positive` where A > 0, else `negative`.
    """
    steep = jnp.where(advantages > 0, positive, negative)
    return -advantages * 4.0 / steep * jax.nn.sigmoid(steep * (jnp.exp(bounded(log_ratio)) - 1.0))


def gmpo(
    log_ratio: jax.Array, advantages: jax.Array, batch: Batch, low: float, high: float
) -> jax.Array:
    """−A · exp(meanₜ s·min(s·ℓ, s·clip(ℓ, −low, high))), ℓ = log ρ, s the sign of A (2507.20673).

    One term for a sequence, the same at all its tokens: the geometric mean of PPO's clipped ratios.
    """
    sign = jnp.sign(advantages)
    clipped = jnp.clip(log_ratio, -low, high)
    held = sign * jnp.minimum(sign * log_ratio, sign * clipped)
    return -advantages * jnp.exp(bounded(segment_mean(held, batch)))


def vespo(log_ratio: jax.Array, logp: jax.Array, advantages: jax.Array, batch: Batch) -> jax.Array:
    """−sg(φ(W)) · A · log π, φ = exp(λ + k log W − λW), W the product of ρ (2602.10693).

    φ(1) is 1 and W^k falls to 0 with W; a sequence grown too likely fades as fast as exp(−λW).
    """
    log_w = jnp.clip(segment_sum(jax.lax.stop_gradient(log_ratio), batch), _LEAST, 20.0)
    (k, rate), (k_below, rate_below) = _VESPO
    k = jnp.where(advantages < 0, k_below, k)
    rate = jnp.where(advantages < 0, rate_below, rate)
    return -jnp.exp(rate + k * log_w - rate * jnp.exp(log_w)) * advantages * logp
