"""The decode cache: what the tokens of every slot left behind, as their layers' kinds say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax.mesh import constrain
from r1jax.models.config import ModelConfig
from r1jax.models.kinds import of_layers
from r1jax.models.row import Kept
from r1jax.types import ROUTES


@struct.dataclass
class Cache:
    """Arrays [S, L, ...] of S slots with room for L tokens, those of each layer by name.

    Only the first two dimensions are promised; the rest is the kind's (`Attention.kept`). Layers
    have separate arrays, because XLA copies a stacked cache at every step.
    """

    layers: tuple[dict[str, jax.Array], ...]

    @property
    def slots(self) -> int:
        """S."""
        return jax.tree.leaves(self.layers)[0].shape[0]

    @property
    def length(self) -> int:
        """L."""
        return jax.tree.leaves(self.layers)[0].shape[1]


def each(f: Callable[..., Any], c: ModelConfig, *caches: Cache) -> Cache:
    """A cache of `f(kept, *arrays)` for every array of a model's caches."""

    def layer(kept: dict[str, Kept], i: int) -> dict[str, Any]:
        return {
            name: f(record, *(x.layers[i][name] for x in caches)) for name, record in kept.items()
        }

    return Cache(tuple(layer(kept, i) for i, kept in enumerate(_kept(c))))


def _kept(c: ModelConfig) -> list[dict[str, Kept]]:
    """What a token leaves in each layer."""
    return [attention.kept(c) | ffn.kept(c) for attention, ffn in of_layers(c)]


def routes(cache: Cache, slot: jax.Array) -> jax.Array:
    """[L, W], the experts that the tokens of a slot took, layer behind layer (`kinds.routes`)."""
    return jnp.concatenate([x[ROUTES][slot] for x in cache.layers if ROUTES in x], axis=-1)


def empty(c: ModelConfig, slots: int, length: int, dtype: Any) -> Cache:
    """A zeroed cache for `slots` sequences of up to `length` tokens."""
    return each(lambda k: jnp.zeros((slots, length, *k.shape), k.dtype or dtype), c)


def constrained(cache: Cache, c: ModelConfig, mesh: Mesh | None, rows: str | None) -> Cache:
    """The cache laid out by its kinds' axes, its rows by the logical axis `rows`."""
    return each(lambda k, x: constrain(x, mesh, rows, None, *k.axes), c, cache)


def lengthened(x: jax.Array, length: int) -> jax.Array:
    """x[S, L, ...] with zeros behind, up to `length`."""
    return jnp.pad(x, [(0, 0), (0, length - x.shape[1]), *((0, 0) for _ in x.shape[2:])])


def token_bytes(c: ModelConfig, itemsize: int) -> int:
    """Bytes that one token leaves in all layers, at `itemsize` for a number of the arithmetic."""

    def size(k: Kept) -> int:
        return math.prod(k.shape) * (jnp.dtype(k.dtype).itemsize if k.dtype else itemsize)

    return sum(size(k) for kept in _kept(c) for k in kept.values())
