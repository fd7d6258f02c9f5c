"""Accuracy as a term of the reward that is logged with weight 0: nothing is learnt from it."""

from __future__ import annotations

from r1jax.rewards import Accuracy

accuracy = Accuracy()
