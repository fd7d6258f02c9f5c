"""Rewards written for TRL and for verl, taken as they are; their parameters' names tell which.

TRL: `(prompts, completions, **columns) -> list[float | None]`, called for a group by keyword.
verl: `(data_source, solution_str, ground_truth, extra_info=None) -> float | {"score": float}`.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext, Value
from r1jax.rewards.base import BaseReward

GOLD = ("answer", "solution", "ground_truth")
"""What columns of right answers are called; a problem has one, so each name finds it."""
TRL = frozenset({"prompts", "completions", "completion_ids", "trainer_state"})
VERL = frozenset({"data_source", "solution_str", "ground_truth", "extra_info"})


def dialect(function: Any) -> type[TRLReward] | type[VerlReward] | None:
    """The class that calls `function` as TRL or verl do; None for a reward of our own form."""
    names = set(_parameters(function))
    if {"solution_str", "ground_truth"} <= names:
        return VerlReward
    return TRLReward if "completions" in names and not names & {"problems", "context"} else None


def contract(function: Any) -> frozenset[str]:
    """The parameters that a dialect's caller fills, which are no options."""
    return {TRLReward: TRL, VerlReward: VERL}.get(dialect(function), frozenset())


@dataclass(frozen=True)
class TRLReward(BaseReward):
    """A reward function of TRL's: a group's texts and the columns of its rows, by keyword.

    With `chat` prompts and completions are lists of messages, as where TRL's data are chats.
    """

    function: Callable[..., Any]
    chat: bool = False
    per_item = False
    needs_tokenizer = False

    @property
    def needs_tokens(self) -> bool:
        """Whether it asks for `completion_ids`."""
        return _asks(self.function, "completion_ids")

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises UserError where it asks for a column that a problem does not have."""
        needed = {
            name
            for name, parameter in _parameters(self.function).items()
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        for problem in problems:
            columns = _columns(problem)
            if missing := needed - TRL - columns.keys():
                raise UserError(
                    f"reward {_name(self.function)}: asks for {min(missing)}, and problem "
                    f"{problem.id!r} has no such column; it has {', '.join(sorted(columns))}"
                )

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> Sequence[Value]:
        """The reward of each completion of a group."""
        rows = [_columns(problem) for problem in problems]
        given = {name: [row.get(name) for row in rows] for name in {n for row in rows for n in row}}
        given |= {
            "prompts": [self._said("user", problem.question) for problem in problems],
            "completions": [self._said("assistant", c.text) for c in completions],
            "completion_ids": [list(c.token_ids) for c in completions],
            "trainer_state": SimpleNamespace(global_step=context.step),
        }
        asked = {name: value for name, value in given.items() if _asks(self.function, name)}
        return _waited(self.function(**asked))

    def _said(self, role: str, text: str) -> str | list[dict[str, str]]:
        return [{"role": role, "content": text}] if self.chat else text


@dataclass(frozen=True)
class VerlReward(BaseReward):
    """A `compute_score` of verl's, for one completion.

    `ground_truth` is the column of that name, or of `reward_model`, else the answer; `extra_info`
    the column of that name, else all columns.
    """

    function: Callable[..., Any]
    needs_tokens = False

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> Value:
        """The score of one completion; UserError where what comes back holds none."""
        data = problem.metadata
        nested = data.get("reward_model")
        truth = nested.get("ground_truth") if isinstance(nested, Mapping) else None
        given = {
            "data_source": data.get("data_source", ""),
            "solution_str": completion.text,
            "ground_truth": data.get("ground_truth", problem.answer) if truth is None else truth,
            "extra_info": data.get("extra_info") or dict(data),
        }
        asked = {name: value for name, value in given.items() if _asks(self.function, name)}
        score = _waited(self.function(**asked))
        if isinstance(score, Mapping) and "score" not in score:
            keys = ", ".join(map(str, score)) or "nothing"
            raise UserError(f"compute_score returned {keys}; expected a number, or a score")
        return score["score"] if isinstance(score, Mapping) else score


def _columns(problem: Problem) -> dict[str, Any]:
    """The row of a problem as a data set has it; what TRL fills itself is no column."""
    own = {"question": problem.question} | dict.fromkeys(GOLD, problem.answer)
    return {
        name: value
        for name, value in (own | dict(problem.metadata)).items()
        if name not in TRL | {"prompt", "completion"}
    }


def _parameters(function: Any) -> Mapping[str, inspect.Parameter]:
    try:
        return inspect.signature(function).parameters
    except (TypeError, ValueError):  # of a builtin, which has no names to tell it by
        return {}


def _asks(function: Any, name: str) -> bool:
    parameters = _parameters(function)
    return name in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _waited(value: Any) -> Any:
    """The value itself, or what a coroutine comes to."""
    if not inspect.isawaitable(value):
        return value

    async def wait() -> Any:
        return await value

    return asyncio.run(wait())


def _name(function: Any) -> str:
    return getattr(getattr(function, "func", function), "__name__", type(function).__name__)
