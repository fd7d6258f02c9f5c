"""Attention over packed segments: one function, all its kernels (of a decode cache: next door)."""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax.mesh import platform
from r1jax.types import segment_members

NEGATIVE = -1e30


@struct.dataclass
class Segments:
    """Which tokens of a row belong together; a token sees the earlier ones of its own segment."""

    ids: jax.Array  # i32[B, T], 1..max_segments in order from column 0, 0 is padding
    max_segments: int = struct.field(pytree_node=False, default=1)


def own_lengths(segments: Segments) -> jax.Array:
    """i32[B, T], how many tokens the segment of each token has; 0 in the padding."""
    members = segment_members(segments.ids, segments.max_segments)  # bool[B, T, M]
    return jnp.sum(jnp.where(members, jnp.sum(members, axis=1, keepdims=True), 0), axis=-1)


def attention(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segments: Segments,
    kernel: str = "auto",
    *,
    scale: float | None = None,
    mesh: Mesh | None = None,
    window: int = 0,
) -> jax.Array:
    """Causal attention inside segments: softmax(scale·q·kᵀ)·v, by default scale = 1/√h.

    q[B, T, heads, h]; k[B, T, kv_heads, h]; v[B, T, kv_heads, w]; returns [B, T, heads, w], 0 at
    padding. With a `window` a token sees that many: itself and those before. `kernel` is auto, xla
    or cudnn; auto takes cuDNN in bf16 or fp16 on a mesh of CUDA devices, and XLA, which runs
    everywhere, where no mesh is given.
    """
    (b, t, heads, h), kv_heads = q.shape, k.shape[2]
    assert k.shape == (b, t, kv_heads, h) and v.shape[:3] == k.shape[:3], (
        q.shape,
        k.shape,
        v.shape,
    )
    assert heads % kv_heads == 0 and segments.ids.shape == (b, t), (heads, segments.ids.shape)
    if kernel == "auto":
        kernel = choose_kernel(mesh, q.dtype, h, v.shape[-1])
    run = {"xla": _xla, "cudnn": _cudnn}[kernel]
    return run(q, k, v, segments, math.sqrt(h) if scale is None else 1 / scale, window)


def choose_kernel(mesh: Mesh | None, dtype: jnp.dtype, *widths: int) -> str:
    """The kernel `auto` stands for: cuDNN where it can run heads of these widths, otherwise XLA."""
    half = dtype in (jnp.bfloat16, jnp.float16)
    fits = all(width % 8 == 0 and width <= 128 for width in widths)
    return "cudnn" if platform(mesh) == "gpu" and half and fits else "xla"


def _xla(
    q: jax.Array, k: jax.Array, v: jax.Array, segments: Segments, divisor: float, window: int
) -> jax.Array:
    b, t, heads, h = q.shape
    grouped = q.reshape(b, t, k.shape[2], heads // k.shape[2], h)
    scores = jnp.einsum("btkgh,bskh->bkgts", grouped, k, preferred_element_type=jnp.float32)
    ids = segments.ids
    same = (ids[:, :, None] == ids[:, None, :]) & (ids > 0)[:, :, None]
    visible = same & (jnp.arange(t)[:, None] >= jnp.arange(t)[None, :])
    if window:
        visible &= jnp.arange(t)[:, None] - jnp.arange(t)[None, :] < window
    scores = jnp.where(visible[:, None, None], scores / divisor, NEGATIVE)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    out = jnp.einsum("bkgts,bskh->btkgh", weights, v).reshape(b, t, heads, -1)
    return jnp.where((ids > 0)[:, :, None, None], out, 0)


def segment_starts(ids: jax.Array, max_segments: int) -> tuple[jax.Array, jax.Array]:
    """(starts i32[B, M+1], lengths i32[B, M]) of contiguous segments; -1 where there is none."""
    lengths = jnp.sum(segment_members(ids, max_segments), axis=1, dtype=jnp.int32)
    starts = jnp.cumsum(lengths, axis=1) - lengths
    lengths, starts = (jnp.where(lengths > 0, x, -1) for x in (lengths, starts))
    return jnp.pad(starts, ((0, 0), (0, 1)), constant_values=-1), lengths


def _cudnn(
    q: jax.Array, k: jax.Array, v: jax.Array, segments: Segments, divisor: float, window: int
) -> jax.Array:
    """cuDNN's packed layout, whose offsets only a private module of jax takes.

    That module strides keys by the number of query heads, so grouped heads are repeated. Padding
    is zeroed on both sides: the kernel leaves those rows (and their gradients) unwritten.
    """
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    valid = (segments.ids > 0)[:, :, None, None]
    repeat = q.shape[2] // k.shape[2]
    q, k, v = (jnp.where(valid, x, 0) for x in (q, k, v))
    if repeat > 1:
        k, v = (jnp.repeat(x, repeat, axis=2) for x in (k, v))
    starts, lengths = segment_starts(segments.ids, max(segments.max_segments, 2))
    out = cudnn.dot_product_attention(
        q,
        k,
        v,
        q_seqlen=lengths,
        kv_seqlen=lengths,
        q_offsets=starts,
        kv_offsets=starts,
        scale=1.0 / divisor,
        mask_type=cudnn.MaskType.PADDING_CAUSAL,
        sliding_window_length=window or None,
    )
    return jnp.where(valid, out[0] if isinstance(out, (list, tuple)) else out, 0)
