"""The GPU's kernel of attention to a decode cache; programs share long caches of few slots."""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp

from r1jax.models.attention import NEGATIVE

STAGES = 3  # reads under way at once
WARPS = 4  # of each program
TILE = 16  # the fewest rows of a product on tensor cores
FULL = 4 * 132  # programs that keep all multiprocessors of an H100 or H200 busy


def splits_of(slots: int, kv_heads: int, length: int) -> int:
    """How many programs share the cache (of `length`) of a slot and key head; a power of two.

    Enough to fill the chip, as far as each has 1,024 tokens of a full cache, and at most 16.
    """
    enough = min(FULL // (slots * kv_heads), length // 1024, 16) if length > 2048 else 1
    return 1 << max(enough, 1).bit_length() - 1


def attend(
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
    interpret: bool = False,
    window: int = 0,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """`cache_attention.append_and_attend` with q[S, kv_heads, group, h], caches written in place.

    One program has one slot, one key head and its part of that cache; several parts come back as
    sums that are joined here. A leader, i32[S] counted from the slot itself, that lies on another
    device is not read.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    s, kv_heads, group, h = q.shape
    heads, length = kv_heads * group, k_cache.shape[1]
    # Where the three are parts of one array, XLA takes that array itself and copies nothing.
    joined = jnp.concatenate([q.reshape(s, heads, h), k, v], axis=1)
    leader = leaders_of(leader)
    query = pl.BlockSpec((None, group, h), lambda i, j, _: (i, j, 0))
    key, value = (
        pl.BlockSpec((None, None, h), lambda i, j, _, n=n: (i, n + j, 0))
        for n in (heads, heads + kv_heads)
    )
    angles = pl.BlockSpec((None, None, h // 2), lambda i, j, _: (i, 0, 0))
    written = pl.BlockSpec((None, length, None, h), lambda i, j, _: (i, 0, j, 0))
    read = pl.BlockSpec((s, length, None, h), lambda i, j, _: (0, 0, j, 0))
    number = pl.BlockSpec((1,), lambda i, j, _: (i,))
    splits = splits_of(s, kv_heads, length)
    left, shapes = left_by(q, splits)
    # Longer reads hide more of the memory's latency, shorter ones let more programs run at once.
    block = 32 if length <= 2048 else 64
    program = functools.partial(_program, block=block, splits=splits, window=window)
    caches = [jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (k_cache, v_cache)]
    k_cache, v_cache, *parts = pl.pallas_call(
        program,
        grid=(s, kv_heads, splits),
        in_specs=[query, key, value, angles, angles, read, read, number, number, number],
        out_specs=[written, written, *left],
        out_shape=[*caches, *shapes],
        input_output_aliases={5: 0, 6: 1},
        compiler_params=triton.CompilerParams(num_warps=WARPS, num_stages=STAGES),
        interpret=interpret,
        name="cache_attention",
    )(joined, joined, joined, cos, sin, k_cache, v_cache, positions, leader, prefix)
    # [splits, S, kv_heads, group, h] and, of several parts, their tops and totals without h.
    out = parts[0][0] if splits == 1 else whole_of(*parts).astype(q.dtype)
    return out, k_cache, v_cache


def leaders_of(leader: jax.Array) -> jax.Array:
    """i32[S], the slot whose cache each reads, of what is counted from the slot itself.

    One that lies on another device is not read: it is the slot itself.
    """
    s = leader.shape[0]
    slots = jnp.arange(s, dtype=leader.dtype)
    return jnp.where((slots + leader >= 0) & (slots + leader < s), slots + leader, slots)


def left_by(q: jax.Array, splits: int) -> tuple[list[Any], list[jax.ShapeDtypeStruct]]:
    """Blocks and shapes of what programs leave: the result, or mixed, top and total of a part."""
    from jax.experimental import pallas as pl

    group, h = q.shape[2:]
    mixed = pl.BlockSpec((None, None, None, group, h), lambda i, j, part: (part, i, j, 0, 0))
    if splits == 1:
        return [mixed], [jax.ShapeDtypeStruct((1, *q.shape), q.dtype)]
    sums = pl.BlockSpec((None, None, None, group), lambda i, j, part: (part, i, j, 0))
    shapes = [(splits, *q.shape), *[(splits, *q.shape[:3])] * 2]
    return [mixed, sums, sums], [jax.ShapeDtypeStruct(x, jnp.float32) for x in shapes]


def whole_of(mixed: jax.Array, top: jax.Array, total: jax.Array) -> jax.Array:
    """Σᵢ 2^(mᵢ−m)·mixedᵢ / Σᵢ 2^(mᵢ−m)·totalᵢ over the parts i, m the highest of their tops mᵢ."""
    weights = jnp.exp2(top - jnp.max(top, axis=0))
    return jnp.sum(mixed * weights[..., None], axis=0) / jnp.sum(total * weights, axis=0)[..., None]


def _program(
    q_ref, k_ref, v_ref, cos_ref, sin_ref, k_in, v_in, at, leader, prefix, k_out, v_out, mixed_ref,
    *sums, block, splits, window,
):  # fmt: skip
    """Online softmax in base 2, begun with the new token, then over a part of the cache in blocks.

    Every part begins with the new token's score, so that none is empty; the first counts it.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (length, h), group = k_out.shape, q_ref.shape[0]
    position, columns, rows = at[0], jnp.arange(h), jnp.arange(max(TILE, pl.next_power_of_2(group)))
    slot, split, inside = pl.program_id(0), pl.program_id(2), position < length
    angle = jax.lax.rem(columns, h // 2)
    cos, sin = (triton.load(x.at[angle]) for x in (cos_ref, sin_ref))
    own_k, own_v = _turned(lambda c: k_ref.at[c], cos, sin), v_ref[...]
    for out, new in ((k_out, own_k), (v_out, own_v)):
        place = out.at[jnp.minimum(position, length - 1), :]
        triton.store(place, new, mask=jnp.broadcast_to(inside & (split == 0), (h,)))

    # Rows beyond the group repeat its last one: a product has at least TILE of them.
    q = _turned(lambda c: q_ref.at[jnp.minimum(rows, group - 1)[:, None], c[None, :]], cos, sin)
    scale = math.log2(math.e) / math.sqrt(h)
    top = jnp.sum(q.astype(jnp.float32) * own_k.astype(jnp.float32)[None], axis=1) * scale
    total = jnp.where(split == 0, jnp.ones_like(top), 0.0)
    mixed = own_v.astype(jnp.float32)[None] * total[:, None]
    used = jnp.where(inside, position, 0)

    def step(i, carry):
        tokens, row = (
            pl.ds(i * block, block),
            jnp.where((i + 1) * block <= prefix[0], leader[0], slot),
        )
        valid = i * block + jnp.arange(block) < used
        if window:
            valid &= i * block + jnp.arange(block) > position - window
        keys = triton.load(k_in.at[row, tokens, :], mask=valid[:, None], other=0.0)
        values = triton.load(v_in.at[row, tokens, :], mask=valid[:, None], other=0.0)
        scores = jnp.dot(q, keys.T, preferred_element_type=jnp.float32) * scale
        return folded(carry, jnp.where(valid[None], scores, NEGATIVE), values)

    first = jnp.maximum(position + 1 - window, 0) // block if window else None
    begin, end = part_of(pl.cdiv(used, block), first, split, splits)
    carry = jax.lax.fori_loop(begin, end, step, (mixed, top, total))
    leave(carry, (mixed_ref, *sums), rows, columns, group)


def folded(carry, scores, values):
    """(mixed, top, total) of an online softmax in base 2 with further scores [rows, block]."""
    mixed, top, total = carry
    higher = jnp.maximum(top, jnp.max(scores, axis=1))
    weights, shrink = jnp.exp2(scores - higher[:, None]), jnp.exp2(top - higher)
    product = jnp.dot(weights.astype(values.dtype), values, preferred_element_type=jnp.float32)
    total = total * shrink + jnp.sum(weights, axis=1)
    return mixed * shrink[:, None] + product, higher, total


def leave(carry, outs, rows, columns, group):
    """Writes what `left_by` says of a part to `outs`; of the `rows` the first `group` count."""
    from jax.experimental.pallas import triton

    (mixed, top, total), (mixed_ref, *sums) = carry, outs
    mixed = mixed if sums else mixed / total[:, None]
    in_group = rows < group
    wide = jnp.broadcast_to(in_group[:, None], mixed.shape)
    where = mixed_ref.at[rows[:, None], columns[None, :]]
    triton.store(where, mixed.astype(mixed_ref.dtype), mask=wide)
    for out, x in zip(sums, (top, total), strict=False):
        triton.store(out.at[rows], x, mask=in_group)


def part_of(blocks, first, split, splits):
    """(begin, end) of the blocks that part `split` reads; those before `first` nobody does."""
    from jax.experimental.pallas import cdiv

    if first is None:
        size = cdiv(blocks, splits)
        return tuple(jnp.minimum(edge * size, blocks) for edge in (split, split + 1))
    first = jnp.minimum(first, blocks)
    size = cdiv(blocks - first, splits)
    return tuple(jnp.minimum(first + edge * size, blocks) for edge in (split, split + 1))


def _turned(at, cos, sin):
    """x·cos ∓ x′·sin for the x of at(columns), x′ being x with its halves exchanged."""
    from jax.experimental.pallas import triton

    h = cos.shape[0]
    columns = jnp.arange(h)
    # Read twice: tiles cannot be cut and joined.
    x, exchanged = (triton.load(at(c)) for c in (columns, jax.lax.rem(columns + h // 2, h)))
    sin = jnp.where(columns < h // 2, -sin, sin)
    turned = x.astype(jnp.float32) * cos + exchanged.astype(jnp.float32) * sin
    return turned.astype(x.dtype)
