"""The decoder as a reward model: one number for each token, or that of each last token."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.models import attention as attn
from r1jax.models import decoder, kinds
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig, attach
from r1jax.models.lora import rows as lora_rows
from r1jax.models.row import Row
from r1jax.models.table import Rows, table
from r1jax.types import Batch, Params, segment_members

HEAD = "score"
"""Key of the head f32[d_model], beside the decoder's own weights."""


def head_rows(c: ModelConfig) -> Rows:
    """Weight table of the head alone; it starts at 0, so that nothing is preferred yet."""
    return {HEAD: Row((c.d_model,), ("embed",), "score.weight", 0.0)}


def rows(c: ModelConfig, lora: LoraConfig | None = None) -> Rows:
    """Weight table of what is trained: the body (or LoRA's factors) and the head."""
    return {**(lora_rows(c, lora) if lora else body(table(c))), **head_rows(c)}


def body(params: Mapping[str, Any]) -> dict[str, Any]:
    """The decoder without what a reward model has no use for: logits, and a token further."""
    return {name: leaf for name, leaf in params.items() if name not in ("head", "ahead")}


def join(params: Params, base: Params | None, lora: LoraConfig | None) -> Params:
    """What `every_token` takes: the trained parameters, on the frozen base under LoRA."""
    if lora is None:
        return params
    return {**attach(base, params, lora), HEAD: params[HEAD]}


def cast(params: Params, dtype: Any) -> Params:
    """The body in the compute type; the head stays as it is: it costs nothing in float32."""
    return {**kinds.cast(body(params), dtype), HEAD: params[HEAD]}


def every_token(
    params: Params,
    c: ModelConfig,
    batch: Batch,
    *,
    mesh: Mesh | None = None,
    remat: decoder.Remat = "none",
    unroll: int = 1,
    kernel: str = "auto",
) -> tuple[jax.Array, tuple[kinds.Told, ...]]:
    """f32[B, T], hidden state of each token times the head; beside it, what the layers tell.

    DeepSeek-R1 (v2, section 3.1): the policy's architecture with a head that predicts a scalar, of
    which `at_last_token` keeps that of the stop token. Where the others are thrown away this is d
    products each too many, and no gather to shard.
    """
    segments = attn.Segments(batch.segment_ids, batch.lengths.shape[1])
    hidden, told = decoder.forward_told(
        params, c, batch.tokens, batch.positions, segments,
        mesh=mesh, remat=remat, unroll=unroll, kernel=kernel,
    )  # fmt: skip
    wide = hidden.astype(jnp.promote_types(hidden.dtype, jnp.float32))
    return jnp.sum(wide * params[HEAD].astype(wide.dtype), axis=-1), told


def at_last_token(values: jax.Array, segment_ids: jax.Array, max_segments: int) -> jax.Array:
    """f[B, M], what `values` f[B, T] hold at the last token of each segment; 0 without one."""
    following = jnp.pad(segment_ids[:, 1:], ((0, 0), (0, 1)))
    last = segment_ids != following
    at_last = segment_members(segment_ids, max_segments) & last[..., None]  # bool[B, T, M]
    return jnp.sum(jnp.where(at_last, values[..., None], 0.0), axis=1)


def per_token(scores: jax.Array, segment_ids: jax.Array) -> jax.Array:
    """f[B, T]: at every token the score f[B, M] of its segment, 0 in the padding."""
    member = segment_members(segment_ids, scores.shape[1])  # bool[B, T, M]
    return jnp.sum(jnp.where(member, scores[:, None, :], 0.0), axis=-1)
