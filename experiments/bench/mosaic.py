"""JAX's own examples of grouped products for Hopper (Pallas on Mosaic), for comparison."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax

FORMS = ((128, 128, 4), (128, 256, 3), (128, 256, 4), (64, 256, 4))
"""Rows, columns and steps under way."""


def ways(of_matrices: bool, turned: bool) -> dict[str, Callable[..., Any]]:
    """f(a, b, sizes) of each form, by the name of its row, as `experiments.bench.grouped` calls."""
    from jax.experimental.pallas.ops.gpu.ragged_dot_mgpu import ragged_dot
    from jax.experimental.pallas.ops.gpu.transposed_ragged_dot_mgpu import transposed_ragged_dot

    kernel = transposed_ragged_dot if of_matrices else functools.partial(
        ragged_dot, transpose_rhs=turned
    )  # fmt: skip

    def run(form: tuple[int, int, int], a: jax.Array, b: jax.Array, sizes: jax.Array) -> jax.Array:
        rows, columns, steps = form
        return kernel(
            a, b, group_sizes=sizes, block_m=rows, block_n=columns, block_k=64,
            max_concurrent_steps=steps, grid_block_n=1,
        )  # fmt: skip

    return {f"mosaic {'x'.join(map(str, form))}": functools.partial(run, form) for form in FORMS}
