"""The decoder as pure functions of its parameters: training forward, prefill, one decode step.

What a layer does is said by its kinds (`r1jax.models.kinds`): the decoder puts layers in a row.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import constrain, cuts_columns, over_rows
from r1jax.models import attention as attn
from r1jax.models import kinds
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache import Cache
from r1jax.models.decoding.cache_attention import Prefix
from r1jax.models.decoding.few_rows import joined, laid_out, wanted
from r1jax.models.decoding.quantized import WeightFormat, quantized
from r1jax.models.layers import Layer, Tables, rms_norm, rope_tables
from r1jax.models.lora import merge
from r1jax.types import Params

Remat = Literal["none", "dots", "full"]


def forward(
    params: Params,
    c: ModelConfig,
    tokens: jax.Array,
    positions: jax.Array,
    segments: attn.Segments,
    **how: Any,
) -> jax.Array:
    """The hidden states of `forward_told` alone."""
    return forward_told(params, c, tokens, positions, segments, **how)[0]


def forward_told(
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
) -> tuple[jax.Array, tuple[kinds.Told, ...]]:
    """Hidden states after the final norm, [B, T, d_model], for packed tokens i32[B, T].

    Beside them what the layers tell (`kinds.FeedForward`), by stack, each array [layers, ...].
    Layers are scanned; `remat` keeps nothing of a layer ("full"), its matrix products ("dots") or
    everything ("none") for the backward pass; `unroll` layers are compiled side by side (0: all).
    """
    assert tokens.shape == positions.shape == segments.ids.shape, (tokens.shape, positions.shape)
    tables = rope_tables(c, positions, segments)
    look_up = over_rows(lambda table, tokens: table[tokens], mesh, *tokens.shape)
    x = stream(look_up(params["embed"], tokens))  # [B, T, d_model]
    x = constrain(x, mesh, "batch", "tokens", None)

    def run(x: jax.Array, stack: Params, attention: Any, ffn: Any) -> tuple[jax.Array, kinds.Told]:
        def one(x: jax.Array, layer: Layer) -> tuple[jax.Array, kinds.Told]:
            return block(c, layer, x, tables, segments, mesh, kernel, attention, ffn)

        return jax.lax.scan(rematerialised(one, remat), x, stack, unroll=unroll or True)

    told = []
    for stack, records in zip(params["stacks"], kinds.of_stacks(c), strict=True):
        x, stack_told = run(x, stack, *records)
        told.append(stack_told)
    return rms_norm(x, params["norm"], c.rms_eps), tuple(told)


def stream(x: jax.Array) -> jax.Array:
    """The residual stream's beginning, in f32 whatever the arithmetic.

    All layers add to it: in 16 bits each sum rounds all that was said before, in sampler and
    trainer at numbers that differ, and most of the difference of the two comes from there.
    """
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def block(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    tables: Tables,
    segments: attn.Segments,
    mesh: Mesh | None,
    kernel: str,
    attention: kinds.Attention,
    ffn: kinds.FeedForward,
) -> tuple[jax.Array, kinds.Told]:
    """One layer on whole rows x[B, T, d_model], and what it tells."""
    x = x + attention.full(c, layer, x, tables, segments, mesh, kernel)[0]
    y, told = ffn.run(c, layer, x, segments, mesh)
    return constrain(x + y, mesh, "batch", "tokens", None), told


def rematerialised(run: Any, remat: Remat) -> Any:
    """A layer's function that keeps for the backward pass what `remat` says."""
    if remat == "none":
        return run
    policies = {
        "full": jax.checkpoint_policies.nothing_saveable,
        "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
    }
    return jax.checkpoint(run, policy=policies[remat], prevent_cse=False)


def head(params: Params) -> jax.Array:
    """The output matrix [d_model, vocab]: its own, or the embedding transposed."""
    return params["head"] if "head" in params else params["embed"].T


def logits(params: Params, hidden: jax.Array) -> jax.Array:
    """f32 logits of hidden[..., d_model]; for a handful of positions, never a training batch."""
    return jnp.dot(hidden, head(params).astype(hidden.dtype), preferred_element_type=jnp.float32)


