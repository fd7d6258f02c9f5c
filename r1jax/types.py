"""What crosses between device functions, with shapes. Read this file first.

Letters: B rows of a packed batch, T tokens of a row, M segments (sequences) a row can hold at most,
N completions of a rollout. A sequence never spans rows. Every per-token array is aligned with the
token it speaks of: `logp[b, t] = log p(tokens[b, t] | earlier tokens of its segment)`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.errors import UserError

Params = Any
"""Nested dict of arrays; `params["stacks"]` is a tuple of homogeneous stacks of layers."""


@struct.dataclass
class Stats:
    """What scoring returns for a batch, at the rollout temperature."""

    logp: jax.Array  # f32[B, T]
    entropy: jax.Array  # f32[B, T] of the distribution that predicted the token, in nats


class MissingColumn(UserError):
    """A loss reads a column of the batch that nothing has filled."""

    def __init__(self, name: str, there: Iterable[str]) -> None:
        self.name = name
        hint = "; --loss.beta above 0 holds a reference" if name == "ref_logp" else ""
        found = ", ".join(sorted(there)) or "none"
        super().__init__(
            f"the loss reads the column {name} of the batch, which nothing here has filled; "
            f"there are: {found}{hint}"
        )


ROUTES = "routes"
"""The column of the experts that the sampler chose: of prompts too, and no f32 (`Batch.routes`)."""
SUPPORT = "support"
"""The column of the sets that top-p and top-k kept, where they cut (`Batch.support`)."""
COLUMNS = ("advantages", "old_logp", "ref_logp", "sampler_logp")
"""The columns that reinforcement learning fills, each where its loss needs it."""


@struct.dataclass
class Batch:
    """One micro-batch of packed sequences, with everything a loss needs.

    What is known of each token is a column: whoever measures it adds it to the rollout's
    `r1jax.data.packing.Sequences`, and a loss reads it by name; packing, checkpoints and devices
    carry whatever columns there are. The denominators are those of the whole update, fixed before
    any split, so that a loss's share adds up over rows, micro-batches and hosts to the loss of the
    update.
    """

    tokens: jax.Array  # i32[B, T]
    positions: jax.Array  # i32[B, T], 0 at the start of each segment
    segment_ids: jax.Array  # i32[B, T], 1..M in order of appearance, 0 is padding
    mask: jax.Array  # f32[B, T], 1 where the token is a completion's (its stop token included)
    columns: dict[str, jax.Array]  # f32[B, T] each, 0 outside the mask; `routes`, `support`
    lengths: jax.Array  # f32[B, M], masked tokens of each segment, 0 where there is none
    n_tokens: jax.Array  # f32[], masked tokens of the update
    n_sequences: jax.Array  # f32[], sequences of the update
    max_tokens: jax.Array  # f32[], longest completion the rollout allows

    def column(self, name: str) -> jax.Array:
        """f32[B, T], the column of this name; `MissingColumn`, one line, where nothing filled it.

        It is raised while the loss is traced, so no update is made of what was never measured.
        """
        if name not in self.columns:
            raise MissingColumn(name, self.columns)
        return self.columns[name]

    @property
    def advantages(self) -> jax.Array:
        """f32[B, T], what makes each token more or less likely."""
        return self.column("advantages")

    @property
    def old_logp(self) -> jax.Array:
        """f32[B, T], the policy's log-probabilities at the start of the rollout's updates."""
        return self.column("old_logp")

    @property
    def ref_logp(self) -> jax.Array:
        """f32[B, T], the reference's log-probabilities."""
        return self.column("ref_logp")

    @property
    def routes(self) -> jax.Array:
        """u8[B, T, W], for each expert layer of a token the experts that the sampler chose.

        Of the last token of a segment, which the sampler does not read, there are none.
        """
        return self.column(ROUTES)

    @property
    def support(self) -> jax.Array | None:
        """i32[B, T, K], 1 + the ids of the set that a token was drawn from, and zeros.

        Scoring renormalises over it, whoever is scored. A token of zeros alone was drawn from, or
        is scored over, the whole vocabulary; None: all tokens were.
        """
        return self.columns.get(SUPPORT)

    @property
    def sampler_logp(self) -> jax.Array:
        """f32[B, T], of the distribution that the sampler drew from, over `support`."""
        return self.column("sampler_logp")


def segment_members(segment_ids: jax.Array, max_segments: int) -> jax.Array:
    """bool[B, T, M], True where token t belongs to segment m + 1."""
    return segment_ids[..., None] == jnp.arange(1, max_segments + 1)


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


@struct.dataclass
class Load:
    """How many tokens chose each expert; the metric is the most of a layer over its mean."""

    counts: jax.Array  # f32[layers, experts]


Metrics = dict[str, Mean | Max | Quantile | Load]
Loss = Callable[[Stats, Batch], tuple[jax.Array, Metrics]]
"""The loss contract: (stats, batch) -> (additive share of the update's loss, metrics)."""


@struct.dataclass
class TrainState:
    """The policy and its optimizer; `update` counts optimizer updates (`step` in every file)."""

    params: Params
    opt_state: Any
    update: jax.Array  # i32[]
    skipped: jax.Array  # i32[], non-finite updates in a row
