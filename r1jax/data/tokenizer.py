"""Tokenizers: loading any Hugging Face tokenizer, and training the embedded world's own."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers

from r1jax.errors import UserError

TAGS = ("<think>", "</think>", "<answer>", "</answer>")
PAD, BOS, EOS, UNK = "<pad>", "<s>", "</s>", "<unk>"  # ids 0, 1, 2, 3
MAX_LENGTH = 256  # tokens of prompt and completion the embedded base is made for
_SPACE = "▁"
_PRINTABLE = "".join(map(chr, range(33, 127)))


def load_tokenizer(path: str | Path) -> Any:
    """The tokenizer in directory `path`, from its files alone. Raises UserError if it has none."""
    if not Path(path).is_dir():
        raise UserError(f"tokenizer {path}: no such directory; give one with a tokenizer.json")
    try:
        tokenizer = _class_of(path).from_pretrained(str(path), local_files_only=True)
        known = tokenizer("a1", add_special_tokens=False)["input_ids"]
    # The tokenizers library raises bare Exceptions (a regex of tokenizer.json that is none).
    except Exception as error:
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(f"tokenizer {path}: cannot be loaded ({reason})") from error
    # Without any file of its own a Qwen2 model's class has no words at all.
    if not known:
        raise UserError(f"tokenizer {path}: knows no text; give a directory with a tokenizer.json")
    if tokenizer.eos_token_id is None:
        raise UserError(f"tokenizer {path}: has no eos_token; set one in tokenizer_config.json")
    # transformers 5 loads DeepSeek's tokenizers by another class, which forgets this setting.
    if _setting(path, "add_bos_token") and not tokenizer.add_bos_token:
        tokenizer.add_bos_token = True
    return tokenizer


def _setting(path: str | Path, name: str) -> Any:
    """A value of tokenizer_config.json; None where there is none."""
    file = Path(path) / "tokenizer_config.json"
    return json.loads(file.read_text(encoding="utf-8")).get(name) if file.is_file() else None


def _class_of(path: str | Path) -> Any:
    """The class to load a directory's tokenizer with.

    Where tokenizer.json says everything by its own word (PreTrainedTokenizerFast), that class:
    AutoTokenizer would put a Qwen2 model's own splitting of words in the place of the file's.
    """
    logger = logging.getLogger("transformers")  # whose advice on torch is not for our users
    silent = lambda record: "PyTorch was not found" not in record.getMessage()  # noqa: E731
    logger.addFilter(silent)
    try:
        from transformers import AutoTokenizer, PreTrainedTokenizerFast
    finally:
        logger.removeFilter(silent)
    plain = _setting(path, "tokenizer_class") == "PreTrainedTokenizerFast"
    general = plain and (Path(path) / "tokenizer.json").is_file()
    return PreTrainedTokenizerFast if general else AutoTokenizer


def train_tokenizer(
    texts: Iterable[str], directory: str | Path, vocab_size: int = 1024
) -> sentencepiece.SentencePieceProcessor:
    """Trains a byte-pair tokenizer on `texts` and saves it to `directory`.

    Single digits, the four tags whole, unknown characters as bytes, newlines and runs of spaces
    kept. Writes tokenizer.model (sentencepiece), tokenizer.json and tokenizer_config.json (Hugging
    Face), which give the same ids. Raises UserError when `vocab_size` does not fit the texts.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(_lines(texts)),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=1.0,
            byte_fallback=True,
            split_digits=True,
            add_dummy_prefix=False,
            remove_extra_whitespaces=False,
            normalization_rule_name="identity",
            user_defined_symbols=[*TAGS, "\n"],
            required_chars=_PRINTABLE,
            pad_id=0, bos_id=1, eos_id=2, unk_id=3,
            pad_piece=PAD, bos_piece=BOS, eos_piece=EOS, unk_piece=UNK,
            num_threads=1,
            minloglevel=2,
        )  # fmt: skip
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"vocab_size {vocab_size}: does not fit the texts ({reason})") from error
    path = Path(directory)
    path.mkdir(parents=True, exist_ok=True)
    (path / "tokenizer.model").write_bytes(model.getvalue())
    _export(model.getvalue()).save(str(path / "tokenizer.json"))
    (path / "tokenizer_config.json").write_text(json.dumps(_settings(), indent=2) + "\n")
    return sentencepiece.SentencePieceProcessor(model_proto=model.getvalue())


def _lines(texts: Iterable[str]) -> Iterable[str]:
    """Lines, because sentencepiece takes a sentence per item; the newline is a piece of its own."""
    for text in texts:
        yield from filter(None, text.split("\n"))


def _settings() -> dict[str, Any]:
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": MAX_LENGTH,
        "bos_token": BOS,
        "eos_token": EOS,
        "pad_token": PAD,
        "unk_token": UNK,
        "clean_up_tokenization_spaces": False,
    }


def _export(proto: bytes) -> Tokenizer:
    """The same tokenizer for the `tokenizers` library.

    The order of merges is that of the merged pieces' scores, as sentencepiece applies them.
    """
    model = sentencepiece_model_pb2.ModelProto()
    model.ParseFromString(proto)
    ids = {piece.piece: i for i, piece in enumerate(model.pieces)}
    normal = {p.piece: p.score for p in model.pieces if p.type == p.NORMAL}
    merges = []
    for piece, score in normal.items():
        cuts = [(piece[:i], piece[i:]) for i in range(1, len(piece))]
        pairs = [(ids[a], ids[b], a, b) for a, b in cuts if a in normal and b in normal]
        merges += [(-score, *pair) for pair in pairs]
    tokenizer = Tokenizer(
        models.BPE(
            ids, [(a, b) for *_, a, b in sorted(merges)], unk_token=UNK, byte_fallback=True,
            fuse_unk=True,
        )
    )  # fmt: skip
    tokenizer.normalizer = normalizers.Replace(" ", _SPACE)
    # A piece holds a space only at its start: cutting there changes no id, and words are cached.
    tokenizer.pre_tokenizer = pre_tokenizers.Split(_SPACE, "merged_with_next")
    tokenizer.decoder = decoders.Sequence(
        [decoders.Replace(_SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    )
    tokenizer.add_special_tokens([AddedToken(t, normalized=False) for t in (PAD, BOS, EOS, UNK)])
    tokenizer.add_tokens([AddedToken(t, normalized=False) for t in (*TAGS, "\n")])
    return tokenizer
