"""SimpleRL-reason's rewards: v0's with a penalty for a missing box, and Zoo's without.

Source: hkust-nlp/simpleRL-reason, v0 e49ee66 and verl/utils/reward_score at cf1c785. Equivalence is
judged by `r1jax.rewards.grade` (math-verify), v0's by the Qwen2.5-Math grader.
"""

from __future__ import annotations

from typing import Literal

from r1jax.problem import Completion, Problem
from r1jax.rewards.adapters import per_completion
from r1jax.rewards.answers.extract import extract
from r1jax.rewards.answers.graders import grade
from r1jax.rewards.answers.wrapped import boxed


@per_completion
def v0(
    problem: Problem,
    completion: Completion,
    *,
    kind: Literal["mix", "independent"] = "mix",
    wrong: float = -0.5,
    no_box: float = -1.0,
) -> float:
    """1 right, `wrong` wrong, `no_box` without a \\boxed{} whatever the answer.

    kind "independent" (a switch in its code) gives a right answer without a box 0.5.
    """
    inside = boxed(completion.text)
    right = grade(problem, extract(completion.text, "auto", problem)) == 1.0
    if inside is None:
        return 0.5 if kind == "independent" and right else no_box
    return 1.0 if right else wrong


@per_completion
def zoo(problem: Problem, completion: Completion, *, no_box: float = 0.0) -> float:
    """1 right, 0 wrong; no format term, so that a right last number without a box earns 1 too.

    Its code still computes a format penalty and does not apply it; `no_box` below 0 is what a wrong
    answer without a box would then earn. A completion cut at the limit is judged as it stands.
    """
    if grade(problem, extract(completion.text, "auto", problem)) == 1.0:
        return 1.0
    return 0.0 if boxed(completion.text) is not None else no_box
