"""Losses: arrays in, an additive share and metrics out. No model is ever imported here."""

from r1jax.losses.config import GRPO
from r1jax.losses.grpo import grpo
from r1jax.losses.implicit import PrimeConfig, implicit_loss
from r1jax.losses.importance import importance_weights, on_policy_enough
from r1jax.losses.kl import ESTIMATORS, importance_weighted, k1, k2, k3, straight_through
from r1jax.losses.plugin import load_loss
from r1jax.losses.policy import bounded, cispo, clipped_tokens, surrogate
from r1jax.losses.preference import DPOConfig, PairwiseConfig, dpo, pairwise, pointwise
from r1jax.losses.presets import PRESETS
from r1jax.losses.ratio import RATIOS
from r1jax.losses.reduce import (
    REDUCTIONS,
    constant,
    masked,
    masked_sum,
    sequence_mean,
    sequence_sum,
    token_mean,
    token_sum,
)
from r1jax.losses.reference import follow
from r1jax.losses.segments import segment_length, segment_mean, segment_sum
from r1jax.losses.value import CriticConfig, value_loss

__all__ = [
    "ESTIMATORS",
    "GRPO",
    "CriticConfig",
    "DPOConfig",
    "PairwiseConfig",
    "PrimeConfig",
    "dpo",
    "pairwise",
    "pointwise",
    "PRESETS",
    "RATIOS",
    "REDUCTIONS",
    "bounded",
    "cispo",
    "clipped_tokens",
    "constant",
    "follow",
    "grpo",
    "implicit_loss",
    "importance_weighted",
    "importance_weights",
    "k1",
    "k2",
    "k3",
    "load_loss",
    "masked",
    "masked_sum",
    "on_policy_enough",
    "segment_length",
    "segment_mean",
    "segment_sum",
    "sequence_mean",
    "sequence_sum",
    "straight_through",
    "surrogate",
    "token_mean",
    "token_sum",
    "value_loss",
]
