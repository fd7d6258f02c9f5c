"""Builds the parts of a run from its flags: policy, engine, loss, optimizer, pool, files."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from r1jax.checkpoint import find_step, load_params
from r1jax.data.problems.mixture import ProblemStream, load_eval_sets
from r1jax.losses import follow, grpo
from r1jax.losses.plugin import load_loss
from r1jax.mesh import make_mesh, replicated, row_devices
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.models.decoding import quantized
from r1jax.models.lora import LoraConfig
from r1jax.problem import Problem
from r1jax.rewards import RewardPool, Term
from r1jax.rollout.engine import Engine
from r1jax.rollout.policy import Policy, load_policy, load_weights, make_engine
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.config import RLConfig
from r1jax.training.update import (
    Functions,
    cast,
    init_state,
    join,
    make_functions,
    make_score,
    trained_rows,
)
from r1jax.types import Batch, Params, TrainState

Parent = dict[str, Any]
"""A checkpoint: its directory and step."""


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
    parent: Parent | None = None  # the checkpoint it starts from
    base: Params | None = None  # the frozen weights under LoRA's factors; `with_base` loads them

    def follow(self, reference: Params, params: Params) -> Params:
        """The next reference: the policy, or a step of `reference_rate` towards it."""
        return _follow(reference, params, self.config.train.reference_rate)

    def model(self, params: Params) -> Params:
        """The parameters a model function takes, from those that are trained."""
        return join(params, self.base, self.lora)

    @property
    def lora(self) -> LoraConfig | None:
        """LoRA's settings, None where all weights are trained."""
        return self.config.lora if self.config.lora.on else None

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint of this run must agree with."""
        found = self.policy.identity | {"parent": self.parent}
        return found | {"lora": dataclasses.asdict(self.lora)} if self.lora else found

    @property
    def needs_old(self) -> bool:
        """Whether the policy's log-probabilities at the rollout take a pass of their own.

        With one update per rollout they are the update's own values without gradient.
        """
        loss = self.config.loss
        in_reward = loss.beta > 0 and loss.kl_as != "loss"
        return self.config.train.updates_per_rollout > 1 or bool(self.config.user_loss) or in_reward

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy is held at all."""
        return self.config.loss.beta > 0


def build(config: RLConfig, note: Callable[[str], Any]) -> Parts:
    """Loads no weights, compiles nothing, but refuses everything that cannot run (UserError)."""
    quantized.require(config.rollout.weights, "--rollout.weights")
    mesh = make_mesh(config.mesh)
    config = fit_rows(config, mesh, note)
    policy = load_policy(
        config.model,
        config.data.template,
        config.data.system,
        config.data.prefill,
        config.family,
    )
    stream = ProblemStream(config.data)
    for report in stream.reports:
        note(str(report))
    eval_sets = load_eval_sets(config.data, note=lambda report: note(str(report)))
    first = stream.take(0, config.rollout.prompts)
    config.check_programs([*first, *(p for problems in eval_sets.values() for p in problems)])
    lora = config.lora if config.lora.on else None
    rows = trained_rows(policy.config, lora)
    optimizer = make_optimizer(config.optimizer, config.updates, table.decay_mask(rows))
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
        terms=make_terms(r, config.rollout.max_tokens, config.seed, config.sandbox),
        pool=RewardPool(r.workers, r.cpu_seconds, r.wall_seconds, r.memory_mb),
        optimizer=optimizer,
        functions=make_functions(
            policy.config, mesh, config.train, loss, optimizer, temperature, lora
        ),
        logp=jax.jit(lambda p, b: score(p, b).logp, out_shardings=replicated(mesh)),
        parent=find_parent(config.parent, config.parent_step),
    )


def with_base(parts: Parts) -> Parts:
    """The parts with LoRA's frozen weights loaded, in the type they are computed in."""
    if parts.lora is None:
        return parts
    dtype = parts.config.train.dtype
    return replace(parts, base=starting_weights(parts.policy, parts.mesh, parts.parent, dtype))


def initial_state(parts: Parts) -> TrainState:
    """The weights a run starts from, or LoRA factors that change nothing yet; a new optimizer."""
    if parts.lora is None:
        weights = starting_weights(parts.policy, parts.mesh, parts.parent)
        return init_state(parts.optimizer, weights, parts.mesh)
    return lora_state(
        parts.optimizer, parts.policy.config, parts.lora, parts.mesh, parts.config.seed
    )


def lora_state(
    optimizer: optax.GradientTransformation,
    c: ModelConfig,
    lora: LoraConfig,
    mesh: Mesh,
    seed: int,
) -> TrainState:
    """LoRA factors that change nothing yet, with a new optimizer."""
    rows = trained_rows(c, lora)
    fresh = jax.jit(lambda key: table.init(rows, key), out_shardings=table.shardings(rows, mesh))
    return init_state(optimizer, fresh(jax.random.key(seed)), mesh)


def find_parent(directory: str, step: int | None) -> Parent | None:
    """The checkpoint a run starts from, its step settled; None where none is named."""
    if not directory:
        return None
    return {"directory": str(Path(directory).absolute()), "step": find_step(directory, step)}


def starting_weights(
    policy: Policy, mesh: Mesh, parent: Parent | None, dtype: Any = "float32"
) -> Params:
    """The weights of a parent's checkpoint, or else the model's own."""
    if parent is None:
        return load_weights(policy, mesh, dtype)
    return cast(trained_weights(policy, mesh, parent["directory"], parent["step"]), dtype)


def trained_weights(
    policy: Policy, mesh: Mesh, checkpoint: str = "", step: int | None = None
) -> Params:
    """The policy's own weights, or those a run's checkpoints hold (the newest, or `step`)."""
    own = functools.partial(load_weights, policy, mesh)
    return load_params(checkpoint, policy.config, mesh, step, own) if checkpoint else own()


def fit_rows(config: RLConfig, mesh: Mesh, note: Callable[[str], Any]) -> RLConfig:
    """The config with rows of a micro-batch rounded up to what its devices divide.

    XLA would otherwise hold every row on every device. Rows change no result, only its cutting.
    """
    devices = row_devices(mesh)
    rows = -(-config.train.rows // devices) * devices
    if rows == config.train.rows:
        return config
    note(f"--train.rows {config.train.rows} -> {rows}: a multiple of data x fsdp = {devices}")
    return replace(config, train=replace(config.train, rows=rows))


_follow = jax.jit(follow, static_argnums=2)


@jax.jit
def copy(params: Params) -> Params:
    """A second set of the same weights: the frozen reference."""
    return jax.tree.map(jnp.copy, params)
