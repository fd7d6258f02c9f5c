"""What crosses into host Python: problems, completions and the reward signature. Imports no jax."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

FinishReason = Literal["stop", "length"]


def split_envelope(text: str) -> tuple[str | None, str | None]:
    """(thought, answer): what follows the first <think>, and the last closed <answer> block.

    Linear in the length of the text, whatever it holds.
    """
    thought = answer = None
    opened = text.find("<think>")
    if opened >= 0:
        ends = (text.find(tag, opened) for tag in ("</think>", "<answer>"))
        end = min((e for e in ends if e >= 0), default=len(text))
        thought = text[opened + len("<think>") : end].strip()
    closed = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, closed) if closed >= 0 else -1
    if start >= 0:
        answer = text[start + len("<answer>") : text.find("</answer>", start)].strip()
    return thought, answer


@dataclass(frozen=True)
class Problem:
    """One verifiable question.

    `id` is canonical and stable: randomness, resume and disjointness are keyed on it. `grader`
    names how an answer is judged (`r1jax.rewards.GRADERS`); `metadata` carries further columns of
    the data, for graders, for tables by field and for users' own rewards; it must be picklable.
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
    """What the policy wrote after a prompt, already split into thought and answer.

    `offsets` are for rewards that judge token by token, and empty elsewhere: token i is
    text[start:end] for (start, end) = offsets[i]. `sample` counts the completions of a problem in a
    rollout.
    """

    text: str
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    thought: str | None
    answer: str | None
    offsets: tuple[tuple[int, int], ...] = ()
    sample: int = 0

    @classmethod
    def parse(
        cls,
        text: str,
        token_ids: Sequence[int] = (),
        finish_reason: FinishReason = "stop",
        sample: int = 0,
    ) -> Completion:
        """A completion with its text split by `split_envelope`."""
        parts = split_envelope(text)
        return cls(text, tuple(token_ids), finish_reason, *parts, sample=sample)


@dataclass(frozen=True)
class RewardContext:
    """What a reward may know besides the text: where in the run, which group, which tokenizer.

    `group_ids[i]` says which prompt completion i answers; equal numbers form a group.
    """

    step: int = 0
    group_ids: tuple[int, ...] = ()
    tokenizer: Any = None


Value = float | Sequence[float | None] | None
"""A completion's reward, None where it is left out. Of a reward `per_token`, a list with a number
for each token, None for one that has no reward of its own."""

Reward = Callable[[Sequence[Problem], Sequence[Completion], RewardContext], Sequence[Value]]
"""The reward contract: one value per completion; None leaves this term out of the sum."""
