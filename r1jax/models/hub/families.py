"""Families of models: each a function from a config.json to a ModelConfig."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from r1jax.errors import UserError
from r1jax.models.config import ARCHITECTURES, ModelConfig, RopeScaling

Family = Callable[[Mapping[str, Any]], ModelConfig]
"""Reads the object of a config.json; raises UserError for a variant it does not support.

The message says what is wrong in it; `models.hub.directory.read_config` puts the file's name first.
"""


def qwen2(raw: Mapping[str, Any]) -> ModelConfig:
    """Qwen2 and Qwen2.5: biases on queries, keys and values."""
    return dense(raw, attention_bias=True)


def qwen3(raw: Mapping[str, Any]) -> ModelConfig:
    """Qwen3: queries and keys are normed per head."""
    refuse(raw, attention_bias=(None, False))
    return dense({"head_dim": 128, **raw}, qk_norm=True)


def llama(raw: Mapping[str, Any]) -> ModelConfig:
    """Llama 2 and 3.x."""
    refuse(raw, attention_bias=(None, False), mlp_bias=(None, False))
    return dense(raw)


FAMILIES: dict[str, Family] = {"qwen2": qwen2, "qwen3": qwen3, "llama": llama}


def from_hf(raw: Mapping[str, Any]) -> ModelConfig:
    """Reads a config.json by its `model_type`, one of `FAMILIES`.

    Raises UserError for another one, a missing key or an unsupported variant.
    """
    family = raw.get("model_type")
    if family not in FAMILIES:
        raise UserError(
            f"model_type {family!r} is not one of {', '.join(FAMILIES)}; a function that "
            "reads another family is given by --family package.module:function"
        )
    return FAMILIES[family](raw)


def refuse(raw: Mapping[str, Any], **supported: Sequence[Any]) -> None:
    """Raises UserError where a key holds none of the values named; absent reads as None."""
    for key, values in supported.items():
        if raw.get(key) not in values:
            rest = [v for v in values if v is not None] or ["null"]
            raise UserError(f"{key} {raw[key]!r} is not supported; only {rest[0]!r} is")


def dense(raw: Mapping[str, Any], **fields: Any) -> ModelConfig:
    """A Llama-shaped decoder from the keys such families share; `fields` are set on top.

    Pre-norm layers of attention with rotary positions and of SwiGLU, RMSNorms; `attention_bias`,
    `qk_norm`, `tied`, `extra`, `renames` and every other field of ModelConfig may be given. Raises
    UserError where a key is missing, of another type, or asks for another arithmetic.
    """
    refuse(
        raw,
        hidden_act=(None, "silu"),
        use_sliding_window=(None, False),
        quantization_config=(None,),
    )
    theta, scaling = _rope(raw)
    heads, d_model = _read(raw, "num_attention_heads", int), _read(raw, "hidden_size", int)
    kv_heads = _read(raw, "num_key_value_heads", int, heads)
    if heads % kv_heads:
        raise UserError(f"num_attention_heads {heads} is no multiple of {kv_heads} key-value heads")
    family = str(raw.get("model_type"))
    # Of a family r1jax knows, the class follows from the name.
    classes = [] if family in ARCHITECTURES else raw.get("architectures") or []
    shared = dict(
        family=family,
        architecture=classes[0] if classes else "",
        vocab_size=_read(raw, "vocab_size", int),
        d_model=d_model,
        d_ff=_read(raw, "intermediate_size", int),
        n_layers=_read(raw, "num_hidden_layers", int),
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=_read(raw, "head_dim", int, d_model // heads),
        max_position=_read(raw, "max_position_embeddings", int, 32768),
        rope_theta=theta,
        rope_scaling=scaling,
        rms_eps=_read(raw, "rms_norm_eps", float, 1e-6),
        tied=bool(raw.get("tie_word_embeddings", False)),
        bos_id=raw.get("bos_token_id"),
        eos_ids=token_ids(raw.get("eos_token_id")),
        init_std=_read(raw, "initializer_range", float, 0.02),
    )
    return ModelConfig(**(shared | fields))


def checked(config: Any) -> ModelConfig:
    """What a family's function returned; UserError unless it can be trained and written back."""
    if not isinstance(config, ModelConfig):
        raise UserError(f"the family's function gave a {type(config).__name__}, not a ModelConfig")
    try:
        hash(config)
    except TypeError as error:
        raise UserError(f"the family's ModelConfig holds an {error}; use tuples") from error
    if not config.architecture and config.family not in ARCHITECTURES:
        raise UserError(f"architectures names no class of transformers for {config.family!r}")
    return config


def token_ids(value: Any) -> tuple[int, ...]:
    """A key that holds one token id, a list of them, or null; UserError where it holds none."""
    ids = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    if not all(isinstance(i, int) for i in ids):
        raise UserError(f"{value!r} is no token id, list of token ids or null")
    return tuple(ids)


def _read(raw: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    """A positive number of a config.json, as int or float; `default` where absent or null."""
    value = raw.get(key)
    if value is None and default is not None:
        return default
    if value is None:
        raise UserError(f"key {key!r} is missing")
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or kind(value) != value or value <= 0:
        word = "a whole number" if kind is int else "a number"
        raise UserError(f"{key} is {value!r}; it must be {word} above 0")
    return kind(value)


def _rope(raw: Mapping[str, Any]) -> tuple[float, RopeScaling | None]:
    """Rotary base and scaling from either layout: `rope_parameters` or the older pair of keys."""
    refuse(raw, partial_rotary_factor=(None, 1.0))
    nested = raw.get("rope_parameters") or raw.get("rope_scaling") or {}
    if not isinstance(nested, Mapping):
        raise UserError(f"rope_scaling is {nested!r}; it must be an object or null")
    refuse(nested, partial_rotary_factor=(None, 1.0))
    theta = _read({**raw, **nested}, "rope_theta", float, 10000.0)
    kind = nested.get("rope_type", nested.get("type", "default"))
    if kind == "default":
        return theta, None
    if kind != "llama3":
        raise UserError(f"rope type {kind!r} is not supported; use default or llama3")
    return theta, RopeScaling(
        factor=_read(nested, "factor", float),
        low_freq_factor=_read(nested, "low_freq_factor", float),
        high_freq_factor=_read(nested, "high_freq_factor", float),
        original_max_position=_read(nested, "original_max_position_embeddings", int),
    )
