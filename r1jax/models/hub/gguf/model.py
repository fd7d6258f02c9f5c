"""The model in a GGUF file: its metadata as a config.json, its tensors as Hugging Face's."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from r1jax.errors import UserError
from r1jax.models.hub.gguf.file import Header, read_header
from r1jax.models.hub.gguf.tensors import View, turned_heads
from r1jax.models.hub.keys import Asked, shown
from r1jax.models.hub.shards import Stored, say
from r1jax.models.rope import ORIGINAL, Llama3, to_hf

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""What `general.architecture` may be; these are Hugging Face's model types as well."""

KEYS = {
    "block_count": "num_hidden_layers",
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.key_length": "head_dim",
    "rope.freq_base": "rope_theta",
}
"""Key of a GGUF file, after its architecture -> key of a config.json."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "attention.sliding_window": (0,),
    "attention.causal": (True,),
    "attention.scale": (0.0,),
    "attention.clamp_kqv": (0.0,),
    "attention.max_alibi_bias": (0.0,),
    "expert_count": (0,),
    "expert_used_count": (0,),
    "logit_scale": (0.0, 1.0),
    "embedding_scale": (0.0, 1.0),
    "residual_scale": (0.0, 1.0),
    "use_parallel_residual": (False,),
    "rope.scaling.attn_factor": (1.0, 0.0),
    "rope.scaling.yarn_ext_factor": (1.0, -1.0),
    "rope.scaling.yarn_attn_factor": (1.0, 0.0),
    "rope.scaling.yarn_log_multiplier": (0.0,),
    "rope.scale_linear": (0.0, 1.0),
    "tensor_data_layout": ("Meta AI original pth",),
    "pooling_type": (0,),
}
"""Key -> values with which it asks for nothing that the Llama-shaped decoder does not do."""

WEIGHTS = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""A layer's tensors at GGUF -> at Hugging Face."""

OUTSIDE = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
DIVISORS = "rope_freqs.weight"
"""What rotary frequencies are divided by, f32[head_dim / 2]: Llama 3's scaling."""


def their_name(name: str) -> str:
    """Hugging Face's name of a tensor; its own where it has none there."""
    layer = re.fullmatch(r"blk\.(\d+)\.(\w+)\.(weight|bias)", name)
    if layer and layer[2] in WEIGHTS:
        return f"model.layers.{layer[1]}.{WEIGHTS[layer[2]]}.{layer[3]}"
    stem, _, ending = name.rpartition(".")
    return f"{OUTSIDE[stem]}.{ending}" if stem in OUTSIDE else name


def own_name(name: str) -> str:
    """GGUF's name of a tensor by Hugging Face's; inverse of `their_name`."""
    stem, _, ending = name.rpartition(".")
    layer = re.fullmatch(r"model\.layers\.(\d+)\.(.+)", stem)
    table = {theirs: own for own, theirs in (WEIGHTS if layer else OUTSIDE).items()}
    return f"blk.{layer[1]}.{table[layer[2]]}.{ending}" if layer else f"{table[stem]}.{ending}"


def described(path: str | Path) -> dict[str, Any]:
    """The config.json that a GGUF file's metadata and tensors amount to.

    Raises UserError, naming the file and the key, for what is not supported.
    """
    header = read_header(path)
    try:
        return _described(header)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _described(header: Header) -> dict[str, Any]:
    family = header.metadata.get("general.architecture")
    if family not in ARCHITECTURES:
        raise UserError(
            f"general.architecture is {shown(family)}; GGUF files of {', '.join(ARCHITECTURES)} "
            "are read; of other families name a directory as Hugging Face lays it out"
        )
    kind = header.metadata.get("general.type", "model")
    if kind != "model":
        raise UserError(f"general.type is {shown(kind)}, not 'model'; merge it into its base first")
    start = family + "."
    said = Asked(
        {k.removeprefix(start): v for k, v in header.metadata.items() if k.startswith(start)}
    )
    for key, values in NEUTRAL.items():
        if said.get(key, values[0]) not in values:
            raise UserError(f"{start}{key} {shown(said[key])} is not supported")
    raw = {theirs: _alike(start + key, said[key]) for key, theirs in KEYS.items() if key in said}
    for key in ("embedding_length", "attention.head_count"):
        value = raw.get(KEYS[key])
        if type(value) is not int or value < 1:
            raise UserError(f"{start}{key} is {shown(value)}; it must be a whole number above 0")
    raw |= {"model_type": family, **_shape(header, said, start, raw)}
    raw |= _biases(header, family)
    raw["rope_scaling"] = _scaling(header, said, raw)
    if unread := [key for key in said.unread if key not in ("rope.scaling.finetuned",)]:
        names = ", ".join(sorted(unread))
        say(f"{header.path}: not read, as nothing here knows them: {names}")
    return raw


