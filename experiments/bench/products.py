"""Log-probability and entropy beside the four matrix products that they cannot do without."""

from __future__ import annotations

from statistics import median
from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.clock import timed
from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.models.logp import cut_time, joined_time, token_stats
from r1jax.types import Params, Stats


def stats_and_gradients(
    params: Params, hidden: jax.Array, targets: jax.Array, of_stats: Stats, chunk: int
) -> tuple[Stats, Params, jax.Array]:
    """log p and entropy of hidden[B, T, d] under the head in `params`, and the gradients of both
    inputs, from those of the statistics f32[B, T]."""
    stats, back = jax.vjp(
        lambda p, h: token_stats(h, targets, decoder.head(p), 1.0, chunk), params, hidden
    )
    return stats, *back(of_stats)


def bare_products(
    params: Params, hidden: jax.Array, chunk: int
) -> tuple[jax.Array, Params, jax.Array]:
    """The products of `stats_and_gradients` alone, chunk by chunk: z = h·W, then again z, z·Wᵀ and
    hᵀ·z; z stands for its own gradient.

    Operands and results are in the type of `hidden`; the head's gradient is summed in f32. Returns
    the first column of z [B, T] and both gradients. Barriers keep z whole.
    """
    head, back = jax.vjp(decoder.head, params)
    pieces = cut_time(hidden, chunk)

    def forward(_: None, h: jax.Array) -> tuple[None, jax.Array]:
        return None, jax.lax.optimization_barrier(h @ head)[..., 0]

    def backward(total: jax.Array, h: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = jax.lax.optimization_barrier(h @ head)
        total += jnp.einsum("bcd,bcv->dv", h, z, preferred_element_type=jnp.float32)
        return total, jnp.einsum("bcv,dv->bcd", z, head)

    t = hidden.shape[1]
    _, first = jax.lax.scan(forward, None, pieces)
    total, of_hidden = jax.lax.scan(backward, jnp.zeros(head.shape, jnp.float32), pieces)
    of_hidden = of_hidden.swapaxes(0, 1).reshape(hidden.shape[0], -1, hidden.shape[2])[:, :t]
    return joined_time(first, t), *back(total.astype(head.dtype)), of_hidden


def compared(
    c: ModelConfig, rows: int, width: int, chunk: int, dtype: Any, repeats: int, seed: int = 0
) -> dict[str, Any]:
    """A row of a table: milliseconds of both on one device, temporaries beside the head's size."""
    keys = jax.random.split(jax.random.key(seed), 5)
    shape = (c.vocab_size, c.d_model) if c.tied else (c.d_model, c.vocab_size)
    head = c.init_std * jax.random.normal(keys[0], shape)
    params = {"embed" if c.tied else "head": head.astype(dtype)}
    hidden = jax.random.normal(keys[1], (rows, width, c.d_model)).astype(dtype)
    targets = jax.random.randint(keys[2], (rows, width), 0, c.vocab_size)
    of_stats = Stats(*(jax.random.normal(key, (rows, width)) for key in keys[3:]))
    arguments = {
        stats_and_gradients: (params, hidden, targets, of_stats),
        bare_products: (params, hidden),
    }
    ms, bytes_between = [], []
    for run, arrays in arguments.items():
        program = jax.jit(run, static_argnames="chunk").lower(*arrays, chunk=chunk).compile()
        ms.append(1e3 * median(timed(lambda p=program, a=arrays: p(*a), repeats)))
        bytes_between.append(int(program.memory_analysis().temp_size_in_bytes))
    flops = 4 * 2 * rows * width * c.d_model * c.vocab_size
    return {
        "case": f"{rows}x{width}",
        "chunk": chunk,
        "logp + entropy ms": ms[0],
        "products ms": ms[1],
        "ratio": ms[0] / ms[1],
        "products TFLOP/s": flops / ms[1] / 1e9,
        "temporaries MiB": bytes_between[0] / 2**20,
        "head MiB": hidden.dtype.itemsize * c.d_model * c.vocab_size / 2**20,
        "its gradient MiB (f32)": 4 * c.d_model * c.vocab_size / 2**20,
    }
