"""Grouped-query attention: rotary positions, several query heads to each key and value head."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import constrain
from r1jax.models import attention as attn
from r1jax.models.config import ModelConfig
from r1jax.models.decoding import quantized
from r1jax.models.decoding.cache_attention import Prefix, append_and_attend
from r1jax.models.layers import Layer, Tables, linear, rms_norm, rope
from r1jax.models.row import Kept, Matrices, Row, matrix, output_std


def rows(c: ModelConfig) -> dict[str, Row]:
    """A layer's weights: the norm in front, four projections, biases and norms of heads if any."""
    std, d, q, kv = c.init_std, c.d_model, c.q_dim, c.kv_dim
    weights = {
        "attn_norm": Row((d,), (None,), "input_layernorm.weight"),
        "wq": matrix(d, q, ("embed", "heads"), "self_attn.q_proj", std),
        "wk": matrix(d, kv, ("embed", "kv_heads"), "self_attn.k_proj", std),
        "wv": matrix(d, kv, ("embed", "kv_heads"), "self_attn.v_proj", std),
        "wo": matrix(q, d, ("heads", "embed"), "self_attn.o_proj", output_std(std, c.n_layers)),
    }
    if c.attention_bias:
        weights["bq"] = Row((q,), ("heads",), "self_attn.q_proj.bias", 0.0)
        weights["bk"] = Row((kv,), ("kv_heads",), "self_attn.k_proj.bias", 0.0)
        weights["bv"] = Row((kv,), ("kv_heads",), "self_attn.v_proj.bias", 0.0)
    if c.output_bias:
        weights["bo"] = Row((d,), (None,), "self_attn.o_proj.bias", 0.0)
    if c.qk_norm:
        weights["q_norm"] = Row((c.head_dim,), (None,), "self_attn.q_norm.weight")
        weights["k_norm"] = Row((c.head_dim,), (None,), "self_attn.k_norm.weight")
    return weights


def kept(c: ModelConfig) -> dict[str, Kept]:
    """A token's key, rotated, and its value."""
    shape, axes = (c.n_kv_heads, c.head_dim), ("kv_heads", None)
    return {"k": Kept(shape, axes), "v": Kept(shape, axes)}


def pairs(c: ModelConfig) -> int:
    """Products per pair of tokens: of a query with a key, of a weight with a value."""
    return 2 * c.q_dim


def full(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    tables: Tables,
    segments: attn.Segments,
    mesh: Mesh | None,
    kernel: str,
    window: int = 0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Rows x[B, T, d_model] -> (what is added to them, keys and values [B, T, kv_heads, h])."""
    q, k, v = _project(c, layer, x, mesh)
    k = rope(k, tables)
    mixed = attn.attention(rope(q, tables), k, v, segments, kernel, mesh=mesh, window=window)
    return _finish(c, layer, mixed), {"k": k, "v": v}


def step(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    tables: Tables,
    cache: dict[str, jax.Array],
    positions: jax.Array,
    prefix: Prefix | None,
    mesh: Mesh | None,
    window: int = 0,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """One token per slot, x[S, d_model], at i32[S] `positions` of caches [S, L, kv_heads, h]."""
    q, k, v = _project(c, layer, x, mesh)
    mixed, k_cache, v_cache = append_and_attend(
        q, k, v, tables, cache["k"], cache["v"], positions, prefix, mesh, window=window
    )
    return _finish(c, layer, mixed), {"k": k_cache, "v": v_cache}


def _project(
    c: ModelConfig, layer: Layer, x: jax.Array, mesh: Mesh | None
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
    rows = ("batch", "tokens") if x.ndim == 3 else ("slots",)
    # Heads stay whole: where they do not divide by the devices, XLA would cut through them.
    q, k, v = (
        constrain(y, mesh, *rows, axis, None)
        for y, axis in zip(parts, ("heads", "kv_heads", "kv_heads"), strict=True)
    )
    if c.qk_norm:
        q = rms_norm(q, layer["q_norm"], c.rms_eps)
        k = rms_norm(k, layer["k_norm"], c.rms_eps)
    return q, k, v


def _finish(c: ModelConfig, layer: Layer, mixed: jax.Array) -> jax.Array:
    """The output projection of mixed[..., heads, h]: [..., d_model]."""
    return linear(layer["wo"], mixed.reshape(*mixed.shape[:-2], c.q_dim), layer.get("bo"))


def reach(layer: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Bounds of what enters the matrices; attention averages values, which bound what it gives."""
    before = quantized.behind_norm(layer["attn_norm"])
    values = quantized.behind_matrix(layer["attn_norm"], layer["wv"], layer.get("bv"))
    out = jnp.full(layer["wo"].shape[0], jnp.max(values))
    return {**dict.fromkeys(("wq", "wk", "wv"), before), "wo": out}


MATRICES = Matrices(
    targets=("wq", "wk", "wv", "wo"),
    joined={"wqkv": ("wq", "wk", "wv"), "bqkv": ("bq", "bk", "bv")},
    few_rows={},
    reach=reach,
)
