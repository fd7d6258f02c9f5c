"""What is truly good, as terms of the reward: logged with weight 0, beside a proxy."""

from __future__ import annotations

from r1jax.data.examples.steps import Cut, step_ends, steps_of
from r1jax.data.world.gold import helpfulness
from r1jax.data.world.truth import step_truth
from r1jax.problem import Completion, Problem
from r1jax.rewards import per_completion

CUT: Cut = "sentence"
"""Where a solution is cut into the steps that are counted here."""


@per_completion
def gold(problem: Problem, completion: Completion) -> float:
    """What a reply to a helpful prompt is truly worth, in [0, 1]."""
    return helpfulness(problem, completion.text)


@per_completion
def steps(problem: Problem, completion: Completion) -> float:
    """How many steps were written."""
    return float(len(step_ends(completion.text, CUT)))


@per_completion
def true_steps(problem: Problem, completion: Completion) -> float:
    """How many of them are true: of each the embedded world knows."""
    written = steps_of(completion.text, step_ends(completion.text, CUT))
    return float(sum(step_truth(problem, step) for step in written))
