"""Soft overlong punishment: a penalty that grows over the last tokens a completion may use."""

from __future__ import annotations

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem
from r1jax.rewards.adapters import linear
from r1jax.rewards.base import BaseReward


def soft_overlong(max_tokens: int, cache: int) -> BaseReward:
    """A reward in [-1, 0] over the last `cache` of `max_tokens` tokens (DAPO, equation 13).

    `max_tokens` is the generation limit L_max itself, not the expected maximum below it.
    Raises UserError unless 0 < cache <= max_tokens.
    """
    if not 0 < cache <= max_tokens:
        raise UserError(
            f"soft_overlong cache is {cache} with max_tokens {max_tokens}; "
            "it must be at least 1 and at most max_tokens"
        )

    @linear
    def punishment(problem: Problem, completion: Completion) -> float:
        """0 up to max_tokens - cache, then linear to -1 at max_tokens, -1 beyond."""
        over = max(len(completion.token_ids) - (max_tokens - cache), 0)
        return 0.0 - min(over / cache, 1.0)

    return punishment
