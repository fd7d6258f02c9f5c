"""The pieces that layers of every kind are made of: linear, RMSNorm, rotary positions."""

from __future__ import annotations

import functools
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.models.attention import Segments, own_lengths
from r1jax.models.config import ModelConfig
from r1jax.models.rope import Dynamic, Yarn

Layer = dict[str, Any]
"""The weights of one layer by name, arrays or leaves."""

Tables = tuple[jax.Array, jax.Array]
"""Cosines and sines of the rotary angles of each position, f32[..., 1, head_dim/2]."""


class Leaf(Protocol):
    """A matrix that is more than an array: with factors, in 8 bits, laid out in another way."""

    def apply(self, x: jax.Array) -> jax.Array:
        """x·W for x[..., in]."""


def linear(leaf: jax.Array | Leaf, x: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """x·W (+ b), x[..., in], W[in, out]: the one doorway of every matrix product of the model."""
    y = leaf.apply(x) if hasattr(leaf, "apply") else x @ leaf.astype(x.dtype)
    return y if bias is None else y + bias.astype(x.dtype)


def rms_norm(x: jax.Array, scale: jax.Array, eps: float) -> jax.Array:
    """x / √(mean(x²) + ε) · g, computed in fp32 and returned in the type of the gains g."""
    wide = x.astype(jnp.float32)
    wide = wide * jax.lax.rsqrt(jnp.mean(wide * wide, axis=-1, keepdims=True) + eps)
    return (wide * scale.astype(jnp.float32)).astype(scale.dtype)


@functools.partial(jax.checkpoint, prevent_cse=False)
def swiglu(gate: jax.Array, up: jax.Array) -> jax.Array:
    """silu(gate) ⊙ up, computed in fp32 and rounded once; the backward pass keeps its arguments."""
    wide = (x.astype(jnp.promote_types(x.dtype, jnp.float32)) for x in (gate, up))
    return (jax.nn.silu(next(wide)) * next(wide)).astype(up.dtype)


def rope_frequencies(c: ModelConfig) -> np.ndarray:
    """f32[head_dim/2]: θ^(-2i/d), stretched as the config asks."""
    frequency = c.rope_theta ** (-np.arange(0, c.head_dim, 2, dtype=np.float64) / c.head_dim)
    if c.rope_scaling is not None:
        frequency = c.rope_scaling.stretched(frequency, c.rope_theta)
    return frequency.astype(np.float32)


def rope_tables(c: ModelConfig, positions: jax.Array, segments: Segments | None = None) -> Tables:
    """cos and sin, f32[..., 1, head_dim/2], for i32 positions[...]; shared by all layers.

    `segments` say which sequences the positions [B, T] are of; None: each is its sequence's last.
    """
    frequency = rope_frequencies(c)
    if isinstance(c.rope_scaling, Dynamic):
        lengths = positions + 1 if segments is None else own_lengths(segments)
        frequency = _grown(c, frequency, lengths)
    angle = positions[..., None].astype(jnp.float32) * frequency
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    if isinstance(c.rope_scaling, Yarn):
        cos, sin = cos * c.rope_scaling.amplitude, sin * c.rope_scaling.amplitude
    return cos[..., None, :], sin[..., None, :]


def _grown(c: ModelConfig, frequency: np.ndarray, lengths: jax.Array) -> jax.Array:
    """f32[..., head_dim/2] for sequences of i32 lengths[...], by `rope.Dynamic`'s base."""
    d, s = c.head_dim, c.rope_scaling.factor
    longer = jnp.maximum(lengths, c.max_position)[..., None].astype(jnp.float32) / c.max_position
    growth = (s * longer - (s - 1)) ** (d / (d - 2))  # of the base
    return frequency * growth ** (-np.arange(0, d, 2, dtype=np.float32) / d)


def rope(x: jax.Array, tables: Tables) -> jax.Array:
    """Rotates x[..., heads, head_dim] in half-split pairs, as the Hugging Face families do."""
    cos, sin = tables
    a, b = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1).astype(x.dtype)
