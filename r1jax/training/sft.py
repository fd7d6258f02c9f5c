"""The supervised loop: shuffled passes over prompts and the completions to be learnt."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from jax.sharding import Mesh

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.errors import UserError
from r1jax.training.update import ComputeConfig, Functions, update
from r1jax.types import TrainState

MAX_SKIPPED = 5  # non-finite updates in a row after which the loop gives up


def passes(sequences: Sequences, batch: int, seed: int) -> Iterator[Sequences]:
    """Endless epochs in a new order each, dealt out in batches; a rest that fills none waits."""
    count = len(sequences.lengths)
    size = min(batch, count)
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(count)
        for start in range(0, count - size + 1, size):
            yield sequences.take(order[start : start + size])


def updates_of(sequences: Sequences, batch: int, epochs: int) -> int:
    """Optimizer updates that `epochs` passes take."""
    count = len(sequences.lengths)
    return epochs * (count // min(batch, count))


def fit(
    functions: Functions,
    state: TrainState,
    sequences: Sequences,
    compute: ComputeConfig,
    mesh: Mesh,
    *,
    updates: int,
    batch: int,
    seed: int = 0,
    each: Callable[[int, dict[str, float]], Any] = lambda step, metrics: None,
) -> tuple[TrainState, dict[str, float]]:
    """Makes `updates` optimizer updates on shuffled passes over `sequences`.

    Only completions are learnt: the mask comes from their lengths. `functions` are those of
    `make_functions` with `r1jax.losses.sft.sft` (or any loss that needs no advantages) and
    `compute`. `each` receives every update's number (from 1) and metrics.

    Returns:
      The state and the metrics of the last update.

    Raises:
      UserError: there is nothing to learn, a sequence is wider than a row, or loss or gradient was
        not finite `MAX_SKIPPED` times in a row.
    """
    if not len(sequences.lengths) or updates < 1:
        raise UserError(f"supervised training: {len(sequences.lengths)} sequences, {updates} "
                        "updates; there must be at least one of each")  # fmt: skip
    metrics: dict[str, float] = {}
    stream = passes(sequences, batch, seed)
    for step, chosen in zip(range(1, updates + 1), stream, strict=False):
        totals = Denominators.of(chosen, max_tokens=1)
        packed = pack(chosen, compute.rows, compute.width, compute.max_segments, totals)
        state, metrics = update(functions, state, packed, mesh)
        each(step, metrics)
        if int(state.skipped) >= MAX_SKIPPED:
            raise UserError(
                f"update {step}: loss or gradient was not finite {MAX_SKIPPED} times in a row; "
                "lower the learning rate"
            )
    return state, metrics
