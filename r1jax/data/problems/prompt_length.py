"""Room for prompts: problems whose prompts are too long to be generated from are found early."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.errors import UserError
from r1jax.problem import Problem

TooLong = Literal["error", "drop"]
CHUNK = 512  # prompts that are tokenised at a time
LOOKED_AT = 64  # problems of a source without end that are tried before anything runs
TRIES = 32
STEP = 720_720  # a multiple of all small numbers: names and languages that take turns stay in turn


@dataclass(frozen=True)
class PromptRoom:
    """The most tokens a prompt may have (`limit`), and the prompts of problems as tokens."""

    limit: int
    prompts: Callable[[Sequence[Problem]], Sequence[Sequence[int]]]

    def too_long(self, problems: Sequence[Problem]) -> dict[int, int]:
        """Tokens of each prompt that is longer than the limit, by the problem's place."""
        return {
            start + i: len(prompt)
            for start in range(0, len(problems), CHUNK)
            for i, prompt in enumerate(self.prompts(problems[start : start + CHUNK]))
            if len(prompt) > self.limit
        }

    def refusal(self, what: str, longest: int, too_long: TooLong) -> UserError:
        """The mistake of a prompt that is too long; `what` names it, and where it is from."""
        other = ", or give --data.too-long drop" if too_long == "error" else ""
        return UserError(
            f"{what} longer than --rollout.max-prompt {self.limit}; raise that to {longest}{other}"
        )


class FittingSource:
    """A source of made problems in whose place, where a prompt is too long, another one stands.

    With `too_long` "error" such a prompt is an error instead, for the first problems at once.
    """

    def __init__(self, source: Any, spec: str, room: PromptRoom, too_long: TooLong) -> None:
        """Raises UserError where one of the first problems has a prompt that is too long."""
        self._source, self._spec, self._room, self._too_long = source, spec, room, too_long
        self.looked_at, self.long = 0, ()
        self._counted([source[i] for i in range(min(LOOKED_AT, len(source)))])

    def __len__(self) -> int:
        """As many as the source has."""
        return len(self._source)

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`, or one in its place; UserError where none fits."""
        for attempt in range(TRIES):
            place = int(index) + attempt * STEP
            if found := self._fitting([self._source[place % len(self)]]):
                return found[0]
        raise UserError(
            f"{self._spec}: {TRIES} prompts in a row are longer than --rollout.max-prompt "
            f"{self._room.limit}; raise that, or narrow the source's parameters"
        )

    def evaluation(self, count: int) -> list[Problem]:
        """At most `count` problems to be judged on: those that have room."""
        return self._counted(self._source.evaluation(count))

    def _counted(self, problems: list[Problem]) -> list[Problem]:
        """Those with room; `long` names the others of so many that were `looked_at`."""
        fitting = self._fitting(problems)
        left = {problem.id for problem in fitting}
        self.looked_at = len(problems)
        self.long: tuple[str, ...] = tuple(p.id for p in problems if p.id not in left)
        return fitting

    def _fitting(self, problems: list[Problem]) -> list[Problem]:
        """Those with room; UserError where one has none and errors are asked for."""
        long = self._room.too_long(problems)
        if long and (self._too_long == "error" or 1 < len(problems) == len(long)):
            place, tokens = next(iter(long.items()))
            what = f"{self._spec}: problem {problems[place].id} has a prompt of {tokens} tokens,"
            raise self._room.refusal(what, max(long.values()), self._too_long)
        return [problem for i, problem in enumerate(problems) if i not in long]
