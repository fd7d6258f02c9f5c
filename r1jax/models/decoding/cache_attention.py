"""Attention of each slot's new token to its cache: rotated, written and attended in one go."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import by_device
from r1jax.models.attention import NEGATIVE
from r1jax.models.decoding.cache_kernel import attend as _triton
from r1jax.models.kernels import own_kernels
from r1jax.models.layers import rope

CACHE = ("slots", None, "kv_heads", None)
HEADS = ("slots", "kv_heads", None, None)
NEW = ("slots", "kv_heads", None)
ANGLES = ("slots", None, None)


class Prefix(NamedTuple):
    """Prefixes that slots have in common: the same tokens, each slot with a copy of its own.

    The samples of a prompt then read one of the copies, which the chip's own cache holds.
    """

    leader: jax.Array  # i32[S], the slot whose copy is read, counted from the slot itself
    length: jax.Array  # i32[S]


def append_and_attend(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    tables: tuple[jax.Array, jax.Array],
    k_cache: jax.Array,
    v_cache: jax.Array,
    positions: jax.Array,
    prefix: Prefix | None = None,
    mesh: Mesh | None = None,
    kernel: str = "auto",
    window: int = 0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """softmax(q·Kᵀ/√h)·V over cache[0..position] of each slot, K and V with the new token in them.

    With a `window`, over the last so many of those, the new token among them.

    q[S, heads, h]; k, v[S, kv_heads, h]; q and k are rotated here by `tables`, cos and sin f32[S,
    1, h/2]; caches [S, L, kv_heads, h]; positions i32[S]. A position of L or above writes nothing,
    and what is returned for it means nothing. Returns (out [S, heads, h], the caches). `kernel` is
    auto, xla or triton; auto takes Triton's on a mesh of CUDA devices in bf16 or fp16: it reads
    only what is used of each slot's cache, each key and value once for all its query heads, and
    `prefix` once for all its slots on a device.
    """
    (s, heads, h), kv_heads = q.shape, k.shape[1]
    assert k.shape == v.shape == (s, kv_heads, h) and positions.shape == (s,), (q.shape, k.shape)
    assert k_cache.shape == v_cache.shape == (s, k_cache.shape[1], kv_heads, h), k_cache.shape
    if kernel == "auto":
        fast = own_kernels(mesh) and q.dtype in (jnp.bfloat16, jnp.float16) and h in (64, 128)
        kernel = "triton" if fast and k_cache.size < 2**31 else "xla"  # it counts in 32 bits
    grouped = (s, kv_heads, heads // kv_heads, h)
    given = (k_cache, v_cache, positions)
    if kernel == "xla":
        out, *caches = _xla(rope(q, tables).reshape(grouped), rope(k, tables), v, *given, window)
    else:
        prefix = prefix or Prefix(jnp.zeros_like(positions), jnp.zeros_like(positions))
        axes = (HEADS, NEW, NEW, ANGLES, ANGLES, CACHE, CACHE, *[("slots",)] * 3)
        attend = functools.partial(_triton, window=window) if window else _triton
        run = by_device(attend, mesh, axes, (HEADS, CACHE, CACHE))
        out, *caches = run(q.reshape(grouped), k, v, *tables, *given, *prefix)
    return out.reshape(s, heads, h), *caches


def _xla(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_cache: jax.Array,
    v_cache: jax.Array,
    positions: jax.Array,
    window: int,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    rows = jnp.arange(positions.shape[0])
    k_cache, v_cache = k_cache.at[rows, positions].set(k), v_cache.at[rows, positions].set(v)
    scores = jnp.einsum("skgh,slkh->skgl", q, k_cache, preferred_element_type=jnp.float32)
    visible = jnp.arange(k_cache.shape[1])[None] <= positions[:, None]
    if window:
        visible &= jnp.arange(k_cache.shape[1])[None] > positions[:, None] - window
    scores = jnp.where(visible[:, None, None], scores / math.sqrt(q.shape[-1]), NEGATIVE)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("skgl,slkh->skgh", weights, v_cache), k_cache, v_cache
