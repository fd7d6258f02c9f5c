"""What the chapters over examples share: supervised training, reward models, DPO."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from jax.sharding import Mesh

from r1jax.data.problems.sources import set_name
from r1jax.errors import UserError
from r1jax.mesh import make_mesh
from r1jax.rollout.policy import Policy, load_policy
from r1jax.stages.summary import digest
from r1jax.training.batches import fit_rows
from r1jax.training.rl.state import Files, Loop
from r1jax.training.supervised.config import CourseConfig
from r1jax.training.supervised.examine import Pool
from r1jax.training.supervised.loop import Course, updates_of
from r1jax.training.weights import Parent, find_parent

Note = Callable[[str], Any]

HELD_OUT = "held out"  # name of the set split off the training data


def named_model(config: CourseConfig) -> tuple[Mesh, Policy, Parent | None]:
    """The devices, the model and the parent whose weights it has, as the flags name them."""
    mesh = make_mesh(config.mesh)
    policy = load_policy(config.model, "plain", family=config.family)
    where = config.parent, config.parent_step, config.checkpoint.unverified
    return mesh, policy, find_parent(policy, *where)


def read_sets(
    data: Any,
    read: Callable[[Sequence[str]], Any],
    hold_out: Callable[[Any, int, int], tuple[Any, Any]],
    seed: int,
    unit: str,
    note: Note,
) -> tuple[Any, dict[str, Any]]:
    """(what is learnt, what is judged by name), as the flags under --data name their sources.

    What `read` makes of sources has keys, equal for equal prompts; `unit` is the word for one of
    it. A held-out set is split off by `hold_out`, or read from sources of its own, whose prompts
    that training knows are warned of.
    """
    if not data.train:
        raise UserError("--data.train: no source; name a .jsonl or .parquet file, or hf:OWNER/NAME")
    training = read(data.train)
    if data.eval_count:
        training, held = hold_out(training, data.eval_count, seed)
        note(f"{len(held.lengths):,} {unit}s held out")
        return training, {HELD_OUT: held}
    names = [set_name(source) for source in data.eval]
    sets = {}
    for name, source in zip(names, data.eval, strict=True):
        held = read((source,))
        sets[name if names.count(name) == 1 else source] = held
        if shared := int(np.isin(held.keys, training.keys).sum()):
            note(f"warning: {source}: {shared:,} {unit}s share their prompt with a training {unit}")
    return training, sets


def completed(config: CourseConfig, examples: Pool, unit: str, mesh: Mesh, note: Note) -> Any:
    """The flags with the updates in all worked out, and rows that the devices divide."""
    count = len(examples.lengths)
    updates = config.updates or updates_of(examples, config.batch, config.epochs)
    note(f"{count:,} {unit}s, {min(config.batch, count):,} per update -> {updates:,} updates")
    return replace(fit_rows(config, mesh, note), updates=updates)


def course_summary(course: Course, loop: Loop, files: Files) -> dict[str, Any]:
    """What summary.json says of a course: held-out sets, the best checkpoint, what was learnt."""
    return digest(files.run, loop.update) | {
        "best": files.checkpoints.best(),
        "tokens_seen": loop.tokens_seen,
        "learnt_tokens_seen": loop.learnt_tokens_seen,
        "examples": len(course.examples.lengths),
        "parent": course.identity["parent"],
        "data": course.identity["data"],
    }
