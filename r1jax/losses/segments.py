"""Sums over the sequences of a packed batch: what a loss says of a sequence as a whole.

A sequence never spans rows, so all of this stays within a row, whichever device holds it.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.types import Batch, segment_members


def segment_sum(values: jax.Array, batch: Batch) -> jax.Array:
    """f32[B, T]: at every token the sum of `values` over the scored tokens of its sequence."""
    # Compare and add rather than scatter: the order of the sum, and so its last bit, is then fixed.
    scored = _members(batch) & (batch.mask > 0)[..., None]
    sums = jnp.sum(jnp.where(scored, values[..., None], 0.0), axis=1)
    return jnp.sum(jnp.where(_members(batch), sums[:, None, :], 0.0), axis=-1)


def segment_mean(values: jax.Array, batch: Batch) -> jax.Array:
    """f32[B, T]: at every token the mean of `values` over the scored tokens of its sequence."""
    return segment_sum(values, batch) / jnp.maximum(segment_length(batch), 1)


def segment_length(batch: Batch) -> jax.Array:
    """f32[B, T]: at every token the scored tokens of its sequence, 0 in the padding."""
    return jnp.sum(jnp.where(_members(batch), batch.lengths[:, None, :], 0.0), axis=-1)


def _members(batch: Batch) -> jax.Array:
    return segment_members(batch.segment_ids, batch.lengths.shape[1])
