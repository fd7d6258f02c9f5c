"""The hidden gold as a term of the reward: logged with weight 0, beside the proxy."""

from __future__ import annotations

from r1jax.data.world.gold import helpfulness
from r1jax.problem import Completion, Problem
from r1jax.rewards import per_completion


@per_completion
def gold(problem: Problem, completion: Completion) -> float:
    """What a reply to a helpful prompt is truly worth, in [0, 1]."""
    return helpfulness(problem, completion.text)
