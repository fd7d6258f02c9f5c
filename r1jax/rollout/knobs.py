"""How tokens are drawn, in a few numbers. Imports no jax."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; static under jit."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the most likely token."""
    top_p: float = 1.0
    """Keep the fewest likely tokens whose mass reaches it; 1 keeps all."""
    top_k: int = 0
    """Keep the k most likely tokens (before top-p); 0 keeps all."""

    def __post_init__(self) -> None:
        """Raises UserError on values outside their range."""
        if self.temperature < 0:
            raise UserError(f"temperature {self.temperature} is negative; use 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p} is outside (0, 1]; 1 keeps the whole vocabulary")
        if self.top_k < 0:
            raise UserError(f"top_k {self.top_k} is negative; 0 keeps the whole vocabulary")
