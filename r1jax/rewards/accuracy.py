"""The accuracy reward: extract the final answer by policy, judge it by the problem's grader."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.answers.extract import AnswerPolicy, check_policy, extract
from r1jax.rewards.answers.graders import UNRULED, grade, grader_of
from r1jax.rewards.base import BaseReward
from r1jax.rewards.sandbox import SandboxConfig, require_isolation


@dataclass(frozen=True)
class Accuracy(BaseReward):
    """Reward 1.0 where the final answer is right, else 0.0 (DeepSeek-R1, section 2.2.2).

    A completion cut at the token limit gets `truncated` whatever it says; a program runs within the
    limits of `sandbox`; problems of grader none, which have no right answer, are left out. Raises
    UserError for an unknown policy.
    """

    policy: AnswerPolicy = "auto"
    truncated: float = 0.0
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    needs_tokens = False

    def __post_init__(self) -> None:
        check_policy(self.policy)

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises UserError for an unknown grader, and where programs cannot be isolated."""
        for problem in problems:
            if problem.grader != UNRULED:
                grader_of(problem)
        if any(problem.grader == "code" for problem in problems):
            require_isolation(self.sandbox)

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> float | None:
        """The reward of one completion."""
        if problem.grader == UNRULED:
            return None
        if completion.finish_reason == "length":
            return self.truncated
        return grade(problem, extract(completion.text, self.policy, problem), self.sandbox)


accuracy = Accuracy  # as a term of the reward says it
