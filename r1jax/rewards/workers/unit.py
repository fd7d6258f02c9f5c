"""One call of a reward and what came of it: values, or why there are none."""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

from r1jax.problem import Completion, Problem, RewardContext, Value
from r1jax.rewards.base import BaseReward
from r1jax.rewards.tokens import with_offsets


class Status(enum.IntEnum):
    """What became of one completion's reward."""

    PENDING = 0
    VALUE = 1
    NONE = 2  # the reward left this completion out
    ERROR = 3  # an exception, or a value that is no finite number
    LENGTH = 4  # too few or too many numbers: the author's mistake, not the model's
    CPU = 5
    WALL = 6
    MEMORY = 7
    DIED = 8


Outcome = tuple[Status, float | tuple[float, ...]]
"""What became of it, and the number (0.0 where there is none), or one for each token, NaN for
None."""


LARGEST = 3.4e38
"""What float32 holds: beyond it a reward would be infinite to who learns from it."""


def widths(reward: BaseReward, completions: Sequence[Completion]) -> list[int] | None:
    """How many numbers each completion's value has, one per token; None: it is one number."""
    return [len(c.token_ids) for c in completions] if reward.per_token else None


@dataclass(frozen=True)
class Unit:
    """The completions of one call of the reward, by index in the batch."""

    indices: tuple[int, ...]
    attempt: int = 0
    numbers: int = 0  # that it returns beside its outcomes: one for each token


@dataclass(frozen=True)
class Counts:
    """How many completions of a call lost their reward, by reason."""

    cpu: int = 0  # over the CPU limit
    wall: int = 0  # over the wall-clock limit, twice
    memory: int = 0  # over the memory limit
    died: int = 0  # their worker ended while it judged them
    errors: int = 0  # the reward raised an exception, or returned no finite number
    retried: int = 0  # over the wall-clock limit once, judged again in a fresh worker
    first_error: str = ""  # of the completion that comes first in the call

    @property
    def lost(self) -> int:
        """Completions that got 0.0 because their reward could not be computed."""
        return self.cpu + self.wall + self.memory + self.died + self.errors

    @property
    def why(self) -> str:
        """The first message, or what ended how many; empty where nothing was lost."""
        ended = {"over their CPU time": self.cpu, "over their time": self.wall,
                 "over their memory": self.memory, "their worker ended": self.died}  # fmt: skip
        return self.first_error or ", ".join(f"{n} {what}" for what, n in ended.items() if n)


@dataclass
class Tally:
    """Outcomes of a call in the order of its completions, filled in any order."""

    outcomes: list[Outcome]
    widths: list[int] | None = None
    retried: int = 0
    messages: dict[int, str] = field(default_factory=dict)  # by index of the completion

    @classmethod
    def of(cls, n: int, widths: list[int] | None = None) -> Tally:
        """`n` completions, all pending; `widths` as the function of that name has them."""
        return cls([(Status.PENDING, 0.0)] * n, widths)

    def take(self, indices: Sequence[int], outcomes: Sequence[Outcome], message: str) -> None:
        """Takes over what became of the completions at `indices`, judged by one call."""
        for index, outcome in zip(indices, outcomes, strict=True):
            self.outcomes[index] = outcome
        if message:
            self.messages[indices[0]] = message

    def values(self) -> list[Value]:
        """The rewards: a value, None where left out, 0.0 where lost: of tokens, at the last one."""
        rewards: list[Value] = [None if s == Status.NONE else v for s, v in self.outcomes]
        for i, width in enumerate(self.widths or ()):
            if self.outcomes[i][0] not in (Status.NONE, Status.VALUE):
                rewards[i] = (*(math.nan,) * (width - 1), 0.0)[:width]
        return rewards

    def counts(self) -> Counts:
        """Lost completions by reason, and the first message."""
        statuses = [status for status, _ in self.outcomes]
        return Counts(
            cpu=statuses.count(Status.CPU),
            wall=statuses.count(Status.WALL),
            memory=statuses.count(Status.MEMORY),
            died=statuses.count(Status.DIED),
            errors=statuses.count(Status.ERROR),
            retried=self.retried,
            first_error=self.messages[min(self.messages)] if self.messages else "",
        )


def run_unit(
    reward: BaseReward,
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
) -> tuple[list[Outcome], str]:
    """Calls the reward once: (outcome of each completion, message of the first mistake or "")."""
    n = len(completions)
    try:
        if reward.per_token and context.tokenizer is not None:
            completions = [with_offsets(c, context.tokenizer) for c in completions]
        values = _listed(reward(problems, completions, context))
        if len(values) != n:
            message = f"returned {len(values)} values for {n} completions; {_EACH}"
            return [(Status.LENGTH, 0.0)] * n, message
        sizes = widths(reward, completions) or [None] * n
        judged = [_outcome(value, size) for value, size in zip(values, sizes, strict=True)]
    except MemoryError:
        return [(Status.MEMORY, 0.0)] * n, "MemoryError"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit and timeouts too cost one answer, like any error
        return [(Status.ERROR, 0.0)] * n, describe(error)
    return [outcome for outcome, _ in judged], next((text for _, text in judged if text), "")


def describe(error: BaseException) -> str:
    """`Type: message` on one line, even where the message cannot be made."""
    try:
        message = " ".join(str(error)[:2000].split())[:300]
    except Exception:
        message = "(no message)"
    return f"{type(error).__name__}: {message}"


_EACH = "return one number, or None, for each completion"
_EACH_TOKEN = "return a list of one number, or None, for each of its token_ids"


def _listed(values: Any) -> list[Any]:
    """What a reward returned, one after the other; TypeError where that is in no order of theirs.

    A dictionary would count as its keys, a text as its digits.
    """
    if isinstance(values, str | bytes | Mapping | Set) or not isinstance(values, Iterable):
        raise TypeError(f"the reward returned a {type(values).__name__}; {_EACH}")
    return list(values)


def _number(value: Any) -> float:
    """Raises what `float` raises, and TypeError for a text: an answer is no reward."""
    if isinstance(value, str | bytes):
        raise TypeError(f"the reward returned the text {value[:50]!r}; {_EACH}")
    return float(value)


def _outcome(value: Any, size: int | None) -> tuple[Outcome, str]:
    """A value as an outcome, of `size` tokens (None: it is one number), and what is wrong with it.

    Raises what `_number` raises of it.
    """
    if value is None:
        return (Status.NONE, 0.0), ""
    if size is not None and not (hasattr(value, "__len__") and len(value) == size):
        returned = f"{len(value)} numbers" if hasattr(value, "__len__") else repr(value)[:50]
        return (Status.LENGTH, 0.0), f"returned {returned} for {size} tokens; {_EACH_TOKEN}"
    numbers = [_number(v) for v in ((value,) if size is None else value) if v is not None]
    bad = [number for number in numbers if not abs(number) <= LARGEST]
    if bad:
        return (Status.ERROR, 0.0), f"ValueError: the reward returned {bad[0]}"
    if size is None:
        return (Status.VALUE, numbers[0]), ""
    return (Status.VALUE, tuple(math.nan if v is None else float(v) for v in value)), ""
