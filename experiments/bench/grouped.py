"""Grouped products: the kernels' rate for each choice of tiles, beside a dense product's, and their
errors."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.bench import mosaic
from experiments.bench.ceilings import best_seconds, normal
from r1jax.models import grouped_matmul
from r1jax.models.config import ModelConfig
from r1jax.models.grouped_matmul import Tile

PRODUCT_TILES = (
    Tile(128, 256, 64, 8, 3), Tile(128, 256, 64, 8, 4), Tile(128, 256, 32, 8, 4),
    Tile(256, 128, 64, 8, 3), Tile(256, 128, 64, 8, 4), Tile(128, 128, 64, 8, 4),
    Tile(128, 128, 64, 4, 4), Tile(128, 128, 128, 8, 3), Tile(64, 256, 64, 4, 4),
    Tile(64, 128, 64, 4, 4), Tile(32, 256, 64, 4, 4),
)  # fmt: skip
MATRIX_TILES = (
    Tile(128, 256, 32, 8, 3), Tile(128, 256, 32, 8, 4), Tile(128, 256, 64, 8, 3),
    Tile(128, 256, 64, 8, 4), Tile(256, 128, 32, 8, 4), Tile(256, 128, 64, 8, 3),
    Tile(256, 128, 64, 8, 4), Tile(128, 128, 64, 8, 3), Tile(128, 128, 64, 4, 4),
)  # fmt: skip


@dataclass(frozen=True)
class Product:
    """One of the products of a mixture's update: of rows, or of matrices."""

    name: str
    of_matrices: bool
    turned: bool
    deep: int  # numbers in a row of the first operand
    wide: int  # in a row of the result, or of the second operand
    tiles: tuple[Tile, ...]

    @property
    def run(self) -> Callable[..., jax.Array]:
        """The kernel, to be called with its two operands and the sizes."""
        if self.of_matrices:
            return grouped_matmul.of_matrices
        return functools.partial(grouped_matmul.product, turned=self.turned)

    def chosen(self, rows: int, groups: int) -> Tile:
        """What a model takes for so many rows."""
        if self.of_matrices:
            return grouped_matmul.OF_MATRICES
        return grouped_matmul.tile_for(rows, groups)


def products(c: ModelConfig) -> list[Product]:
    """Forward, rows' gradient and matrices' gradient, of the matrices up and down."""
    d, w = c.d_model, c.experts.width
    return [
        Product("up", False, False, d, w, PRODUCT_TILES),
        Product("down", False, False, w, d, PRODUCT_TILES),
        Product("up dX", False, True, w, d, PRODUCT_TILES),
        Product("down dX", False, True, d, w, PRODUCT_TILES),
        Product("up dW", True, False, d, w, MATRIX_TILES),
        Product("down dW", True, False, w, d, MATRIX_TILES),
    ]


def skewed(groups: int, rows: int, seed: int) -> np.ndarray:
    """Sizes i32[groups] as of a router that is far from even: one empty, one of a single row."""
    rng = np.random.default_rng(seed)
    shares = rng.lognormal(0.0, 0.5, groups)
    shares[:2] = 0.0, 1e-9
    sizes = np.floor(shares / shares.sum() * rows).astype(np.int32)
    sizes[1] = 1
    sizes[-1] += rows - sizes.sum()
    return sizes


def operands(p: Product, c: ModelConfig, rows: int) -> tuple[jax.Array, jax.Array]:
    """Rows and matrices, or rows and rows."""
    groups = c.experts.count
    shape = (groups, p.wide, p.deep) if p.turned else (groups, p.deep, p.wide)
    second = (rows, p.wide) if p.of_matrices else shape
    return normal(0, (rows, p.deep), jnp.bfloat16), normal(1, second, jnp.bfloat16)


def compiled(
    programs: Iterable[tuple[Any, Callable[..., Any], tuple[Any, ...]]],
    donate: tuple[int, ...] = (),
) -> dict[Any, Callable[..., Any] | str]:
    """Programs by their keys, compiled side by side; in place of one that is not: the reason."""

    def one(f: Callable[..., Any], arrays: tuple[Any, ...]) -> Callable[..., Any] | str:
        try:
            return jax.jit(f, donate_argnums=donate).lower(*arrays).compile()
        except Exception as error:  # such as no room on the chip: it has a row of its own
            return f"{type(error).__name__}: {error}".split("\n", 1)[0][:120]

    with ThreadPoolExecutor(12) as pool:
        waiting = {key: pool.submit(one, f, arrays) for key, f, arrays in programs}
        return {key: future.result() for key, future in waiting.items()}


