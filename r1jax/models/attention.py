"""Attention over packed segments: one function, all its kernels (of a decode cache: next door)."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.errors import UserError
from r1jax.mesh import by_device, constrain, cuts_tokens, platform
from r1jax.models.kernels import HOPPER, capability
from r1jax.types import segment_members

NEGATIVE = -1e30
LANES = 128  # of a TPU: splash takes tokens in multiples of it


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
    padding. With a `window` a token sees that many: itself and those before. `kernel` is auto
    (`choose_kernel`), xla, which runs everywhere, cudnn or splash.
    """
    (b, t, heads, h), kv_heads = q.shape, k.shape[2]
    assert k.shape == (b, t, kv_heads, h) and v.shape[:3] == k.shape[:3], (
        q.shape,
        k.shape,
        v.shape,
    )
    assert heads % kv_heads == 0 and segments.ids.shape == (b, t), (heads, segments.ids.shape)
    if kernel == "auto":
        kernel = choose_kernel(mesh, q.dtype, t, h, v.shape[-1])
    kernels = {"xla": _xla, "cudnn": _cudnn}
    kernels["splash"] = functools.partial(_splash, interpret=platform(mesh) != "tpu")
    how = math.sqrt(h) if scale is None else 1 / scale, window

    def run(q: jax.Array, k: jax.Array, v: jax.Array, ids: jax.Array) -> tuple[jax.Array]:
        return (kernels[kernel](q, k, v, Segments(ids, segments.max_segments), *how),)

    if cuts_tokens(mesh) or (kernel == "splash" and mesh is not None):
        return _whole_rows(run, mesh, q, k, v, segments.ids)
    return run(q, k, v, segments.ids)[0]


def _whole_rows(
    run: Callable[..., Any],
    mesh: Mesh,
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    ids: jax.Array,
) -> jax.Array:
    """`run` on each device's rows and heads; the tokens of a row that are spread become heads.

    A device trades them for all tokens of its heads, and back, so that any kernel serves and no
    device waits for another in between. What it holds is as much as before, but for keys and values
    where there are fewer heads of them than devices.
    """
    heads = ("batch", None, "heads_of_rows", None)
    devices = meshes.devices_of(mesh, meshes.RULES["heads_of_rows"])
    each = devices // math.gcd(k.shape[2], devices) if q.shape[2] % devices == 0 else 1
    if each > 1:  # where they lie, so that no device ever holds all of a row
        rows = ("batch", "tokens", "heads", None)
        k, v = (constrain(jnp.repeat(x, each, axis=2), mesh, *rows) for x in (k, v))
    apart = by_device(run, mesh, (heads, heads, heads, ("batch", None)), (heads,))
    return constrain(apart(q, k, v, ids)[0], mesh, "batch", "tokens", "heads", None)


def choose_kernel(mesh: Mesh | None, dtype: jnp.dtype, tokens: int, *widths: int) -> str:
    """The kernel `auto` stands for by the mesh's devices; XLA without a mesh, or where none serves.

    On TPUs splash, for rows of a multiple of 128 tokens. On CUDA devices cuDNN in 16 bits: its
    packed layout from Hopper on, heads of up to 128, on Hopper 256.
    """
    if platform(mesh) == "tpu":
        return "splash" if tokens % LANES == 0 else "xla"
    if platform(mesh) != "gpu" or dtype not in (jnp.bfloat16, jnp.float16):
        return "xla"
    most = 256 if capability(mesh) == HOPPER else 128
    fits = all(width % 8 == 0 and width <= most for width in widths)
    major = capability(mesh).partition(".")[0]  # of another vendor's no number
    return "cudnn" if fits and major.isdigit() and int(major) >= 9 else "xla"


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

    That module finds segments of all arrays by the strides of queries: grouped heads are repeated,
    and where values have another width than keys, zeros make up the difference. Padding is zeroed
    on both sides: the kernel leaves those rows (and their gradients) unwritten.
    """
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    valid = (segments.ids > 0)[:, :, None, None]
    repeat, width = q.shape[2] // k.shape[2], v.shape[-1]
    most = max(q.shape[-1], width)
    q, k, v = (_widened(jnp.where(valid, x, 0), most) for x in (q, k, v))
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
    out = out[0] if isinstance(out, (list, tuple)) else out
    return jnp.where(valid, out[..., :width], 0)


def _widened(x: jax.Array, width: int) -> jax.Array:
    """x with zeros behind each head: they add nothing to a score, nor to what is mixed."""
    return jnp.pad(x, (*((0, 0),) * (x.ndim - 1), (0, width - x.shape[-1])))


def _splash(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    segments: Segments,
    divisor: float,
    window: int,
    interpret: bool,
) -> jax.Array:
    """A TPU's kernel in blocks, of which those that no token sees are left out."""
    from jax.experimental.pallas.ops.tpu import splash_attention as splash

    if q.shape[1] % LANES:
        raise UserError(
            f"--train.kernel splash: rows of {q.shape[1]} tokens do not divide by {LANES}; "
            f"use --train.width {-(-q.shape[1] // LANES) * LANES}"
        )
    tokens, heads, size = q.shape[1], q.shape[2], math.gcd(q.shape[1], 4 * LANES)
    sides = (window - 1, 0) if window else (None, 0)
    visible = splash.LocalMask((tokens, tokens), sides, 0)
    names = ("q", "kv", "q_dkv", "kv_dkv", "q_dq", "kv_dq")
    run = splash.make_splash_mha(
        splash.MultiHeadMask([visible] * heads), head_shards=1, q_seq_shards=1,
        block_sizes=splash.BlockSizes(**{f"block_{name}": size for name in names}),
        interpret=interpret,
    )  # fmt: skip
    by_head = ((q / divisor).astype(q.dtype), k, v)
    ids = splash.SegmentIds(segments.ids, segments.ids)
    out = jax.vmap(run)(*(x.swapaxes(1, 2) for x in by_head), ids).swapaxes(1, 2)
    return jnp.where((segments.ids > 0)[:, :, None, None], out, 0)
