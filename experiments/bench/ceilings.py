"""What the device at hand can do at most: its rate of matrix products and of moving memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.clock import timed


@dataclass(frozen=True)
class Ceilings:
    """The two rates of one device that bound its work."""

    flops_per_s: float
    bytes_per_s: float


def measured_ceilings(dtype: Any) -> Ceilings:
    """Measures both on the first device: one large matrix product, one large copy.

    Numbers are random, because chips clock higher on zeros. The copy is of 2 GiB in float32, and
    counts the bytes it reads and those it writes. Under a second of work; on a CPU, small arrays.
    """
    on_cpu = jax.default_backend() == "cpu"
    n, size = (1024, 1 << 23) if on_cpu else (8192, 1 << 29)
    a, b = (normal(i, (n, n), dtype) for i in range(2))
    product = best_seconds(jax.jit(jnp.matmul), a, b)
    x = normal(2, (size,), jnp.float32)
    # A bare copy is dropped by XLA; a sum with one number costs no more than the copy.
    copy = best_seconds(jax.jit(lambda x: x + 1), x)
    return Ceilings(2 * n**3 / product, 2 * x.nbytes / copy)


def normal(seed: int, shape: tuple[int, ...], dtype: Any) -> jax.Array:
    """Random numbers, drawn on the device."""
    return jax.jit(lambda: jax.random.normal(jax.random.key(seed), shape, dtype))()


def best_seconds(f: Callable[..., Any], *arrays: jax.Array, calls: int = 8) -> float:
    """Seconds of one call, the best of five rounds; calls are queued, so that none waits."""

    def run() -> Any:
        for _ in range(calls):
            last = f(*arrays)
        return last

    return min(timed(run, repeats=5)) / calls
