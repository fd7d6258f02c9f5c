"""The teacher beside a policy: a frozen tower that says how likely it finds what was written."""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from r1jax.errors import UserError
from r1jax.losses.reduce import REDUCTIONS, masked_sum
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig
from r1jax.rollout.policy import Policy
from r1jax.training.batches import ComputeConfig, PerToken
from r1jax.training.rl.config import RLConfig
from r1jax.training.supervised.distill import make_share
from r1jax.training.teacher import PolicyTeacher
from r1jax.training.update import Functions, functions_of, token_logp, trained_rows
from r1jax.training.weights import Parent, find_teacher_parent, load_teacher, starting_weights
from r1jax.types import Batch, Loss, Mean, Metrics, Params, Stats


@dataclass(frozen=True)
class Teacher:
    """A teacher; `loaded` gives it its weights, which no checkpoint of the run holds."""

    name: str
    policy: Policy
    mesh: Mesh
    dtype: str
    parent: Parent | None
    logp: PerToken
    params: Params | None = None

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint of a run that learns from it must agree with."""
        return self.policy.identity | {"parent": self.parent}

    @property
    def abstract(self) -> Params:
        """ShapeDtypeStructs of its weights as they lie on the devices."""
        return table.abstract(self.policy.config, self.mesh, self.dtype)

    def loaded(self) -> Teacher:
        """With its weights, in the type they are computed in."""
        params = starting_weights(self.policy, self.mesh, self.parent, self.dtype)
        return replace(self, params=params)


def find_teacher(config: RLConfig, student: Policy, mesh: Mesh) -> Teacher | None:
    """The teacher that the flags name, None without; UserError where it cannot judge the student.

    Its log-probabilities are of its whole vocabulary, in which it may have more padding.
    """
    policy = load_teacher(config.teacher, student)
    if policy is None:
        return None
    c, size = policy.config, student.config.vocab_size
    if c.vocab_size < size:
        raise UserError(
            f"--teacher.model {config.teacher.model}: has logits of {c.vocab_size} tokens, fewer "
            f"than the {size} that the policy may write; learn from its texts instead (r1jax sft)"
        )
    parent = find_teacher_parent(policy, config.teacher, config.checkpoint.unverified)
    name = "{directory}@{step}".format(**parent) if parent else config.teacher.model
    # Compiled alike, so that with the policy's architecture it is the program that scores that.
    logp = token_logp(c, mesh, config.train.compute, config.rollout.temperature)
    return Teacher(name, policy, mesh, config.train.dtype, parent, logp)


@functools.lru_cache(maxsize=16)
def taught_functions(
    student: ModelConfig,
    teacher: ModelConfig | None,
    config: PolicyTeacher,
    loss: Loss,
    reduction: str,
    mesh: Mesh,
    compute: ComputeConfig,
    optimizer: optax.GradientTransformation,
    temperature: float,
    lora: LoraConfig | None,
) -> Functions:
    """The update with `loss` and the divergence from a teacher's distributions, reduced alike.

    Both are at the rollout's temperature; `accumulate` takes what `beneath` gives for a base.
    """

    def added(stats: Stats, apart: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        value, metrics = loss(stats, batch)
        said = {"teacher/divergence": Mean(masked_sum(apart, batch), jnp.sum(batch.mask))}
        return value + config.weight * REDUCTIONS[reduction](apart, batch), metrics | said

    both = temperature, temperature
    share = make_share(student, teacher, config, added, mesh, compute, lora, both)
    base = table.abstract(student) if lora else None
    frozen = beneath(base, table.abstract(teacher) if teacher else None)
    return functions_of(share, trained_rows(student, lora), mesh, compute, optimizer, frozen)


def beneath(base: Params | None, teacher: Params | None) -> Params:
    """What is frozen in an update that sees a teacher's distributions, if it has weights here."""
    return {"base": base, "teacher": teacher}
