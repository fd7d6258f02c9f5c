"""A mixture of experts (DeepSeek-V3): each token through a few of many, and through shared ones.

Which experts a token takes is decided by scores moved by a bias that no gradient reaches; how much
each counts, by the scores alone. All experts run over all rows, and the gates of those not chosen
are 0: at few experts, or few rows, that is as fast as the memory.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r1jax.models import expert_parallel
from r1jax.models.attention import Segments
from r1jax.models.config import ModelConfig
from r1jax.models.layers import Layer, Leaf, linear, rms_norm, swiglu
from r1jax.models.row import Kept, Matrices, Row, matrix, output_std
from r1jax.types import ROUTES, Batch, Load, Max, Mean, Metrics, segment_members

FEW = 32
"""Up to so many are ordered by comparing all with all, which costs a CPU less than sorting."""


def rows(c: ModelConfig) -> dict[str, Row]:
    """A layer's weights: the norm in front, the router with its bias, experts, shared experts."""
    e, d, std = c.experts, c.d_model, c.init_std
    out, shared = output_std(std, c.n_layers), e.shared * e.width

    def each(n_in: int, n_out: int, axes: tuple[str, str], name: str, std: float) -> Row:
        hf = f"mlp.experts.{{}}.{name}.weight"
        return Row((e.count, n_in, n_out), ("experts", *axes), hf, std, transposed=True)

    return {
        "ffn_norm": Row((d,), (None,), "post_attention_layernorm.weight"),
        "router": matrix(d, e.count, (None, None), "mlp.gate", std),
        "router_bias": Row((e.count,), (None,), "mlp.gate.e_score_correction_bias", 0.0),
        "expert_gate": each(d, e.width, ("embed", "ffn"), "gate_proj", std),
        "expert_up": each(d, e.width, ("embed", "ffn"), "up_proj", std),
        "expert_down": each(e.width, d, ("ffn", "embed"), "down_proj", out),
        "shared_gate": matrix(d, shared, ("embed", "ffn"), "mlp.shared_experts.gate_proj", std),
        "shared_up": matrix(d, shared, ("embed", "ffn"), "mlp.shared_experts.up_proj", std),
        "shared_down": matrix(shared, d, ("ffn", "embed"), "mlp.shared_experts.down_proj", out),
    }


def kept(c: ModelConfig) -> dict[str, Kept]:
    """The numbers of a token's experts, rising, in as few bytes as they take."""
    dtype = np.min_scalar_type(c.experts.count - 1)
    return {ROUTES: Kept((c.experts.chosen,), (None,), dtype)}


class Choice(NamedTuple):
    """What the router says of each token."""

    gates: jax.Array  # f32[..., experts], by which their outputs are multiplied; mostly 0
    chosen: jax.Array  # bool[..., experts]
    scores: jax.Array  # f32[..., experts], σ of the router's logits


def choose(c: ModelConfig, layer: Layer, x: jax.Array) -> Choice:
    """The router on x[..., d_model], in f32 whatever the arithmetic.

    s = σ(x·W); chosen are the k largest of s + b, in groups: those within the best groups, by the
    sum of their two largest. g = s / Σ_chosen s · scale (DeepSeek-V3, equations 12 to 16).
    """
    e = c.experts
    logits = x.astype(jnp.float32) @ layer["router"].astype(jnp.float32)
    scores = jax.nn.sigmoid(logits)
    biased = jax.lax.stop_gradient(scores + layer["router_bias"].astype(jnp.float32))
    if e.groups_kept < e.groups:
        grouped = biased.reshape(*biased.shape[:-1], e.groups, -1)
        best = jnp.sum(jnp.where(_top(grouped, 2), grouped, 0.0), axis=-1)
        kept = _top(best, e.groups_kept)[..., None]
        biased = jnp.where(kept, grouped, -jnp.inf).reshape(biased.shape)
    return weighed(c, scores, _top(biased, e.chosen))


