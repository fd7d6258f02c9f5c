"""Multi-head latent attention (DeepSeek-V2 and V3): keys and values of all heads from one latent.

A token leaves in the cache its latent, normed, and one rotated key that all heads share. Whole rows
unfold keys and values of each head. A decode step moves the unfolding to the query and to what is
mixed ("absorbed"), so that the cache is read as it lies: the same sums in another order.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import constrain
from r1jax.models import attention as attn
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache_attention import Prefix
from r1jax.models.decoding.latent_attention import append_and_attend
from r1jax.models.layers import Layer, Tables, linear, rms_norm, rope
from r1jax.models.rope import Yarn
from r1jax.models.row import Kept, Matrices, Row, matrix, output_std

EPS = 1e-6
"""Of the norms of latents, whatever the other norms have."""


def rows(c: ModelConfig) -> dict[str, Row]:
    """A layer's weights: queries and latents down and up again, norms between, the output."""
    k, d, std = c.latent, c.d_model, c.init_std
    queries, unfolded = c.n_heads * (k.nope + c.head_dim), c.n_heads * (k.nope + k.value)
    weights = {
        "attn_norm": Row((d,), (None,), "input_layernorm.weight"),
        "wkv_a": matrix(
            d, k.kv_rank + c.head_dim, ("embed", None), "self_attn.kv_a_proj_with_mqa", std
        ),
        "kv_norm": Row((k.kv_rank,), (None,), "self_attn.kv_a_layernorm.weight"),
        "wkv_b": matrix(k.kv_rank, unfolded, ("rank", "heads"), "self_attn.kv_b_proj", std),
        "wo": matrix(
            c.n_heads * k.value, d, ("heads", "embed"), "self_attn.o_proj",
            output_std(std, c.n_layers),
        ),
    }  # fmt: skip
    if k.q_rank:
        weights["wq_a"] = matrix(d, k.q_rank, ("embed", None), "self_attn.q_a_proj", std)
        weights["q_norm"] = Row((k.q_rank,), (None,), "self_attn.q_a_layernorm.weight")
        weights["wq_b"] = matrix(k.q_rank, queries, ("rank", "heads"), "self_attn.q_b_proj", std)
    else:
        weights["wq"] = matrix(d, queries, ("embed", "heads"), "self_attn.q_proj", std)
    if c.attention_bias:
        down = k.kv_rank + c.head_dim
        weights["bkv_a"] = Row((down,), (None,), "self_attn.kv_a_proj_with_mqa.bias", 0.0)
        weights["bo"] = Row((d,), (None,), "self_attn.o_proj.bias", 0.0)
        if k.q_rank:
            weights["bq_a"] = Row((k.q_rank,), (None,), "self_attn.q_a_proj.bias", 0.0)
    return weights


def kept(c: ModelConfig) -> dict[str, Kept]:
    """A token's latent, normed, and behind it the shared key, rotated."""
    return {"latent": Kept((c.latent.kv_rank + c.head_dim,), (None,))}


def pairs(c: ModelConfig) -> int:
    """Products per pair of tokens: of a query with a key, of a weight with a value."""
    return c.n_heads * (c.latent.nope + c.head_dim + c.latent.value)


