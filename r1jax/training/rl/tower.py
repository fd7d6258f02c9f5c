"""A model that learns beside the policy: what a critic and a reward tower have in common."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

from r1jax.models import table
from r1jax.training.train_state import abstract_state
from r1jax.training.update import Functions, update
from r1jax.types import Batch, Params, TrainState


@dataclass(frozen=True)
class Tower(ABC):
    """What it learns with; its weights are a TrainState of their own."""

    name: ClassVar[str]
    """Of its metrics, its part of a checkpoint and its row of a memory plan."""

    rows: table.Rows  # of what it trains
    mesh: Mesh
    optimizer: optax.GradientTransformation
    functions: Functions

    @abstractmethod
    def frozen(self, policy: Params, base: Params | None) -> Params | None:
        """What its own weights sit on, of the policy's or of the `base` under LoRA's factors."""

    @abstractmethod
    def operations(self, totals: np.ndarray, learning: bool) -> float:
        """Of a pass over sequences of `totals` tokens each, to learn from them or to judge them."""

    def abstract(self) -> TrainState:
        """Its shapes, for a checkpoint to fill."""
        return abstract_state(self.optimizer, self.rows, self.mesh)

    def learn(
        self, state: TrainState, parts: Sequence[list[Batch]], frozen: Params | None
    ) -> tuple[TrainState, dict[str, float]]:
        """A step on each part's micro-batches; the metrics of the last."""
        for batches in parts:
            state, found = update(self.functions, state, batches, self.mesh, frozen)
        named = {f"{self.name}/{name}": found[name] for name in ("loss", "grad_norm", "skipped")}
        return state, named | {k: v for k, v in found.items() if k.startswith(f"{self.name}/")}


@jax.jit
def copied(params: Params) -> Params:
    """A second set of the same weights, so that the first may be given up."""
    return jax.tree.map(jnp.copy, params)
