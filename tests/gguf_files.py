"""GGUF files at toy size, written by llama.cpp's own package and by its converter's rules."""

from __future__ import annotations

import json
import math
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file
from tiny import tiny_config, tiny_params
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from r1jax.models.hub import directory as hub
from r1jax.models.hub.directory import SINGLE
from r1jax.models.hub.gguf import tokenizer
from r1jax.models.hub.gguf.file import Header
from r1jax.models.rope import Llama3

KINDS = gguf.GGMLQuantizationType
F32 = KINDS.F32
BOS, EOS = "<|begin|>", "<|end|>"
TEMPLATE = (
    "{% for m in messages %}" + BOS + "{{ m['role'] }}\n{{ m['content'] }}" + EOS + "\n{% endfor %}"
    "{% if add_generation_prompt %}" + BOS + "assistant\n{% endif %}"
)
TEXTS = [
    "the sum of 12 and 305 is 317, isn't it?",
    "Zürich: 3 + 4 = 7\n\n\tso x² = y",
    "它是 42 。",
]


def byte_pairs(vocab_size=400):
    """A small tokenizer of GPT-2's kind that cuts digits apart, as SmolLM2's does."""
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(False)]
    )
    fast.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, special_tokens=[BOS, EOS], initial_alphabet=alphabet
    )
    fast.train_from_iterator(TEXTS * 8, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=fast, bos_token=BOS, eos_token=EOS, pad_token=EOS, chat_template=TEMPLATE
    )


def pieces(size=400):
    """What metadata say of a small SentencePiece tokenizer, as Llama 2's files do."""
    fast = Tokenizer(models.BPE())
    fast.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=200, initial_alphabet=list("abcdefghij\u2581"))
    fast.train_from_iterator([*TEXTS[:1], "hold the door, the old one holds"] * 8, trainer)
    found = sorted(fast.get_vocab(), key=fast.get_vocab().get)
    named = ["<unk>", "<s>", "</s>", *(f"<0x{byte:02X}>" for byte in range(256))]
    words = [*named, *found, "<|user|>"]
    words += [f"[PAD{i}]" for i in range(len(words), size)]
    kinds = [2, 3, 3, *[6] * 256, *[1] * len(found), 4, *[5] * (size - len(named) - len(found) - 1)]
    assert len(words) == len(kinds) == size
    ranks = [-float(max(0, i - len(named))) for i in range(size)]
    return {
        "tokenizer.ggml.model": "llama", "tokenizer.ggml.pre": "default",
        "tokenizer.ggml.tokens": words, "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.scores": ranks, "tokenizer.ggml.merges": None,
        "tokenizer.ggml.bos_token_id": 1, "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.unknown_token_id": 0, "tokenizer.ggml.padding_token_id": None,
    }  # fmt: skip


def permuted(x, heads):
    """As `LlamaModel.permute` of llama.cpp's converter has it."""
    halves = x.reshape(heads, 2, x.shape[0] // heads // 2, *x.shape[1:])
    return halves.swapaxes(1, 2).reshape(x.shape)


def metadata_of(config, tokenizer, changes=()):
    """Metadata of a model, as the converter writes it; a change to None takes a key out."""
    said = {
        "block_count": config.n_layers,
        "context_length": config.max_position,
        "embedding_length": config.d_model,
        "feed_forward_length": config.d_ff,
        "attention.head_count": config.n_heads,
        "attention.head_count_kv": config.n_kv_heads,
        "attention.key_length": config.head_dim,
        "attention.value_length": config.head_dim,
        "attention.layer_norm_rms_epsilon": config.rms_eps,
        "rope.freq_base": config.rope_theta,
        "rope.dimension_count": config.head_dim,
    }
    said |= scaling_of(config.rope_scaling)
    said = {f"{config.family}.{key}": value for key, value in said.items()}
    vocabulary = tokenizer.get_vocab()
    words = sorted(vocabulary, key=vocabulary.get)
    words += [f"[PAD{i}]" for i in range(len(words), config.vocab_size)]
    merges = json.loads(tokenizer.backend_tokenizer.to_str())["model"]["merges"]
    said |= {
        "general.architecture": config.family,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": words,
        "tokenizer.ggml.token_type": [3 if word in (BOS, EOS) else 1 for word in words],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in merges],
        "tokenizer.ggml.bos_token_id": tokenizer.bos_token_id,
        "tokenizer.ggml.eos_token_id": tokenizer.eos_token_id,
        "tokenizer.ggml.padding_token_id": tokenizer.pad_token_id,
        "tokenizer.chat_template": tokenizer.chat_template,
    }
    return {k: v for k, v in (said | dict(changes)).items() if v is not None}


