"""Builds the parts of a run from its flags: policy, engine, loss, optimizer, pool, files."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from r1jax.data.mixture import ProblemStream, load_eval_sets
from r1jax.losses import grpo
from r1jax.losses.plugin import load_loss
from r1jax.mesh import make_mesh, replicated
from r1jax.models import table
from r1jax.problem import Problem
from r1jax.rewards import RewardPool, Term
from r1jax.rollout.engine import Engine
from r1jax.rollout.policy import Policy, load_policy, load_weights, make_engine
from r1jax.training.collect import make_terms
from r1jax.training.config import RLConfig
from r1jax.training.optimizer import make_optimizer
from r1jax.training.update import Functions, init_state, make_functions, make_score
from r1jax.types import Batch, Params, TrainState


@dataclass(frozen=True)
class Parts:
    """Everything a run is made of; nothing in here changes while it runs."""

    config: RLConfig
    mesh: Mesh
    policy: Policy
    engine: Engine
    stream: ProblemStream
    eval_sets: dict[str, list[Problem]]
    terms: list[Term]
    pool: RewardPool
    optimizer: optax.GradientTransformation
    functions: Functions
    logp: Callable[[Params, Batch], jax.Array]

    @property
    def needs_old(self) -> bool:
        """Whether the policy's log-probabilities at the rollout take a pass of their own.

        With one update per rollout they are the update's own values without gradient.
        """
        return self.config.train.updates_per_rollout > 1 or bool(self.config.user_loss)

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy is held at all."""
        return self.config.loss.beta > 0


def build(config: RLConfig, note: Callable[[str], Any]) -> Parts:
    """Opens and compiles nothing yet, but refuses everything that cannot run (UserError)."""
    mesh = make_mesh(config.mesh)
    policy = load_policy(config.model, config.data.template)
    stream = ProblemStream(config.data)
    for report in stream.reports:
        note(str(report))
    eval_sets = load_eval_sets(config.data, note=lambda report: note(str(report)))
    optimizer = make_optimizer(config.optimizer, config.updates, table.decay_mask(policy.config))
    on_policy = config.train.updates_per_rollout == 1
    loss = (
        load_loss(config.user_loss, "--user-loss")
        if config.user_loss
        else grpo(config.loss, on_policy)
    )
    temperature = config.rollout.temperature
    score = make_score(policy.config, mesh, config.train, temperature)
    r = config.reward
    return Parts(
        config=config,
        mesh=mesh,
        policy=policy,
        engine=make_engine(
            policy,
            mesh,
            config.rollout,
            stop_strings=config.rollout.stop,
            dtype=config.rollout.dtype,
        ),
        stream=stream,
        eval_sets=eval_sets,
        terms=make_terms(r, config.rollout.max_tokens, config.seed),
        pool=RewardPool(r.workers, r.cpu_seconds, r.wall_seconds, r.memory_mb),
        optimizer=optimizer,
        functions=make_functions(policy.config, mesh, config.train, loss, optimizer, temperature),
        logp=jax.jit(lambda p, b: score(p, b).logp, out_shardings=replicated(mesh)),
    )


def initial_state(parts: Parts) -> TrainState:
    """The policy's own weights with a fresh optimizer."""
    return init_state(parts.optimizer, load_weights(parts.policy, parts.mesh), parts.mesh)


@functools.partial(jax.jit)
def copy(params: Params) -> Params:
    """A second set of the same weights: the frozen reference."""
    return jax.tree.map(jnp.copy, params)
