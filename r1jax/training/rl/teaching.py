"""The teacher beside a policy: a frozen tower that says how likely it finds what was written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from jax.sharding import Mesh

from r1jax.errors import UserError
from r1jax.models import table
from r1jax.rollout.policy import Policy
from r1jax.training.batches import PerToken
from r1jax.training.rl.config import RLConfig
from r1jax.training.update import token_logp
from r1jax.training.weights import Parent, find_teacher_parent, load_teacher, starting_weights
from r1jax.types import Params


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
    parent = find_teacher_parent(config.teacher, config.checkpoint.unverified)
    name = "{directory}@{step}".format(**parent) if parent else config.teacher.model
    # With the policy's architecture it is the very program that scores the policy.
    logp = token_logp(c, mesh, config.train, config.rollout.temperature)
    return Teacher(name, policy, mesh, config.train.dtype, parent, logp)
