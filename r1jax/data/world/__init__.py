"""The embedded world: generated problems, worked solutions of mixed quality, and their corpus."""

from r1jax.data.world.corpus import Document, Mix, describe, documents, tokenizer_texts
from r1jax.data.world.keys import is_eval
from r1jax.data.world.problems import FAMILIES, Language, Split, distinct, generate
from r1jax.data.world.traces import MODES, Shares

__all__ = [
    "FAMILIES",
    "MODES",
    "Document",
    "Language",
    "Mix",
    "Shares",
    "Split",
    "describe",
    "distinct",
    "documents",
    "generate",
    "is_eval",
    "tokenizer_texts",
]
