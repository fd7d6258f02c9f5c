"""Estimators, per token, of the divergence of the policy from the reference.

With d = log π_ref − log π of the sampled token (Schulman, "Approximating KL divergence"):

    k1 = −d              unbiased value; its expected gradient is 0, so as a loss it teaches nothing
    k2 = ½ d²            biased value; its gradient is that of the KL when the policy sampled
    k3 = exp(d) − d − 1  unbiased, never negative; gradient 1 − exp(d) (DeepSeek-R1, eq. 2)

Each takes f32[B, T] log-probabilities and returns f32[B, T].
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from r1jax.losses.policy import bounded

Estimator = Callable[[jax.Array, jax.Array], jax.Array]


def k1(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """log π − log π_ref; ∂/∂logp = 1."""
    return logp - ref_logp


def k2(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """½ (log π − log π_ref)²; ∂/∂logp = logp − ref_logp."""
    return 0.5 * jnp.square(logp - ref_logp)


def k3(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """π_ref/π − log(π_ref/π) − 1; ∂/∂logp = 1 − π_ref/π."""
    d = bounded(ref_logp - logp)
    # expm1: near d = 0 the exponential minus 1 would lose every digit of the ½ d² that is left.
    return jnp.expm1(d) - d


ESTIMATORS: dict[str, Estimator] = {"k1": k1, "k2": k2, "k3": k3}
