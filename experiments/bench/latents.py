"""Attention of a decode step to a cache of latents: the kernel's bytes per second."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from experiments.bench.ceilings import normal
from experiments.bench.clock import timed
from experiments.bench.grouped import compiled
from r1jax.models import latent
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.latent_attention import CHOSEN, Form, append_and_attend, attend

FORMS = (
    Form(32, 4, 3), Form(32, 4, 4), Form(64, 4, 2), Form(64, 4, 3), Form(32, 8, 3),
    Form(64, 8, 2), Form(64, 8, 3), Form(16, 4, 4), Form(128, 8, 1),
)  # fmt: skip
SPLITS = (0, 1, 2, 4, 8)
STEPS = 16  # of one call, which writes the cache where it lies


def measured(
    c: ModelConfig, slots: int, length: int, copy: float, interpret: bool = False
) -> list[dict[str, Any]]:
    """A row for XLA and for each form of the kernel: ms, TB/s of full caches, share of `copy`.

    Errors are the largest difference from f32 over the largest number, of caches of all lengths.
    With `interpret`, one form, for what it gives.
    """
    heads, rank, width = c.n_heads, c.latent.kv_rank, c.latent.kv_rank + c.head_dim
    shapes = ((slots, heads, width), (slots, width), (slots, length, width))
    q, new, cache = (normal(i, shape, jnp.bfloat16) for i, shape in enumerate(shapes))
    full = jnp.full(slots, length - 1, jnp.int32)
    lengths = jnp.linspace(0, length - 1, slots).astype(jnp.int32)
    how = dict(rank=rank, scale=latent.scale(c))
    with jax.default_matmul_precision("highest"):
        wide = (x.astype(jnp.float32) for x in (q, new, cache))
        wanted = jax.jit(functools.partial(append_and_attend, kernel="xla", **how))(*wide, lengths)
    programs = compiled(
        (
            (key, functools.partial(_steps, functools.partial(run, **how)), (q, new, cache, full))
            for key, run in _ways(length, interpret).items()
        ),
        donate=(2,),
    )
    found = []
    for key, run in programs.items():
        found.append({"case": f"{slots} x {length}", "block x warps x stages x splits": key})
        if isinstance(run, str):
            found[-1]["fails"] = run
            continue
        out, cache = run(q, new, cache, lengths)
        seconds, cache = _seconds(run, q, new, cache, full)
        found[-1] |= {
            "ms": 1e3 * seconds,
            "TB/s": slots * length * width * 2 / seconds / 1e12,
            "of copy %": 100 * slots * length * width * 2 / seconds / copy,
            "error": float(jnp.max(jnp.abs(out - wanted[0])) / jnp.max(jnp.abs(wanted[0]))),
        }
    return found


def _ways(length: int, interpret: bool) -> dict[str, Callable[..., Any]]:
    """XLA's form and the kernel's, by what a row calls them."""
    ways: dict[str, Callable[..., Any]] = {
        "xla": functools.partial(append_and_attend, kernel="xla")
    }
    splits = [n for n in SPLITS if n <= max(length // 256, 1)]
    all_forms = [form._replace(splits=n) for form in FORMS for n in splits]
    for form in all_forms[:1] if interpret else all_forms:
        name = "x".join(map(str, form)) + (" (chosen)" if form == CHOSEN else "")
        ways[name] = functools.partial(_kernel, form, interpret)
    return ways


def _kernel(
    form: Form, interpret: bool, q: jax.Array, new: jax.Array, cache: jax.Array,
    positions: jax.Array, rank: int, scale: float,
) -> tuple[jax.Array, jax.Array]:  # fmt: skip
    alone = jnp.zeros_like(positions)
    return attend(q, new, cache, positions, alone, alone, rank, scale, form, interpret)


def _steps(
    run: Callable[..., Any], q: jax.Array, new: jax.Array, cache: jax.Array, positions: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The same step again and again, so that the cache is written where it lies."""
    first = run(q, new, cache, positions)
    body = lambda _, carry: run(q, new, carry[1], positions)  # noqa: E731
    return jax.lax.fori_loop(1, STEPS, body, first)


def _seconds(
    run: Callable[..., Any], q: jax.Array, new: jax.Array, cache: jax.Array, positions: jax.Array
) -> tuple[float, jax.Array]:
    """Seconds of one step, the best of five calls, and the cache, which each call takes over."""
    held = [cache]

    def call() -> jax.Array:
        out, held[0] = run(q, new, held[0], positions)
        return out

    return min(timed(call, repeats=5)) / STEPS, held[0]
