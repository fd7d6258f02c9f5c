"""Attention of each slot's new token to a cache of latents, key and value of all heads at once."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import by_device
from r1jax.models.attention import NEGATIVE
from r1jax.models.decoding.cache_attention import Prefix
from r1jax.models.decoding.cache_kernel import (
    TILE,
    folded,
    leaders_of,
    leave,
    left_by,
    part_of,
    whole_of,
)
from r1jax.models.kernels import hopper_kernels

HEADS = ("slots", "heads", None)
NEW = ("slots", None)
CACHE = ("slots", None, None)
HEADS_AT_ONCE = 64  # of one program: more would not find room for what they have mixed


class Form(NamedTuple):
    """How the kernel goes about it."""

    block: int = 32  # tokens that are read at once
    warps: int = 4
    stages: int = 3  # reads under way at once
    splits: int = 0  # programs that share a slot's cache; 0: as many as fill the chip


CHOSEN = Form()


def append_and_attend(
    q: jax.Array,
    new: jax.Array,
    cache: jax.Array,
    positions: jax.Array,
    rank: int,
    scale: float,
    prefix: Prefix | None = None,
    mesh: Mesh | None = None,
    kernel: str = "auto",
) -> tuple[jax.Array, jax.Array]:
    """Σ softmax(scale·q·latent)·latent[:rank] over cache[0..position], the new token in it.

    q[S, heads, w] absorbed; new[S, w]; cache[S, L, w]; positions i32[S]. Returns ([S, heads, rank],
    the cache). `kernel` is auto, xla or triton; auto takes Triton's on a mesh of Hopper GPUs in
    bf16 or fp16: it reads what is used of each slot's cache, once for all heads, and of `prefix`
    one copy for all slots that have it on a device.
    """
    assert q.shape[2] == new.shape[1] == cache.shape[2] > rank, (q.shape, new.shape, cache.shape)
    if kernel == "auto":
        half = q.dtype in (jnp.bfloat16, jnp.float16)
        fits = all(_power_of_2(size) and size >= TILE for size in (rank, q.shape[2] - rank))
        kernel = "triton" if hopper_kernels(mesh) and half and fits else "xla"
    if kernel == "xla":
        return _xla(q, new, cache, positions, rank, scale)
    prefix = prefix or Prefix(jnp.zeros_like(positions), jnp.zeros_like(positions))
    run = functools.partial(_triton, rank=rank, scale=scale)
    axes = (HEADS, NEW, CACHE, *[("slots",)] * 3)
    return by_device(run, mesh, axes, (HEADS, CACHE))(q, new, cache, positions, *prefix)


def _power_of_2(size: int) -> bool:
    return size & (size - 1) == 0


def _xla(
    q: jax.Array, new: jax.Array, cache: jax.Array, positions: jax.Array, rank: int, scale: float
) -> tuple[jax.Array, jax.Array]:
    held = cache.at[jnp.arange(positions.shape[0]), positions].set(new)
    scores = jnp.einsum("shr,slr->shl", q, held, preferred_element_type=jnp.float32)
    visible = jnp.arange(held.shape[1])[None] <= positions[:, None]
    scores = jnp.where(visible[:, None], scores * scale, NEGATIVE)
    weights = jax.nn.softmax(scores, axis=-1).astype(held.dtype)
    return jnp.einsum("shl,slr->shr", weights, held[..., :rank]), held


def splits_of(programs: int, length: int) -> int:
    """How many programs share the cache of a slot: enough to fill the chip; a power of two.

    `programs` are there without. Each has 512 tokens of a full cache at least.
    """
    enough = max(min(2 * 132 // programs, length // 512, 16), 1)
    return 1 << enough.bit_length() - 1


def attend(
    q: jax.Array,
    new: jax.Array,
    cache: jax.Array,
    positions: jax.Array,
    leader: jax.Array,
    prefix: jax.Array,
    rank: int,
    scale: float,
    form: Form = CHOSEN,
    interpret: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """The kernel of `append_and_attend`, the cache written in place.

    One program has one slot, up to `HEADS_AT_ONCE` heads and its part of the cache; parts come back
    as sums that are joined here. A leader, i32[S] counted from the slot itself, that lies on
    another device is not read.
    """
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (s, heads, width), length = q.shape, cache.shape[1]
    group = math.gcd(heads, HEADS_AT_ONCE) if heads > HEADS_AT_ONCE else heads
    leader = leaders_of(leader)
    whole = pl.BlockSpec(cache.shape, lambda i, j, _: (0, 0, 0))
    number = pl.BlockSpec((1,), lambda i, j, _: (i,))
    splits = form.splits or splits_of(s * heads // group, length)
    mixed = jax.ShapeDtypeStruct((s, heads // group, group, rank), q.dtype)
    left, shapes = left_by(mixed, splits)
    cache, *parts = pl.pallas_call(
        functools.partial(
            _program, block=form.block, splits=splits, rank=rank, scale=scale * math.log2(math.e)
        ),
        grid=(s, heads // group, splits),
        in_specs=[
            pl.BlockSpec((None, group, width), lambda i, j, _: (i, j, 0)),
            pl.BlockSpec((None, width), lambda i, j, _: (i, 0)),
            whole, number, number, number,
        ],
        out_specs=[pl.BlockSpec((None, length, width), lambda i, j, _: (i, 0, 0)), *left],
        out_shape=[jax.ShapeDtypeStruct(cache.shape, cache.dtype), *shapes],
        input_output_aliases={2: 0},
        compiler_params=triton.CompilerParams(num_warps=form.warps, num_stages=form.stages),
        interpret=interpret,
        name="latent_attention",
    )(q, new, cache, positions, leader, prefix)  # fmt: skip
    out = parts[0][0] if splits == 1 else whole_of(*parts).astype(q.dtype)
    return out.reshape(s, heads, rank), cache


_triton = attend


def _program(
    q_ref, new_ref, cache_in, at, leader, prefix, cache_out, mixed_ref, *sums,
    block, splits, rank, scale,
):  # fmt: skip
    """Online softmax in base 2, begun with the new token, then over a part of the cache."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (length, width), group = cache_out.shape, q_ref.shape[0]
    position, rows = at[0], jnp.arange(max(TILE, pl.next_power_of_2(group)))
    slot, split = pl.program_id(0), pl.program_id(2)
    inside, cuts = position < length, (pl.ds(0, rank), pl.ds(rank, width - rank))
    # A latent is a key in two pieces, since tiles are powers of two; the first is the value.
    own = [triton.load(new_ref.at[cut]) for cut in cuts]
    for cut, piece in zip(cuts, own, strict=True):
        written = jnp.broadcast_to(inside & (split == 0) & (pl.program_id(1) == 0), piece.shape)
        triton.store(cache_out.at[jnp.minimum(position, length - 1), cut], piece, mask=written)
    # Rows beyond the group repeat its last one: a product has at least TILE of them.
    of_rows = jnp.minimum(rows, group - 1)[:, None]
    q = [triton.load(q_ref.at[of_rows, (cut.start + jnp.arange(cut.size))[None]]) for cut in cuts]
    top = scale * sum(
        jnp.sum(a.astype(jnp.float32) * b.astype(jnp.float32)[None], axis=1)
        for a, b in zip(q, own, strict=True)
    )
    total = jnp.where(split == 0, jnp.ones_like(top), 0.0)
    mixed = own[0].astype(jnp.float32)[None] * total[:, None]
    used = jnp.where(inside, position, 0)

    def step(i, carry):
        row = jnp.where((i + 1) * block <= prefix[0], leader[0], slot)
        tokens, valid = pl.ds(i * block, block), i * block + jnp.arange(block) < used
        latent, rotated = (
            triton.load(cache_in.at[row, tokens, cut], mask=valid[:, None], other=0.0)
            for cut in cuts
        )
        scores = jnp.dot(q[0], latent.T, preferred_element_type=jnp.float32)
        scores += jnp.dot(q[1], rotated.T, preferred_element_type=jnp.float32)
        return folded(carry, jnp.where(valid[None], scores * scale, NEGATIVE), latent)

    begin, end = part_of(pl.cdiv(used, block), None, split, splits)
    carry = jax.lax.fori_loop(begin, end, step, (mixed, top, total))
    leave(carry, (mixed_ref, *sums), rows, jnp.arange(rank), group)
