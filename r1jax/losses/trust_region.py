"""Trust regions on probabilities: a token is silent once its own has moved too far.

A ratio bounds a rare token at a tiny change and lets a likely one move by a lot; these bound the
change itself. All take and return f32[B, T]; what they decide is a constant to differentiation.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.losses.policy import Clipped, bounded


def outside(
    kind: str,
    logp: jax.Array,
    start_logp: jax.Array,
    advantages: jax.Array,
    low: float,
    high: float,
) -> tuple[jax.Array, jax.Array]:
    """(moved down too far, moved up too far), bool[B, T] each: where a token has no gradient.

    With p = π of the token and q that of the policy it is held to:

        dppo_tv  p − q > high where A > 0, else p − q < −low (arXiv 2602.04879, Binary-TV)
        dppo_kl  KL of (q, 1 − q) from (p, 1 − p) above high or low, and moved where A pushes it
                 (the same paper, Binary-KL)
        ipo      |p − q| beyond its bound, whatever A pushes (prime-rl)
    """
    p, q = (jnp.exp(jnp.minimum(x, 0.0)) for x in jax.lax.stop_gradient((logp, start_logp)))
    change, up = p - q, advantages > 0
    if kind == "ipo":
        return change < -low, change > high
    if kind == "dppo_tv":
        return (change < -low) & ~up, (change > high) & up
    tiny = 1e-8  # as in verl: of a token that is certain the others have no logarithm
    kl = q * jax.lax.stop_gradient(start_logp - logp)
    kl += (1.0 - q) * jnp.log((1.0 - q + tiny) / (1.0 - p + tiny))
    return (kl > low) & (p < q) & ~up, (kl > high) & (p > q) & up


def trust_region(
    log_ratio: jax.Array,
    logp: jax.Array,
    advantages: jax.Array,
    beyond: tuple[jax.Array, jax.Array],
    cap: float | None = None,
) -> tuple[jax.Array, Clipped]:
    """−ρA where a token is not `beyond` its region, and where it is.

    With a `cap` it is −sg(min(ρ, cap)) · A · log π, as in verl: up to the cap the same gradient,
    another value.
    """
    low, high = beyond
    ratio = jnp.exp(bounded(log_ratio))
    loss = -ratio * advantages
    capped = jnp.zeros(ratio.shape, bool)
    if cap is not None:
        loss = -jax.lax.stop_gradient(jnp.minimum(ratio, cap)) * advantages * logp
        capped = ratio > cap
    return jnp.where(low | high, 0.0, loss), Clipped(low=low, high=high, dual=capped)