def unstack(
    params: Params,
    c: ModelConfig,
    dtype: Any,
    mesh: Mesh | None = None,
    weights: WeightFormat = "same",
) -> Params:
    """Weights cast to `dtype`, LoRA merged, stacks split into layers: what decoding runs on.

    Matrices that meet the same activations stand side by side in one: a decode step reads few
    rows, and one large product comes nearer to the memory's rate than two. They stay apart where
    the mesh cuts them by columns, which would be others than the heads'. The module ahead is left
    out. On GPUs they are
    `few_rows.laid_out`. `weights` may ask for the layers' matrices in 8 bits (embedding and head
    keep `dtype`); raises UserError where a kind of layer has no bounds for that.
    """
    cast = kinds.cast(merge({k: v for k, v in params.items() if k != "ahead"}), dtype)
    if weights == "float8":
        kinds.eight_bit(c, cast)
    whole = mesh is None or not cuts_columns(mesh)

    def one_layer(layer: Layer, attention: kinds.Attention, ffn: kinds.FeedForward) -> Layer:
        matrices = attention.matrices, ffn.matrices
        side_by_side = matrices[0].joined | matrices[1].joined if whole else {}
        apart, layer = layer, joined(layer, side_by_side)
        if weights == "float8":
            reach = matrices[0].reach(apart) | matrices[1].reach(apart)
            met = {new: reach[parts[0]] for new, parts in side_by_side.items() if parts[0] in reach}
            return quantized(layer, reach | met)
        few_rows = matrices[0].few_rows | matrices[1].few_rows
        return laid_out(layer, few_rows, mesh) if whole and wanted(mesh) else layer

    stacks = zip(cast["stacks"], c.stacks, strict=True)
    apart = [
        jax.tree.map(lambda w, i=i: w[i], layers) for layers, s in stacks for i in range(s.layers)
    ]
    pairs = zip(apart, kinds.of_layers(c), strict=True)
    return {**cast, "stacks": tuple(one_layer(layer, *records) for layer, records in pairs)}


def prefill(
    weights: Params, c: ModelConfig, tokens: jax.Array, lengths: jax.Array, mesh: Mesh | None = None
) -> tuple[jax.Array, Cache]:
    """Runs prompts i32[P, T] (right-padded to `lengths`) through unstacked weights.

    Returns the f32 logits [P, vocab] that predict the first completion token, and what the prompts
    leave behind as a cache of length T.
    """
    assert tokens.ndim == 2 and lengths.shape == tokens.shape[:1], (tokens.shape, lengths.shape)
    ids = (jnp.arange(tokens.shape[1])[None] < lengths[:, None]).astype(jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    segments = attn.Segments(ids, 1)
    tables = rope_tables(c, positions, segments)
    x = constrain(stream(weights["embed"][tokens]), mesh, "batch", None, None)  # [P, T, d_model]
    left = []
    for layer, (attention, ffn) in zip(weights["stacks"], kinds.of_layers(c), strict=True):
        mixed, kept = attention.full(c, layer, x, tables, segments, mesh, "auto")
        x = x + mixed
        y, told = ffn.run(c, layer, x, segments, mesh)
        x = x + y
        left.append(kept | {name: told[name] for name in ffn.kept(c)})
    # Only the last token of a prompt predicts, so that [P, T, vocab] never exists.
    last = jnp.take_along_axis(x, (lengths - 1)[:, None, None], axis=1)[:, 0]
    hidden = rms_norm(last, weights["norm"], c.rms_eps)
    return logits(weights, hidden), Cache(tuple(left))


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
    assert tokens.shape == positions.shape == (cache.slots,), (tokens.shape, cache.slots)
    tables = rope_tables(c, positions)
    x = constrain(stream(weights["embed"][tokens]), mesh, "slots", None)  # [S, d_model]
    layer_caches = []
    layers = zip(weights["stacks"], cache.layers, kinds.of_layers(c), strict=True)
    for layer, layer_cache, (attention, ffn) in layers:
        mixed, kept = attention.step(c, layer, x, tables, layer_cache, positions, prefix, mesh)
        x = x + mixed
        y, told = ffn.run(c, layer, x, None, mesh)
        x = constrain(x + y, mesh, "slots", None)
        layer_caches.append(kept | _booked(ffn.kept(c), layer_cache, told, positions))
    hidden = rms_norm(x, weights["norm"], c.rms_eps)
    return logits(weights, hidden), Cache(tuple(layer_caches))


def _booked(
    names: Iterable[str], cache: Layer, told: kinds.Told, positions: jax.Array
) -> dict[str, jax.Array]:
    """What a feed-forward leaves of one token per slot, put where the token lies."""
    rows = jnp.arange(positions.shape[0])
    return {name: cache[name].at[rows, positions].set(told[name], mode="drop") for name in names}
