"""Losses: arrays in, an additive share and metrics out. No model is ever imported here."""

from r1jax.losses.advantages import group_advantages, zero_std_frac
from r1jax.losses.grpo import GRPO, grpo
from r1jax.losses.kl import ESTIMATORS, k1, k2, k3
from r1jax.losses.plugin import load_loss
from r1jax.losses.policy import bounded, clipped_tokens, importance_weights, surrogate
from r1jax.losses.presets import PRESETS
from r1jax.losses.reduce import (
    REDUCTIONS,
    constant,
    masked,
    masked_sum,
    sequence_mean,
    token_mean,
)

__all__ = [
    "ESTIMATORS",
    "GRPO",
    "PRESETS",
    "REDUCTIONS",
    "bounded",
    "clipped_tokens",
    "constant",
    "group_advantages",
    "grpo",
    "importance_weights",
    "k1",
    "k2",
    "k3",
    "load_loss",
    "masked",
    "masked_sum",
    "sequence_mean",
    "surrogate",
    "token_mean",
    "zero_std_frac",
]
