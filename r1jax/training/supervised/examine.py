"""What examples are dealt from and cut into, and the loss of those held out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple, Protocol

import jax
import numpy as np
from jax.sharding import Mesh

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.losses.sft import sft
from r1jax.mesh import replicated
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig, place_batch
from r1jax.training.update import join, make_score
from r1jax.types import Batch, Metrics, Params

EVAL_CHUNK = 1024  # held-out examples that are packed together

Measure = Callable[[Params, Batch, Params | None], Metrics]


class Examined(NamedTuple):
    """What a held-out set says of some parameters."""

    record: dict[str, Any]  # for eval.json
    score: float  # the higher, the better the checkpoint
    line: str  # for the terminal


Examine = Callable[[Params, Any, Params | None], Examined]
"""(trained parameters, held-out set, frozen parameters under LoRA) -> what was found."""


class Pool(Protocol):
    """What examples are dealt from: `Sequences`, or `r1jax.data.examples.encoding.Examples`."""

    @property
    def lengths(self) -> np.ndarray:
        """One number for each example."""

    def take(self, index: np.ndarray) -> Sequences:
        """The examples at `index`."""


def make_measure(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, lora: LoraConfig | None = None
) -> Measure:
    """(params, batch, base) -> sums of the supervised metrics of a batch, without a gradient."""
    score = make_score(c, mesh, compute, temperature=1.0)

    def measure(params: Params, batch: Batch, base: Params | None) -> Metrics:
        return sft(score(join(params, base, lora), batch), batch)[1]

    return jax.jit(measure, out_shardings=replicated(mesh))


def held_out_loss(
    measure: Measure,
    params: Params,
    examples: Pool,
    compute: ComputeConfig,
    mesh: Mesh,
    base: Params | None = None,
) -> dict[str, float]:
    """Mean negative log-likelihood of all learnt tokens of `examples`, each token counting once."""
    total = count = 0.0
    n = len(examples.lengths)
    for start in range(0, n, EVAL_CHUNK):
        part = examples.take(np.arange(start, min(start + EVAL_CHUNK, n)))
        for batch in pack(part, *compute.shape, Denominators.of(part, max_tokens=1)):
            found = jax.device_get(measure(params, place_batch(batch, mesh), base))["sft/nll"]
            total, count = total + float(found.sum), count + float(found.count)
    nll = total / max(count, 1.0)
    perplexity = math.exp(nll) if nll < 100 else math.inf
    return {"nll": nll, "perplexity": perplexity, "tokens": int(count), "examples": n}


def loss_examiner(measure: Measure, compute: ComputeConfig, mesh: Mesh) -> Examine:
    """Judges a held-out set by its loss."""

    def examine(params: Params, examples: Pool, base: Params | None) -> Examined:
        found = held_out_loss(measure, params, examples, compute, mesh, base)
        return Examined(found, -found["nll"], f"{found['nll']:.4f} nats per token")

    return examine
