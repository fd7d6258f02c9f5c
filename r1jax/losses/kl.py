"""Estimators, per token, of the divergence of the policy from the reference.

With d = log π_ref − log π of the sampled token (Schulman, "Approximating KL divergence"):

    k1 = −d              unbiased value; its expected gradient is 0, so as a loss it teaches nothing
    abs = |d|            biased value; for comparison with verl only
    k2 = ½ d²            biased value; its gradient is that of the KL when the policy sampled
    k3 = exp(d) − d − 1  unbiased, never negative; gradient 1 − exp(d) (DeepSeek-R1, eq. 2)

Each takes f32[B, T] log-probabilities, of jax or of numpy, and returns f32[B, T]. No gradient of k1
or k3 is the KL's; `straight_through` and `importance_weighted` put that right.
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


def absolute(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """|log π − log π_ref|; ∂/∂logp = ±1 (verl's abs)."""
    return abs(logp - ref_logp)


def k2(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """½ (log π − log π_ref)²; ∂/∂logp = logp − ref_logp."""
    return 0.5 * logp.__array_namespace__().square(logp - ref_logp)


def k3(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """π_ref/π − log(π_ref/π) − 1; ∂/∂logp = 1 − π_ref/π."""
    d = bounded(ref_logp - logp)
    # expm1: near d = 0 the exponential minus 1 would lose every digit of the ½ d² that is left.
    return d.__array_namespace__().expm1(d) - d


def k3_clamped(logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """min(k3, 10), flat above: verl's low_var_kl, which also clamps d to ±20 beforehand."""
    library = logp.__array_namespace__()
    return library.minimum(k3(logp, library.maximum(ref_logp, logp - 20.0)), 10.0)


def straight_through(value: jax.Array, logp: jax.Array, ref_logp: jax.Array) -> jax.Array:
    """`value` with the gradient of k2, the KL's own where the policy sampled (verl's k3+)."""
    slope = k2(logp, ref_logp)
    return slope - jax.lax.stop_gradient(slope) + jax.lax.stop_gradient(value)


def importance_weighted(value: jax.Array, log_ratio: jax.Array) -> jax.Array:
    """ρ · `value`, ρ differentiated too (DeepSeek-V3.2, section 3.1; TRL's bias correction).

    Of k3 the gradient by logp is then ρ (k3 + 1 − exp(d)) = −ρ d, the KL's own under old samples.
    """
    return jnp.exp(bounded(log_ratio)) * value


ESTIMATORS: dict[str, Estimator] = {
    "k1": k1,
    "abs": absolute,
    "k2": k2,
    "k3": k3,
    "k3_clamped": k3_clamped,
}
