"""Repetition penalty: how much of a completion repeats its own n-grams."""

from __future__ import annotations

import re

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem
from r1jax.rewards.adapters import linear
from r1jax.rewards.base import BaseReward

# A Chinese character or kana is a word of its own; anything else splits at white space.
WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|"
                   r"[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")  # fmt: skip


def repeated_share(text: str, ngram: int) -> float:
    """Share of a text's n-grams of words that occurred before in it; 0 where it has none at all."""
    words = WORD.findall(text.lower())
    total = len(words) - ngram + 1
    if total < 1:
        return 0.0
    unique = len(set(zip(*(words[i : i + total] for i in range(ngram)), strict=True)))
    return 1.0 - unique / total


def repetition_penalty(ngram: int = 3, max_penalty: float = -1.0) -> BaseReward:
    """A reward in [max_penalty, 0] from lower-cased word n-grams, Chinese by character (Open-R1).

    Raises UserError unless ngram >= 1 and max_penalty <= 0.
    """
    if ngram < 1 or max_penalty > 0:
        raise UserError(
            f"repetition_penalty got ngram {ngram}, max_penalty {max_penalty}; "
            "ngram must be at least 1 and max_penalty at most 0"
        )

    @linear
    def penalty(problem: Problem, completion: Completion) -> float:
        """(1 - unique / total n-grams) x max_penalty."""
        return 0.0 + repeated_share(completion.text, ngram) * max_penalty

    return penalty
