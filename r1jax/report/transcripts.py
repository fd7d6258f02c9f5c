"""Completions as a reader sees them in a report: thought dimmed, tags small, verdict in words."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_TAG = re.compile(r"(</?(?:think|answer)>)")


def pairs(transcripts: Sequence[Mapping[str, Any]]) -> str:
    """Answers to the same problems before and after training, side by side (HTML)."""
    articles = []
    for item in transcripts:
        language = escape(str(item.get("language") or ""))
        facts = [f"right answer: {item['answer']}"] if item.get("answer") is not None else []
        facts += [str(item[key]) for key in ("family", "language") if item.get(key)]
        sides = "".join(
            said(when, item[when].get("text", ""), item[when].get("correct"), language)
            for when in ("before", "after")
            if item.get(when)
        )
        articles.append(
            f'<article><h3 lang="{language}">{escape(str(item.get("question", "")))}</h3>'
            f'<p class="facts">{escape(" · ".join(facts))}</p>'
            f'<div class="pair">{sides}</div></article>'
        )
    return "".join(articles)


def first_and_latest(samples: Sequence[Mapping[str, Any]], shown: int = 3) -> str:
    """The first completions of training beside the latest (HTML); empty for a single rollout."""
    if not samples:
        return ""
    first = [row for row in samples if row.get("rollout") == samples[0].get("rollout")]
    latest = [row for row in samples if row.get("rollout") == samples[-1].get("rollout")]
    if latest[0] is first[0]:
        return ""
    both = zip(first[:shown], latest[:shown], strict=False)
    return "".join(f'<article class="pair">{_sample(a)}{_sample(b)}</article>' for a, b in both)


def _sample(row: Mapping[str, Any]) -> str:
    question = row.get("question") or row.get("prompt") or ""
    text = row.get("text") or row.get("completion") or ""
    when = f"rollout {row.get('rollout', '–')}"
    if isinstance(row.get("reward"), int | float):
        when += f" · reward {row['reward']:.2f}"
    return said(when, str(text), None, "", str(question))


def said(when: str, text: str, correct: bool | None, language: str, question: str = "") -> str:
    """A card with one completion; right and wrong are said in words, not by colour alone."""
    mark = ""
    if correct is not None:
        mark = ('<span class="right">✓ right</span>' if correct
                else '<span class="wrong">✗ wrong</span>')  # fmt: skip
    asked = f'<p class="asked">{escape(question)}</p>' if question else ""
    return (
        f'<div class="said"><header><span>{escape(when)}</span>{mark}</header>{asked}'
        f'<div class="text" lang="{language}">{_marked(text)}</div></div>'
    )


def _marked(text: str) -> str:
    """Escaped text with its tags set small and what is thought dimmed."""
    html, thinking = [], False
    for piece in _TAG.split(text.strip()):
        if _TAG.fullmatch(piece):
            thinking = piece == "<think>"
            html.append(f'<span class="tag">{escape(piece)}</span>')
        elif piece:
            html.append(f'<span class="thought">{escape(piece)}</span>' if thinking
                        else escape(piece))  # fmt: skip
    return "".join(html) or '<span class="soft">(nothing)</span>'
