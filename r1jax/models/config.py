"""What a model is: a frozen, hashable description, and the config.json it is written to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

ARCHITECTURES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
}
"""The class of `transformers` that each family r1jax knows by itself belongs to."""


@dataclass(frozen=True)
class Stack:
    """A run of layers of the same kinds (`r1jax.models.kinds`): one `lax.scan` in training."""

    attention: str
    ffn: str
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
    """Shape of a decoder; static under jit, so every field is hashable.

    `family` is Hugging Face's `model_type`. A family that is none of `ARCHITECTURES` also names its
    `architecture`; `extra` holds keys of its config.json that r1jax reads nothing from but writes
    back, and `renames` the parts of tensor names it spells otherwise, as (Llama's, its own).
    """

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
    architecture: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    renames: tuple[tuple[str, str], ...] = ()

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Homogeneous runs of layers, in order; the dense families have one."""
        return (Stack("grouped", "dense", self.n_layers),)

    @property
    def q_dim(self) -> int:
        """Width of all query heads together."""
        return self.n_heads * self.head_dim

    @property
    def kv_dim(self) -> int:
        """Width of all key (or value) heads together."""
        return self.n_kv_heads * self.head_dim


def to_hf(config: ModelConfig) -> dict[str, Any]:
    """The config.json that `transformers` reads; inverse of `r1jax.models.hub.families.from_hf`."""
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
        "architectures": [config.architecture or ARCHITECTURES[config.family]],
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
        "rope_parameters": rope,
        "rope_theta": config.rope_theta,
        "bos_token_id": config.bos_id,
        "eos_token_id": eos[0] if len(eos) == 1 else (eos or None),
        "dtype": "float32",
        **dict(config.extra),
    }
