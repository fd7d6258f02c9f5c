"""PRIME's reward tower: a second set of the policy's weights, which outcomes teach."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jax.sharding import Mesh

from r1jax.checkpoint import read_meta
from r1jax.errors import UserError
from r1jax.losses.implicit import PrimeConfig, implicit_loss
from r1jax.models import table
from r1jax.models.lora import LoraConfig
from r1jax.rollout.policy import Policy
from r1jax.run.saved import comparable
from r1jax.training.auxiliary import AuxiliaryConfig
from r1jax.training.flops import scoring_flops, train_flops
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.tower import Tower, copied
from r1jax.training.train_state import init_state
from r1jax.training.update import make_functions, trained_rows
from r1jax.training.weights import Parent, find_parent, trained_weights
from r1jax.types import Params, TrainState


@dataclass(frozen=True)
class RewardTower(Tower):
    """What implicit rewards are learnt with; under LoRA it has factors of its own."""

    name = "prime"
    config: PrimeConfig
    policy: Policy
    lora: LoraConfig | None
    parent: Parent | None

    def frozen(self, policy: Params, base: Params | None) -> Params | None:
        """The weights under LoRA's factors, which are the policy's as well."""
        return base

    def fresh(self, reference: Params) -> TrainState:
        """Begins as the reference, so that nothing is earned yet, or with its parent's weights."""
        if self.parent is None:
            return init_state(self.optimizer, copied(reference), self.mesh)
        where = self.parent["directory"], self.parent["step"]
        # Whether it may be unverified was asked as it was found.
        params = trained_weights(self.policy, self.mesh, *where, unverified=True)
        return init_state(self.optimizer, params, self.mesh)

    def operations(self, totals: np.ndarray, learning: bool) -> float:
        """Of a pass over sequences of `totals` tokens each, to learn from them or to judge them."""
        c = self.policy.config
        return train_flops(c, totals, self.lora) if learning else scoring_flops(c, totals)


def make_reward_tower(config: RLConfig, policy: Policy, mesh: Mesh) -> RewardTower:
    """The tower of a run; losses of the model's layers are the policy's alone."""
    prime, c, lora = config.prime, policy.config, config.lora if config.lora.on else None
    compute = replace(config.train.compute, auxiliary=AuxiliaryConfig())
    rows = trained_rows(c, lora)
    settings = replace(config.optimizer, lr=prime.lr, clip=prime.clip, weight_decay=0.0)
    rollouts = -(-config.updates // config.train.updates_per_rollout)
    steps = make_optimizer(settings, rollouts * prime.parts, table.decay_mask(rows), compute.dtype)
    loss = implicit_loss(prime.beta)
    functions = make_functions(c, mesh, compute, loss, steps, config.rollout.temperature, lora)
    parent = find_parent(policy, prime.parent, None, config.checkpoint.unverified, "--prime.parent")
    if parent:
        check_alike(parent, policy)
    return RewardTower(rows, mesh, steps, functions, prime, policy, lora, parent)


def check_alike(parent: Parent, policy: Policy) -> None:
    """UserError where the checkpoint's tokens or shape are not the policy's."""
    there = read_meta(parent["directory"], parent["step"])
    for name, own in comparable(there, policy.identity).items():
        if there.get(name) != own:
            raise UserError(
                f"--prime.parent {parent['directory']}: has another {name} than the policy, with "
                "whose reference it is compared token by token; name a run from the same model"
            )
