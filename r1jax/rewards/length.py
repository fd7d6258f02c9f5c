"""Soft overlong punishment: a penalty that grows over the last tokens a completion may use."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext


@dataclass(frozen=True)
class SoftOverlong:
    """Equation 13 of DAPO, in tokens of `token_ids`; see `soft_overlong`."""

    max_tokens: int
    cache: int

    def of(self, length: int) -> float:
        """0 up to max_tokens - cache, then linear to -1 at max_tokens, -1 beyond."""
        return 0.0 - min(max(length - (self.max_tokens - self.cache), 0) / self.cache, 1.0)

    def __call__(
        self,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
    ) -> list[float]:
        return [self.of(len(completion.token_ids)) for completion in completions]


def soft_overlong(max_tokens: int, cache: int) -> SoftOverlong:
    """A reward in [-1, 0] over the last `cache` of `max_tokens` tokens (DAPO, equation 13).

    `max_tokens` is the generation limit L_max itself, not the expected maximum below it.
    Raises UserError unless 0 < cache <= max_tokens.
    """
    if not 0 < cache <= max_tokens:
        raise UserError(
            f"soft_overlong cache is {cache} with max_tokens {max_tokens}; "
            "it must be at least 1 and at most max_tokens"
        )
    return SoftOverlong(max_tokens, cache)
