"""Grouped-query attention in a sliding window: a token sees the latest `window` tokens alone.

Weights and cache are those of `r1jax.models.grouped_query`; what has left the window stays in the
cache.
"""

from __future__ import annotations

import jax

from r1jax.models import grouped_query
from r1jax.models.config import ModelConfig

Result = tuple[jax.Array, dict[str, jax.Array]]


def window(c: ModelConfig) -> int:
    """How many tokens a token sees, itself included."""
    return c.window


def full(c: ModelConfig, *given: object) -> Result:
    """`grouped_query.full` in the window."""
    return grouped_query.full(c, *given, window=c.window)


def step(c: ModelConfig, *given: object) -> Result:
    """`grouped_query.step` in the window."""
    return grouped_query.step(c, *given, window=c.window)
