"""The decoder as pure functions of its parameters: training forward, prefill, one decode step."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax.mesh import constrain, over_rows
from r1jax.models import attention as attn
from r1jax.models.config import ModelConfig
from r1jax.models.layers import feed_forward, linear, rms_norm, rope, rope_tables
from r1jax.models.lora import merge
from r1jax.types import Params

Remat = Literal["none", "dots", "full"]
Layer = dict[str, jax.Array]


@struct.dataclass
class Cache:
    """Keys and values of every slot, one pair of arrays per layer.

    k, v: tuple over layers of [S, L, kv_heads, h]. Separate arrays, because a stacked cache is
    copied by XLA at every step.
    """

    k: tuple[jax.Array, ...]
    v: tuple[jax.Array, ...]


def _project(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    tables: tuple[jax.Array, jax.Array],
    mesh: Mesh | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """q[..., heads, h], k and v[..., kv_heads, h] of activations x[..., d_model], rotated."""
    x = rms_norm(x, layer["attn_norm"], c.rms_eps)

    def heads(weight: str, bias: str, axis: str, n: int) -> jax.Array:
        y = linear(layer[weight], x, layer.get(bias)).reshape(*x.shape[:-1], n, c.head_dim)
        # Heads stay whole: where they do not divide by the devices, XLA would cut through them.
        return constrain(y, mesh, "batch", *(None,) * (x.ndim - 2), axis, None)

    q = heads("wq", "bq", "heads", c.n_heads)
    k = heads("wk", "bk", "kv_heads", c.n_kv_heads)
    v = heads("wv", "bv", "kv_heads", c.n_kv_heads)
    if c.qk_norm:
        q = rms_norm(q, layer["q_norm"], c.rms_eps)
        k = rms_norm(k, layer["k_norm"], c.rms_eps)
    return rope(q, tables), rope(k, tables), v


def _finish(c: ModelConfig, layer: Layer, x: jax.Array, mixed: jax.Array) -> jax.Array:
    """Attention output projection and feed-forward, both residual."""
    x = x + linear(layer["wo"], mixed.reshape(*x.shape[:-1], c.q_dim))
    return x + feed_forward(layer, rms_norm(x, layer["ffn_norm"], c.rms_eps))


def forward(
    params: Params,
    c: ModelConfig,
    tokens: jax.Array,
    positions: jax.Array,
    segments: attn.Segments,
    *,
    mesh: Mesh | None = None,
    remat: Remat = "none",
    unroll: int = 1,
    kernel: str = "auto",
) -> jax.Array:
    """Hidden states after the final norm, [B, T, d_model], for packed tokens i32[B, T].

    Layers are scanned; `remat` keeps nothing of a layer ("full"), its matrix products ("dots") or
    everything ("none") for the backward pass; `unroll` layers are compiled side by side.
    """
    tables = rope_tables(c, positions)
    look_up = over_rows(lambda table, tokens: table[tokens], mesh, tokens.shape[0])
    x = constrain(look_up(params["embed"], tokens), mesh, "batch", None, None)

    def block(x: jax.Array, layer: Layer) -> tuple[jax.Array, None]:
        q, k, v = _project(c, layer, x, tables, mesh)
        x = _finish(c, layer, x, attn.attention(q, k, v, segments, kernel))
        return constrain(x, mesh, "batch", None, None), None

    for stack in params["stacks"]:
        x, _ = jax.lax.scan(_rematerialise(block, remat), x, stack, unroll=unroll)
    return rms_norm(x, params["norm"], c.rms_eps)


def _rematerialise(block: Any, remat: Remat) -> Any:
    if remat == "none":
        return block
    policies = {
        "full": jax.checkpoint_policies.nothing_saveable,
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }
    return jax.checkpoint(block, policy=policies[remat], prevent_cse=False)


def head(params: Params) -> jax.Array:
    """The output matrix [d_model, vocab]: its own, or the embedding transposed."""
    return params["head"] if "head" in params else params["embed"].T


def logits(params: Params, hidden: jax.Array) -> jax.Array:
    """f32 logits of hidden[..., d_model]; for a handful of positions, never a training batch."""
    return jnp.dot(hidden, head(params).astype(hidden.dtype), preferred_element_type=jnp.float32)


def unstack(params: Params, dtype: Any) -> Params:
    """Weights cast to `dtype`, LoRA merged, stacks split into layers: what decoding runs on."""
    cast = jax.tree.map(lambda w: w.astype(dtype), merge(params))
    layers = [
        jax.tree.map(lambda w, i=i: w[i], stack)
        for stack in cast["stacks"]
        for i in range(jax.tree.leaves(stack)[0].shape[0])
    ]
    return {**cast, "stacks": tuple(layers)}


def empty_cache(c: ModelConfig, slots: int, length: int, dtype: Any) -> Cache:
    """A zeroed cache for `slots` sequences of up to `length` tokens."""
    shape = (slots, length, c.n_kv_heads, c.head_dim)
    return Cache(
        k=tuple(jnp.zeros(shape, dtype) for _ in range(c.n_layers)),
        v=tuple(jnp.zeros(shape, dtype) for _ in range(c.n_layers)),
    )


def prefill(
    weights: Params, c: ModelConfig, tokens: jax.Array, lengths: jax.Array, mesh: Mesh | None = None
) -> tuple[jax.Array, Cache]:
    """Runs prompts i32[P, T] (right-padded to `lengths`) through unstacked weights.

    Returns the f32 logits [P, vocab] that predict the first completion token, and the prompts'
    keys and values as a cache of length T.
    """
    ids = (jnp.arange(tokens.shape[1])[None] < lengths[:, None]).astype(jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    tables, segments = rope_tables(c, positions), attn.Segments(ids, 1)
    x = constrain(weights["embed"][tokens], mesh, "batch", None, None)
    keys, values = [], []
    for layer in weights["stacks"]:
        q, k, v = _project(c, layer, x, tables, mesh)
        x = _finish(c, layer, x, attn.attention(q, k, v, segments))
        keys.append(k)
        values.append(v)
    last = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)[:, 0]
    hidden = rms_norm(last, weights["norm"], c.rms_eps)
    return logits(weights, hidden), Cache(tuple(keys), tuple(values))


def decode_step(
    weights: Params,
    c: ModelConfig,
    tokens: jax.Array,
    positions: jax.Array,
    cache: Cache,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, Cache]:
    """One token per slot: i32[S] at i32[S] positions; returns f32 logits [S, vocab], new cache."""
    tables = rope_tables(c, positions)
    rows = jnp.arange(tokens.shape[0])
    x = constrain(weights["embed"][tokens], mesh, "slots", None)
    keys, values = [], []
    for layer, k_cache, v_cache in zip(weights["stacks"], cache.k, cache.v, strict=True):
        q, k, v = _project(c, layer, x, tables, mesh)
        k_cache, v_cache = k_cache.at[rows, positions].set(k), v_cache.at[rows, positions].set(v)
        x = _finish(c, layer, x, attn.attend_cache(q, k_cache, v_cache, positions + 1))
        x = constrain(x, mesh, "slots", None)
        keys.append(k_cache)
        values.append(v_cache)
    hidden = rms_norm(x, weights["norm"], c.rms_eps)
    return logits(weights, hidden), Cache(tuple(keys), tuple(values))