def full(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    tables: Tables,
    segments: attn.Segments,
    mesh: Mesh | None,
    kernel: str,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Rows x[B, T, d_model] -> (what is added to them, latents [B, T, kv_rank + rope])."""
    q_nope, q_rope, latent, k_rope = _project(c, layer, x, tables, mesh)
    unfolded = linear(layer["wkv_b"], latent)
    unfolded = unfolded.reshape(*latent.shape[:-1], c.n_heads, c.latent.nope + c.latent.value)
    k_nope, v = jnp.split(unfolded, [c.latent.nope], axis=-1)
    k_rope_each = jnp.broadcast_to(k_rope[..., None, :], q_rope.shape)
    k = jnp.concatenate([k_nope, k_rope_each], axis=-1)
    q = jnp.concatenate([q_nope, q_rope], axis=-1)
    mixed = attn.attention(q, k, v, segments, kernel, scale=scale(c), mesh=mesh)
    return _finish(layer, mixed), {"latent": jnp.concatenate([latent, k_rope], axis=-1)}


def step(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    tables: Tables,
    cache: dict[str, jax.Array],
    positions: jax.Array,
    prefix: Prefix | None,
    mesh: Mesh | None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """One token per slot, x[S, d_model], at i32[S] `positions` of caches [S, L, kv_rank + rope]."""
    q_nope, q_rope, latent, k_rope = _project(c, layer, x, tables, mesh)
    unfold = layer["wkv_b"].reshape(c.latent.kv_rank, c.n_heads, -1)
    to_keys, to_values = jnp.split(unfold, [c.latent.nope], axis=-1)  # [kv_rank, heads, ·]
    q = jnp.concatenate([jnp.einsum("shn,rhn->shr", q_nope, to_keys), q_rope], axis=-1)
    new = jnp.concatenate([latent, k_rope], axis=-1)
    mixed, held = append_and_attend(
        q, new, cache["latent"], positions, c.latent.kv_rank, scale(c), prefix, mesh
    )
    return _finish(layer, jnp.einsum("shr,rhv->shv", mixed, to_values)), {"latent": held}


def scale(c: ModelConfig) -> float:
    """1/√(nope + rope); YaRN multiplies it by the square of its correction."""
    correction = 1.0
    if isinstance(c.rope_scaling, Yarn) and c.rope_scaling.mscale_all_dim:
        correction = c.rope_scaling.correction(c.rope_scaling.mscale_all_dim)
    return correction**2 / math.sqrt(c.latent.nope + c.head_dim)


def _project(
    c: ModelConfig, layer: Layer, x: jax.Array, tables: Tables, mesh: Mesh | None
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """Queries [..., heads, nope] and [..., heads, rope], latent [..., kv_rank], key [..., rope]."""
    x = rms_norm(x, layer["attn_norm"], c.rms_eps)
    k = c.latent
    if "wa" in layer:
        q, kv = jnp.split(linear(layer["wa"], x, layer.get("ba")), [k.q_rank], axis=-1)
    else:
        kv = linear(layer["wkv_a"], x, layer.get("bkv_a"))
        q = linear(layer["wq_a"], x, layer.get("bq_a")) if k.q_rank else x
    if k.q_rank:
        q = linear(layer["wq_b"], rms_norm(q, layer["q_norm"], EPS))
    else:
        q = linear(layer["wq"], x)
    q = q.reshape(*x.shape[:-1], c.n_heads, k.nope + c.head_dim)
    rows = ("batch", "tokens") if x.ndim == 3 else ("slots",)
    # Heads stay whole: where they do not divide by the devices, XLA would cut through them.
    q = constrain(q, mesh, *rows, "heads", None)
    q_nope, q_rope = jnp.split(q, [k.nope], axis=-1)
    latent, k_rope = jnp.split(kv, [k.kv_rank], axis=-1)
    k_rope = _rotated(c, k_rope[..., None, :], tables)[..., 0, :]
    return q_nope, _rotated(c, q_rope, tables), rms_norm(latent, layer["kv_norm"], EPS), k_rope


def _rotated(c: ModelConfig, x: jax.Array, tables: Tables) -> jax.Array:
    """x[..., heads, rope] rotated in pairs of neighbours, which are left in split halves.

    Queries and keys alike, so that their products are those of neighbours left where they were.
    """
    if c.latent.interleaved:
        x = jnp.concatenate([x[..., ::2], x[..., 1::2]], axis=-1)
    return rope(x, tables)


def _finish(layer: Layer, mixed: jax.Array) -> jax.Array:
    """The output projection of mixed[..., heads, value]: [..., d_model]."""
    return linear(layer["wo"], mixed.reshape(*mixed.shape[:-2], -1), layer.get("bo"))


MATRICES = Matrices(
    targets=("wq", "wq_a", "wq_b", "wkv_a", "wkv_b", "wo"),
    joined={"wa": ("wq_a", "wkv_a"), "ba": ("bq_a", "bkv_a")},
    few_rows={},
    reach=None,
)
