"""A tokenizer of transformers as the metadata of a GGUF file."""

from __future__ import annotations

import json
from typing import Any

from r1jax.errors import UserError
from r1jax.models.hub.gguf.tokenizer import CONTROL, DEFINED, NORMAL, SPLITS, UNUSED, cut_and_rules

_TRIED = (
    "I'm sure you'LL say we've 3 or 33 333 3333 33333 it's\n \n\n \n\n\n \t \t\t  \r\n so  it is? "
    "1,234.50 $12+x^2 (a_b)==[c] !!! <tag> ... 3x3 ²½ Ⅷ été Зима 12月25日 你好，世界 かな 한국어 "
    "🚀🙂 ''''''``` under_score camelCase CAPS \u00a0x ~ne|two+"
)
"""Text on which ways of cutting differ; llama.cpp's converter tells them apart by such a one."""


def words(tokenizer: Any, vocab_size: int) -> dict[str, Any]:
    """Metadata of a tokenizer, filled up to `vocab_size`; UserError where it cannot be said."""
    name = _splitting(tokenizer)
    backend = json.loads(tokenizer.backend_tokenizer.to_str())
    known = {i: token for token, i in tokenizer.get_vocab().items()}
    kinds = {
        each["id"]: CONTROL if each["special"] else DEFINED for each in backend["added_tokens"]
    }
    around = tokenizer("a").input_ids
    ids = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unknown": tokenizer.unk_token_id,
        "padding": tokenizer.pad_token_id,
    }
    said = {
        "model": "gpt2",
        "pre": name,
        "tokens": [known.get(i, f"[PAD{i}]") for i in range(vocab_size)],
        "token_type": [kinds.get(i, NORMAL if i in known else UNUSED) for i in range(vocab_size)],
        "merges": [" ".join(pair) for pair in backend["model"]["merges"]],
        **{f"{key}_token_id": value for key, value in ids.items() if value is not None},
        "add_bos_token": tokenizer.bos_token_id == around[0],
        "add_eos_token": tokenizer.eos_token_id == around[-1],
    }
    metadata = {f"tokenizer.ggml.{key}": value for key, value in said.items()}
    template = tokenizer.chat_template
    return metadata | ({"tokenizer.chat_template": template} if isinstance(template, str) else {})


def _splitting(tokenizer: Any) -> str:
    """What llama.cpp calls the way a tokenizer cuts text, found by what it does."""
    fast = getattr(tokenizer, "backend_tokenizer", None)
    said = json.loads(fast.to_str()) if fast is not None else {}
    model, decoder = said.get("model") or {}, said.get("decoder") or {}
    kind = model.get("type"), decoder.get("type"), bool(model.get("byte_fallback"))
    if kind != ("BPE", "ByteLevel", False) or fast.pre_tokenizer is None:
        raise UserError(
            "a tokenizer that is not of GPT-2's kind (byte pairs), the one that is written"
        )
    pieces = fast.pre_tokenizer.pre_tokenize_str(_TRIED)
    for name in SPLITS:
        cut, normalized, whole = cut_and_rules(name)
        rules = _normalizes(said["normalizer"]), bool(model.get("ignore_merges"))
        if rules == (normalized, whole) and cut.pre_tokenize_str(_TRIED) == pieces:
            return name
    raise UserError("its tokenizer cuts texts in a way that has no known name in llama.cpp")


def _normalizes(normalizer: dict[str, Any] | None) -> str | None:
    """The type of a normalizer; None for one that does nothing."""
    empty = normalizer is None or normalizer.get("normalizers") == []
    return None if empty else normalizer["type"]
