"""Attention of each slot's new token to its cache: rotated, written and attended in one go."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import by_device
from r1jax.models.attention import NEGATIVE, choose_kernel
from r1jax.models.layers import rope

STAGES = 3  # reads of the GPU kernel under way at once
WARPS = 4  # of each of its programs
TILE = 16  # the fewest rows of a product on tensor cores

CACHE = ("slots", None, "kv_heads", None)
HEADS = ("slots", "kv_heads", None, None)
NEW = ("slots", "kv_heads", None)
ANGLES = ("slots", None, None)


class Prefix(NamedTuple):
    """Prefixes that slots have in common: the same tokens, each slot with a copy of its own.

    The samples of a prompt then read one of the copies, which the chip's own cache holds.
    """

    leader: jax.Array  # i32[S], the slot whose copy is read
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
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """softmax(q·Kᵀ/√h)·V over cache[0..position] of each slot, K and V with the new token in them.

    q[S, heads, h]; k, v[S, kv_heads, h]; q and k are rotated here by `tables`, cos and sin f32[S,
    1, h/2]; caches [S, L, kv_heads, h]; positions i32[S]. A position of L or above writes nothing,
    and what is returned for it means nothing. Returns (out [S, heads, h], the caches). `kernel` is
    auto, xla or triton; auto takes Triton's on a CUDA device in bf16 or fp16: it reads only what is
    used of each slot's cache, each key and value once for all its query heads, and `prefix` once
    for all its slots on a device.
    """
    if kernel == "auto":
        fast = choose_kernel(q.dtype, q.shape[-1]) == "cudnn" and q.shape[-1] in (64, 128)
        kernel = "triton" if fast and k_cache.size < 2**31 else "xla"  # it counts in 32 bits
    s, heads, h = q.shape
    grouped = (s, k.shape[1], heads // k.shape[1], h)
    given = (k_cache, v_cache, positions)
    if kernel == "xla":
        out, *caches = _xla(rope(q, tables).reshape(grouped), rope(k, tables), v, *given)
    else:
        own = jnp.arange(s)
        prefix = prefix or Prefix(own, jnp.zeros_like(positions))
        axes = (HEADS, NEW, NEW, ANGLES, ANGLES, CACHE, CACHE, *[("slots",)] * 4)
        run = by_device(_triton, mesh, axes, (HEADS, CACHE, CACHE))
        out, *caches = run(q.reshape(grouped), k, v, *tables, *given, *prefix, own)
    return out.reshape(s, heads, h), *caches


def _xla(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    k_cache: jax.Array,
    v_cache: jax.Array,
    positions: jax.Array,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    rows = jnp.arange(positions.shape[0])
    k_cache, v_cache = k_cache.at[rows, positions].set(k), v_cache.at[rows, positions].set(v)
    scores = jnp.einsum("skgh,slkh->skgl", q, k_cache, preferred_element_type=jnp.float32)
    visible = jnp.arange(k_cache.shape[1])[None] <= positions[:, None]
    scores = jnp.where(visible[:, None, None], scores / math.sqrt(q.shape[-1]), NEGATIVE)
    weights = jax.nn.softmax(scores, axis=-1).astype(v.dtype)
    return jnp.einsum("skgl,slkh->skgh", weights, v_cache), k_cache, v_cache


def _triton(
    q: jax.Array,
    k: jax.Array,
    v: jax.Array,
    cos: jax.Array,
    sin: jax.Array,
    k_cache: jax.Array,
    v_cache: jax.Array,
    positions: jax.Array,
    leader: jax.Array,
    prefix: jax.Array,
    own: jax.Array,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One program for each slot and key head; the caches are written in place.

    `own` i32[S] numbers the slots of this device, as `leader` does; one elsewhere is not read.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    s, kv_heads, group, h = q.shape
    heads, length, rows = kv_heads * group, k_cache.shape[1], jnp.arange(s)
    # Where the three are parts of one array, XLA takes that array itself and copies nothing.
    joined = jnp.concatenate([q.reshape(s, heads, h), k, v], axis=1)
    leader = leader - own[0]
    leader = jnp.where((leader >= 0) & (leader < s), leader, rows)
    query = pl.BlockSpec((None, group, h), lambda i, j: (i, j, 0))
    key, value = (
        pl.BlockSpec((None, None, h), lambda i, j, n=n: (i, n + j, 0))
        for n in (heads, heads + kv_heads)
    )
    angles = pl.BlockSpec((None, None, h // 2), lambda i, j: (i, 0, 0))
    mixed = pl.BlockSpec((None, None, group, h), lambda i, j: (i, j, 0, 0))
    written = pl.BlockSpec((None, length, None, h), lambda i, j: (i, 0, j, 0))
    read = pl.BlockSpec((s, length, None, h), lambda i, j: (0, 0, j, 0))
    number = pl.BlockSpec((1,), lambda i, j: (i,))
    # Longer reads hide more of the memory's latency, shorter ones let more programs run at once.
    program = functools.partial(_program, block=32 if length <= 2048 else 64)
    return pl.pallas_call(
        program,
        grid=(s, kv_heads),
        in_specs=[query, key, value, angles, angles, read, read, number, number, number],
        out_specs=[mixed, written, written],
        out_shape=[jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (q, k_cache, v_cache)],
        input_output_aliases={5: 1, 6: 2},
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=STAGES),
        interpret=interpret,
        name="cache_attention",
    )(joined, joined, joined, cos, sin, k_cache, v_cache, positions, leader, prefix)


def _program(
    q_ref, k_ref, v_ref, cos_ref, sin_ref, k_in, v_in, at, leader, prefix, out_ref, k_out, v_out,
    *, block,
):  # fmt: skip
    """Online softmax in base 2, begun with the new token, then over the cache in blocks."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (length, h), group = k_out.shape, q_ref.shape[0]
    position, columns, rows = at[0], jnp.arange(h), jnp.arange(max(TILE, group))
    inside = position < length
    half, second = h // 2, jax.lax.rem(columns + h // 2, h)
    cos, sin = (triton.load(x.at[jax.lax.rem(columns, half)]) for x in (cos_ref, sin_ref))
    sin = jnp.where(columns < half, -sin, sin)

    def turned(column):
        # Read twice, the second time with its halves exchanged: tiles cannot be cut and joined.
        one, other = (triton.load(column(c)).astype(jnp.float32) for c in (columns, second))
        return (one * cos + other * sin).astype(k_out.dtype)

    own_k, own_v = turned(lambda c: k_ref.at[c]), v_ref[...]
    for out, new in ((k_out, own_k), (v_out, own_v)):
        place = out.at[jnp.minimum(position, length - 1), :]
        triton.store(place, new, mask=jnp.broadcast_to(inside, (h,)))

    # Rows beyond the group repeat its last one: a product has at least TILE of them.
    q = turned(lambda c: q_ref.at[jnp.minimum(rows, group - 1)[:, None], c[None, :]])
    scale = math.log2(math.e) / math.sqrt(h)
    top = jnp.sum(q.astype(jnp.float32) * own_k.astype(jnp.float32)[None], axis=1) * scale
    total = jnp.ones_like(top)
    mixed = jnp.broadcast_to(own_v.astype(jnp.float32)[None], q.shape)
    used, slot = jnp.where(inside, position, 0), pl.program_id(0)

    def step(i, carry):
        mixed, top, total = carry
        tokens, row = (
            pl.ds(i * block, block),
            jnp.where((i + 1) * block <= prefix[0], leader[0], slot),
        )
        valid = i * block + jnp.arange(block) < used
        keys = triton.load(k_in.at[row, tokens, :], mask=valid[:, None], other=0.0)
        values = triton.load(v_in.at[row, tokens, :], mask=valid[:, None], other=0.0)
        scores = jnp.dot(q, keys.T, preferred_element_type=jnp.float32) * scale
        scores = jnp.where(valid[None], scores, NEGATIVE)
        higher = jnp.maximum(top, jnp.max(scores, axis=1))
        weights, shrink = jnp.exp2(scores - higher[:, None]), jnp.exp2(top - higher)
        product = jnp.dot(weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
        total = total * shrink + jnp.sum(weights, axis=1)
        return mixed * shrink[:, None] + product, higher, total

    mixed, _, total = jax.lax.fori_loop(0, pl.cdiv(used, block), step, (mixed, top, total))
    out = (mixed / total[:, None]).astype(out_ref.dtype)
    in_group = jnp.broadcast_to((rows < group)[:, None], out.shape)
    triton.store(out_ref.at[rows[:, None], columns[None, :]], out, mask=in_group)
