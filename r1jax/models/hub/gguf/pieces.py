"""A SentencePiece tokenizer of a GGUF file (Llama 2, TinyLlama), as llama.cpp cuts with it."""

from __future__ import annotations

import numpy as np
from tokenizers import Tokenizer, decoders, models, normalizers

from r1jax.errors import UserError
from r1jax.models.hub.gguf.file import Header

SPACE = "\u2581"
NORMAL, UNKNOWN, DEFINED = 1, 2, 4
"""Of tokenizer.ggml.token_type."""


def sentence_pieces(header: Header, tokens: list[str], kinds: list[int]) -> Tokenizer:
    """Pieces that are joined by score, the best first, and bytes for what has none.

    Two neighbours join where what they make is a piece: so the merges of byte pairs are all the
    cuts of every piece, in the order of its score (`llm_tokenizer_spm` in llama-vocab.cpp). Raises
    UserError where the scores do not fit the tokens.
    """
    scores = header.metadata.get("tokenizer.ggml.scores")
    if not isinstance(scores, np.ndarray | list) or len(scores) != len(tokens):
        raise UserError("tokenizer.ggml.scores is missing, or has not one number for each token")
    vocab = {token: i for i, token in enumerate(tokens)}
    joined = {t for t, kind in zip(tokens, kinds, strict=True) if kind in (NORMAL, DEFINED)}
    merges = [
        (scores[vocab[piece]], (piece[:cut], piece[cut:]))
        for piece in joined
        for cut in range(1, len(piece))
        if piece[:cut] in vocab and piece[cut:] in vocab
    ]
    merges.sort(key=lambda merge: (-merge[0], merge[1]))
    unknown = next((t for t, kind in zip(tokens, kinds, strict=True) if kind == UNKNOWN), None)
    pairs = [pair for _, pair in merges]
    fast = Tokenizer(models.BPE(vocab, pairs, unk_token=unknown, fuse_unk=True, byte_fallback=True))
    prefix = header.metadata.get("tokenizer.ggml.add_space_prefix", True)
    written = [normalizers.Prepend(SPACE)] if prefix else []
    fast.normalizer = normalizers.Sequence([*written, normalizers.Replace(" ", SPACE)])
    read = [decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse()]
    fast.decoder = decoders.Sequence([*read, *([decoders.Strip(" ", 1, 0)] if prefix else [])])
    return fast
