"""Products of rows with the matrix of the group they belong to, and moving rows into groups.

Of rows[N, d] and a matrix for each group the cost is that of N rows, not of N times the groups: the
rows of a group stand together, in blocks of one size that are multiplied side by side. Few rows
make one block of each group, and every matrix is read once, where it lies.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from r1jax.models.grouped_matmul import grouped_matmul
from r1jax.models.layers import swiglu

Weights = tuple[jax.Array, jax.Array, jax.Array]
"""Matrices [groups, d, w], [groups, d, w] and [groups, w, d]: gate, up and down."""
MOST = 1024  # rows of a block: many enough for the rate of a large product
FEW = 512  # rows that a group may have at most: up to so many it is one block


@jax.custom_vjp
def moved(x: jax.Array, source: jax.Array, places: jax.Array) -> jax.Array:
    """Rows out[j] = x[source[j]] of x[N, d], 0 where i32[M] `source` is below 0.

    `places` i32[N, k] are the inverse: where each row of x has gone, below 0: nowhere. With them
    the gradient is gathered as well, which is faster than scattered.
    """
    return _taken(x, source)


def _taken(x: jax.Array, source: jax.Array) -> jax.Array:
    there = source >= 0
    return jnp.where(there[:, None], x[jnp.where(there, source, 0)], 0)


def _back(places: jax.Array, g: jax.Array) -> tuple[jax.Array, None, None]:
    parts = _taken(g, places.reshape(-1)).reshape(*places.shape, -1)
    return jnp.sum(parts, axis=1, dtype=jnp.float32).astype(g.dtype), None, None


moved.defvjp(lambda x, source, places: (_taken(x, source), places), _back)


class Groups(NamedTuple):
    """Rows that came in runs, each sorted by group, brought together: groups in whole blocks."""

    source: jax.Array  # i32[blocks · size], the row that stands there; below 0: none
    place: jax.Array  # i32[N], where a row stands; below 0: it belongs to no group
    of_block: jax.Array | None  # i32[blocks], its group; None: each has one
    sizes: jax.Array  # i32[groups]


def block_size(rows: int, groups: int, most: int) -> int:
    """Rows of a block: the `most` that a group may have, if these are few.

    Otherwise a power of two of which a group has four or so, when all rows are in use.
    """
    if most <= FEW:
        return most
    mean = max(rows // (4 * groups), 8)
    return min(1 << (mean.bit_length() - 1), MOST)


def gathered(begins: jax.Array, ends: jax.Array, rows: int, size: int, most: int) -> Groups:
    """Groups of `rows` rows; run s begins at i32[runs] `begins`.

    i32[runs, groups] `ends` say where in a run each group's rows end; a group has at `most` so
    many. Nothing is sorted or scattered: places follow from counts.
    """
    groups = ends.shape[1]
    starts = jnp.pad(ends[:, :-1], ((0, 0), (1, 0)))
    counts = ends - starts
    before = jnp.cumsum(counts, axis=0) - counts  # rows of a group in earlier runs
    sizes = jnp.sum(counts, axis=0)
    own_block = size >= most
    used = jnp.ones_like(sizes) if own_block else -(-sizes // size)
    last = jnp.cumsum(used)  # the block after a group's last
    first = (last - used) * size  # the place where a group begins
    # Where each row goes: its run, its group, its rank among the group's rows.
    at = jnp.arange(rows)
    run = jnp.sum(at[:, None] >= begins[None, 1:], axis=1)
    within = at - begins[run]
    group = jnp.sum(within[:, None] >= ends[run], axis=1)
    inside = (group < groups) & (within >= 0)
    group = jnp.minimum(group, groups - 1)
    place = first[group] + before[run, group] + within - starts[run, group]
    # Which row each place gets.
    blocks = groups if own_block else -(-rows // size) + (groups if size > 1 else 0)
    of_block = jnp.minimum(jnp.sum(jnp.arange(blocks)[:, None] >= last, axis=1), groups - 1)
    group = jnp.repeat(of_block, size, total_repeat_length=blocks * size)
    rank = jnp.arange(blocks * size) - first[group]
    run = jnp.sum(rank[:, None] >= (before + counts).T[group], axis=1)
    full = rank < sizes[group]
    run = jnp.minimum(run, ends.shape[0] - 1)
    source = begins[run] + starts[run, group] + rank - before[run, group]
    source, place = jnp.where(full, source, -1), jnp.where(inside, place, -1)
    return Groups(source, place, None if own_block else of_block, sizes)


def swiglu_of(groups: Groups, x: jax.Array, weights: Weights, kernel: str = "xla") -> jax.Array:
    """Each row of x[N, d] through its group's matrices, where groups are brought together."""
    stand = moved(x, groups.source, groups.place[:, None])
    y = _swiglu(functools.partial(_product, groups, kernel), stand, weights)
    return moved(y, groups.place, groups.source[:, None])


def swiglu_of_sorted(sizes: jax.Array, x: jax.Array, weights: Weights, kernel: str) -> jax.Array:
    """The same of rows x[N, d] that stand together, as many as i32[groups] `sizes` say."""
    return _swiglu(lambda x, w: grouped_matmul(x, w, sizes, kernel), x, weights)


def _swiglu(product: Callable[..., jax.Array], x: jax.Array, weights: Weights) -> jax.Array:
    gate, up, down = weights
    return product(swiglu(product(x, gate), product(x, up)), down)


def _product(groups: Groups, kernel: str, x: jax.Array, w: jax.Array) -> jax.Array:
    """x[blocks · size, k] times the matrix [k, n] of each row's group."""
    if groups.of_block is None:
        apart = x.reshape(w.shape[0], -1, x.shape[1])
        return jnp.einsum("gsk,gkn->gsn", apart, w).reshape(x.shape[0], -1)
    blocks = groups.of_block.shape[0]
    if blocks == x.shape[0]:
        return grouped_matmul(x, w, groups.sizes, kernel)
    return _of_blocks(x.reshape(blocks, -1, x.shape[1]), w, groups.of_block).reshape(x.shape[0], -1)


@jax.custom_vjp
def _of_blocks(x: jax.Array, w: jax.Array, of_block: jax.Array) -> jax.Array:
    """x[blocks, size, k] times w[of_block]; the gradient of w is summed in f32."""
    return jnp.einsum("bsk,bkn->bsn", x, w[of_block])


def _of_blocks_back(saved: tuple[jax.Array, ...], g: jax.Array) -> tuple[jax.Array, ...]:
    x, w, of_block = saved
    each = jnp.einsum("bsk,bsn->bkn", x, g, preferred_element_type=jnp.float32)
    dw = jax.ops.segment_sum(each, of_block, w.shape[0], indices_are_sorted=True)
    return jnp.einsum("bsn,bkn->bsk", g, w[of_block]), dw.astype(w.dtype), None


_of_blocks.defvjp(lambda x, w, of: (_of_blocks(x, w, of), (x, w, of)), _of_blocks_back)
