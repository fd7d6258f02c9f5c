"""Whether what a step of a solution says is true: the embedded world knows."""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1jax.data.world.rewrite import equations
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy

STATED = re.compile(r"answer|答案|^\s*=", re.IGNORECASE)
"""Words by which a step states the answer; a bare `= 158` does too."""


def step_truth(problem: Problem, step: str) -> bool:
    """Whether all that `step` claims holds; True where it claims nothing.

    Its equations are true, only the target is said to be hit, and never to be missed, and an answer
    that it states is right. A step that takes back its own slip has still said it.
    """
    target = problem.metadata["target"]
    for equation in equations(step):
        hit = equation.value == target
        if not equation.true:
            return False
        if (equation.role == "hit" and not hit) or (equation.role == "miss" and hit):
            return False
    if STATED.search(step):
        return accuracy().of(problem, Completion.parse(step), RewardContext()) == 1
    return True


def true_labels(problem: Problem, steps: Sequence[str]) -> list[bool]:
    """Labels of the steps up to the first wrong one; what follows from it is not judged."""
    labels = []
    for step in steps:
        labels.append(step_truth(problem, step))
        if not labels[-1]:
            break
    return labels
