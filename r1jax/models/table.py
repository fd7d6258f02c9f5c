"""The weight table: each weight said once. Init, shardings, loader and exporter derive from it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.models.config import ModelConfig, Stack
from r1jax.types import Params


@dataclass(frozen=True)
class Row:
    """One weight: shape, logical axes, how it starts and its name at Hugging Face.

    Matrices are stored [in, out]; Hugging Face stores [out, in], so `transposed` says to flip the
    last two dimensions. A stacked row has a leading layer axis, counted from `first`. For each
    leading axis along which Hugging Face keeps separate tensors, the name has a `{}`. `std` None
    means ones, 0 means zeros.
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    hf: str
    std: float | None = None
    transposed: bool = False
    stacked: bool = False
    first: int = 0

    @property
    def lead(self) -> int:
        """How many leading axes Hugging Face numbers in the name."""
        return self.hf.count("{}")

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of one tensor as Hugging Face stores it."""
        return flipped(self.shape[self.lead :], self.transposed)

    def name(self, at: tuple[int, ...]) -> str:
        """Hugging Face's name of the tensor at a leading index."""
        return self.hf.format(self.first + at[0], *at[1:]) if at else self.hf

    def names(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """(leading index, Hugging Face name) of every tensor the row is made of."""
        for at in np.ndindex(*self.shape[: self.lead]):
            yield at, self.name(at)


def flipped(sizes: Sequence[Any], transposed: bool) -> tuple[Any, ...]:
    """What is said of each dimension, its last two exchanged where `transposed`."""
    return (*sizes[:-2], sizes[-1], sizes[-2]) if transposed else tuple(sizes)


def _dense_layer(c: ModelConfig) -> dict[str, Row]:
    std, out_std = c.init_std, c.init_std / math.sqrt(2 * c.n_layers)

    def matrix(n_in: int, n_out: int, axes: tuple[str, str], hf: str, s: float = std) -> Row:
        return Row((n_in, n_out), axes, hf + ".weight", s, transposed=True)

    rows = {
        "attn_norm": Row((c.d_model,), (None,), "input_layernorm.weight"),
        "wq": matrix(c.d_model, c.q_dim, ("embed", "heads"), "self_attn.q_proj"),
        "wk": matrix(c.d_model, c.kv_dim, ("embed", "kv_heads"), "self_attn.k_proj"),
        "wv": matrix(c.d_model, c.kv_dim, ("embed", "kv_heads"), "self_attn.v_proj"),
        "wo": matrix(c.q_dim, c.d_model, ("heads", "embed"), "self_attn.o_proj", out_std),
        "ffn_norm": Row((c.d_model,), (None,), "post_attention_layernorm.weight"),
        "gate": matrix(c.d_model, c.d_ff, ("embed", "ffn"), "mlp.gate_proj"),
        "up": matrix(c.d_model, c.d_ff, ("embed", "ffn"), "mlp.up_proj"),
        "down": matrix(c.d_ff, c.d_model, ("ffn", "embed"), "mlp.down_proj", out_std),
    }
    if c.attention_bias:
        rows["bq"] = Row((c.q_dim,), ("heads",), "self_attn.q_proj.bias", 0.0)
        rows["bk"] = Row((c.kv_dim,), ("kv_heads",), "self_attn.k_proj.bias", 0.0)
        rows["bv"] = Row((c.kv_dim,), ("kv_heads",), "self_attn.v_proj.bias", 0.0)
    if c.qk_norm:
        rows["q_norm"] = Row((c.head_dim,), (None,), "self_attn.q_norm.weight")
        rows["k_norm"] = Row((c.head_dim,), (None,), "self_attn.k_norm.weight")
    return rows


LAYERS = {"dense": _dense_layer}


def _stack(c: ModelConfig, stack: Stack, first: int) -> dict[str, Row]:
    return {
        name: replace(
            row,
            shape=(stack.layers, *row.shape),
            axes=(None, *row.axes),
            hf="model.layers.{}." + row.hf,
            stacked=True,
            first=first,
        )
        for name, row in LAYERS[stack.kind](c).items()
    }


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
    """NamedSharding of every parameter."""
    return jax.tree.map(lambda row: meshes.sharding(mesh, row.axes, row.shape), rows_of(model))


def abstract(
    model: ModelConfig | Rows, mesh: Mesh | None = None, dtype: Any = jnp.float32
) -> Params:
    """ShapeDtypeStructs of the parameters; nothing is allocated."""

    def one(row: Row) -> jax.ShapeDtypeStruct:
        where = meshes.sharding(mesh, row.axes, row.shape) if mesh is not None else None
        return jax.ShapeDtypeStruct(row.shape, dtype, sharding=where)

    return jax.tree.map(one, rows_of(model))


def init(model: ModelConfig | Rows, key: jax.Array, dtype: Any = jnp.float32) -> Params:
    """Fresh parameters: normal(0, std), output projections scaled by 1/√(2·layers)."""
    rows, structure = jax.tree.flatten(rows_of(model))

    def one(index: int, row: Row) -> jax.Array:
        if row.std is None:
            return jnp.ones(row.shape, dtype)
        return (row.std * jax.random.normal(jax.random.fold_in(key, index), row.shape)).astype(
            dtype
        )

    return structure.unflatten([one(i, row) for i, row in enumerate(rows)])


def count(c: ModelConfig) -> int:
    """Number of parameters."""
    return sum(math.prod(row.shape) for row in jax.tree.leaves(table(c)))


def decay_mask(model: ModelConfig | Rows) -> Params:
    """True where weight decay applies: matrices and the embedding, no norms, no biases."""
    return jax.tree.map(lambda row: len(row.shape) - row.stacked >= 2, rows_of(model))
