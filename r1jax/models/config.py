"""What a model is: a frozen, hashable description, and the config.json it is written to."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.models.rope import RopeScaling
from r1jax.models.rope import to_hf as scaling_to_hf

ARCHITECTURES = {
    "qwen2": "Qwen2ForCausalLM",
    "qwen3": "Qwen3ForCausalLM",
    "llama": "LlamaForCausalLM",
    "deepseek_v3": "DeepseekV3ForCausalLM",
}
"""The class of `transformers` that each family r1jax knows by itself belongs to."""


@dataclass(frozen=True)
class Stack:
    """A run of layers of the same kinds (`r1jax.models.kinds`): one `lax.scan` in training."""

    attention: str
    ffn: str
    layers: int


@dataclass(frozen=True)
class Latent:
    """Widths of latent attention (`r1jax.models.latent`); `head_dim` is that of rotated parts."""

    q_rank: int  # of the latent that queries come from; 0: they come from the stream itself
    kv_rank: int  # of the latent that keys and values come from
    nope: int  # of the part of a head's query and key that is not rotated
    value: int  # of a head's value
    interleaved: bool = True  # whether neighbours are rotated together, not halves


@dataclass(frozen=True)
class Experts:
    """A mixture of experts (`r1jax.models.experts`)."""

    count: int
    chosen: int  # for each token
    width: int  # of an expert
    shared: int  # how many experts' widths the one that all tokens take has
    groups: int = 1
    groups_kept: int = 1  # groups that a token's experts are chosen from
    scale: float = 1.0  # of the gates
    normed: bool = True  # whether a token's gates add up to `scale`
    # Training's, not in a config.json:
    balance: float = 0.0  # weight of the balance loss
    room: float = 0.0  # of the experts of a device, over an even share; 0: all that could be needed
    sampled: Literal["", "compared", "followed"] = ""  # what is made of the sampler's choices


@dataclass(frozen=True)
class Ahead:
    """A module that predicts one token further (`r1jax.models.multi_token`): training's part.

    It stands in no config.json.
    """

    weight: float = 0.0  # of its loss
    alone: bool = True  # whether the model below learns nothing from that


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
    attention_bias: bool = False  # of queries, keys and values
    output_bias: bool = False  # of attention's output projection
    ffn_bias: bool = False
    qk_norm: bool = False
    window: int = 0  # tokens that a windowed layer sees, the own one included; 0: no window
    windowed: tuple[bool, ...] = ()  # by layer, whether it has the window; empty: all have it
    latent: Latent | None = None
    experts: Experts | None = None
    dense_layers: int = 0  # before those with experts
    ahead: Ahead | None = None
    tied: bool = True
    bos_id: int | None = None
    eos_ids: tuple[int, ...] = ()
    init_std: float = 0.02
    architecture: str = ""
    extra: tuple[tuple[str, Any], ...] = ()
    renames: tuple[tuple[str, str], ...] = ()

    @property
    def stacks(self) -> tuple[Stack, ...]:
        """Homogeneous runs of layers, in order; the dense families without windows have one."""
        if self.latent is not None:
            attention = ("latent",) * self.n_layers
        else:
            attention = tuple("windowed" if has else "grouped" for has in self.has_window)
        dense = self.n_layers if self.experts is None else self.dense_layers
        ffn = ("dense",) * dense + ("experts",) * (self.n_layers - dense)
        runs = itertools.groupby(zip(attention, ffn, strict=True))
        return tuple(Stack(*kinds, len(list(run))) for kinds, run in runs)

    @property
    def has_window(self) -> tuple[bool, ...]:
        """By layer, whether it sees the latest tokens alone."""
        whole = (self.window > 0,) * self.n_layers
        return self.windowed if self.window and self.windowed else whole

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
    rope = {"rope_theta": config.rope_theta, **scaling_to_hf(config.rope_scaling)}
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
        **_parts(config),
        **dict(config.extra),
    }


def _parts(config: ModelConfig) -> dict[str, Any]:
    """Keys of what only some models have: biases that a family may lack, windows."""
    biases = {"attention_bias": config.output_bias, "mlp_bias": config.ffn_bias}
    parts: dict[str, Any] = {key: True for key, there in biases.items() if there}
    # Another family says its window in its own words, among its `extra` keys.
    if any(config.has_window) and config.family in ARCHITECTURES:
        kinds = {False: "full_attention", True: "sliding_attention"}
        parts |= {
            "use_sliding_window": True,
            "sliding_window": config.window,
            "max_window_layers": config.has_window.index(True),
            "layer_types": [kinds[has] for has in config.has_window],
        }
    if config.latent is not None:
        parts |= {
            "q_lora_rank": config.latent.q_rank or None,
            "kv_lora_rank": config.latent.kv_rank,
            "qk_nope_head_dim": config.latent.nope,
            "qk_rope_head_dim": config.head_dim,
            "v_head_dim": config.latent.value,
            "rope_interleave": config.latent.interleaved,
        }
    return parts | (_experts(config, config.experts) if config.experts is not None else {})


def _experts(config: ModelConfig, experts: Experts) -> dict[str, Any]:
    return {
        "first_k_dense_replace": config.dense_layers,
        "n_routed_experts": experts.count,
        "num_experts_per_tok": experts.chosen,
        "moe_intermediate_size": experts.width,
        "n_shared_experts": experts.shared,
        "n_group": experts.groups,
        "topk_group": experts.groups_kept,
        "routed_scaling_factor": experts.scale,
        "norm_topk_prob": experts.normed,
        "num_nextn_predict_layers": int(config.ahead is not None),
        # What other readers than transformers ask for.
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "moe_layer_freq": 1,
    }
