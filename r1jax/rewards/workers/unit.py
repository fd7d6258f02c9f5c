"""One call of a reward and what came of it: values, or why there are none."""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from r1jax.problem import Completion, Problem, Reward, RewardContext


class Status(enum.IntEnum):
    """What became of one completion's reward."""

    PENDING = 0
    VALUE = 1
    NONE = 2  # the reward left this completion out
    ERROR = 3  # an exception, or a value that is no finite number
    LENGTH = 4  # a list of the wrong length: the author's mistake, not the model's
    CPU = 5
    WALL = 6
    MEMORY = 7
    DIED = 8


Outcome = tuple[Status, float]


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


@dataclass
class Tally:
    """Outcomes of a call in the order of its completions, filled in any order."""

    outcomes: list[Outcome]
    retried: int = 0
    messages: dict[int, str] = field(default_factory=dict)  # by index of the completion

    @classmethod
    def of(cls, n: int) -> Tally:
        """`n` completions, all pending."""
        return cls([(Status.PENDING, 0.0)] * n)

    def values(self) -> list[float | None]:
        """The rewards: a value, None where left out, 0.0 where lost."""
        return [None if s == Status.NONE else v for s, v in self.outcomes]

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
    reward: Reward,
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
) -> tuple[list[Outcome], str]:
    """Calls the reward once: (outcome of each completion, message of an error or "")."""
    n = len(completions)
    try:
        values = list(reward(problems, completions, context))
        if len(values) != n:
            message = f"returned {len(values)} values for {n} completions"
            return [(Status.LENGTH, 0.0)] * n, message
        return [_outcome(value) for value in values], _complaint(values)
    except MemoryError:
        return [(Status.MEMORY, 0.0)] * n, "MemoryError"
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # sys.exit and timeouts too cost one answer, like any error
        return [(Status.ERROR, 0.0)] * n, describe(error)


def describe(error: BaseException) -> str:
    """`Type: message` on one line, even where the message cannot be made."""
    try:
        message = " ".join(str(error)[:2000].split())[:300]
    except Exception:
        message = "(no message)"
    return f"{type(error).__name__}: {message}"


def _outcome(value: object) -> Outcome:
    if value is None:
        return Status.NONE, 0.0
    number = float(value)  # type: ignore[arg-type]
    return (Status.VALUE, number) if math.isfinite(number) else (Status.ERROR, 0.0)


def _complaint(values: list[object]) -> str:
    bad = [v for v in values if v is not None and not math.isfinite(float(v))]  # type: ignore[arg-type]
    return f"ValueError: the reward returned {bad[0]}" if bad else ""
