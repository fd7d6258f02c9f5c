"""Repetition penalty: how much of a completion repeats its own n-grams."""

from __future__ import annotations

import re
from dataclasses import dataclass

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.base import BaseReward

# A Chinese character or kana is a word of its own; anything else splits at white space.
_WORD = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|"
                   r"[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")  # fmt: skip


@dataclass(frozen=True)
class Repetition(BaseReward):
    """(1 - unique / total n-grams) x max_penalty; see `repetition_penalty`."""

    ngram: int
    max_penalty: float
    place = "here"

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> float:
        """The penalty of one text; 0 where it has no n-gram at all."""
        words = _WORD.findall(completion.text.lower())
        total = len(words) - self.ngram + 1
        if total < 1:
            return 0.0
        unique = len(set(zip(*(words[i : i + total] for i in range(self.ngram)), strict=True)))
        return 0.0 + (1.0 - unique / total) * self.max_penalty


def repetition_penalty(ngram: int = 3, max_penalty: float = -1.0) -> Repetition:
    """A reward in [max_penalty, 0] from lower-cased word n-grams, Chinese by character (Open-R1).

    Raises UserError unless ngram >= 1 and max_penalty <= 0.
    """
    if ngram < 1 or max_penalty > 0:
        raise UserError(
            f"repetition_penalty got ngram {ngram}, max_penalty {max_penalty}; "
            "ngram must be at least 1 and max_penalty at most 0"
        )
    return Repetition(ngram, max_penalty)
