"""From users' functions to rewards: lifting scalar functions, loading by name, a control."""

from __future__ import annotations

import functools
import hashlib
import inspect
import math
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from r1jax.errors import UserError
from r1jax.plugin import load_function
from r1jax.problem import Completion, Problem, Reward, RewardContext, Value
from r1jax.rewards.answers.extract import extract
from r1jax.rewards.base import BaseReward, Place
from r1jax.rewards.dialects import TRLReward, contract, dialect


@dataclass(frozen=True)
class Lifted(BaseReward):
    """A function of a group's problems, completions and context, as it was written by a user."""

    function: Callable[..., Any]
    per_item: bool = False
    per_token: bool = False

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> Sequence[Value]:
        return self.function(problems, completions, context)


@dataclass(frozen=True)
class PerAnswer(BaseReward):
    """Lifts `(problem, answer text) -> float | None` to a reward (a decorator).

    The answer is extracted by the policy "auto"; a completion without one gets 0.0. In a pool each
    call runs under its own limits.
    """

    function: Callable[[Problem, str], float | None]
    needs_tokens = False

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> Value:
        """The reward of one completion; 0.0 where no answer is found."""
        answer = extract(completion.text, "auto", problem)
        return 0.0 if answer is None else self.function(problem, answer)


@dataclass(frozen=True)
class PerCompletion(BaseReward):
    """Lifts `(problem, completion) -> float | None` to a reward (a decorator); see `per_answer`."""

    function: Callable[[Problem, Completion], Value]
    place: Place = "worker"
    per_token: bool = False

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> Value:
        """The reward of one completion."""
        return self.function(problem, completion)


per_answer, per_completion = PerAnswer, PerCompletion  # as users write them above a function


def lifted(reward: Reward) -> BaseReward:
    """The door into the protocol: a reward of ours as it is, a user's function or object lifted.

    What is no `BaseReward` is called for a group at a time in a worker, or for one completion at a
    time if its attribute `per_item` says so. Functions written for TRL or verl are called as there.
    """
    if isinstance(reward, BaseReward):
        return reward
    if (caller := dialect(reward)) is not None:
        return caller(reward)
    return Lifted(reward, getattr(reward, "per_item", False))


def per_token(reward: Reward) -> BaseReward:
    """Says that a reward gives each completion a list: a number, or None, for each of its tokens.

    A decorator, of a function of a group or above `per_completion`. `completion.token_ids` are the
    tokens, `completion.offsets` say where each stands in the text. Advantages compare the numbers
    of a group, so that a token that ends no step has None, not 0. A completion may have None in
    place of a list, which leaves it out.
    """
    reward = lifted(reward)
    if not isinstance(reward, Lifted | PerCompletion):
        raise UserError(f"per_token: {type(reward).__name__} cannot judge token by token")
    return replace(reward, per_token=True)


def linear(function: Callable[[Problem, Completion], float]) -> PerCompletion:
    """Lifts a function of ours whose time is linear in the text: it needs no worker's limits."""
    return PerCompletion(function, place="here")


def random_reward(seed: int = 0) -> BaseReward:
    """0.0 or 1.0 with equal chance, fixed by seed, problem id and sample: the control of a run.

    Whatever the text: were equal texts of a group to share a coin, short guesses that many write
    would learn nothing, and what is long and varied everything.
    """

    @linear
    def coin(problem: Problem, completion: Completion) -> float:
        key = f"{seed}\0{problem.id}\0{completion.sample}".encode("utf-8", "surrogatepass")
        return float(hashlib.sha256(key).digest()[0] & 1)

    return coin


def load_reward(name: str, chat: bool = False) -> Reward:
    """The reward that `package.module:function` names, with options as in `:function?a=1&b=x`.

    Options are the function's keyword-only arguments, read by their annotations; of a function in
    TRL's or verl's form, all that it has beyond that. With `chat` TRL's get messages. Raises
    UserError where `load_function` does, the module cannot be imported, or an option is unknown or
    of another type.
    """
    place, _, query = name.partition("?")
    arguments = ("problems", "completions", "context")
    reward = load_function(place, "reward", arguments, lambda function: dialect(function))
    reward = _with_options(reward, query, name) if query else reward
    return TRLReward(reward, chat) if dialect(reward) is TRLReward else reward


def named_reward(text: str, chat: bool = False) -> tuple[str, Reward, float]:
    """(name, reward, weight) of `package.module:function?option=value=WEIGHT`.

    Options and weight (default 1) may be left out. Raises UserError as `load_reward` does, and for
    a weight that is no number.
    """
    spec, weight = split_weight(text, "--reward.user")
    return _function_name(spec), load_reward(spec, chat), weight


def split_weight(text: str, flag: str) -> tuple[str, float]:
    """`PLACE?option=value` and the weight that may follow it, `=WEIGHT` (default 1)."""
    place, mark, query = text.partition("?")
    pairs, amp, last = query.rpartition("&")
    option, equals, rest = last.partition("=")
    value, _, weight = rest.partition("=")
    spec = f"{place}?{pairs}{amp}{option}{equals}{value}"
    if not mark:
        spec, _, weight = place.partition("=")
    try:
        number = float(weight or 1)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{flag} {text}: {weight!r} is not a number")
    return spec, number


def _with_options(reward: Any, query: str, name: str) -> Reward:
    function = getattr(reward, "function", reward)
    parameters = inspect.signature(function, eval_str=True).parameters
    free = {
        key
        for key, parameter in parameters.items()
        if dialect(function) and parameter.default is not parameter.empty
    } - contract(function)
    options = {
        key: parameter
        for key, parameter in parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY or key in free
    }
    given: dict[str, Any] = {}
    for pair in query.split("&"):
        key, equals, value = pair.partition("=")
        if not equals or key not in options:
            there = ", ".join(options) or "none"
            raise UserError(f"reward {name!r}: no option {key}; {_function_name(name)} has {there}")
        kind = options[key].annotation
        kind = type(options[key].default) if kind is inspect.Parameter.empty else kind
        given[key] = _typed(value, kind, f"reward {name!r}: {key}={value}")
    bound = functools.partial(function, **given)
    return replace(reward, function=bound) if function is not reward else bound


def _function_name(name: str) -> str:
    """The function in `package.module:function?options`."""
    return name.partition("?")[0].rpartition(":")[2]


def _typed(value: str, kind: Any, what: str) -> Any:
    """`value` as bool, int, float, text or one of a Literal's; UserError where it is not."""
    choices = typing.get_args(kind) if typing.get_origin(kind) is Literal else ()
    if kind is bool:
        choices = ("true", "false")
    if choices:
        if value not in choices:
            raise UserError(f"{what}; expected {' or '.join(map(str, choices))}")
        return value == "true" if kind is bool else value
    words = {int: "a whole number", float: "a number", str: "text"}
    if kind not in words:
        raise UserError(f"{what}; an option of type {kind} cannot be given by flag")
    try:
        return kind(value)
    except ValueError:
        raise UserError(f"{what}; expected {words[kind]}") from None
