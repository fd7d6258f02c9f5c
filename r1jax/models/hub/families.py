"""Families of models: each a function from a config.json to a ModelConfig."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from r1jax.errors import UserError
from r1jax.models.config import ARCHITECTURES, ModelConfig
from r1jax.models.hub import deepseek, rope
from r1jax.models.hub.keys import NEUTRAL, flag, number, refuse, shown, token_ids, whole
from r1jax.models.rope import Dynamic

Family = Callable[[Mapping[str, Any]], ModelConfig]
"""Reads the object of a config.json; raises UserError for a variant it does not support.

The message says what is wrong in it; `models.hub.directory.read_config` puts the file's name first.
"""


def qwen2(raw: Mapping[str, Any]) -> ModelConfig:
    """Qwen2 and Qwen2.5: biases on queries, keys and values."""
    return dense(raw, attention_bias=True, **windows(raw))


def qwen3(raw: Mapping[str, Any]) -> ModelConfig:
    """Qwen3: queries and keys are normed per head."""
    head_dim, bias = number(raw, "head_dim", int, 128), flag(raw, "attention_bias")
    own = dict(head_dim=head_dim, attention_bias=bias, output_bias=bias, qk_norm=True)
    return dense(raw, **own, **windows(raw))


def llama(raw: Mapping[str, Any]) -> ModelConfig:
    """Llama 2 and 3.x; some of its kin have biases everywhere."""
    bias, longest = flag(raw, "attention_bias"), number(raw, "max_position_embeddings", int, 2048)
    return dense(
        raw,
        attention_bias=bias,
        output_bias=bias,
        ffn_bias=flag(raw, "mlp_bias"),
        max_position=longest,
    )


def deepseek_v3(raw: Mapping[str, Any]) -> ModelConfig:
    """DeepSeek-V3 and R1, and models of their shape (Moonlight, Kimi K2)."""
    bias = flag(raw, "attention_bias")
    own = dict(family="deepseek_v3", architecture="", attention_bias=bias, output_bias=bias)
    longest = number(raw, "max_position_embeddings", int, 4096)
    return dense(raw, reads=deepseek.READS, max_position=longest, **own, **deepseek.fields(raw))


HEADS = re.compile(
    r"For(?:SequenceClassification|TokenClassification|QuestionAnswering|MultipleChoice|MaskedLM)$"
)
"""Ends of classes of transformers that say something else than the next token."""
FAMILIES: dict[str, Family] = {
    "qwen2": qwen2,
    "qwen3": qwen3,
    "llama": llama,
    "deepseek_v3": deepseek_v3,
    "kimi_k2": deepseek_v3,
}


def from_hf(raw: Mapping[str, Any]) -> ModelConfig:
    """Reads a config.json by its `model_type`, one of `FAMILIES`.

    Raises UserError for another one, a missing key or an unsupported variant.
    """
    family = raw.get("model_type")
    if not isinstance(family, str) or family not in FAMILIES:
        raise UserError(
            f"model_type {shown(family)} is not one of {', '.join(FAMILIES)}; a function that "
            "reads another family is given by --family package.module:function"
        )
    return FAMILIES[family](raw)


def dense(raw: Mapping[str, Any], reads: Collection[str] = (), **fields: Any) -> ModelConfig:
    """A Llama-shaped decoder from the keys such families share; `fields` are set on top.

    Pre-norm layers of attention with rotary positions and of SwiGLU, RMSNorms; biases, `qk_norm`,
    `window`, `tied`, `extra`, `renames` and every other field of ModelConfig may be given. Raises
    UserError where a key is missing, of another type, or asks for another arithmetic, unless it is
    one of the family's `extra` keys, or of those that it `reads` itself.
    """
    own = {*dict(fields.get("extra", ())), *reads}
    refuse(raw, **{key: values for key, values in NEUTRAL.items() if key not in own})
    if "window" not in fields and "sliding_window" not in own:
        refuse(raw, sliding_window=(None,), use_sliding_window=(None, False))
        if any(_layer_types(raw) or ()):
            raise UserError("layer_types asks for sliding_attention; this family has no windows")
    eps = number(raw, "rms_norm_eps", float, 1e-6)
    if eps >= 1:
        raise UserError(f"rms_norm_eps is {shown(eps)}; it must be above 0 and below 1")
    heads, d_model = number(raw, "num_attention_heads", int), number(raw, "hidden_size", int)
    kv_heads = number(raw, "num_key_value_heads", int, heads)
    if heads % kv_heads:
        raise UserError(f"num_attention_heads {heads} is no multiple of {kv_heads} key-value heads")
    vocab_size = number(raw, "vocab_size", int)
    bos = token_ids(raw, "bos_token_id", vocab_size)
    longest = fields.get("max_position")
    longest = longest or number(raw, "max_position_embeddings", int, 32768)
    theta, scaling = rope.read(raw, longest)
    shared = dict(
        **_name(raw),
        vocab_size=vocab_size,
        d_model=d_model,
        d_ff=number(raw, "intermediate_size", int),
        n_layers=number(raw, "num_hidden_layers", int),
        n_heads=heads,
        n_kv_heads=kv_heads,
        head_dim=number(raw, "head_dim", int, d_model // heads),
        max_position=longest,
        rope_theta=theta,
        rope_scaling=scaling,
        rms_eps=eps,
        tied=flag(raw, "tie_word_embeddings"),
        bos_id=bos[0] if bos else None,
        eos_ids=token_ids(raw, "eos_token_id", vocab_size),
        init_std=number(raw, "initializer_range", float, 0.02),
    )
    return ModelConfig(**(shared | fields))


def _name(raw: Mapping[str, Any]) -> dict[str, str]:
    """The family, and where r1jax does not know it the class of transformers it belongs to."""
    family, classes = raw.get("model_type"), raw.get("architectures") or []
    named = isinstance(classes, (list, tuple)) and all(isinstance(name, str) for name in classes)
    if named and (other := next(filter(HEADS.search, classes), None)):
        raise UserError(f"architectures names {shown(other)}; only models of text are read")
    if family in ARCHITECTURES:
        return {"family": family}
    if not isinstance(family, str) or not named:
        raise UserError(
            f"model_type is {shown(family)} and architectures {shown(classes)}; "
            "they must be a name and a list of names"
        )
    return {"family": family, "architecture": classes[0] if classes else ""}


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
    unsaid = config.family not in ARCHITECTURES and "sliding_window" not in dict(config.extra)
    if config.window and unsaid:
        raise UserError("the family's window would be lost on export; name it in `extra` too")
    if config.head_dim % 2:
        raise UserError(f"head_dim is {config.head_dim}; rotary positions need an even one")
    if isinstance(config.rope_scaling, Dynamic) and config.head_dim < 4:
        raise UserError("head_dim is 2; the rope type dynamic needs 4 or more")
    if config.windowed and len(config.windowed) != config.n_layers:
        raise UserError(f"{len(config.windowed)} windows are said for {config.n_layers} layers")
    return config


def windows(raw: Mapping[str, Any]) -> dict[str, Any]:
    """`window` and `windowed` as the Qwen families say them: a switch, then layer by layer.

    Where no `layer_types` are listed, those from `max_window_layers` on have the window.
    """
    on, listed, first = (
        flag(raw, "use_sliding_window"),
        _layer_types(raw),
        whole(raw, "max_window_layers", 28),
    )
    # Without the switch a width says nothing: Qwen2.5 names one that it does not use.
    named = raw.get("sliding_window", 4096)
    asked = named if on else None
    window = 0 if asked is None else number({"sliding_window": asked}, "sliding_window", int)
    if listed is None:
        layers = number(raw, "num_hidden_layers", int)
        listed = tuple(window > 0 and i >= first for i in range(layers))
    if any(listed) and not window:
        raise UserError(
            "layer_types asks for sliding_attention; use_sliding_window must be true and "
            "sliding_window say how many tokens such a layer sees"
        )
    return {"window": window, "windowed": listed} if any(listed) else {"window": 0}


def _layer_types(raw: Mapping[str, Any]) -> tuple[bool, ...] | None:
    """By layer, whether `layer_types` gives it a sliding window; None where it is absent."""
    known = {"full_attention": False, "attention": False, "sliding_attention": True}
    types = raw.get("layer_types")
    if types is None:
        return None
    listed = isinstance(types, (list, tuple))
    strange = [t for t in types if t not in tuple(known)] if listed else [types]
    if strange:
        raise UserError(
            f"layer_types holds {shown(strange[0])}; full_attention and sliding_attention are read"
        )
    layers = number(raw, "num_hidden_layers", int)
    if len(types) != layers:
        raise UserError(f"layer_types has {len(types)} entries for {layers} layers")
    return tuple(known[t] for t in types)
