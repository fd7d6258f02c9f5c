"""The decoder as pure functions of its parameters: training forward, prefill, one decode step."""

from __future__ import annotations

from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax.mesh import constrain, cuts_columns, over_rows
from r1jax.models import attention as attn
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache_attention import Prefix, append_and_attend
from r1jax.models.decoding.few_rows import joined, laid_out, wanted
from r1jax.models.decoding.quantized import WeightFormat, quantized, reaches
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
    mesh: Mesh | None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """q[..., heads, h], k and v[..., kv_heads, h] of activations x[..., d_model], not rotated."""
    x = rms_norm(x, layer["attn_norm"], c.rms_eps)

    def heads(i: str) -> jax.Array:
        y = linear(layer[f"w{i}"], x, layer.get(f"b{i}"))
        return y.reshape(*x.shape[:-1], -1, c.head_dim)

    if "wqkv" in layer:
        ends = (c.n_heads, c.n_heads + c.n_kv_heads)
        parts = jnp.split(heads("qkv"), ends, axis=-2)
    else:
        parts = [heads(i) for i in "qkv"]
    # Heads stay whole: where they do not divide by the devices, XLA would cut through them.
    q, k, v = (
        constrain(y, mesh, "batch", *(None,) * (x.ndim - 2), axis, None)
        for y, axis in zip(parts, ("heads", "kv_heads", "kv_heads"), strict=True)
    )
    if c.qk_norm:
        q = rms_norm(q, layer["q_norm"], c.rms_eps)
        k = rms_norm(k, layer["k_norm"], c.rms_eps)
    return q, k, v


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
    everything ("none") for the backward pass; `unroll` layers are compiled side by side (0: all).
    """
    tables = rope_tables(c, positions)
    look_up = over_rows(lambda table, tokens: table[tokens], mesh, tokens.shape[0])
    x = constrain(look_up(params["embed"], tokens), mesh, "batch", None, None)

    def block(x: jax.Array, layer: Layer) -> tuple[jax.Array, None]:
        q, k, v = _project(c, layer, x, mesh)
        mixed = attn.attention(rope(q, tables), rope(k, tables), v, segments, kernel)
        x = _finish(c, layer, x, mixed)
        return constrain(x, mesh, "batch", None, None), None

    for stack in params["stacks"]:
        x, _ = jax.lax.scan(_rematerialise(block, remat), x, stack, unroll=unroll or True)
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


def unstack(
    params: Params, dtype: Any, mesh: Mesh | None = None, weights: WeightFormat = "same"
) -> Params:
    """Weights cast to `dtype`, LoRA merged, stacks split into layers: what decoding runs on.

    Matrices that meet the same activations stand side by side in one, q, k, v and gate, up: a
    decode step reads few rows, and one large product comes nearer to the memory's rate than two.
    They stay apart where the mesh cuts them by columns, which would be others than the heads'. On
    a GPU they are `models.few_rows.laid_out`.
    `weights` may ask for these matrices in 8 bits (embedding and head keep `dtype`).
    """
    cast = jax.tree.map(lambda w: w.astype(dtype), merge(params))
    whole = mesh is None or not cuts_columns(mesh)
    apart = [
        jax.tree.map(lambda w, i=i: w[i], stack)
        for stack in cast["stacks"]
        for i in range(jax.tree.leaves(stack)[0].shape[0])
    ]
    layers = [joined(layer) if whole else layer for layer in apart]
    if weights == "float8":
        layers = [quantized(j, reaches(a)) for j, a in zip(layers, apart, strict=True)]
    elif whole and wanted():
        layers = [laid_out(layer) for layer in layers]
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
        q, k, v = _project(c, layer, x, mesh)
        k = rope(k, tables)
        x = _finish(c, layer, x, attn.attention(rope(q, tables), k, v, segments))
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
    prefix: Prefix | None = None,
) -> tuple[jax.Array, Cache]:
    """One token per slot: i32[S] at i32[S] positions; returns f32 logits [S, vocab], new cache.

    `prefix` says what slots begin with in common; it changes what is read, never the result.
    """
    tables = rope_tables(c, positions)
    x = constrain(weights["embed"][tokens], mesh, "slots", None)
    keys, values = [], []
    for layer, k_cache, v_cache in zip(weights["stacks"], cache.k, cache.v, strict=True):
        q, k, v = _project(c, layer, x, mesh)
        mixed, k_cache, v_cache = append_and_attend(
            q, k, v, tables, k_cache, v_cache, positions, prefix, mesh
        )
        x = _finish(c, layer, x, mixed)
        x = constrain(x, mesh, "slots", None)
        keys.append(k_cache)
        values.append(v_cache)
    hidden = rms_norm(x, weights["norm"], c.rms_eps)
    return logits(weights, hidden), Cache(tuple(keys), tuple(values))
