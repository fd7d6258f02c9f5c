"""Learnt turns, as text and as tokens: what stands at their ends, and how they join."""

from __future__ import annotations

import re
from collections.abc import Sequence

_OPENED = re.compile(r"<think>\s*\Z")


def unended(content: str, ends: Sequence[str]) -> str:
    """The content without the stop tokens that it ends in as text: one is put behind it anyway."""
    while end := next((end for end in ends if content.rstrip().endswith(end)), None):
        content = content.rstrip().removesuffix(end)
    return content


def undoubled(context: str, content: str) -> str:
    """The content without a <think> (and the space after it) that the context opened already."""
    opened = _OPENED.search(context)
    if opened is None:
        return content
    whole = content.removeprefix(opened.group())
    return whole.removeprefix("<think>") if whole == content else whole


def join(turns: Sequence[tuple[list[int], list[int]]]) -> list[tuple[list[int], list[bool]]]:
    """Sequences (tokens, learnt or not) of the learnt turns (context, content) of a conversation.

    A turn goes on with the sequence so far where its context begins with exactly those tokens;
    otherwise (the template has removed an earlier thought, say) it starts one of its own. A first
    token is never learnt: nothing predicts it.
    """
    sequences: list[tuple[list[int], list[bool]]] = []
    for context, content in turns:
        before = sequences[-1][0] if sequences else []
        if not before or context[: len(before)] != before:
            sequences.append(([], []))
        ids, learn = sequences[-1]
        between = context[len(ids) :]
        ids += between + content
        learn += [False] * len(between) + [True] * len(content)
        learn[0] = False
    return sequences
