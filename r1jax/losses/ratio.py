"""Log of the probability ratio of the new policy to the old one: per token or per sequence.

Each is (logp, old_logp, batch) -> f32[B, T]; what stands outside the mask means nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import jax

from r1jax.losses.segments import segment_mean
from r1jax.types import Batch

LogRatio = Callable[[jax.Array, jax.Array, Batch], jax.Array]


def token(logp: jax.Array, old_logp: jax.Array, batch: Batch) -> jax.Array:
    """log ρₜ = logpₜ − old_logpₜ (DeepSeekMath, eq. 3)."""
    return logp - old_logp


def sequence(logp: jax.Array, old_logp: jax.Array, batch: Batch) -> jax.Array:
    """log s = (1/n) Σₜ (logpₜ − old_logpₜ), the same at all n tokens of a sequence (GSPO, eq. 7).

    The gradient of one token's s reaches every token of the sequence, 1/n of it each.
    """
    return segment_mean(logp - old_logp, batch)


def sequence_token(logp: jax.Array, old_logp: jax.Array, batch: Batch) -> jax.Array:
    """The value of `sequence` with the gradient of `token` (GSPO, section 4.3, GSPO-token).

    Where the tokens of a sequence share one advantage and one weight, value and gradient of the
    loss are those of `sequence`, under every reduction; elsewhere only the value is.
    """
    still = jax.lax.stop_gradient
    return logp - still(logp) + still(sequence(logp, old_logp, batch))


RATIOS: dict[str, LogRatio] = {
    "token": token,
    "sequence": sequence,
    "sequence_token": sequence_token,
}
