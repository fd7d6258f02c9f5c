"""The critic beside a policy: a second tower or a head on the policy's own, and how it learns."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace

import jax
import numpy as np
from jax.sharding import Mesh

from r1jax.losses.value import CriticConfig, value_loss
from r1jax.mesh import replicated
from r1jax.models import kinds, scalar, table
from r1jax.models.config import ModelConfig
from r1jax.models.logp import aligned
from r1jax.training.auxiliary import AuxiliaryConfig
from r1jax.training.batches import ComputeConfig, PerToken
from r1jax.training.flops import trunk_flops
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl.tower import Tower, copied
from r1jax.training.train_state import init_state
from r1jax.training.update import functions_of
from r1jax.training.weights import drawn
from r1jax.types import Batch, Metrics, Params, TrainState


@dataclass(frozen=True)
class Critic(Tower):
    """What values are computed and learnt with."""

    name = "critic"
    config: CriticConfig
    model: ModelConfig
    values: PerToken  # of `scorer`'s parameters

    @property
    def shared(self) -> bool:
        """Whether it is a head on the policy's own trunk."""
        return self.config.tower == "shared"

    def frozen(self, policy: Params, base: Params | None) -> Params | None:
        """The policy's trunk, if shared."""
        return scalar.body(policy) if self.shared else None

    def scorer(self, params: Params, policy: Params) -> Params:
        """What `values` takes: the critic's parameters, on the policy's trunk if shared."""
        return {**scalar.body(policy), **params} if self.shared else params

    def fresh(self, policy: Params, seed: int) -> TrainState:
        """Begins as the policy does, or with the policy's trunk, and says 0 of everything."""
        params = drawn(scalar.head_rows(self.model), self.mesh, seed)
        if not self.shared:
            params = {**copied(scalar.body(policy)), **params}
        return init_state(self.optimizer, params, self.mesh)

    def operations(self, totals: np.ndarray, learning: bool) -> float:
        """Of a pass through the trunk, whose gradient only a tower of its own takes."""
        return trunk_flops(self.model, totals, learning and not self.shared)


def critic_rows(c: ModelConfig, config: CriticConfig) -> table.Rows:
    """Weight table of what a critic trains: body and head, or its head alone."""
    return scalar.head_rows(c) if config.tower == "shared" else scalar.rows(c)


def token_values(
    params: Params, c: ModelConfig, batch: Batch, compute: ComputeConfig, mesh: Mesh
) -> tuple[jax.Array, tuple[kinds.Told, ...]]:
    """f32[B, T], the value of the state before each token, and what the layers tell.

    It is read where all before the token has been seen, at the token before: as log p is.
    """
    after, told = scalar.every_token(
        scalar.cast(params, compute.dtype), c, batch,
        mesh=mesh, remat=compute.remat, unroll=compute.unroll, kernel=compute.kernel,
    )  # fmt: skip
    return aligned(after[:, :-1], batch), told


@functools.lru_cache(maxsize=16)
def make_critic(
    config: CriticConfig,
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    optimizer: OptimizerConfig,
    updates: int,
    reduction: str,
) -> Critic:
    """The critic of a policy of architecture `c`; it has no losses of its layers' own."""
    c, compute = replace(c, ahead=None), replace(compute, auxiliary=AuxiliaryConfig())
    rows, shared = critic_rows(c, config), config.tower == "shared"
    optimizer = replace(optimizer, lr=config.lr)
    steps = make_optimizer(optimizer, updates * config.parts, table.decay_mask(rows), compute.dtype)

    def share(params: Params, frozen: Params | None, batch: Batch) -> tuple[jax.Array, Metrics]:
        whole = {**frozen, **params} if shared else params
        values, told = token_values(whole, c, batch, compute, mesh)
        loss = value_loss(values, batch, config.clip, reduction)
        return loss if shared else kinds.with_auxiliary(c, told, batch, *loss)

    def values(params: Params, batch: Batch) -> jax.Array:
        return token_values(params, c, batch, compute, mesh)[0]

    frozen = scalar.body(table.abstract(c)) if shared else None
    functions = functions_of(share, rows, mesh, compute, steps, frozen)
    jitted = jax.jit(values, out_shardings=replicated(mesh))
    return Critic(rows, mesh, steps, functions, config, c, jitted)