def scaling_of(scaling):
    """Keys of a rule that stretches positions; Llama 3's is in a tensor."""
    if scaling is None:
        return {}
    said = {
        "original_context_length": getattr(scaling, "original_max_position", None),
        "yarn_beta_fast": getattr(scaling, "beta_fast", None),
        "yarn_beta_slow": getattr(scaling, "beta_slow", None),
    }
    if not isinstance(scaling, Llama3):
        said |= {"type": scaling.rope_type, "factor": scaling.factor}
    return {f"rope.scaling.{key}": value for key, value in said.items()}


def tensors_of(directory, config):
    """The tensors of a model directory under GGUF's names, Llama's queries and keys turned."""
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, config.family.upper()), 99)
    found = {}
    for name, x in load_file(directory / SINGLE).items():
        own = names.get_name(name, (".weight", ".bias"))
        if config.family == "llama" and ".attn_q." in own:
            x = permuted(x, config.n_heads)
        if config.family == "llama" and ".attn_k." in own:
            x = permuted(x, config.n_kv_heads)
        found[own] = x
    if isinstance(config.rope_scaling, Llama3):
        found["rope_freqs.weight"] = llama3_factors(config)
    return found


def llama3_factors(config):
    """As `LlamaModel.generate_extra_tensors` of llama.cpp's converter makes them."""
    scaling, factors = config.rope_scaling, []
    for i in range(0, config.head_dim, 2):
        wave = 2 * math.pi * config.rope_theta ** (i / config.head_dim)
        if wave < scaling.original_max_position / scaling.high_freq_factor:
            factors.append(1)
        elif wave > scaling.original_max_position / scaling.low_freq_factor:
            factors.append(scaling.factor)
        else:
            smooth = scaling.original_max_position / wave - scaling.low_freq_factor
            smooth /= scaling.high_freq_factor - scaling.low_freq_factor
            factors.append(1 / ((1 - smooth) / scaling.factor + smooth))
    return np.array(factors, np.float32)


def write(path, metadata, tensors, kind=F32, **writing):
    """A GGUF file; matrices are of a kind, a pair (bytes, kind) as it is, all else float32."""
    writer = gguf.GGUFWriter(path, metadata["general.architecture"], **writing)
    for key, value in metadata.items():
        if key != "general.architecture":
            _add(writer, key, value)
    for name, x in tensors.items():
        if isinstance(x, tuple):
            writer.add_tensor(name, x[0], raw_dtype=x[1])
        elif x.ndim == 2:
            writer.add_tensor(name, gguf.quantize(x, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, x.astype(np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def _add(writer, key, value):
    if isinstance(value, list):
        writer.add_array(key, value)
        return
    ways = {bool: writer.add_bool, int: writer.add_uint32, float: writer.add_float32}
    ways[str] = writer.add_string
    ways[type(value)](key, value)


TOKENIZER = byte_pairs()
SCALED = Llama3(8.0, 1.0, 4.0, 32)


def toy(family, **changes):
    """A toy of the tokenizer's size, as a file can say it: Llama's scaling has fixed ends."""
    own = {"biased": dict(attention_bias=True, output_bias=True, ffn_bias=True)}.get(family, {})
    family = "llama" if family == "biased" else family
    own |= {"rope_scaling": SCALED} if family == "llama" else {}
    stops = dict(bos_id=TOKENIZER.bos_token_id, eos_ids=(TOKENIZER.eos_token_id,), init_std=0.02)
    return tiny_config(family, **(dict(vocab_size=416, d_ff=64) | stops | own | changes))


def both(path, config, kind=KINDS.F32, changes=(), tensors=(), **writing):
    """The same random model as a directory and as a file."""
    directory = path / "directory"
    hub.save(directory, tiny_params(config), config)
    TOKENIZER.save_pretrained(str(directory))
    found = {
        k: v for k, v in (tensors_of(directory, config) | dict(tensors)).items() if v is not None
    }
    file = write(
        path / "model.gguf", metadata_of(config, TOKENIZER, changes), found, kind, **writing
    )
    return directory, file


def tokenizer_of(metadata):
    """The tokenizer that metadata alone describe."""
    return tokenizer._tokenizer(Header(Path("x.gguf"), metadata, {}))
