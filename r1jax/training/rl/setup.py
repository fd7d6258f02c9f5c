"""Builds the parts of a run from its flags: policy, engine, loss, optimizer, pool, files."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import optax
from jax.sharding import Mesh

from r1jax.data.problems.mixture import ProblemStream, open_problems
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.errors import UserError
from r1jax.losses import follow, grpo
from r1jax.losses.plugin import load_loss
from r1jax.mesh import make_mesh
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.models.decoding import quantized
from r1jax.models.lora import LoraConfig
from r1jax.problem import Problem
from r1jax.rewards import RewardPool, Term
from r1jax.rewards.adapters import lifted
from r1jax.rollout.engine import Engine
from r1jax.rollout.policy import Policy, load_policy, make_engine
from r1jax.training.batches import PerToken, fit_rows
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.continued import SourceCheckpoint, find_source
from r1jax.training.rl.critic import Critic, make_critic
from r1jax.training.rl.reward_tower import RewardTower, make_reward_tower
from r1jax.training.rl.served_teacher import RemoteTeacher, find_remote
from r1jax.training.rl.showing import check_room
from r1jax.training.rl.teaching import Teacher, beneath, find_teacher, taught_functions
from r1jax.training.rl.tower import Tower
from r1jax.training.update import (
    Functions,
    join,
    make_functions,
    sharp_logp,
    token_entropy,
    token_logp,
    trained_rows,
)
from r1jax.training.weights import (
    Parent,
    check_gguf,
    find_parent,
    first_state,
    frozen_base,
    identity,
)
from r1jax.types import Params, TrainState


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
    logp: PerToken  # of the policy
    sharp_logp: PerToken  # with those at half the temperature
    entropy: PerToken
    reference_logp: PerToken
    tower: Tower | None = None  # what learns beside the policy
    teacher: Teacher | None = None  # what judges tokens beside the reward
    remote: RemoteTeacher | None = None  # the same, served elsewhere
    parent: Parent | None = None  # the checkpoint it starts from
    data: Mapping[str, str] = field(default_factory=dict)  # digests of files of problems by name
    source: SourceCheckpoint | None = None  # another run's checkpoint that it goes on from
    base: Params | None = None  # the frozen weights under LoRA's factors; `with_frozen` loads them

    def follow(self, reference: Params, params: Params) -> Params:
        """The next reference: the policy, or a step of `reference_rate` towards it."""
        return _follow(reference, params, self.config.train.reference_rate)

    @property
    def critic(self) -> Critic | None:
        """The tower, where it is PPO's critic."""
        return self.tower if isinstance(self.tower, Critic) else None

    @property
    def rewarder(self) -> RewardTower | None:
        """The tower, where it is PRIME's."""
        return self.tower if isinstance(self.tower, RewardTower) else None

    def beneath(self, params: Params) -> Params | None:
        """What the tower's own weights sit on, with the policy's as they are now."""
        return self.tower.frozen(self.model(params), self.base)

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
        data = {"data": dict(self.data)} if self.data else {}
        source = {"continued": self.source.identity} if self.source else {}
        taught = self.teacher or self.remote
        teacher = {"teacher": taught.identity} if taught else {}
        return self.model_identity | data | source | teacher

    @property
    def model_identity(self) -> dict[str, Any]:
        """What a checkpoint must agree with whose state is to fit."""
        return identity(self.config, self.policy, self.parent)

    @property
    def start(self) -> int:
        """Updates that another run has made before this one."""
        return self.source.step if self.source else 0

    @property
    def needed_terms(self) -> list[str]:
        """Terms of the reward that something is learnt from; the others are only watched."""
        shown = {"accuracy"} if self.config.teacher.shown else ()  # says which to show
        return [term.name for term in self.terms if term.weight or term.name in shown]

    @property
    def needs_old(self) -> bool:
        """Whether the policy's log-probabilities at the rollout take a pass of their own.

        With one update per rollout they are the update's own values without gradient.
        """
        loss = self.config.loss
        compared = loss.covariance != "none" or loss.advantage_baseline == "token"
        on_host = loss.kl_in_reward or compared or self.scored_by_teacher
        return self.config.train.updates_per_rollout > 1 or bool(self.config.user_loss) or on_host

    @property
    def scored_by_teacher(self) -> bool:
        """Whether a teacher scores what was sampled, in place of an update's distributions."""
        return self.config.teacher.there and not self.config.teacher.whole

    @property
    def frozen(self) -> Params | None:
        """What an update reads and leaves: a base under LoRA's factors, a teacher's weights."""
        if not self.config.teacher.whole:
            return self.base
        return beneath(self.base, self.teacher and self.teacher.params)

    @property
    def needs_reference(self) -> bool:
        """Whether a reference policy is held at all."""
        return self.scored_by_reference or self.config.teacher.shown == "reference"

    @property
    def scored_by_reference(self) -> bool:
        """Whether it scores what was sampled, as the policy does."""
        return self.config.loss.beta > 0 or self.config.prime.on


