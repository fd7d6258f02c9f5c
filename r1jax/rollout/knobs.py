"""How tokens are drawn, in a few numbers. Imports no jax."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.errors import check_ranges


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; static under jit."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the most likely token."""
    top_p: float = 1.0
    """Keep the fewest likely tokens whose mass reaches it; 1 keeps all."""
    top_k: int = 0
    """Keep the k most likely tokens (before top-p); 0 keeps all."""
    told: int = 0
    """Say of each token which ones were kept, where these are so many at most; 0: say nothing."""

    def __post_init__(self) -> None:
        """Raises UserError on values outside their range."""
        check_ranges(self, "", temperature="[0,]", top_p="(0,1]", top_k="[0,]", told="[0,]")
