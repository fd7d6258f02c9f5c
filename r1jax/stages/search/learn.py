"""What a round's solutions teach: the policy by cross-entropy, the value model by regression."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
import optax

from r1jax.losses.sft import sft
from r1jax.models import table
from r1jax.run.directory import Record
from r1jax.stages.search.found import marked_steps, right_solutions
from r1jax.stages.search.parts import SearchParts
from r1jax.training.flops import train_flops
from r1jax.training.optimizer import make_optimizer
from r1jax.training.supervised.loop import fit, updates_of
from r1jax.training.supervised.value import length_of
from r1jax.training.train_state import abstract_state, init_state
from r1jax.training.update import make_functions
from r1jax.types import Params, TrainState


def policy_state(parts: SearchParts, params: Params | None) -> TrainState:
    """A new optimizer around the policy's weights; without any, the shapes of both."""
    optimizer = optimizer_of(parts, 1)
    if params is None:
        return abstract_state(optimizer, parts.policy.config, parts.mesh)
    return init_state(optimizer, params, parts.mesh)


def optimizer_of(parts: SearchParts, updates: int) -> optax.GradientTransformation:
    """That of the policy, for a round of so many updates."""
    how, decay = parts.config.optimizer, table.decay_mask(parts.policy.config)
    return make_optimizer(how, length_of(how, updates), decay, parts.config.train.dtype)


def learn_policy(
    parts: SearchParts, state: TrainState, rows: Sequence[Record], number: int
) -> tuple[TrainState, dict[str, float]]:
    """The policy after the right solutions of round `number`; as it was where there are none."""
    config, c, pool = parts.config, parts.policy.config, right_solutions(rows)
    if pool is None:
        return state, {"solutions/right": 0.0, "operations/update": 0.0}
    updates = updates_of(pool, config.examples, config.epochs)
    optimizer = optimizer_of(parts, updates)
    functions = make_functions(c, parts.mesh, config.train, sft, optimizer)
    state, found = fit(
        functions, init_state(optimizer, state.params, parts.mesh), pool, config.train, parts.mesh,
        updates=updates, batch=config.examples, seed=config.seed + number,
    )  # fmt: skip
    flops = config.epochs * train_flops(c, pool.totals)
    return state, {
        "solutions/right": float(len(pool.lengths)), "policy/updates": float(updates),
        "policy/nll": found["sft/nll"], "operations/update": flops,
    }  # fmt: skip


def learn_value(
    parts: SearchParts, state: TrainState, rows: Sequence[Record], number: int
) -> tuple[TrainState, dict[str, float]]:
    """The value model after what round `number` found below each step of right and wrong ones."""
    config, pool = parts.config, marked_steps(rows)
    if pool is None:
        return state, {"solutions/all": 0.0, "operations/value_update": 0.0}
    learning = config.value.epochs, config.examples, config.seed + number
    state, found = parts.value.learn(state.params, pool, *learning)
    flops = config.value.epochs * parts.value.operations(pool.totals, learning=True)
    return state, {
        "solutions/all": float(len(pool.lengths)), "value/loss": found["value/loss"],
        "operations/value_update": flops,
    }  # fmt: skip


def numbered(state: TrainState, number: int) -> TrainState:
    """A state that counts rounds: what a checkpoint is called by."""
    return state.replace(update=jnp.full_like(state.update, number))
