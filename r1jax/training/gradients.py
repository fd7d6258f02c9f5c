"""Gradients of an update, micro-batch by micro-batch: what is compiled before the optimizer."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.models import table
from r1jax.training.batches import ComputeConfig, Share, asked_of
from r1jax.training.metrics import combine, neutral
from r1jax.types import Batch, Metrics, Params


@struct.dataclass
class Accumulator:
    """What micro-batches have added up to so far."""

    grads: Params  # in the shapes of what is trained
    share: jax.Array  # f32[], of the update's loss
    metrics: Metrics  # unfinished: sums with their counts, maxima, histograms
    scale: jax.Array | None = None  # f32[], of the loss whose gradients `grads` are; None: 1


class Sums(NamedTuple):
    """The jitted pieces of an update that know no optimizer."""

    start: Callable[..., Accumulator]  # (scale=None)
    accumulate: Callable[..., Accumulator]  # (params, so_far, batch, base=None)
    columns: Callable[[], tuple[str, ...]]  # `COLUMNS` and what else the loss reads of a batch


def sums_of(
    share: Share,
    rows: table.Rows,
    mesh: Mesh,
    compute: ComputeConfig,
    frozen: Params | None,
    routes: jax.ShapeDtypeStruct | None,
    scaled: bool,
) -> Sums:
    """Functions for any share of a loss, as `r1jax.training.update.functions_of` says.

    `scaled` where gradients are those of a multiple of the loss, which `start` is given.
    """

    def accumulate(
        params: Params, so_far: Accumulator, batch: Batch, base: Params | None = None
    ) -> Accumulator:
        def times(params: Params) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
            value, metrics = share(params, base, batch)
            return value if so_far.scale is None else value * so_far.scale, (value, metrics)

        # Added, not averaged: a share is divided by totals of the whole update already.
        (_, (value, metrics)), grads = jax.value_and_grad(times, has_aux=True)(params)
        return Accumulator(
            grads=jax.tree.map(jnp.add, so_far.grads, grads),
            share=so_far.share + value,
            metrics=combine(so_far.metrics, metrics),
            scale=so_far.scale,
        )

    @functools.cache
    def asked() -> tuple[tuple[str, ...], Metrics]:
        return asked_of(share, table.abstract(rows), frozen, compute, routes)

    def start(scale: jax.Array | None = None) -> Accumulator:
        return Accumulator(
            grads=jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), table.abstract(rows)),
            share=jnp.zeros(()),
            metrics=neutral(asked()[1]),
            scale=scale,
        )

    whole = meshes.replicated(mesh)
    # Gradients lie where their weights lie, so that the optimizer's step moves none of them.
    where = Accumulator(
        grads=table.shardings(rows, mesh),
        share=whole,
        metrics=jax.tree.map(lambda _: whole, jax.eval_shape(start).metrics),
        scale=whole if scaled else None,
    )
    return Sums(
        start=jax.jit(start, out_shardings=where),
        accumulate=jax.jit(accumulate, donate_argnums=1, out_shardings=where),
        columns=lambda: asked()[0],
    )
