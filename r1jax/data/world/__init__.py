"""The embedded world: problems and general prompts, answers of mixed quality, their corpus."""

from r1jax.data.world.corpus import Document, Mix, describe, documents, tokenizer_texts
from r1jax.data.world.general import distinct_general, generate_general
from r1jax.data.world.gold import judge_general
from r1jax.data.world.problems import FAMILIES, Language, Split, distinct, generate
from r1jax.data.world.replies import ReplyShares, write_reply
from r1jax.data.world.requests import KINDS, RequestKind, RequestPart
from r1jax.data.world.traces import MODES, Shares

__all__ = [
    "FAMILIES",
    "KINDS",
    "MODES",
    "Document",
    "Language",
    "Mix",
    "RequestPart",
    "RequestKind",
    "ReplyShares",
    "Shares",
    "Split",
    "describe",
    "distinct",
    "distinct_general",
    "documents",
    "generate",
    "generate_general",
    "judge_general",
    "tokenizer_texts",
    "write_reply",
]
