"""Rows times the matrix of their group, rows of a group standing together: product and gradients.

On Hopper GPUs own kernels of Pallas (Triton's): one for the product, which is that of the rows'
gradient as well, and one for the matrices' gradient. Elsewhere XLA's `ragged_dot`. A tile has rows
of one group alone, so that groups may begin anywhere, and may be empty.
"""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.models.decoding.few_rows import Turned
from r1jax.models.kernels import hopper_kernels

SMALLEST = 64  # what both dimensions of a matrix have to divide by
COLUMNS_AT_ONCE = 16  # tiles side by side of which programs that run together have one


class Tile(NamedTuple):
    """What one program computes, rows x columns, `depth` numbers of each at a time."""

    rows: int
    columns: int
    depth: int
    warps: int
    stages: int  # reads under way at once


PRODUCT = {64: Tile(64, 256, 64, 4, 4), math.inf: Tile(128, 256, 64, 8, 4)}
"""Tiles by the rows that groups have on average, up to so many."""
OF_MATRICES = Tile(128, 256, 64, 8, 3)
"""The tile of the matrices' gradient: rows and columns of a matrix, depth along its group."""


def choose(mesh: Mesh | None, dtype: Any, shape: tuple[int, ...]) -> str:
    """The kernel for matrices of `shape`: triton on a mesh of Hopper GPUs, otherwise xla."""
    half = dtype in (jnp.bfloat16, jnp.float16)
    fits = not any(size % SMALLEST for size in shape[-2:])
    return "triton" if hopper_kernels(mesh) and half and fits else "xla"


def grouped_matmul(x: jax.Array, w: jax.Array | Turned, sizes: jax.Array, kernel: str) -> jax.Array:
    """x[rows, k] times w[groups, k, n], the first i32 sizes[0] rows with w[0], and so on.

    Returns [rows, n]; rows behind the last group's give 0. Sums are in f32. `kernel` is xla or
    triton, which takes k and n that divide by 64; it alone takes matrices that are turned, which
    decoding has, and these without a gradient.
    """
    if isinstance(w, Turned):
        assert kernel == "triton", kernel
        return product(x, w.matrix, sizes, turned=True)
    assert x.shape[1] == w.shape[1] and sizes.shape == w.shape[:1], (x.shape, w.shape, sizes.shape)
    if kernel == "xla":
        return jax.lax.ragged_dot(x, w, sizes)
    return _triton(x, w, sizes)


@jax.custom_vjp
def _triton(x: jax.Array, w: jax.Array, sizes: jax.Array) -> jax.Array:
    return product(x, w, sizes)


def _back(saved: tuple[jax.Array, ...], g: jax.Array) -> tuple[jax.Array, jax.Array, None]:
    x, w, sizes = saved
    return product(g, w, sizes, turned=True), of_matrices(x, g, sizes).astype(w.dtype), None


_triton.defvjp(lambda x, w, sizes: (_triton(x, w, sizes), (x, w, sizes)), _back)


