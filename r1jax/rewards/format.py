"""Format rewards: the think/answer envelope, whole (R1-Zero) or tag by tag."""

from __future__ import annotations

import unicodedata

from r1jax.problem import Completion, Problem
from r1jax.rewards.adapters import linear

_EMPTY_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")

TAGS = ("<think>", "</think>", "<answer>", "</answer>")


def is_strict_format(text: str) -> bool:
    """Whether all of `text` is `<think>…</think>` whitespace `<answer>…</answer>`.

    Each tag exactly once, thought and answer not empty, nothing around but whitespace
    (DeepSeek-R1, section 2.2.3 leaves the exact check open; this one is ours).
    """
    text = text.strip()
    if any(text.count(tag) != 1 for tag in TAGS):
        return False
    if not (text.startswith("<think>") and text.endswith("</answer>")):
        return False
    thought, _, rest = text.removeprefix("<think>").partition("</think>")
    between, _, answer = rest.partition("<answer>")
    whole = is_visible(thought) and is_visible(answer.removesuffix("</answer>"))
    return whole and not between.strip()


def is_visible(text: str) -> bool:
    """Whether anything of `text` can be seen: no spaces, marks of direction or empty letters."""
    return any(
        unicodedata.category(sign)[0] not in "CZ" and sign not in _EMPTY_LETTERS for sign in text
    )


@linear
def strict_format(problem: Problem, completion: Completion) -> float:
    """1.0 where the completion is the strict envelope, else 0.0."""
    return float(is_strict_format(completion.text))


@linear
def tag_count(problem: Problem, completion: Completion) -> float:
    """0.25 for each of the four tags that appears exactly once (after Open-R1)."""
    return sum(0.25 for tag in TAGS if completion.text.count(tag) == 1)
