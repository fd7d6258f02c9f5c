"""What examples are dealt from and cut into, and the loss of those held out."""

from __future__ import annotations

import functools
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
from r1jax.run.signals import boundary
from r1jax.training.batches import ComputeConfig, place_batch
from r1jax.training.update import join, make_score
from r1jax.types import Batch, Metrics, Params

EVAL_CHUNK = 1024  # held-out examples that are packed together


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


def chunks(rows: Pool) -> list[np.ndarray]:
    """Numbers of all examples, as many together as are packed together."""
    n = len(rows.lengths)
    return np.split(np.arange(n), range(EVAL_CHUNK, n, EVAL_CHUNK))


@functools.lru_cache(maxsize=16)
def loss_examiner(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, lora: LoraConfig | None = None
) -> Examine:
    """Mean negative log-likelihood of all learnt tokens of a set, each token counting once."""
    score = make_score(c, mesh, compute, temperature=1.0)

    def sums(params: Params, batch: Batch, base: Params | None) -> Metrics:
        return sft(score(join(params, base, lora), batch), batch)[1]

    measure = jax.jit(sums, out_shardings=replicated(mesh))

    def examine(params: Params, examples: Pool, base: Params | None) -> Examined:
        total = count = 0.0
        for index in chunks(examples):
            part = examples.take(index)
            for batch in pack(part, *compute.shape, Denominators.of(part, max_tokens=1)):
                boundary(often=True)
                mean = jax.device_get(measure(params, place_batch(batch, mesh), base))["sft/nll"]
                total, count = total + float(mean.sum), count + float(mean.count)
        nll = total / max(count, 1.0)
        record = {
            "nll": nll,
            "perplexity": math.exp(nll) if nll < 100 else math.inf,
            "tokens": int(count),
            "examples": len(examples.lengths),
        }
        return Examined(record, -nll, f"{nll:.4f} nats per token")

    return examine
