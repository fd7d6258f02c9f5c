"""What is counted of a model on a mesh, from its weight table: nothing here knows a chip."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from experiments.plan.chips import shards
from r1jax import mesh as meshes
from r1jax.models import attention as attn
from r1jax.models import kinds, table
from r1jax.models.config import ModelConfig
from r1jax.models.row import Row
from r1jax.training.batches import ComputeConfig

ROOM = 2.0
"""Rows that an exchange of tokens between experts' devices has room for, over an even share (the
default of `--train.room`); a decode step's has room for all, and computes as many."""


class Assumed(NamedTuple):
    """What is counted as there although the code does not have it everywhere."""

    fused: bool = False  # attention, also where no kernel takes its heads or its platform
    own: bool = False  # weights of rollouts cut by rules of their own


NOTHING = Assumed()


@functools.lru_cache(maxsize=16)
def layer_rows(c: ModelConfig) -> tuple[Row, ...]:
    """The rows of all stacks, with their layers in front."""
    return tuple(row for stack in table.table(c)["stacks"] for row in stack.values())


@functools.lru_cache(maxsize=16)
def all_rows(c: ModelConfig) -> tuple[Row, ...]:
    """Every row of the weight table."""
    return tuple(jax.tree.leaves(table.table(c)))


def experts_run(c: ModelConfig, mesh: Mesh) -> float:
    """Experts that are computed for a token: all where they are not spread over devices."""
    if c.experts is None or shards(mesh, "experts") == 1:
        return c.experts.count if c.experts else 0
    return min(c.experts.chosen * ROOM, c.experts.count)


def met(c: ModelConfig, row: Row, run: float) -> float:
    """Of a row's numbers, how many one token meets when it runs through `run` experts."""
    return math.prod(row.shape) * (run / c.experts.count if "experts" in row.axes else 1.0)


def products(c: ModelConfig, run: float) -> float:
    """Weights in the layers' matrices that one token meets."""
    return sum(met(c, row, run) for row in layer_rows(c) if _is_matrix(row))


def passing(c: ModelConfig, run: float) -> float:
    """Numbers that go in and out of all layers' matrices for one token."""
    rows = [row for row in layer_rows(c) if _is_matrix(row)]
    return sum(met(c, row, run) / math.prod(row.shape[-2:]) * sum(row.shape[-2:]) for row in rows)


def outputs(c: ModelConfig, run: float) -> float:
    """Of these, those that come out."""
    rows = [row for row in layer_rows(c) if _is_matrix(row)]
    return sum(met(c, row, run) / row.shape[-2] for row in rows)


def _is_matrix(row: Row) -> bool:
    return len(row.shape) - row.stacked >= 2


def ways(mesh: Mesh, row: Row, *logical: str) -> int:
    """Devices that a row is cut between along dimensions of these logical axes."""
    spec = meshes.spec(mesh, row.axes, row.shape)
    cut = [part for part, axis in zip(spec, row.axes, strict=True) if axis in logical]
    return _devices(mesh, cut)


def _devices(mesh: Mesh, spec: Iterable[Any]) -> int:
    """Devices that the parts of a PartitionSpec spread an array over."""
    names = [(part,) if isinstance(part, str) else part or () for part in spec]
    return math.prod(mesh.shape[name] for part in names for name in part)


GATHERED = ("embed", "rank")
KEPT = ("vocab", "heads", "kv_heads", "ffn", "experts")


def token_devices(mesh: Mesh) -> int:
    """Devices that the tokens of a micro-batch are spread over: by rows, and along them."""
    return shards(mesh, "batch") * shards(mesh, "tokens")


def pairs(c: ModelConfig, totals: Sequence[float]) -> float:
    """Products of attention over all layers for whole sequences: the pairs a token sees, two
    operations each."""
    squares = sum(float(n) ** 2 for n in totals)
    return sum(kind.pairs(c) for kind, _ in kinds.of_layers(c)) * squares


def fused(c: ModelConfig, mesh: Mesh, compute: ComputeConfig, how: Assumed) -> bool:
    """Whether attention's scores never lie in memory."""
    widths = [c.head_dim] if c.latent is None else [c.latent.nope + c.head_dim, c.latent.value]
    kernel = compute.kernel
    if kernel == "auto":
        kernel = attn.choose_kernel(mesh, jnp.dtype(compute.dtype), compute.width, *widths)
    return how.fused or kernel != "xla"


def scores(c: ModelConfig, mesh: Mesh, compute: ComputeConfig) -> float:
    """Numbers in one layer's scores on one device: whole rows, by heads."""
    rows = compute.rows / token_devices(mesh)
    return rows * c.n_heads / shards(mesh, "heads") * compute.width**2


@functools.lru_cache(maxsize=1024)
def held(c: ModelConfig, mesh: Mesh) -> float:
    """Weights on one device, where training has them."""
    return sum(math.prod(r.shape) / ways(mesh, r, *GATHERED, *KEPT) for r in all_rows(c))


def copies(mesh: Mesh) -> int:
    """Copies of the model that decode side by side, each in slots of its own."""
    return shards(mesh, "slots")


@functools.lru_cache(maxsize=1024)
def decoded(c: ModelConfig, mesh: Mesh, own: bool = False) -> float:
    """Weights on one device where decoding has them.

    Whole but for experts that are spread, unless the mesh cuts columns: then as training has them
    (`rollout/on_devices.py`). By rules of their `own` nothing but columns and experts would be cut.
    """
    rows = all_rows(replace(c, ahead=None))
    cut = KEPT if own or not meshes.cuts_columns(mesh) else (*GATHERED, *KEPT)
    return sum(math.prod(r.shape) / ways(mesh, r, *cut) for r in rows)


def absorbed(c: ModelConfig) -> float:
    """Products of a decode step per token of the cache: latent attention reads it as it lies."""
    if c.latent is not None:
        return c.n_layers * c.n_heads * (2 * c.latent.kv_rank + c.head_dim)
    return sum(kind.pairs(c) for kind, _ in kinds.of_layers(c))


@functools.lru_cache(maxsize=1024)
def cache_bytes(c: ModelConfig, mesh: Mesh, itemsize: int = 2) -> float:
    """Bytes that a token leaves on one device: heads are cut, a latent is not."""
    total = 0.0
    for attention, _ in kinds.of_layers(c):
        for kept in attention.kept(c).values():
            cut = _devices(mesh, meshes.spec(mesh, kept.axes, kept.shape))
            total += math.prod(kept.shape) * itemsize / cut
    return total
