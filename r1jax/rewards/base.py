"""The one reward protocol: what a reward computes, and what it says of where and on what.

Our own rewards are its subclasses; a user's function becomes one at one door, `adapters.lifted`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from r1jax.problem import Completion, Problem, RewardContext, Value

Place = Literal["worker", "here", "devices"]
"""A worker process, under limits; this process, for what is ours and linear in the text; the main
thread of every process, with all completions of a rollout, for what computes on the devices."""


class BaseReward:
    """A reward: `of` for one completion, or `__call__` for a group where it has to see a whole one.

    The attributes are read wherever a reward is run; a subclass sets those that differ.
    """

    per_item: bool = True
    """Each completion has its reward by itself; else `__call__` gets a group (or, on the devices,
    a rollout) at a time."""
    per_token: bool = False
    """Its value is a list, a number or None for each of a completion's `token_ids`."""
    place: Place = "worker"
    """Where it runs."""
    needs_tokens: bool = True
    """Whether it reads `token_ids`, the bulk of a completion; else no worker is sent them."""

    @property
    def needs_tokenizer(self) -> bool:
        """Whether `context.tokenizer` is sent to a worker: for groups, and for tokens' offsets."""
        return self.per_token or not self.per_item

    @property
    def abstract(self) -> Any:
        """A tree of the arrays it keeps on the devices, for the memory plan; empty elsewhere."""
        return ()

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises UserError where it could not judge `problems`, whatever the completions."""

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> Value:
        """The reward of one completion; None leaves it out of the sum."""
        raise NotImplementedError(f"{type(self).__name__} needs `of`, or a `__call__` for groups")

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> Sequence[Value]:
        """The reward of each completion, in their order."""
        return [self.of(p, c, context) for p, c in zip(problems, completions, strict=True)]
