"""From users' functions to rewards: lifting scalar functions, loading by name, a control."""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, Reward, RewardContext
from r1jax.rewards.extract import extract


@dataclass(frozen=True)
class PerAnswer:
    """A function of one problem and its extracted answer, as a Reward; see `per_answer`."""

    function: Callable[[Problem, str], float | None]
    per_item = True

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> list[float | None]:
        return [self.of(p, c) for p, c in zip(problems, completions, strict=True)]

    def of(self, problem: Problem, completion: Completion) -> float | None:
        """The reward of one completion; 0.0 where no answer is found."""
        answer = extract(completion.text, "auto", problem)
        return 0.0 if answer is None else self.function(problem, answer)


@dataclass(frozen=True)
class PerCompletion:
    """A function of one problem and its completion, as a Reward; see `per_completion`."""

    function: Callable[[Problem, Completion], float | None]
    per_item = True

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> list[float | None]:
        return [self.function(p, c) for p, c in zip(problems, completions, strict=True)]


def per_answer(function: Callable[[Problem, str], float | None]) -> PerAnswer:
    """Lifts `(problem, answer text) -> float | None` to a Reward (a decorator).

    The answer is extracted by the policy "auto"; a completion without one gets 0.0. In a pool each
    call runs under its own limits.
    """
    return PerAnswer(function)


def per_completion(function: Callable[[Problem, Completion], float | None]) -> PerCompletion:
    """Lifts `(problem, completion) -> float | None` to a Reward (a decorator); see `per_answer`."""
    return PerCompletion(function)


@dataclass(frozen=True)
class RandomReward:
    """A coin for each problem and text; see `random_reward`."""

    seed: int

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> list[float]:
        return [self._coin(p, c) for p, c in zip(problems, completions, strict=True)]

    def _coin(self, problem: Problem, completion: Completion) -> float:
        key = f"{self.seed}\0{problem.id}\0{completion.text}".encode("utf-8", "surrogatepass")
        return float(hashlib.sha256(key).digest()[0] & 1)


def random_reward(seed: int = 0) -> RandomReward:
    """0.0 or 1.0 with equal chance, fixed by seed, problem id and text: the control of a run."""
    return RandomReward(seed)


def load_reward(name: str) -> Reward:
    """The reward that `package.module:function` names.

    Raises UserError where the name is malformed, the module cannot be imported, or it has no such
    callable.
    """
    module_name, colon, attribute = name.partition(":")
    if not (colon and module_name and attribute):
        raise UserError(f"reward {name!r}: expected package.module:function")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"reward {name!r}: importing {module_name} failed with "
            f"{type(error).__name__}: {_one_line(error)}; check the name and the Python path"
        ) from error
    reward = getattr(module, attribute, None)
    if not callable(reward):
        found = "is not callable" if hasattr(module, attribute) else "does not exist"
        raise UserError(f"reward {name!r}: {attribute} {found} in {module_name}; name a function")
    return reward


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
