"""Judging a policy: pass@1 over several samples, majority votes, pass@k, intervals, tables.

Every completion is judged twice. The lenient judge takes the last number or expression and ignores
tags, so that a base model is not marked down for its format; the strict judge wants the answer
inside <answer> and the whole envelope. A completion cut at the token limit is wrong for both and
does not vote. Imports no jax: whoever owns the engine hands in the sampler.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, Reward, RewardContext
from r1jax.rewards.choice import choice_letter
from r1jax.rewards.extract import extract, unwrap
from r1jax.rewards.format import is_strict_format
from r1jax.rewards.graders import grade
from r1jax.rewards.numeric import parse_number, plain
from r1jax.statistics import (
    bootstrap_interval,
    mixes_languages,
    pass_at_k,
    powers_of_two,
    reflection_count,
    vote,
)

Sampler = Callable[[Sequence[Problem], int, float, float, int], list[list[Completion]]]
"""(problems, samples, temperature, top_p, seed) -> the samples of each problem."""

Score = Callable[[Reward, Sequence[Problem], Sequence[Completion]], Sequence[float | None]]


@dataclass(frozen=True)
class EvalConfig:
    """How a policy is judged: the paper's protocol by default (16 samples, T 0.6, top-p 0.95)."""

    every: int = 20
    """Updates between evaluations during training; 0: only before and after."""
    samples: int = 16
    """Completions drawn for each problem; pass@1 is their mean."""
    temperature: float = 0.6
    """Sampling temperature."""
    top_p: float = 0.95
    """Nucleus of the sampling distribution."""
    count: int = 0
    """Problems judged from each set, the first so many; 0: all of them."""
    greedy: bool = True
    """Also draw one completion at temperature 0."""
    max_tokens: int = 0
    """Longest completion in tokens; 0: the rollout's limit."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        if self.samples < 1:
            raise UserError(f"--eval.samples {self.samples}: must be at least 1")
        if not self.temperature >= 0:
            raise UserError(f"--eval.temperature {self.temperature}: must be 0 or above")
        if not 0 < self.top_p <= 1:
            raise UserError(f"--eval.top-p {self.top_p}: must lie above 0 and be at most 1")
        for name in ("every", "count", "max_tokens"):
            if getattr(self, name) < 0:
                flag = name.replace("_", "-")
                raise UserError(f"--eval.{flag} {getattr(self, name)}: must be 0 or above")


@dataclass(frozen=True)
class Judged:
    """One completion with what both judges made of it."""

    completion: Completion
    lenient_answer: str | None
    strict_answer: str | None
    lenient: bool
    strict: bool
    format: bool
    vote: Hashable | None
    """Equivalence class of the lenient answer among the answers to its problem; None: no vote."""

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.completion.token_ids)

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut it."""
        return self.completion.finish_reason == "length"


@dataclass(frozen=True)
class Evaluation:
    """The record (JSON) of one set, and the judged completions behind it.

    `judged[i]` are the samples of `problems[i]`, `greedy[i]` is its greedy completion; `greedy` is
    empty when none was drawn.
    """

    record: dict[str, Any]
    problems: tuple[Problem, ...]
    judged: tuple[tuple[Judged, ...], ...]
    greedy: tuple[Judged, ...]


class AnswerGrade(NamedTuple):
    """Reward that grades `completion.answer` as it stands; extraction has already happened."""

    per_item: bool = True

    def of(self, problem: Problem, completion: Completion) -> float:
        """1.0 where the answer is right, else 0.0."""
        return grade(problem, completion.answer)

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> list[float]:
        return [self.of(p, c) for p, c in zip(problems, completions, strict=True)]
