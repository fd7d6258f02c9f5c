"""How per-token losses become one number: here the published algorithms differ the most.

Each reduction is (per_token f32[B, T], batch) -> share f32[], a sum over the tokens at hand divided
by what the batch says of the whole update. Shares therefore add up, over any split into rows,
micro-batches and hosts, to the loss of the update.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

from r1jax.losses.segments import segment_length
from r1jax.types import Batch

Reduction = Callable[[jax.Array, Batch], jax.Array]


def sequence_mean(per_token: jax.Array, batch: Batch) -> jax.Array:
    """(1/N) Σᵢ (1/nᵢ) Σₜ lᵢₜ: every sequence weighs the same (GRPO: DeepSeekMath, eq. 3)."""
    own_length = jnp.maximum(segment_length(batch), 1)
    return masked_sum(per_token / own_length, batch) / batch.n_sequences


def token_mean(per_token: jax.Array, batch: Batch) -> jax.Array:
    """Σᵢₜ lᵢₜ / Σᵢ nᵢ: every token weighs the same (DAPO, section 3.3)."""
    return masked_sum(per_token, batch) / batch.n_tokens


def constant(per_token: jax.Array, batch: Batch) -> jax.Array:
    """Σᵢₜ lᵢₜ / (N · max_tokens): a token's weight depends on no length (Dr. GRPO, section 3.2)."""
    return masked_sum(per_token, batch) / (batch.n_sequences * batch.max_tokens)


def sequence_sum(per_token: jax.Array, batch: Batch) -> jax.Array:
    """(1/N) Σᵢₜ lᵢₜ: REINFORCE on whole sequences; with the sequence ratio it is LUSPO."""
    return masked_sum(per_token, batch) / batch.n_sequences


def token_sum(per_token: jax.Array, batch: Batch) -> jax.Array:
    """Σᵢₜ lᵢₜ / max_tokens: N times `constant`, verl's reading of Dr. GRPO."""
    return masked_sum(per_token, batch) / batch.max_tokens


REDUCTIONS: dict[str, Reduction] = {
    "sequence_mean": sequence_mean,
    "token_mean": token_mean,
    "constant": constant,
    "sequence_sum": sequence_sum,
    "token_sum": token_sum,
}


def masked(values: jax.Array, batch: Batch) -> jax.Array:
    """`values` at scored tokens and 0 elsewhere, whatever stands there, NaN included."""
    return jnp.where(batch.mask > 0, values, 0.0)


def masked_sum(values: jax.Array, batch: Batch) -> jax.Array:
    """f32[], the sum of `values` over scored tokens."""
    return jnp.sum(masked(values, batch))
