"""What crosses between device functions, with shapes. Read this file first.

Letters: B rows of a packed batch, T tokens of a row, M segments (sequences) a row can hold at most,
N completions of a rollout. A sequence never spans rows. Every per-token array is aligned with the
token it speaks of: `logp[b, t] = log p(tokens[b, t] | earlier tokens of its segment)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
from flax import struct

Params = Any
"""Nested dict of arrays; `params["stacks"]` is a tuple of homogeneous stacks of layers."""


@struct.dataclass
class Stats:
    """What scoring returns for a batch, at the rollout temperature."""

    logp: jax.Array  # f32[B, T]
    entropy: jax.Array  # f32[B, T] of the distribution that predicted the token, in nats


@struct.dataclass
class Batch:
    """One micro-batch of packed sequences, with everything a loss needs.

    The denominators are those of the whole update, fixed before any split, so that a loss's share
    adds up over rows, micro-batches and hosts to the loss of the update.
    """

    tokens: jax.Array  # i32[B, T]
    positions: jax.Array  # i32[B, T], 0 at the start of each segment
    segment_ids: jax.Array  # i32[B, T], 1..M in order of appearance, 0 is padding
    mask: jax.Array  # f32[B, T], 1 where the token is a completion's (its stop token included)
    advantages: jax.Array  # f32[B, T]
    old_logp: jax.Array  # f32[B, T], the policy's at the start of the rollout's updates
    ref_logp: jax.Array  # f32[B, T], the reference's
    sampler_logp: jax.Array  # f32[B, T], logp - log_mass: what the sampler drew from
    lengths: jax.Array  # f32[B, M], masked tokens of each segment, 0 where there is none
    n_tokens: jax.Array  # f32[], masked tokens of the update
    n_sequences: jax.Array  # f32[], sequences of the update
    max_tokens: jax.Array  # f32[], longest completion the rollout allows


@struct.dataclass
class Mean:
    """A metric that averages: sums add up over micro-batches, rows and hosts."""

    sum: jax.Array
    count: jax.Array


@struct.dataclass
class Max:
    """A metric of which the largest value counts."""

    value: jax.Array


@struct.dataclass
class Quantile:
    """A metric of which the 99th percentile counts: a histogram, whose counts add up."""

    counts: jax.Array  # f32[bins], see `r1jax.losses.quantile`


Metrics = dict[str, Mean | Max | Quantile]
Loss = Callable[[Stats, Batch], tuple[jax.Array, Metrics]]
"""The loss contract: (stats, batch) -> (additive share of the update's loss, metrics)."""


@struct.dataclass
class TrainState:
    """The policy and its optimizer; `update` counts optimizer updates (`step` in every file)."""

    params: Params
    opt_state: Any
    update: jax.Array  # i32[]
    skipped: jax.Array  # i32[], non-finite updates in a row
