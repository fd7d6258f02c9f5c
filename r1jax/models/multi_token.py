"""The module that predicts one token further (multi-token prediction, DeepSeek-V3 section 2.2).

A layer of the model's last kind, on the hidden state of a token joined to the embedding of the one
that follows. Embedding and head are the model's own. Sampling and scoring do without it.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import over_rows
from r1jax.models import attention as attn
from r1jax.models import decoder, experts, kinds
from r1jax.models.config import ModelConfig
from r1jax.models.layers import linear, rms_norm, rope_tables
from r1jax.types import Batch, Load, Mean, Metrics, Params


def forward(params: Params, c: ModelConfig, hidden: jax.Array, *given: Any) -> jax.Array:
    """The states of `forward_told` alone."""
    return forward_told(params, c, hidden, *given)[0]


def forward_told(
    params: Params,
    c: ModelConfig,
    hidden: jax.Array,
    tokens: jax.Array,
    positions: jax.Array,
    segments: attn.Segments,
    *,
    mesh: Mesh | None = None,
    kernel: str = "auto",
    remat: decoder.Remat = "none",
) -> tuple[jax.Array, kinds.Told]:
    """[B, T, d_model] that predict, at position i, token i + 2, of `hidden` states after the norm.

    x = W·[norm(embedding of token i + 1), norm(hidden i)], a layer, a norm. Nothing is predicted at
    the last two positions of a segment. Beside them what the layer tells.
    """
    layer = jax.tree.map(lambda w: w[0], params["ahead"])
    following = jnp.pad(tokens[:, 1:], ((0, 0), (0, 1)))
    look_up = over_rows(lambda table, tokens: table[tokens], mesh, *tokens.shape)
    embedded = look_up(params["embed"], following)
    parts = (
        rms_norm(embedded, layer["embed_norm"], c.rms_eps),
        rms_norm(hidden, layer["hidden_norm"], c.rms_eps),
    )
    x = decoder.stream(linear(layer["project"], jnp.concatenate(parts, axis=-1)))
    tables, records = rope_tables(c, positions, segments), kinds.of_stacks(c)[-1]

    def run(x: jax.Array, layer: Any) -> tuple[jax.Array, kinds.Told]:
        return decoder.block(c, layer, x, tables, segments, mesh, kernel, *records)

    x, told = decoder.rematerialised(run, remat)(x, layer)
    return rms_norm(x, layer["norm"], c.rms_eps), told


def alone(params: Params, hidden: jax.Array) -> tuple[Params, jax.Array]:
    """The same, but that what this module shares with the model, and gets of it, learns nothing."""
    own = params["ahead"]
    return jax.lax.stop_gradient(params) | {"ahead": own}, jax.lax.stop_gradient(hidden)


def with_auxiliary(
    c: ModelConfig, told: tuple[kinds.Told, ...], batch: Batch, share: jax.Array, metrics: Metrics
) -> tuple[jax.Array, Metrics]:
    """As `kinds.with_auxiliary`, and λ·Σ -log p / tokens of the update where this module learns.

    Its log p comes behind what the stacks tell (`logp.score`).
    """
    layers, further = told[: len(c.stacks)], told[len(c.stacks) :]
    share, metrics = kinds.with_auxiliary(c, layers, batch, share, metrics)
    if not further:
        return share, metrics
    logp = further[0]["ahead"]  # f32[B, T], at the token predicted; 0 at a segment's first two
    mask = batch.mask * (batch.positions > 1)
    total = -jnp.sum(mask * logp)
    shown: Metrics = {"ahead/nll": jax.lax.stop_gradient(Mean(total, jnp.sum(mask)))}
    shown |= experts.room_needed("ahead", further[0])
    if "load" in further[0]:
        shown["ahead/load_max"] = Load(further[0]["load"][None])  # of its one layer
    return share + c.ahead.weight * total / batch.n_tokens, metrics | shown
