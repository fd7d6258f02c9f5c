"""The keys of a config.json: read with their types, refused, or irrelevant for a stated reason."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1jax.errors import UserError

IRRELEVANT: dict[str, tuple[str, ...]] = {
    "how text is drawn is said by flags": (
        "assistant_confidence_threshold", "assistant_lookbehind", "bad_words_ids",
        "begin_suppress_tokens", "diversity_penalty", "do_sample", "early_stopping",
        "encoder_no_repeat_ngram_size", "encoder_repetition_penalty", "epsilon_cutoff",
        "eta_cutoff", "exponential_decay_length_penalty", "forced_bos_token_id",
        "forced_eos_token_id", "length_penalty", "max_length", "min_length",
        "no_repeat_ngram_size", "num_assistant_tokens", "num_assistant_tokens_schedule",
        "num_beam_groups", "num_beams", "num_return_sequences", "output_scores",
        "remove_invalid_values", "repetition_penalty", "return_dict_in_generate",
        "suppress_tokens", "target_lookbehind", "temperature", "top_k", "top_p", "typical_p",
    ),
    "what a call returns or keeps, not what it computes": (
        "output_attentions", "output_hidden_states", "return_dict", "tie_last_hidden_states",
        "torchscript", "use_cache",
    ),
    "the same arithmetic cut or run in another way": (
        "_attn_implementation", "_attn_implementation_autoset", "_attn_implementation_internal",
        "_experts_implementation_internal", "attn_implementation", "chunk_size_feed_forward",
        "pretraining_tp", "use_bfloat16",
    ),
    "the files say what type their weights have": ("dtype", "torch_dtype"),
    "padding is by lengths, never by a token": ("pad_token_id",),
    "labels and tasks of other heads, whose weights would be surplus": (
        "finetuning_task", "id2label", "label2id", "num_labels", "problem_type",
        "task_specific_params",
    ),
    "of two stacks, of which a decoder is one": (
        "cross_attention_hidden_size", "decoder_start_token_id", "is_decoder",
        "tie_encoder_decoder",
    ),
    "names and versions": (
        "_commit_hash", "_name_or_path", "architectures", "model_type", "name_or_path",
        "transformers_version",
    ),
    "losses and how training is spread are said by flags": (
        "aux_loss_alpha", "ep_size", "output_router_logits", "router_aux_loss_coef", "seq_aux",
    ),
    "the tokenizer's own files say it": ("prefix", "sep_token_id", "tokenizer_class"),
}  # fmt: skip
"""Reason -> keys of a config.json that change nothing here, whatever they hold."""

NEUTRAL: dict[str, tuple[Any, ...]] = {
    "hidden_act": (None, "silu", "swish"),
    "attention_dropout": (None, 0.0),
    "quantization_config": (None,),
    "transformers_weights": (None,),
    "per_layer_config": (None, {}),
    "pruned_heads": (None, {}),
    "is_encoder_decoder": (None, False),
    "add_cross_attention": (None, False),
    "is_causal": (None, True),
    "use_bidirectional_attention": (None, False),
    "text_config": (None, {}),
    "vision_config": (None, {}),
    "audio_config": (None, {}),
    "partial_rotary_factor": (None, 1.0),
    "attention_chunk_size": (None,),
    "no_rope_layers": (None, []),
    "use_qk_norm": (None, False),
    "clip_qkv": (None,),
    "num_experts": (None, 0),
    "num_local_experts": (None, 0),
    "n_routed_experts": (None, 0),
    "kv_lora_rank": (None,),
    "attn_logit_softcapping": (None,),
    "final_logit_softcapping": (None,),
    "query_pre_attn_scalar": (None,),
    "attention_multiplier": (None,),
    "embedding_multiplier": (None, 1.0),
    "residual_multiplier": (None, 1.0),
    "logits_scaling": (None, 1.0),
    "logit_scale": (None, 1.0),
    "scale_emb": (None, 1.0),
    "scale_depth": (None,),
    "dim_model_base": (None,),
}
"""Key -> values with which it asks for nothing that the Llama-shaped decoder does not do."""

DRAWN: dict[str, tuple[Any, ...]] = {
    "repetition_penalty": (None, 1.0),
    "encoder_repetition_penalty": (None, 1.0),
    "no_repeat_ngram_size": (None, 0),
    "exponential_decay_length_penalty": (None,),
    "min_length": (None, 0),
    "min_new_tokens": (None, 0),
    "min_p": (None, 0.0),
    "typical_p": (None, 1.0),
    "epsilon_cutoff": (None, 0.0),
    "eta_cutoff": (None, 0.0),
    "bad_words_ids": (None, []),
    "suppress_tokens": (None, []),
    "begin_suppress_tokens": (None, []),
    "sequence_bias": (None, {}, []),
    "forced_bos_token_id": (None,),
    "forced_eos_token_id": (None,),
    "guidance_scale": (None, 1.0),
    "stop_strings": (None, []),
    "num_beams": (None, 1),
}
"""Keys of a generation_config.json that change what is drawn and that no flag of ours says."""

LAYERS = 10_000
"""More layers than any model has; above it a number is taken for a mistake."""


class Asked(Mapping[str, Any]):
    """An object of a JSON file that remembers which of its keys were asked for."""

    def __init__(self, raw: Mapping[str, Any]) -> None:
        """Nothing has been asked for yet."""
        self._raw, self._asked = raw, set[str]()

    def __getitem__(self, key: str) -> Any:
        """The value of a key; KeyError where there is none."""
        self._asked.add(key)
        return self._raw[key]

    def __iter__(self) -> Iterator[str]:
        """The keys, in the file's order."""
        return iter(self._raw)

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._raw)

    @property
    def unread(self) -> list[str]:
        """Keys with a value that nobody asked for."""
        return [k for k, v in self._raw.items() if k not in self._asked and v is not None]


