"""Values: the critic of PPO with its settings, and the value model of a search."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from r1jax.errors import check_ranges
from r1jax.losses.reduce import REDUCTIONS, masked, masked_sum
from r1jax.types import Batch, Mean, Metrics


@dataclass(frozen=True)
class CriticConfig:
    """A model of what a completion will yet earn, read with --loss.advantage-baseline critic."""

    tower: Literal["separate", "shared"] = "separate"
    """separate: a second model, which begins as the policy does, under a head of zeros. shared: a
    head of its own on the policy's hidden states, which alone the value loss teaches."""
    lr: float = 1e-5
    """Its learning rate; the rest of its optimizer is as --optimizer says."""
    warmup: int = 0
    """Updates at first that only the critic makes; they count among --updates."""
    parts: int = 1
    """Equal parts its completions of each update are split into, a step of its own on each."""
    clip: float | None = 0.5
    """A value further than this from the one it had at the rollout has no gradient towards there;
    None: no bound."""
    gamma: float = 1.0
    """What a reward counts for one token earlier."""
    lam: float = 1.0
    """Generalised advantage estimation's λ: 1 takes what was earned, 0 what the critic says of the
    next token."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(
            self, "--critic.", lr="(0,]", warmup="[0,]", parts="[1,]", clip="(0,]", gamma="[0,1]",
            lam="[0,1]",
        )  # fmt: skip


def value_loss(
    values: jax.Array, batch: Batch, clip: float | None, reduction: str
) -> tuple[jax.Array, Metrics]:
    """½ max((V − R)², (clip(V, V_old ± clip) − R)²) as a share of the update's (PPO, TinyZero).

    `values` f32[B, T] are of the state before each token; the columns `values` and `returns` are
    those at the rollout and what they should have been.
    """
    values, old = masked(values, batch), masked(batch.column("values"), batch)
    returns = masked(batch.column("returns"), batch)
    error, bounded = jnp.square(values - returns), jnp.zeros(values.shape, bool)
    if clip is not None:
        held = jnp.square(jnp.clip(values, old - clip, old + clip) - returns)
        bounded, error = held > error, jnp.maximum(error, held)
    count = jnp.sum(batch.mask)
    metrics = {"critic/clip_frac": Mean(masked_sum(bounded.astype(error.dtype), batch), count)}
    return REDUCTIONS[reduction](0.5 * error, batch), jax.lax.stop_gradient(metrics)


def value_of_score(score: jax.Array) -> jax.Array:
    """tanh(s / 2) = 2·σ(s) − 1: from -1 to 1, of a score whose σ is the chance of a right end."""
    return jnp.tanh(score / 2)


def value_regression(scores: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
    """(tanh(s / 2) − q)², mean over the marked tokens (AlphaMath, 2405.03553, eq. 7).

    `scores` are f32[B, T]; the mask marks the ends of steps, the column `q` is the mean value that
    a search found below each.
    """
    error = jnp.square(value_of_score(scores) - masked(batch.column("q"), batch))
    metrics = {"value/loss": Mean(masked_sum(error, batch), jnp.sum(batch.mask))}
    return REDUCTIONS["token_mean"](error, batch), jax.lax.stop_gradient(metrics)