def build(config: RLConfig, note: Callable[[str], Any]) -> Parts:
    """Loads no weights, compiles nothing, but refuses everything that cannot run (UserError)."""
    quantized.require(config.rollout.weights, "--rollout.weights")
    if source := find_source(config):
        note(str(source))
    mesh = make_mesh(config.mesh)
    config = fit_rows(config, mesh, note)
    d, r = config.data, config.rollout
    policy = load_policy(config.model, d.template, d.system, d.prefill, config.family)
    check_gguf(policy, config.export_gguf)
    room = PromptRoom(r.max_prompt, policy.prompts)
    problems = open_problems(d, room, note)
    known = problems.first(r.prompts)
    config.check_programs(known)
    lora = config.lora if config.lora.on else None
    rows = trained_rows(policy.config, lora)
    optimizer = make_optimizer(
        config.optimizer, config.updates, table.decay_mask(rows), config.train.dtype
    )
    replays = config.train.replay_routes
    followed = with_sampled(policy.config, replays) if replays else policy.config
    teacher = find_teacher(config, policy, mesh)
    check_room(config, policy)
    if r.keep_set > policy.config.vocab_size:
        raise UserError(
            f"--rollout.keep-set {r.keep_set}: the vocabulary has {policy.config.vocab_size} "
            "tokens; use so many or fewer"
        )
    terms = checked_terms(config, known, policy.template.chat)
    reward, compute = config.reward, config.train.compute
    return Parts(
        config=config,
        mesh=mesh,
        policy=policy,
        engine=make_engine(policy, mesh, r, stop_strings=r.stop, dtype=r.dtype),
        stream=problems.stream,
        eval_sets=problems.eval_sets,
        terms=terms,
        pool=RewardPool(reward.workers, reward.cpu_seconds, reward.wall_seconds, reward.memory_mb),
        optimizer=optimizer,
        functions=update_functions(config, policy.config, teacher, mesh, optimizer),
        logp=token_logp(followed, mesh, compute, r.temperature),
        sharp_logp=sharp_logp(followed, mesh, compute, r.temperature),
        entropy=token_entropy(followed, mesh, compute, r.temperature),
        reference_logp=token_logp(policy.config, mesh, compute, r.temperature),
        tower=tower_of(config, policy, mesh),
        teacher=teacher,
        remote=find_remote(config.teacher, policy),
        parent=source.meta["parent"]
        if source
        else find_parent(policy, config.parent, config.parent_step, config.checkpoint.unverified),
        source=source,
        data=problems.digests,
    )


def update_functions(
    config: RLConfig,
    c: ModelConfig,
    teacher: Teacher | None,
    mesh: Mesh,
    optimizer: optax.GradientTransformation,
) -> Functions:
    """The update with the loss that the flags ask for, and what of a teacher is added to it."""
    train, lora = config.train, config.lora if config.lora.on else None
    temperature = config.rollout.temperature
    if config.user_loss:
        loss = load_loss(config.user_loss, "--user-loss")
    else:
        loss = grpo(config.loss, on_policy=train.updates_per_rollout == 1)
    if not config.teacher.whole:
        learner = with_sampled(c, train.replay_routes)
        return make_functions(learner, mesh, train.compute, loss, optimizer, temperature, lora)
    if train.replay_routes:
        raise UserError("--train.replay-routes: goes with --teacher.kind sampled alone")
    how = teacher and teacher.policy.config, config.teacher, loss, config.loss.reduction
    return taught_functions(c, *how, mesh, train.compute, optimizer, temperature, lora)


def checked_terms(config: RLConfig, known: list[Problem], chat: bool) -> list[Term]:
    """The terms of the reward, as far as these problems show that they can judge."""
    r = config.rollout
    teacher = config.teacher
    judged = chat, teacher.there, bool(teacher.shown)
    terms = make_terms(config.reward, r.max_tokens, config.seed, config.sandbox, *judged)
    for term in terms:
        lifted(term.reward).check(known)
        if term.reward.per_token and config.loss.advantage_baseline == "second":
            raise UserError(
                f"--loss.advantage-baseline second: compares whole completions, and the reward "
                f"{term.name} judges tokens; use group"
            )
    return terms


def tower_of(config: RLConfig, policy: Policy, mesh: Mesh) -> Tower | None:
    """What the flags ask for beside the policy: a critic, a reward tower, or nothing."""
    if config.prime.on:
        return make_reward_tower(config, policy, mesh)
    learning = config.train.compute, config.optimizer, config.updates
    if config.loss.advantage_baseline == "critic":
        return make_critic(config.critic, policy.config, mesh, *learning, config.loss.reduction)
    return None


def with_sampled(c: ModelConfig, replay: bool) -> ModelConfig:
    """The model as it learns: its experts compared with those that the sampler chose, or those.

    Raises UserError where there is nothing to `replay`.
    """
    if c.experts is None:
        if replay:
            raise UserError("--train.replay-routes: the model has no experts that could be chosen")
        return c
    return replace(c, experts=replace(c.experts, sampled="followed" if replay else "compared"))


def with_frozen(parts: Parts) -> Parts:
    """The parts with what is never trained loaded: weights under LoRA's factors, a teacher's."""
    base = frozen_base(parts.config, parts.policy, parts.mesh, parts.parent)
    return replace(parts, base=base, teacher=parts.teacher and parts.teacher.loaded())


def initial_state(parts: Parts, fresh: bool = True) -> TrainState:
    """The state before the first update; not `fresh`, its shapes, for a checkpoint to fill."""
    return first_state(parts.config, parts.policy, parts.mesh, parts.parent, parts.optimizer, fresh)


_follow = jax.jit(follow, static_argnums=2)
