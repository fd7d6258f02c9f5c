"""What crosses into host Python: problems, completions and the reward signature. Imports no jax."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length"]

_THOUGHT = re.compile(r"<think>(.*?)(?:</think>|<answer>|\Z)", re.DOTALL)
_ANSWER = re.compile(r"<answer>(.*?)</answer>", re.DOTALL)


@dataclass(frozen=True)
class Problem:
    """One verifiable question.

    `id` is canonical and stable: randomness, resume and disjointness are keyed on it. `grader` names
    how an answer is judged (`r1jax.rewards.accuracy.GRADERS`); `metadata` carries further columns of
    the data, for graders, for tables by field and for users' own rewards.
    """

    id: str
    question: str
    answer: str
    grader: str = "math"
    metadata: Mapping[str, Any] = field(default_factory=dict)

    @property
    def number(self) -> int:
        """31-bit number of the id: what `fold_in` takes."""
        return int.from_bytes(hashlib.sha256(self.id.encode()).digest()[:4], "big") >> 1


@dataclass(frozen=True)
class Completion:
    """What the policy wrote after a prompt, already split into thought and answer."""

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    thought: str | None
    answer: str | None

    @classmethod
    def parse(
        cls, text: str, token_ids: Sequence[int] = (), finish_reason: FinishReason = "stop"
    ) -> Completion:
        """Splits `text`: thought = the first <think> block, answer = the last <answer> block."""
        thought = _THOUGHT.search(text)
        answers = _ANSWER.findall(text)
        return cls(
            text=text,
            token_ids=tuple(token_ids),
            finish_reason=finish_reason,
            thought=thought.group(1).strip() if thought else None,
            answer=answers[-1].strip() if answers else None,
        )


@dataclass(frozen=True)
class RewardContext:
    """What a reward may know besides the text: where in the run, which group, which tokenizer.

    `group_ids[i]` says which prompt completion i answers; equal numbers form a group.
    """

    step: int = 0
    group_ids: tuple[int, ...] = ()
    tokenizer: Any = None


Reward = Callable[
    [Sequence[Problem], Sequence[Completion], RewardContext], Sequence[float | None]
]
"""The reward contract: one number per completion; None leaves this term out of the sum."""
