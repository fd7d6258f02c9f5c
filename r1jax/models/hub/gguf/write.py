"""A trained model as a GGUF file, for llama.cpp and what is built on it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import jax
import numpy as np

from r1jax.errors import UserError
from r1jax.models.config import ModelConfig, to_hf
from r1jax.models.hub.directory import weights
from r1jax.models.hub.gguf.file import library
from r1jax.models.hub.gguf.model import (
    ARCHITECTURES,
    DIVISORS,
    KEYS,
    llama3_divisors,
    own_name,
)
from r1jax.models.hub.gguf.tensors import PIECE, halves_in_turns, turned_heads
from r1jax.models.hub.gguf.words import words
from r1jax.models.rope import Dynamic, Linear, Llama3, Yarn
from r1jax.models.table import table
from r1jax.types import Params

Storage = Literal["f32", "f16", "bf16", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1"]
FILE_TYPES = {
    "f32": 0, "f16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9, "bf16": 32,
}  # fmt: skip
"""`general.file_type` of a file whose matrices are of a kind (llama.cpp's `llama_ftype`)."""


def metadata(c: ModelConfig, tokenizer: Any, stops: Sequence[int], kind: Storage) -> dict[str, Any]:
    """What a file of this model says of itself; UserError where GGUF or llama.cpp cannot say it."""
    if c.family not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise UserError(f"a model of family {c.family}; those of {known} are written")
    if any(c.has_window):
        raise UserError(
            "a model with sliding windows, which llama.cpp does not apply to its family"
        )
    raw = to_hf(c)
    said = {own: raw[theirs] for own, theirs in KEYS.items()}
    said |= {
        "attention.value_length": c.head_dim,
        "rope.dimension_count": c.head_dim,
        "vocab_size": c.vocab_size,
    }
    said |= {f"rope.scaling.{key}": value for key, value in _scaling(c).items()}
    others = [i for i in stops if i != tokenizer.eos_token_id]
    ends = dict(zip(("eot", "eom"), others, strict=False))
    return {
        "general.architecture": c.family,
        "general.type": "model",
        "general.file_type": FILE_TYPES[kind],
        "general.quantization_version": 2,
        **{f"{c.family}.{key}": value for key, value in said.items()},
        **words(tokenizer, c.vocab_size),
        **{f"tokenizer.ggml.{key}_token_id": i for key, i in ends.items()},
    }


def _scaling(c: ModelConfig) -> dict[str, Any]:
    """Keys of a rule that stretches rotary positions; of Llama 3's most is in a tensor."""
    rule = c.rope_scaling
    said = [rule.mscale, rule.mscale_all_dim, rule.attention_factor] if type(rule) is Yarn else []
    if isinstance(rule, Dynamic) or any(said) or not getattr(rule, "truncate", True):
        raise UserError(
            f"rotary scaling {rule.rope_type} with what llama.cpp does not have; linear, llama3 "
            "and plain yarn are written"
        )
    if rule is None:
        return {}
    if isinstance(rule, Linear):
        return {"type": "linear", "factor": rule.factor}
    length = {"original_context_length": rule.original_max_position}
    if isinstance(rule, Llama3):
        return length
    turns = {"yarn_beta_fast": rule.beta_fast, "yarn_beta_slow": rule.beta_slow}
    said = {"type": "yarn", "factor": rule.factor, **length, **turns}
    return {key: value for key, value in said.items() if value is not None}


def save_gguf(
    path: str | Path,
    params: Params,
    c: ModelConfig,
    said: Mapping[str, Any],
    kind: Storage,
    *,
    write: bool = True,
) -> None:
    """Writes a file with metadata `said`: vectors are float32, matrices of `kind`.

    Of kinds below 8 bits the embedding and the head have 8, and a matrix whose rows are no multiple
    of 32 is float16. The host holds one tensor at a time; the file is there in one step. Every
    process of a run calls, one has `write`.
    """
    path, heads = Path(path), turned_heads(c.family, c.n_heads, c.n_kv_heads)
    shapes = {name: row.stored for row in jax.tree.leaves(table(c)) for _, name in row.names()}
    kinds = {name: _kind(own_name(name), shape, kind) for name, shape in shapes.items()}
    writing = path.with_name(path.name + ".writing")
    writer = _begun(writing, c, said, shapes, kinds) if write else None
    for weight in weights(params, c):
        value = weight.fetch()
        if writer:
            part = own_name(weight.name).split(".")[-2]
            order = np.argsort(halves_in_turns(len(value), heads.get(part, 0)))
            writer.write_tensor_data(_quantised(value, order, kinds[weight.name]))
    if writer:
        writer.close()
        writing.rename(path)


def _kind(name: str, shape: tuple[int, ...], kind: Storage) -> Any:
    """How a tensor is stored."""
    kinds, sizes = library().GGMLQuantizationType, library().GGML_QUANT_SIZES
    if len(shape) == 1:
        return kinds.F32
    outside = name in ("token_embd.weight", "output.weight")
    asked = kinds["Q8_0" if outside and kind.startswith(("q4", "q5")) else kind.upper()]
    return kinds.F16 if shape[-1] % sizes[asked][0] else asked


def _begun(
    path: Path,
    c: ModelConfig,
    said: Mapping[str, Any],
    shapes: Mapping[str, tuple[int, ...]],
    kinds: Mapping[str, Any],
) -> Any:
    """The writer of a file that waits for its tensors, in the order of `shapes`."""
    gguf = library()
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = gguf.GGUFWriter(path, said["general.architecture"])
    for key, value in said.items():
        if key != "general.architecture":
            _add(writer, key, value)
    divisors = None
    if isinstance(c.rope_scaling, Llama3):
        divisors = llama3_divisors(c.rope_scaling, c.rope_theta, c.head_dim).astype(np.float32)
        writer.add_tensor_info(DIVISORS, divisors.shape, divisors.dtype, divisors.nbytes)
    for name, shape in shapes.items():
        numbers, nbytes = gguf.GGML_QUANT_SIZES[kinds[name]]
        size = math.prod(shape) // numbers * nbytes
        writer.add_tensor_info(own_name(name), shape, np.dtype(np.float32), size, kinds[name])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    if divisors is not None:
        writer.write_tensor_data(divisors)
    return writer


def _add(writer: Any, key: str, value: Any) -> None:
    """A key of metadata, in the type that llama.cpp reads it in."""
    if isinstance(value, list):
        writer.add_array(key, value)
        return
    ways = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    (ways | {str: writer.add_string})[type(value)](key, value)


def _quantised(x: np.ndarray, order: np.ndarray, kind: Any) -> np.ndarray:
    """Rows in a file's order, as they are stored, made piece by piece."""
    gguf = library()
    if x.ndim == 1:
        return x.astype(np.float32)[order]
    step = max(1, PIECE // x.shape[1])
    parts = (order[start : start + step] for start in range(0, len(order), step))
    return np.concatenate([gguf.quantize(x[part].astype(np.float32), kind) for part in parts])


def modelfile(name: str, prompt: str, stops: Sequence[str]) -> str:
    """Ollama's description of a model in file `name`: `prompt` holds `{{ .Prompt }}` once."""
    lines = [f"FROM ./{name}", f'TEMPLATE """{prompt}"""']
    lines += [f"PARAMETER stop {json.dumps(stop, ensure_ascii=False)}" for stop in stops]
    return "\n".join([*lines, "PARAMETER temperature 0.6", "PARAMETER top_p 0.95", ""])
