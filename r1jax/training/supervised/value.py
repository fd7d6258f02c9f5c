"""The value model of a search: a tower of its own that says of a prefix how it will end."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, replace

import jax
import numpy as np
import optax
from jax.sharding import Mesh

from r1jax.data.packing import Sequences
from r1jax.data.padding import side_by_side
from r1jax.errors import UserError
from r1jax.losses.value import value_of_score, value_regression
from r1jax.models import scalar, table
from r1jax.models.config import ModelConfig
from r1jax.models.lora import merge
from r1jax.rollout.policy import Policy
from r1jax.run.digests import UNVERIFIED
from r1jax.training.batches import ComputeConfig, over_completions
from r1jax.training.flops import trunk_flops
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl.reward_model import RewardModel, load_reward_model, load_scorer
from r1jax.training.rl.tower import copied
from r1jax.training.supervised.loop import fit, updates_of
from r1jax.training.supervised.preference import reward_functions, token_scores
from r1jax.training.train_state import abstract_state, init_state
from r1jax.training.update import Functions
from r1jax.training.weights import drawn
from r1jax.types import Params, TrainState

FLAG = "--value.parent"


@dataclass(frozen=True)
class ValueModel:
    """What values are computed and learnt with; begins as the policy, or as `parent` says."""

    model: ModelConfig
    mesh: Mesh
    compute: ComputeConfig
    optimizer: OptimizerConfig
    parent: RewardModel | None = None

    def fresh(self, policy: Params, seed: int) -> TrainState:
        """The policy's trunk under a head of zeros, which says 0 of everything; or the parent."""
        if self.parent is None:
            head = drawn(scalar.head_rows(self.model), self.mesh, seed)
            params = {**copied(scalar.body(policy)), **head}
        else:
            params = jax.jit(merge)(load_scorer(self.parent, self.mesh))
        return self.began(params)

    def began(self, params: Params) -> TrainState:
        """A new optimizer around weights."""
        return init_state(self._steps(1), params, self.mesh)

    def abstract(self) -> TrainState:
        """Its shapes, for a checkpoint to fill."""
        return abstract_state(self._steps(1), scalar.rows(self.model), self.mesh)

    def values(self, params: Params, sequences: Sequences) -> np.ndarray:
        """f32[N, C], from -1 to 1, of the prefix that each token of a completion ends."""
        run = token_scores(self.model, self.mesh, self.compute, steps=True)
        scores = over_completions(run, params, sequences, self.compute, self.mesh)
        return np.asarray(value_of_score(scores))

    def of_prefixes(self, params: Params, prefixes: Sequence[Sequence[int]]) -> np.ndarray:
        """f32[N], of whole prefixes of at least two tokens."""
        last = side_by_side((prefix[:-1], prefix[-1:]) for prefix in prefixes)
        return self.values(params, last)[:, 0]

    def operations(self, totals: np.ndarray, learning: bool = False) -> float:
        """Of a pass over sequences of `totals` tokens, to learn from them or to judge them."""
        return trunk_flops(self.model, totals, learning)

    def learn(
        self, params: Params, pool: Sequences, epochs: int, batch: int, seed: int
    ) -> tuple[TrainState, dict[str, float]]:
        """Regression of the marked tokens of `pool` to its column `q`; the last update's metrics.

        The `params` are given up.
        """
        updates = updates_of(pool, batch, epochs)
        steps = self._steps(updates)
        functions = _functions(self.model, self.mesh, self.compute, steps)
        state = init_state(steps, params, self.mesh)
        return fit(functions, state, pool, self.compute, self.mesh, updates=updates, batch=batch,
                   seed=seed)  # fmt: skip

    def _steps(self, updates: int) -> optax.GradientTransformation:
        decay = table.decay_mask(scalar.rows(self.model))
        return make_optimizer(self.optimizer, length_of(self.optimizer, updates), decay,
                              self.compute.dtype)  # fmt: skip


@functools.lru_cache(maxsize=4)
def _functions(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, steps: optax.GradientTransformation
) -> Functions:
    return reward_functions(c, mesh, compute, value_regression, steps, steps=True)


def length_of(optimizer: OptimizerConfig, updates: int) -> int:
    """Updates that a schedule is made for; always 1 where it does not depend on them.

    So that a round finds what an earlier one has compiled.
    """
    return 1 if optimizer.schedule == "constant" else updates


def make_value_model(
    policy: Policy,
    mesh: Mesh,
    compute: ComputeConfig,
    optimizer: OptimizerConfig,
    parent: str,
    unverified: bool = False,
) -> ValueModel:
    """Of the policy's architecture, or of the process reward model in the run `parent`.

    Raises UserError where that judges no steps, or has other tokens than the policy.
    """
    if not parent:
        return ValueModel(replace(policy.config, ahead=None), mesh, compute, optimizer)
    try:
        model = load_reward_model(parent, mesh=mesh, unverified=unverified, use=UNVERIFIED)
    except UserError as error:
        raise UserError(f"{FLAG} {error}") from None
    if not model.per_token:
        raise UserError(
            f"{FLAG} {parent}: is a reward model of kind {model.about.kind}, which judges whole "
            "responses; name one of kind process"
        )
    own = model.policy
    if own.tokenizer.get_vocab() != policy.tokenizer.get_vocab():
        raise UserError(
            f"{FLAG} {parent}: has other tokens than the policy, whose prefixes it is to judge; "
            "name one that was trained from a model with the same tokenizer"
        )
    config = replace(own.config, ahead=None)
    return ValueModel(config, mesh, compute, optimizer, model)
