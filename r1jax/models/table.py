"""The weight table: each weight said once. Init, shardings, loader and exporter derive from it."""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.models.config import ModelConfig, Stack
from r1jax.models.kinds import ATTENTION, FEED_FORWARD
from r1jax.models.row import Row, matrix
from r1jax.types import Params


def _stack(
    c: ModelConfig, stack: Stack, first: int, beside: dict[str, Row] | None = None
) -> dict[str, Row]:
    attention, ffn = ATTENTION[stack.attention], FEED_FORWARD[stack.ffn]
    wide = attention.matrices.wide + ffn.matrices.wide
    return {
        name: replace(
            row,
            shape=(stack.layers, *row.shape),
            axes=(None, *row.axes),
            hf="model.layers.{}." + row.hf,
            stacked=True,
            first=first,
            wide=name in wide,
        )
        for name, row in (attention.rows(c) | ffn.rows(c) | (beside or {})).items()
    }


def _ahead(c: ModelConfig) -> dict[str, Row]:
    """A layer behind the last, of its kinds, with what joins it to the model."""
    d = c.d_model
    beside = {
        "embed_norm": Row((d,), (None,), "enorm.weight"),
        "hidden_norm": Row((d,), (None,), "hnorm.weight"),
        "project": matrix(2 * d, d, ("embed", None), "eh_proj", c.init_std),
        "norm": Row((d,), (None,), "shared_head.norm.weight"),
    }
    return _stack(c, replace(c.stacks[-1], layers=1), c.n_layers, beside)


def table(c: ModelConfig) -> dict[str, Any]:
    """Every weight of the model, as a tree of rows with the structure of the parameters."""
    firsts = itertools.accumulate((stack.layers for stack in c.stacks), initial=0)
    rows: dict[str, Any] = {
        "embed": Row(
            (c.vocab_size, c.d_model), ("vocab", "embed"), "model.embed_tokens.weight", c.init_std
        ),
        "stacks": tuple(_stack(c, s, first) for s, first in zip(c.stacks, firsts, strict=False)),
        "norm": Row((c.d_model,), (None,), "model.norm.weight"),
    }
    if not c.tied:
        rows["head"] = Row(
            (c.d_model, c.vocab_size), ("embed", "vocab"), "lm_head.weight", c.init_std, True
        )
    if c.ahead is not None:
        rows["ahead"] = _ahead(c)
    return jax.tree.map(lambda row: _renamed(row, c.renames), rows)


def _renamed(row: Row, renames: tuple[tuple[str, str], ...]) -> Row:
    for ours, theirs in renames:
        row = replace(row, hf=row.hf.replace(ours, theirs))
    return row


Rows = Any
"""A tree of rows with the structure of the parameters it describes."""


def rows_of(model: ModelConfig | Rows) -> Rows:
    """The table itself: functions below take a model for all its weights, or a part's own rows."""
    return table(model) if isinstance(model, ModelConfig) else model


def shardings(model: ModelConfig | Rows, mesh: Mesh) -> Params:
    """NamedSharding of every parameter; UserError where the mesh does not suit the model."""
    if isinstance(model, ModelConfig):
        meshes.check_model(mesh, model.n_heads, model.experts and model.experts.count)
    return jax.tree.map(lambda row: meshes.sharding(mesh, row.axes, row.shape), rows_of(model))


def abstract(
    model: ModelConfig | Rows,
    mesh: Mesh | None = None,
    dtype: Any = jnp.float32,
    cut: tuple[str, ...] | None = None,
) -> Params:
    """ShapeDtypeStructs of the parameters; nothing is allocated.

    On a mesh they are laid out by their rows' axes, or by those of them in `cut` alone.
    """

    def one(row: Row) -> jax.ShapeDtypeStruct:
        axes = row.axes if cut is None else [a if a in cut else None for a in row.axes]
        where = meshes.sharding(mesh, axes, row.shape) if mesh is not None else None
        return jax.ShapeDtypeStruct(row.shape, row.dtype(dtype), sharding=where)

    return jax.tree.map(one, rows_of(model))


def init(model: ModelConfig | Rows, key: jax.Array, dtype: Any = jnp.float32) -> Params:
    """Fresh parameters: normal(0, std), output projections scaled by 1/√(2·layers)."""
    rows, structure = jax.tree.flatten(rows_of(model))

    def one(index: int, row: Row) -> jax.Array:
        if row.std is None:
            return jnp.ones(row.shape, row.dtype(dtype))
        drawn = jax.random.normal(jax.random.fold_in(key, index), row.shape)
        return (row.std * drawn).astype(row.dtype(dtype))

    return structure.unflatten([one(i, row) for i, row in enumerate(rows)])


def count(model: ModelConfig | Rows) -> int:
    """Number of parameters, of a model without its module ahead."""
    rows = table(replace(model, ahead=None)) if isinstance(model, ModelConfig) else model
    return sum(math.prod(row.shape) for row in jax.tree.leaves(rows))


@functools.lru_cache(maxsize=64)
def active(c: ModelConfig) -> int:
    """Of these, how many one token meets: of experts, those it chooses."""
    met = c.experts.chosen / c.experts.count if c.experts else 1.0
    rows = jax.tree.leaves(table(replace(c, ahead=None)))
    return round(sum(math.prod(r.shape) * (met if "experts" in r.axes else 1.0) for r in rows))


def decay_mask(model: ModelConfig | Rows) -> Params:
    """True where weight decay applies: matrices and the embedding, no norms, no biases.

    Nor the module ahead, which many runs do not train.
    """
    rows = rows_of(model)
    mask = jax.tree.map(lambda row: len(row.shape) - row.stacked >= 2, rows)
    if "ahead" in rows:
        mask["ahead"] = jax.tree.map(lambda _: False, rows["ahead"])
    return mask
