"""What runs over examples share: the course that the flags ask for, and its held-out sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from jax.sharding import Mesh

from r1jax.data.problems.sources import set_name
from r1jax.rollout.policy import Policy
from r1jax.training.optimizer import schedule
from r1jax.training.rl.setup import Parent
from r1jax.training.supervised.config import CourseConfig
from r1jax.training.supervised.loop import Course


def course_over(
    config: CourseConfig,
    policy: Policy,
    mesh: Mesh,
    examples: Any,
    held_out: Mapping[str, Any],
    parent: Parent | None,
    **own: Any,
) -> Course:
    """The course over examples that the flags ask for; `own` are further fields of it.

    Its identity is the policy's, of the data, the parent and LoRA, and what `own` adds to it.
    """
    lora = config.lora if config.lora.on else None
    identity = policy.identity | {"data": examples.digest, "parent": parent}
    identity |= {"lora": dataclasses.asdict(lora)} if lora else {}
    return Course(
        model=policy.config,
        mesh=mesh,
        compute=config.train,
        examples=examples,
        held_out=held_out,
        updates=config.updates,
        batch=config.batch,
        seed=config.seed,
        rate=schedule(config.optimizer, config.updates),
        eval_every=config.eval_every,
        save_every=config.checkpoint.every,
        lora=lora,
        identity=identity | own.pop("identity", {}),
        **own,
    )


def read_held_out(
    sources: Sequence[str],
    read: Callable[[Sequence[str]], Any],
    training: Any,
    unit: str,
    note: Callable[[str], Any],
) -> dict[str, Any]:
    """What `read` makes of every source, by name; prompts that training knows are warned of.

    What is read has keys, equal for equal prompts; `unit` is the word for one of it.
    """
    names = [set_name(source) for source in sources]
    found = {}
    for name, source in zip(names, sources, strict=True):
        held = read((source,))
        found[name if names.count(name) == 1 else source] = held
        if both := int(np.isin(held.keys, training.keys).sum()):
            note(f"warning: {source}: {both:,} {unit}s share their prompt with a training {unit}")
    return found
