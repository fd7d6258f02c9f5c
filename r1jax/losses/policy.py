"""The policy term of the loss per token: clipped probability ratios, or clipped weights on log p.

Everything takes and returns f32[B, T]. `log_ratio` is one of `r1jax.losses.ratio`; an algorithm
with another ratio passes its own.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp

# exp overflows float32 at 88, and the gradient of a branch not taken would then be 0 · ∞ = NaN.
_EXP_LIMIT = 20.0


class Clipped(NamedTuple):
    """Where a bound was met, bool[B, T] each; `surrogate` has no gradient there."""

    low: jax.Array  # ρ < 1 − clip_low and A < 0
    high: jax.Array  # ρ > 1 + clip_high and A > 0
    dual: jax.Array  # ρ > dual_clip and A < 0


def surrogate(
    log_ratio: jax.Array,
    advantages: jax.Array,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> jax.Array:
    """−min(ρA, clip(ρ, 1 − clip_low, 1 + clip_high) A), to be minimised (DeepSeek-R1, eq. 1).

    With `dual_clip` = c the loss of a negative advantage is at most −cA (Ye et al., 2020); TRL's
    `delta`, a bound on ρ before the minimum, is the same for every c ≥ 1 + clip_high.
    """
    ratio = jnp.exp(bounded(log_ratio))
    clipped = jnp.clip(ratio, 1.0 - clip_low, 1.0 + clip_high)
    loss = jnp.maximum(-ratio * advantages, -clipped * advantages)
    if dual_clip is None:
        return loss
    return jnp.where(advantages < 0, jnp.minimum(loss, -dual_clip * advantages), loss)


def clipped_tokens(
    log_ratio: jax.Array,
    advantages: jax.Array,
    clip_low: float,
    clip_high: float,
    dual_clip: float | None = None,
) -> Clipped:
    """Where `surrogate` with these arguments is flat."""
    ratio = jnp.exp(bounded(log_ratio))
    return Clipped(
        low=(ratio < 1.0 - clip_low) & (advantages < 0),
        high=(ratio > 1.0 + clip_high) & (advantages > 0),
        dual=(ratio > (jnp.inf if dual_clip is None else dual_clip)) & (advantages < 0),
    )


def cispo(
    log_ratio: jax.Array, logp: jax.Array, advantages: jax.Array, floor: float, cap: float
) -> jax.Array:
    """−sg(clip(ρ, floor, cap)) · A · logp (MiniMax-M1, eq. 4).

    The bounds are on the weight of a token, not on its gradient: every token keeps teaching, which
    is the point. The value has no meaning of its own; the gradient is −clip(ρ) · A.
    """
    weight = jnp.clip(jnp.exp(bounded(log_ratio)), floor, cap)
    return -jax.lax.stop_gradient(weight) * advantages * logp


def capped_tokens(log_ratio: jax.Array, floor: float, cap: float) -> Clipped:
    """Where the weight of `cispo` with these bounds is not the ratio itself, whatever the sign."""
    ratio = jnp.exp(bounded(log_ratio))
    return Clipped(low=ratio < floor, high=ratio > cap, dual=jnp.zeros(ratio.shape, bool))


def bounded(log_ratio: jax.Array) -> jax.Array:
    """At most 20, with gradient 0 above: what is safe to exponentiate; of jax or of numpy."""
    return log_ratio.__array_namespace__().minimum(log_ratio, _EXP_LIMIT)
