"""The dense feed-forward: SwiGLU behind a norm, every token through the same matrices."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.models.attention import Segments
from r1jax.models.config import ModelConfig
from r1jax.models.decoding import quantized
from r1jax.models.layers import Layer, linear, rms_norm, swiglu
from r1jax.models.row import Matrices, Row, matrix, output_std


def rows(c: ModelConfig) -> dict[str, Row]:
    """A layer's weights: the norm in front, three matrices, and their biases if any."""
    d, ff, std = c.d_model, c.d_ff, c.init_std
    weights = {
        "ffn_norm": Row((d,), (None,), "post_attention_layernorm.weight"),
        "gate": matrix(d, ff, ("embed", "ffn"), "mlp.gate_proj", std),
        "up": matrix(d, ff, ("embed", "ffn"), "mlp.up_proj", std),
        "down": matrix(ff, d, ("ffn", "embed"), "mlp.down_proj", output_std(std, c.n_layers)),
    }
    if c.ffn_bias:
        weights["bgate"] = Row((ff,), ("ffn",), "mlp.gate_proj.bias", 0.0)
        weights["bup"] = Row((ff,), ("ffn",), "mlp.up_proj.bias", 0.0)
        weights["bdown"] = Row((d,), (None,), "mlp.down_proj.bias", 0.0)
    return weights


def run(
    c: ModelConfig, layer: Layer, x: jax.Array, segments: Segments | None, mesh: Mesh | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """x[..., d_model] -> ((silu(n·W_gate) ⊙ n·W_up)·W_down of its norm n, nothing to tell)."""
    x = rms_norm(x, layer["ffn_norm"], c.rms_eps)
    if "gate_up" in layer:
        both = linear(layer["gate_up"], x, layer.get("bgate_up"))
        gate, up = jnp.split(both, 2, axis=-1)
    else:
        gate, up = (linear(layer[n], x, layer.get(f"b{n}")) for n in ("gate", "up"))
    return linear(layer["down"], swiglu(gate, up), layer.get("bdown")), {}


def reach(layer: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Bounds of what enters the matrices; |silu(a)·b| <= |a|·|b|."""
    before = quantized.behind_norm(layer["ffn_norm"])
    gate, up = (
        quantized.behind_matrix(layer["ffn_norm"], layer[n], layer.get(f"b{n}"))
        for n in ("gate", "up")
    )
    return {"gate": before, "up": before, "down": gate * up}


MATRICES = Matrices(
    targets=("gate", "up", "down"),
    joined={"gate_up": ("gate", "up"), "bgate_up": ("bgate", "bup")},
    few_rows={"gate_up": "turned", "down": "pieces"},
    reach=reach,
)