def shown(value: Any) -> str:
    """A value as it stands in a message, however long or deep it is."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 200
    return short.repr(value)


def refuse(raw: Mapping[str, Any], **supported: Sequence[Any]) -> None:
    """Raises UserError where a key holds none of the values named; absent reads as None."""
    for key, values in supported.items():
        if raw.get(key) not in values:
            rest = [v for v in values if v is not None] or ["null"]
            raise UserError(f"{key} {shown(raw[key])} is not supported; only {rest[0]!r} is")


def number(raw: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    """A positive number of a config.json, as int or float; `default` where absent or null."""
    value = raw.get(key)
    value = default if value is None else value
    if value is None:
        raise UserError(f"key {key!r} is missing")
    fits = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (fits and 0 < value < math.inf and kind(value) == value):
        word = "a whole number" if kind is int else "a number"
        raise UserError(f"{key} is {shown(value)}; it must be {word} above 0")
    most = LAYERS if key == "num_hidden_layers" else 2**31 - 1
    if kind is int and value > most:
        raise UserError(f"{key} is {shown(value)}; it must be at most {most}")
    return kind(value)


def whole(raw: Mapping[str, Any], key: str, default: int) -> int:
    """A key that holds a whole number, 0 included; `default` where absent or null."""
    value = raw.get(key)
    value = default if value is None else value
    if not (type(value) is int and 0 <= value < 2**31):
        raise UserError(f"{key} is {shown(value)}; it must be a whole number from 0")
    return value


def flag(raw: Mapping[str, Any], key: str, default: bool = False) -> bool:
    """A key that holds true or false; `default` where absent, false where null."""
    value = raw.get(key, default)
    if value is not None and not isinstance(value, bool):
        raise UserError(f"{key} is {shown(value)}; it must be true or false")
    return bool(value)


def token_ids(raw: Mapping[str, Any], key: str, vocab_size: int) -> tuple[int, ...]:
    """A key that holds one token id, a list of them, or null; UserError where it holds none."""
    value = raw.get(key)
    ids = value if isinstance(value, (list, tuple)) else [] if value is None else [value]
    if not all(isinstance(i, int) and not isinstance(i, bool) for i in ids):
        raise UserError(f"{key} is {shown(value)}; it must be a token id, a list of them, or null")
    strange = [i for i in ids if not 0 <= i < vocab_size]
    if strange:
        raise UserError(
            f"{key} holds {shown(strange[0])}; token ids of this model are 0 to {vocab_size - 1}"
        )
    return tuple(ids)