def product(
    x: jax.Array,
    w: jax.Array,
    sizes: jax.Array,
    turned: bool = False,
    tile: Tile | None = None,
    interpret: bool = False,
) -> jax.Array:
    """The kernel of `grouped_matmul`; `turned`: x[rows, n] times wᵀ, which is read as it lies."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (rows, deep), groups, wide = x.shape, w.shape[0], w.shape[1 if turned else 2]
    if tile is None:
        tile = tile_for(rows, groups)
    tile = tile._replace(columns=_part(wide, tile.columns), depth=_part(deep, tile.depth))
    at, across = tiles_of(sizes, rows, tile.rows), wide // tile.columns
    tiles, together = at.group.shape[0], _part(across, COLUMNS_AT_ONCE)
    whole = [pl.BlockSpec(a.shape, lambda i, n=a.ndim: (0,) * n) for a in (*at, x, w)]
    return pl.pallas_call(
        functools.partial(_product, tile=tile, together=together, groups=groups, turned=turned),
        grid=(tiles * across,),
        in_specs=whole,
        out_specs=pl.BlockSpec((rows, wide), lambda i: (0, 0)),
        out_shape=_like(x, rows, wide),
        compiler_params=triton.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
        interpret=interpret,
        name="grouped_matmul",
    )(*at, x, w)


def of_matrices(
    x: jax.Array,
    g: jax.Array,
    sizes: jax.Array,
    tile: Tile = OF_MATRICES,
    interpret: bool = False,
) -> jax.Array:
    """xᵀ·g of each group's rows of x[rows, k] and g[rows, n]: [groups, k, n]; 0 of an empty one."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    (k, n), groups = (x.shape[1], g.shape[1]), sizes.shape[0]
    tile = tile._replace(rows=_part(k, tile.rows), columns=_part(n, tile.columns))
    ends = jnp.cumsum(sizes, dtype=jnp.int32)
    given = (ends - sizes.astype(jnp.int32), ends, x, g)
    return pl.pallas_call(
        functools.partial(_of_matrices, tile=tile),
        grid=(groups * (k // tile.rows) * (n // tile.columns),),
        in_specs=[pl.BlockSpec(a.shape, lambda i, n=a.ndim: (0,) * n) for a in given],
        out_specs=pl.BlockSpec((groups, k, n), lambda i: (0, 0, 0)),
        out_shape=_like(x, groups, k, n),
        compiler_params=triton.CompilerParams(num_warps=tile.warps, num_stages=tile.stages),
        interpret=interpret,
        name="grouped_matmul_of_matrices",
    )(*given)


def tile_for(rows: int, groups: int) -> Tile:
    """The tile of `PRODUCT` for so many rows."""
    return next(tile for most, tile in PRODUCT.items() if rows <= most * groups)


class Tiles(NamedTuple):
    """Tiles of rows, i32[tiles] each: of which group, from which row to which."""

    group: jax.Array
    begin: jax.Array
    end: jax.Array


def tiles_of(sizes: jax.Array, rows: int, size: int) -> Tiles:
    """Tiles of at most `size` rows that have all rows, those of no group in the group behind.

    There are as many tiles as any sizes may take; those that these do not take have no rows.
    """
    sizes = sizes.astype(jnp.int32)
    sizes = jnp.append(sizes, rows - jnp.sum(sizes))
    ends = jnp.cumsum(sizes, dtype=jnp.int32)
    used = -(-sizes // size)
    last = jnp.cumsum(used, dtype=jnp.int32)
    at = jnp.arange(-(-rows // size) + len(sizes) - 1, dtype=jnp.int32)
    group = jnp.sum(at[:, None] >= last[:-1], axis=1, dtype=jnp.int32)
    begin = (ends - sizes)[group] + (at - (last - used)[group]) * size
    return Tiles(group, begin, jnp.minimum(begin + size, ends[group]))


def _part(size: int, most: int) -> int:
    """The largest power of two that divides a size, and is no larger than `most`."""
    return min(size & -size, most)


def _like(x: jax.Array, *shape: int) -> jax.ShapeDtypeStruct:
    """A result of x's type, which varies over the devices that x varies over."""
    return jax.ShapeDtypeStruct(shape, x.dtype, manual_axis_type=jax.typeof(x).manual_axis_type)


def _product(at_group, at_begin, at_end, x_ref, w_ref, out_ref, *, tile, together, groups, turned):
    """One tile: programs that run together have few columns of many tiles, which share matrices."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    tiles, program = at_group.shape[0], pl.program_id(0)
    beside, rest = jax.lax.rem(program, together), jax.lax.div(program, together)
    at, column = jax.lax.rem(rest, tiles), jax.lax.div(rest, tiles) * together + beside
    group, begin, end = at_group[at], at_begin[at], at_end[at]
    columns, matrix = pl.ds(column * tile.columns, tile.columns), jnp.minimum(group, groups - 1)
    # Rows of other groups are multiplied too, and not written: to mask what is read costs more.
    rows = jnp.minimum(begin + jnp.arange(tile.rows), x_ref.shape[0] - 1)[:, None]

    def step(i, total):
        depth = i * tile.depth
        a = triton.load(x_ref.at[rows, depth + jnp.arange(tile.depth)[None]])
        depth = pl.ds(depth, tile.depth)
        if turned:
            b = triton.load(w_ref.at[matrix, columns, depth]).T
        else:
            b = triton.load(w_ref.at[matrix, depth, columns])
        return total + jnp.dot(a, b, preferred_element_type=jnp.float32)

    total = jnp.zeros((tile.rows, tile.columns), jnp.float32)
    some = ((group < groups) & (begin < end)).astype(jnp.int32)
    steps = some * (x_ref.shape[1] // tile.depth)
    total = jax.lax.fori_loop(0, steps, step, total)
    inside = begin + jnp.arange(tile.rows) < end
    triton.store(
        out_ref.at[pl.ds(begin, tile.rows), columns],
        total.astype(out_ref.dtype),
        mask=jnp.broadcast_to(inside[:, None], total.shape),
    )


def _of_matrices(begin_ref, end_ref, x_ref, g_ref, out_ref, *, tile):
    """A tile of a group's matrix: whole steps along its rows, then what is left of them."""
    from jax.experimental import pallas as pl
    from jax.experimental.pallas import triton

    down, across = out_ref.shape[1] // tile.rows, out_ref.shape[2] // tile.columns
    program = pl.program_id(0)
    group, place = jax.lax.div(program, down * across), jax.lax.rem(program, down * across)
    row, column = jax.lax.div(place, across), jax.lax.rem(place, across)
    of_x, of_g = pl.ds(row * tile.rows, tile.rows), pl.ds(column * tile.columns, tile.columns)
    begin, end = begin_ref[group], end_ref[group]
    whole = jax.lax.div(end - begin, tile.depth)

    def step(i, total, masked=False):
        begun = begin + i * tile.depth
        rows, inside = pl.ds(begun, tile.depth), (begun + jnp.arange(tile.depth) < end)[:, None]
        how = dict(mask=inside, other=0.0) if masked else {}
        a, b = triton.load(x_ref.at[rows, of_x], **how), triton.load(g_ref.at[rows, of_g], **how)
        return total + jnp.dot(a.T, b, preferred_element_type=jnp.float32)

    total = jnp.zeros((tile.rows, tile.columns), jnp.float32)
    total = jax.lax.fori_loop(0, whole, step, total)
    some = (begin + whole * tile.depth < end).astype(jnp.int32)
    rest = functools.partial(step, masked=True)
    total = jax.lax.fori_loop(whole, whole + some, rest, total)
    triton.store(out_ref.at[group, of_x, of_g], total.astype(out_ref.dtype))