def _alike(key: str, value: Any) -> Any:
    """A value that some files say layer by layer; UserError where layers differ in it."""
    if not isinstance(value, np.ndarray):
        return value
    if not len(value) or any(each != value[0] for each in value):
        raise UserError(f"{key} differs from layer to layer; only models of equal layers are read")
    return value[0].item()


def _shape(header: Header, said: Mapping[str, Any], start: str, raw: Mapping[str, Any]) -> dict:
    """Vocabulary, head size, ties and token ids, with what must agree with them."""
    embed = header.tensors.get("token_embd.weight")
    if embed is None or len(embed.shape) != 2:
        raise UserError("tensor token_embd.weight is missing")
    head = raw.get("head_dim", raw["hidden_size"] // raw["num_attention_heads"])
    agree = {"vocab_size": embed.shape[0], "attention.value_length": head}
    agree["rope.dimension_count"] = head
    for key, value in agree.items():
        if said.get(key, value) != value:
            raise UserError(f"{start}{key} is {shown(said[key])}; only {value} is supported here")
    ids = {f"{name}_token_id": _token(header, f"{name}_token_id") for name in ("bos", "eos")}
    tied = "output.weight" not in header.tensors
    return {"vocab_size": embed.shape[0], "head_dim": head, "tie_word_embeddings": tied, **ids}


def _token(header: Header, name: str) -> int | None:
    return header.metadata.get(f"tokenizer.ggml.{name}")


def stop_ids(path: str | Path) -> list[int]:
    """Tokens at which a completion ends, as the file says them."""
    header = read_header(path)
    names = ("eos_token_id", "eot_token_id", "eom_token_id")
    return [i for i in (_token(header, name) for name in names) if i is not None]


def _biases(header: Header, family: str) -> dict[str, bool]:
    """Keys of a config.json by the biases that are there; Qwen2 has those of attention always."""
    there = {name for name in ("attn_q", "ffn_gate") if f"blk.0.{name}.bias" in header.tensors}
    return {} if family == "qwen2" else {
        "attention_bias": "attn_q" in there,
        "mlp_bias": "ffn_gate" in there,
    }  # fmt: skip


def _scaling(
    header: Header, said: Mapping[str, Any], raw: Mapping[str, Any]
) -> dict[str, Any] | None:
    """The stretching of rotary positions; UserError for one that r1jax does not compute."""
    keys = {"factor": "factor", ORIGINAL: "original_context_length"}
    keys |= {"beta_fast": "yarn_beta_fast", "beta_slow": "yarn_beta_slow"}
    found = {theirs: said.get(f"rope.scaling.{own}") for theirs, own in keys.items()}
    found = {key: value for key, value in found.items() if value is not None}
    kind, divisors = said.get("rope.scaling.type", "none"), header.tensors.get(DIVISORS)
    if divisors is not None:
        return _llama3(View(divisors)[(slice(None),)], raw, found.get(ORIGINAL, 8192))
    if kind == "none":
        return None
    kept = {"linear": ("factor",), "yarn": tuple(keys)}.get(kind, ())
    return {"rope_type": kind, **{key: found[key] for key in kept if key in found}}


def _llama3(divisors: np.ndarray, raw: Mapping[str, Any], length: int) -> dict[str, Any]:
    """Llama 3's scaling, of which a file holds only what frequencies are divided by."""
    theta, head_dim = raw.get("rope_theta", 10000.0), raw["head_dim"]
    scaling = Llama3(float(divisors.max()), 1.0, 4.0, length)
    expected = llama3_divisors(scaling, theta, head_dim)
    if divisors.shape != expected.shape or not np.allclose(divisors, expected, rtol=1e-4):
        raise UserError(
            f"{DIVISORS} is not Llama 3's scaling with low_freq_factor 1, high_freq_factor 4 and "
            f"{length} positions before it; name the model's directory"
        )
    return to_hf(scaling)


def llama3_divisors(scaling: Llama3, theta: float, head_dim: int) -> np.ndarray:
    """What Llama 3's scaling divides rotary frequencies by, f64[head_dim / 2]."""
    frequency = theta ** -(np.arange(0, head_dim, 2) / head_dim)
    return frequency / scaling.stretched(frequency, theta)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[dict[str, Stored]]:
    """Every tensor of a file, or of a split one's parts, by Hugging Face's name."""
    header = read_header(path)
    raw = described(path)
    queries = raw["num_attention_heads"]
    heads = turned_heads(raw["model_type"], queries, raw.get("num_key_value_heads", queries))
    stored = {}
    for name, placed in header.tensors.items():
        if name == DIVISORS:
            continue
        turned = heads.get(name.split(".")[-2], 0) if name.startswith("blk.") else 0
        if turned and placed.shape[0] % (2 * turned):
            raise UserError(f"{path}: tensor {name} has {placed.shape[0]} rows for {turned} heads")
        stored[their_name(name)] = Stored(their_name(name), placed.path, View(placed, turned))
    yield stored
