"""The tokenizer in a GGUF file's metadata, as a fast one of transformers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
)

from r1jax.errors import UserError
from r1jax.models.hub.gguf.file import Header, read_header
from r1jax.models.hub.gguf.pieces import sentence_pieces
from r1jax.models.hub.keys import shown

_GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)"
_LLAMA3 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{{L}}\p{{N}}]?\p{{L}}+|\p{{N}}{digits}"
    r"| ?[^\s\p{{L}}\p{{N}}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
_DEFAULT = (r"[\p{P}\$\+<=>\^~\|]+", _GPT2, r"\p{N}+", "[0-9][0-9][0-9]")
SPLITS: dict[str, tuple[str, ...]] = {
    "default": _DEFAULT,
    "gpt-2": (_GPT2,),
    "smollm": (r"\p{N}", _GPT2),
    "starcoder": (r"\p{N}", _GPT2),
    "llama-bpe": (_LLAMA3.format(digits="{1,3}"),),
    "qwen2": (_LLAMA3.format(digits=""),),
    "deepseek-r1-qwen": (_LLAMA3.format(digits=""),),
}
"""`tokenizer.ggml.pre` -> expressions that cut a text, one after the other (llama-vocab.cpp)."""

ALIASES = {"llama3": "llama-bpe", "llama-v3": "llama-bpe", "falcon3": "llama-bpe"}
PIECES = "llama"
"""`tokenizer.ggml.model` of SentencePiece."""
NORMAL, UNKNOWN, CONTROL, DEFINED, UNUSED = 1, 2, 3, 4, 5
"""Of tokenizer.ggml.token_type; special ones and those of a user are matched whole."""


def gguf_tokenizer(path: str | Path) -> Any:
    """The tokenizer in a GGUF file, chat template included.

    Raises UserError, naming the file, for a kind that is not read and for parts that do not fit.
    """
    header = read_header(path)
    try:
        return _tokenizer(header)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def splitting(header: Header) -> str:
    """How a file's tokenizer cuts texts: PIECES, or a name in SPLITS; UserError for another one."""
    kind = header.metadata.get("tokenizer.ggml.model")
    if kind == PIECES:
        return PIECES
    pre = header.metadata.get("tokenizer.ggml.pre", "default")
    name = ALIASES.get(pre, pre) if isinstance(pre, str) else None
    if kind != "gpt2":
        raise UserError(
            f"tokenizer.ggml.model is {shown(kind)}; read are 'gpt2' (byte pairs) and "
            "'llama' (SentencePiece)"
        )
    if name not in SPLITS:
        known = ", ".join(sorted([*SPLITS, *ALIASES]))
        raise UserError(f"tokenizer.ggml.pre is {shown(pre)}; read are {known}")
    return name


def _tokenizer(header: Header) -> Any:
    name = splitting(header)
    tokens, kinds = _tokens(header)
    said = {
        key: header.metadata.get(f"tokenizer.ggml.{key}_token_id")
        for key in ("bos", "eos", "unknown", "padding")
    }
    for key, number in said.items():
        if number is not None and not (type(number) is int and 0 <= number < len(tokens)):
            raise UserError(f"tokenizer.ggml.{key}_token_id is {shown(number)}; no such token")
    if said["eos"] is None:
        raise UserError("tokenizer.ggml.eos_token_id is missing")
    template = header.metadata.get("tokenizer.chat_template")
    if not isinstance(template, str | None):
        raise UserError("tokenizer.chat_template is no text")
    pieces = name == PIECES
    fast = (
        sentence_pieces(header, tokens, kinds)
        if pieces
        else _byte_pairs(header, name, tokens, kinds)
    )
    special = [t for t, kind in zip(tokens, kinds, strict=True) if kind in (CONTROL, UNKNOWN)]
    whole = [t for t, kind in zip(tokens, kinds, strict=True) if kind == DEFINED]
    fast.add_special_tokens([AddedToken(t, normalized=False, special=True) for t in special])
    fast.add_tokens([AddedToken(t, normalized=False) for t in whole])
    named = {key: None if number is None else tokens[number] for key, number in said.items()}
    ends = _ends(header, name, named["bos"], named["eos"], fast)
    if ends is not None:
        fast.post_processor = ends
    from transformers import PreTrainedTokenizerFast

    made = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token=named["bos"],
        eos_token=named["eos"],
        unk_token=named["unknown"],
        pad_token=named["padding"],
        clean_up_tokenization_spaces=False,
        chat_template=template,
    )
    made.name_or_path = str(header.path)
    return made


def _tokens(header: Header) -> tuple[list[str], list[int]]:
    """Every token's text and type."""
    tokens = header.metadata.get("tokenizer.ggml.tokens")
    if not isinstance(tokens, list) or len(set(tokens)) != len(tokens):
        raise UserError("tokenizer.ggml.tokens is missing, or has a token twice")
    kinds = header.metadata.get("tokenizer.ggml.token_type", [1] * len(tokens))
    if len(kinds) != len(tokens):
        raise UserError(f"{len(kinds)} types are said for {len(tokens)} tokens")
    return tokens, list(kinds)


def _byte_pairs(header: Header, name: str, tokens: list[str], kinds: list[int]) -> Tokenizer:
    merges = header.metadata.get("tokenizer.ggml.merges")
    pairs = [tuple(merge.split(" ")) for merge in merges] if isinstance(merges, list) else [()]
    if any(len(pair) != 2 for pair in pairs):
        raise UserError("tokenizer.ggml.merges is missing, or holds what is no pair")
    cut, normalized, whole = cut_and_rules(name)
    vocab = {token: i for i, token in enumerate(tokens) if kinds[i] != UNUSED}
    try:
        model = models.BPE(vocab, pairs, ignore_merges=whole)
    # The tokenizers library raises bare Exceptions.
    except Exception as error:
        raise UserError(f"tokenizer.ggml.merges do not fit the tokens ({error})") from error
    fast = Tokenizer(model)
    if normalized:
        fast.normalizer = normalizers.NFC()
    fast.pre_tokenizer = cut
    fast.decoder = decoders.ByteLevel()
    return fast


def cut_and_rules(name: str) -> tuple[Any, str | None, bool]:
    """(how texts are cut, how they are normalized, whether a word that is a token stays whole).

    Qwen's own tokenizer.json normalizes, which llama.cpp leaves out; Llama 3 takes a word that is a
    token as it is, whatever merges lead to it.
    """
    cuts = [pre_tokenizers.Split(Regex(cut), "isolated") for cut in SPLITS[name]]
    bytewise = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    cut = pre_tokenizers.Sequence([*cuts, bytewise])
    return cut, "NFC" if name == "qwen2" else None, name == "llama-bpe"


def _ends(header: Header, name: str, bos: str | None, eos: str, fast: Tokenizer) -> Any:
    """What is put around a text: the file's flags, else what llama.cpp does by itself."""
    around = {
        key: header.metadata.get(f"tokenizer.ggml.add_{key}_token", key == "bos" and default)
        for key, default in (("bos", name in ("llama-bpe", PIECES)), ("eos", False))
    }
    pieces = [bos if around["bos"] else None, "$A", eos if around["eos"] else None]
    written = [piece for piece in pieces if piece]
    if len(written) == 1:
        return None if name == PIECES else processors.ByteLevel(trim_offsets=False)
    used = [(piece, fast.token_to_id(piece)) for piece in written if piece != "$A"]
    return processors.TemplateProcessing(single=written, special_tokens=used)