def measured(
    p: Product, c: ModelConfig, tokens: int, seed: int, interpret: bool = False
) -> list[dict[str, Any]]:
    """A row for each tile of a product: ms, TFLOP/s, share of the dense rate, relative error.

    The dense product has the same rows, all of them with one matrix. Errors are the largest
    difference from f32 over the largest number. With `interpret`, one tile, for what it gives.
    """
    rows, groups = tokens * c.experts.chosen, c.experts.count
    sizes = jnp.asarray(skewed(groups, rows, seed))
    a, b = operands(p, c, rows)
    programs = compiled((name, run, (a, b, sizes)) for name, run in _ways(p, interpret).items())
    dense = best_seconds(jax.jit(jnp.matmul), *_dense(p, a, b))
    flops = 2 * rows * p.deep * p.wide
    found = []
    for name, run in programs.items():
        chosen = name == named(p.chosen(rows, groups))
        found.append({"product": p.name, "tile": name, "chosen": chosen})
        if isinstance(run, str):
            found[-1]["fails"] = run
            continue
        seconds = best_seconds(run, a, b, sizes)
        found[-1] |= {
            "ms": 1e3 * seconds,
            "TFLOP/s": flops / seconds / 1e12,
            "dense TFLOP/s": flops / dense / 1e12,
            "of dense %": 100 * dense / seconds,
            "error": float(error(p, run(a, b, sizes), a, b, sizes)),
        }
    return found


def named(tile: Tile) -> str:
    """As a row says it."""
    return "x".join(map(str, tile))


def _ways(p: Product, interpret: bool) -> dict[str, Callable[..., Any]]:
    """The kernel with each tile and, on a GPU, what JAX has for the same."""
    tiles = p.tiles[:1] if interpret else p.tiles
    own = {named(tile): functools.partial(p.run, tile=tile, interpret=interpret) for tile in tiles}
    return own if interpret else own | mosaic.ways(p.of_matrices, p.turned)


def _dense(p: Product, a: jax.Array, b: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Operands of one product of as many numbers, each as it lies."""
    if p.of_matrices:
        return a.T, b
    return a, b[2].T if p.turned else b[2]


@functools.partial(jax.jit, static_argnums=0)
def error(p: Product, got: jax.Array, a: jax.Array, b: jax.Array, sizes: jax.Array) -> jax.Array:
    """The largest difference of a result from the sums in f32, over their largest number."""
    ends = jnp.cumsum(sizes)
    place, highest = jnp.arange(a.shape[0])[:, None], jax.lax.Precision.HIGHEST

    def of_group(i: jax.Array) -> tuple[jax.Array, jax.Array]:
        own = (place >= ends[i] - sizes[i]) & (place < ends[i])
        x = jnp.where(own, a, 0).astype(jnp.float32)
        second = (b if p.of_matrices else b[i].T if p.turned else b[i]).astype(jnp.float32)
        wanted = jnp.matmul(x.T if p.of_matrices else x, second, precision=highest)
        found = got[i] if p.of_matrices else jnp.where(own, got, 0)
        return jnp.max(jnp.abs(found - wanted)), jnp.max(jnp.abs(wanted))

    differences, largest = jax.lax.map(of_group, jnp.arange(sizes.shape[0]))
    return jnp.max(differences) / jnp.max(largest)


def best(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The fastest tile of each product that computes what it should, and the chosen one's share."""
    good = [row for row in rows if row.get("error", 1.0) < 0.02]
    found = []
    for name in dict.fromkeys(row["product"] for row in good):
        own = [row for row in good if row["product"] == name]
        first = min(own, key=lambda row: row["ms"])
        chosen = [row["of dense %"] for row in own if row["chosen"]]
        found.append(
            {key: first[key] for key in ("product", "tile", "TFLOP/s", "of dense %")}
            | {"chosen tile, of dense %": chosen[0] if chosen else None}
        )
    if found:
        shares = {key: [row[key] for row in found if row[key] is not None] for key in
                  ("of dense %", "chosen tile, of dense %")}  # fmt: skip
        found.append({"product": "mean"} | {k: float(np.mean(v)) for k, v in shares.items() if v})
    return found
