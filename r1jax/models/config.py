"""What a model is: a frozen, hashable description, read from and written to a config.json."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1jax.errors import UserError

FAMILIES = ("qwen2", "qwen3", "llama")
REQUIRED = (
    "vocab_size",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
)


@dataclass(frozen=True)
class Stack:
    """A run of equal layers: one `lax.scan` in training."""

    kind: str
    layers: int


@dataclass(frozen=True)
class RopeScaling:
    """Llama 3's stretching of low rotary frequencies (`rope_type` "llama3")."""

    factor: float
    low_freq_factor: float
    high_freq_factor: float
    original_max_position: int


@dataclass(frozen=True)
class ModelConfig:
    """Shape of a decoder; static under jit."""

    family: str
    vocab_size: int
    d_model: int
    d_ff: int
    n_layers: int
    n_heads: int
    n_kv_heads: int
    head_dim: int
    max_position: int
    rope_theta: float = 10000.0
    rope_scaling: RopeScaling | None = None
    rms_eps: float = 1e-6
    attention_bias: bool = False
    qk_norm: bool = False
    tied: bool = True
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    init_std: float = 0.02

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Homogeneous runs of layers, in order; the dense families have one."""
        return (Stack("dense", self.n_layers),)

    @property
    def q_dim(self) -> int:
        """Width of all query heads together."""
        return self.n_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key (or value) heads together."""
        return self.n_kv_heads * self.head_dim


def _ids(value: Any) -> tuple[int, ...]:
    if value is None:
        return ()
    return tuple(value) if isinstance(value, (list, tuple)) else (int(value),)


def _require(raw: Mapping[str, Any], keys: Sequence[str], where: str) -> None:
    for key in keys:
        if key not in raw:
            raise UserError(f"{where}: key {key!r} is missing")


def _rope(raw: Mapping[str, Any], where: str) -> tuple[float, RopeScaling | None]:
    """Rotary base and scaling from either layout: `rope_parameters` or the older pair of keys."""
    nested = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    theta = float(nested.get("rope_theta", raw.get("rope_theta", 10000.0)))
    kind = nested.get("rope_type", nested.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise UserError(f"{where}: rope type {kind!r} is not supported; use default or llama3")
    stretch = ("factor", "low_freq_factor", "high_freq_factor", "original_max_position_embeddings")
    _require(nested, stretch, where)
    return theta, RopeScaling(
        factor=float(nested["factor"]),
        low_freq_factor=float(nested["low_freq_factor"]),
        high_freq_factor=float(nested["high_freq_factor"]),
        original_max_position=int(nested["original_max_position_embeddings"]),
    )


def from_hf(raw: Mapping[str, Any], where: str = "config.json") -> ModelConfig:
    """Reads the Hugging Face keys of a dense family (`FAMILIES`).

    Raises UserError for another `model_type`, a missing key or an unsupported variant.
    """
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise UserError(f"{where}: model_type {family!r} is not one of {', '.join(FAMILIES)}")
    _require(raw, REQUIRED, where)
    if raw.get("hidden_act", "silu") != "silu":
        raise UserError(f"{where}: hidden_act {raw['hidden_act']!r} is not supported; use silu")
    if raw.get("use_sliding_window"):
        raise UserError(f"{where}: use_sliding_window is not supported; set it to false")
    theta, scaling = _rope(raw, where)
    heads = int(raw["num_attention_heads"])
    return ModelConfig(
        family=family,
        vocab_size=int(raw["vocab_size"]),
        d_model=int(raw["hidden_size"]),
        d_ff=int(raw["intermediate_size"]),
        n_layers=int(raw["num_hidden_layers"]),
        n_heads=heads,
        n_kv_heads=int(raw.get("num_key_value_heads") or heads),
        head_dim=int(raw.get("head_dim") or raw["hidden_size"] // heads),
        max_position=int(raw.get("max_position_embeddings", 32768)),
        rope_theta=theta,
        rope_scaling=scaling,
        rms_eps=float(raw.get("rms_norm_eps", 1e-6)),
        attention_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        tied=bool(raw.get("tie_word_embeddings", False)),
        bos_id=raw.get("bos_token_id"),
        eos_ids=_ids(raw.get("eos_token_id")),
        init_std=float(raw.get("initializer_range", 0.02)),
    )


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """The config.json that `transformers` reads; inverse of `from_hf`."""
    names = {"qwen2": "Qwen2", "qwen3": "Qwen3", "llama": "Llama"}
    rope: dict[str, Any] = {"rope_type": "default", "rope_theta": config.rope_theta}
    if config.rope_scaling is not None:
        scaling = config.rope_scaling
        rope |= {
            "rope_type": "llama3",
            "factor": scaling.factor,
            "low_freq_factor": scaling.low_freq_factor,
            "high_freq_factor": scaling.high_freq_factor,
            "original_max_position_embeddings": scaling.original_max_position,
        }
    eos = list(config.eos_ids)
    return {
        "architectures": [f"{names[config.family]}ForCausalLM"],
        "model_type": config.family,
        "vocab_size": config.vocab_size,
        "hidden_size": config.d_model,
        "intermediate_size": config.d_ff,
        "num_hidden_layers": config.n_layers,
        "num_attention_heads": config.n_heads,
        "num_key_value_heads": config.n_kv_heads,
        "head_dim": config.head_dim,
        "max_position_embeddings": config.max_position,
        "hidden_act": "silu",
        "rms_norm_eps": config.rms_eps,
        "initializer_range": config.init_std,
        "tie_word_embeddings": config.tied,
        "attention_bias": False,
        "rope_parameters": rope,
        "rope_theta": config.rope_theta,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos[0] if len(eos) == 1 else (eos or None),
        "dtype": "float32",
    }
