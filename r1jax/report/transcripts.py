"""Completions as a reader sees them in a report: thought dimmed, tags small, verdict in words."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from r1jax.run.directory import Record

_TAG = re.compile(r"(</?(?:think|answer)>)")


class Card(NamedTuple):
    """One completion: when it was said, whether it is right (None: no rule says), what asked it."""

    when: str
    text: str
    correct: bool | None = None
    asked: str = ""


class PromptTranscript(NamedTuple):
    """Several completions of one prompt, side by side."""

    question: str
    language: str
    facts: str
    cards: Sequence[Card]


def story(item: Record, cards: Sequence[Card], unruled: str = "") -> PromptTranscript:
    """The cards below the prompt of `item`; `unruled` is said where it has no right answer."""
    ruled = item.get("answer") not in (None, "")
    facts = [f"right answer: {item['answer']}" if ruled else unruled,
             item.get("family"), item.get("language")]  # fmt: skip
    return PromptTranscript(
        str(item.get("question", "")), str(item.get("language") or ""),
        " · ".join(str(fact) for fact in facts if fact), cards,
    )  # fmt: skip


def pairs(transcripts: Sequence[Record]) -> list[PromptTranscript]:
    """Answers to the same problems before and after training."""
    return [
        story(item, [Card(when, item[when].get("text", ""), item[when].get("correct"))
                     for when in ("before", "after") if item.get(when)])
        for item in transcripts
    ]  # fmt: skip


def first_and_latest(samples: Sequence[Record], shown: int = 3) -> list[tuple[Card, Card]]:
    """The first completions of training beside the latest; nothing for a single rollout."""
    if not samples:
        return []
    first, latest = ([_sample(row) for row in samples if row.get("rollout") == end.get("rollout")]
                     for end in (samples[0], samples[-1]))  # fmt: skip
    if samples[0].get("rollout") == samples[-1].get("rollout"):
        return []
    return list(zip(first[:shown], latest[:shown], strict=False))


def _sample(row: Record) -> Card:
    when = f"rollout {row.get('rollout', '–')}"
    if isinstance(row.get("reward"), int | float):
        when += f" · reward {row['reward']:.2f}"
    text, asked = row.get("text") or row.get("completion"), row.get("question") or row.get("prompt")
    return Card(when, str(text or ""), asked=str(asked or ""))


def pieces(text: str) -> list[tuple[str, str]]:
    """(kind, piece) of a completion, where kind is "tag", "thought" or, of what is said, ""."""
    parts, thinking = [], False
    for piece in _TAG.split(text.strip()):
        if _TAG.fullmatch(piece):
            thinking = piece == "<think>"
            parts.append(("tag", piece))
        elif piece:
            parts.append(("thought" if thinking else "", piece))
    return parts