def weighed(c: ModelConfig, scores: jax.Array, chosen: jax.Array) -> Choice:
    """The gates of bool[..., experts] `chosen`: from live scores, whoever has chosen them."""
    e = c.experts
    gates = jnp.where(chosen, scores, 0.0)
    if e.normed:
        gates /= jnp.sum(gates, axis=-1, keepdims=True) + 1e-20
    return Choice(gates * e.scale, chosen, scores)


def _top(x: jax.Array, k: int) -> jax.Array:
    """bool[..., n], True at the k largest of x[..., n]; of equal ones the first."""
    each = jnp.arange(x.shape[-1])
    if len(each) > FEW:
        return jnp.any(jax.lax.top_k(x, k)[1][..., None] == each, axis=-2)
    one, other = x[..., None], x[..., None, :]  # those that go before each other one are counted
    before = (one > other) | ((one == other) & (each[:, None] < each))
    return jnp.sum(before, axis=-2) < k


def run(
    c: ModelConfig, layer: Layer, x: jax.Array, segments: Segments | None, mesh: Mesh | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """x[..., d_model] -> (shared experts and Σ gᵢ·expertᵢ of its norm, what rows tell).

    That is which experts each token took, as `kept` says; of whole rows the load f32[experts], how
    many tokens chose each, and of each segment the balance f32[B, M] that `share` is made of.
    Where the layer comes with the sampler's choices, also whether each token's differ, bool[B, T].
    """
    x = rms_norm(x, layer["ffn_norm"], c.rms_eps)
    choice, said = choose(c, layer, x), {}
    if ROUTES in layer:
        sampled = jnp.any(layer[ROUTES][..., None] == jnp.arange(c.experts.count), axis=-2)
        said["differs"] = jnp.any(sampled != choice.chosen, axis=-1)
        if c.experts.sampled == "followed":
            # The sampler never reads a segment's last token: there is no choice to follow.
            read = segments.ids == jnp.pad(segments.ids[:, 1:], ((0, 0), (0, 1)))
            chosen = jnp.where(read[..., None], sampled, choice.chosen)
            choice = weighed(c, choice.scores, chosen)
    said[ROUTES] = _numbers(c, choice.chosen)
    if expert_parallel.wanted(c, x, mesh):
        ids = said[ROUTES].astype(jnp.int32)
        routed, needed = _dispatched(c, layer, x, (ids, choice.gates), segments, mesh)
    else:
        routed, needed = _mixed(layer, x, choice.gates.astype(x.dtype)), {}
    y = routed + _shared(layer, x)
    return y, said | ({} if segments is None else told(c, choice, segments) | needed)


def _numbers(c: ModelConfig, chosen: jax.Array) -> jax.Array:
    """The numbers of bool[..., experts] `chosen`, rising: [..., k] in the type of `kept`."""
    (record,) = kept(c).values()
    numbers = jnp.arange(c.experts.count, dtype=record.dtype)[:, None]
    place = jnp.cumsum(chosen, axis=-1) - 1
    own = chosen[..., None] & (place[..., None] == jnp.arange(c.experts.chosen))
    return jnp.sum(jnp.where(own, numbers, 0), axis=-2, dtype=record.dtype)


def _dispatched(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    chosen: tuple[jax.Array, jax.Array],
    segments: Segments | None,
    mesh: Mesh,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """As `_mixed`, each token at the devices of its experts; and what the exchange tells.

    `chosen` are numbers i32[..., k] and, of all experts, gates f32[..., experts].
    """
    ids, gates = chosen
    gates = jnp.take_along_axis(gates, ids, axis=-1)
    rows = (x, ids, gates) if x.ndim == 3 else (a[:, None] for a in (x, ids, gates))
    x3, ids, gates = rows
    real = jnp.ones(x3.shape[:2], bool) if segments is None else segments.ids > 0
    y, needed = expert_parallel.mixed(c, layer, x3, (ids, gates), real, mesh)
    return y.reshape(x.shape), needed._asdict() if expert_parallel.axes(c, mesh) else {}


def _mixed(layer: Layer, x: jax.Array, gates: jax.Array) -> jax.Array:
    """Σᵢ gᵢ·(silu(x·Wᵢ_gate) ⊙ x·Wᵢ_up)·Wᵢ_down over all experts, gates[..., experts]."""
    gate, up = (_through_all(layer[name], x) for name in ("expert_gate", "expert_up"))
    inner = swiglu(gate, up) * gates[..., None]
    return jnp.einsum("...ew,ewd->...d", inner, layer["expert_down"].astype(x.dtype))


def _through_all(leaf: jax.Array | Leaf, x: jax.Array) -> jax.Array:
    """x[..., d] times the matrix [d, w] of each expert: [..., experts, w]."""
    if hasattr(leaf, "apply"):
        return leaf.apply(x)
    return jnp.einsum("...d,edw->...ew", x, leaf.astype(x.dtype))


def _shared(layer: Layer, x: jax.Array) -> jax.Array:
    if "shared_gate_up" in layer:
        gate, up = jnp.split(linear(layer["shared_gate_up"], x), 2, axis=-1)
    else:
        gate, up = linear(layer["shared_gate"], x), linear(layer["shared_up"], x)
    return linear(layer["shared_down"], swiglu(gate, up))


def told(c: ModelConfig, choice: Choice, segments: Segments) -> dict[str, jax.Array]:
    """The load and each segment's Σᵢ fᵢ·Pᵢ (equations 17 to 20): 1 where all experts are equal.

    fᵢ = experts / (k·T) · tokens that chose i; Pᵢ = mean of i's share in a token's scores.
    """
    members = segment_members(segments.ids, segments.max_segments).astype(jnp.float32)
    shares = choice.scores / jnp.sum(choice.scores, axis=-1, keepdims=True)
    counts = jnp.einsum("btm,bte->bme", members, choice.chosen.astype(jnp.float32))
    sums = jnp.einsum("btm,bte->bme", members, shares)
    tokens = jnp.maximum(jnp.sum(members, axis=1), 1.0)  # [B, M]
    balance = jnp.sum(counts * sums, axis=-1) / tokens**2 * (c.experts.count / c.experts.chosen)
    return {"load": jnp.sum(counts, axis=(0, 1)), "balance": balance}


def share(c: ModelConfig, told: dict[str, jax.Array], batch: Batch) -> tuple[jax.Array, Metrics]:
    """α·Σ balance over layers and sequences / sequences of the update, and how experts are used."""
    total, layers = jnp.sum(told["balance"]), told["balance"].shape[0]
    sequences = jnp.sum(told["balance"][0] > 0) * layers
    metrics = {
        "experts/balance": Mean(total, sequences * 1.0),
        "experts/load_max": Load(told["load"]),
    }
    if "differs" in told:  # of the tokens that predict a learnt one
        predicts = jnp.pad(batch.mask[:, 1:], ((0, 0), (0, 1)))
        found = Mean(jnp.sum(told["differs"] * predicts), layers * jnp.sum(predicts))
        metrics["policy/route_diff_frac"] = found
    return c.experts.balance * total / batch.n_sequences, metrics | room_needed("experts", told)


def room_needed(name: str, told: dict[str, jax.Array]) -> Metrics:
    """How much room tokens needed at the devices of their experts, where these are spread."""
    if "lost" not in told:
        return {}
    lost = Mean(jnp.sum(told["lost"]), jnp.ones(()))
    return {f"{name}/lost": lost, f"{name}/fullest": Max(jnp.max(told["fullest"]))}


MATRICES = Matrices(
    targets=("shared_gate", "shared_up", "shared_down"),
    joined={"shared_gate_up": ("shared_gate", "shared_up")},
    # As they are stored XLA would turn them in every step, to make one product of all experts'.
    few_rows={"expert_gate": "turned", "expert_up": "turned"},
    reach=None,
    wide=("router", "router_bias"),
)
