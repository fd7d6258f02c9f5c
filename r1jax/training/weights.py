"""Where the weights of a run come from, and where they go when it ends."""

from __future__ import annotations

import dataclasses
import functools
import shutil
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from r1jax.checkpoint import load_params, read_meta
from r1jax.errors import UserError
from r1jax.models import scalar, table
from r1jax.models.config import ModelConfig
from r1jax.models.hub.gguf.write import Storage
from r1jax.models.kinds import cast
from r1jax.models.lora import LoraConfig, merge, save_peft
from r1jax.rollout.policy import (
    Policy,
    gguf_metadata,
    load_policy,
    load_weights,
    save_policy,
    save_policy_gguf,
)
from r1jax.run import names
from r1jax.run.digests import find_step
from r1jax.run.directory import RunDirectory
from r1jax.training.rl.config import RLConfig
from r1jax.training.supervised.config import CourseConfig
from r1jax.training.teacher import NamedTeacher
from r1jax.training.train_state import abstract_state, init_state
from r1jax.training.update import join, trained_rows
from r1jax.types import Params, TrainState

Parent = dict[str, Any]
"""A checkpoint: its directory and step."""


def find_parent(
    policy: Policy,
    directory: str,
    step: int | None,
    unverified: bool = False,
    flag: str = "--parent",
) -> Parent | None:
    """The checkpoint whose weights a policy has, its step settled; None where none is named.

    Raises UserError, naming `flag`, as `check_of_policy` does.
    """
    if not directory:
        return None
    where, step = str(Path(directory).absolute()), find_step(directory, step, unverified)
    check_of_policy(policy, where, step, f"{flag} {where}")
    return {"directory": where, "step": step}


def check_of_policy(policy: Policy, directory: str, step: int, named: str) -> None:
    """UserError, beginning as `named`, where a checkpoint's weights are not for this policy.

    It is a reward model's, which writes no text, or has other tokens, however many (an older one
    does not say which).
    """
    meta, tokens = read_meta(directory, step), policy.identity["tokenizer"]["tokens"]
    if "reward_model" in meta:
        raise UserError(f"{named}: holds a reward model; name the checkpoints of a policy")
    if meta["tokenizer"].get("tokens", tokens) != tokens:
        raise UserError(
            f"{named}: has other tokens than {policy.directory}; name checkpoints of a "
            "model with the same tokenizer"
        )


def load_teacher(config: NamedTeacher, student: Policy) -> Policy | None:
    """The teacher but for its weights; UserError where its tokens are not the student's."""
    if not config.model:
        return None
    teacher = load_policy(config.model, "plain", family=config.family)
    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise UserError(
            f"--teacher.model {config.model}: has other tokens than the student, so their "
            "distributions cannot be compared; learn from its texts instead (--data.train)"
        )
    return teacher


def find_teacher_parent(teacher: Policy, config: NamedTeacher, unverified: bool) -> Parent | None:
    """The checkpoint whose weights a teacher has; None where they are its model's own."""
    return find_parent(teacher, config.parent, None, unverified, "--teacher.parent")


def identity(
    config: CourseConfig | RLConfig, policy: Policy, parent: Parent | None
) -> dict[str, Any]:
    """What every checkpoint of a run must agree with: model and tokenizer, parent, LoRA."""
    lora = {"lora": dataclasses.asdict(config.lora)} if config.lora.on else {}
    return policy.identity | {"parent": parent} | lora


def starting_weights(
    policy: Policy, mesh: Mesh, parent: Parent | None, dtype: Any = "float32"
) -> Params:
    """The weights of a parent's checkpoint, or else the model's own."""
    if parent is None:
        return load_weights(policy, mesh, dtype)
    where, step = parent["directory"], parent["step"]
    return cast(trained_weights(policy, mesh, where, step, unverified=True), dtype)  # chosen before


def trained_weights(
    policy: Policy,
    mesh: Mesh,
    checkpoint: str = "",
    step: int | None = None,
    unverified: bool = False,
) -> Params:
    """The policy's own weights, or those a run's checkpoints hold (the newest, or `step`).

    Raises UserError as `check_of_policy` does.
    """
    load = functools.partial(load_weights, policy, mesh)
    if not checkpoint:
        return load()
    step = find_step(checkpoint, step, unverified)
    check_of_policy(policy, checkpoint, step, checkpoint)
    return load_params(checkpoint, policy.config, mesh, step, load, unverified)


def first_state(
    config: CourseConfig | RLConfig,
    policy: Policy,
    mesh: Mesh,
    parent: Parent | None,
    optimizer: optax.GradientTransformation,
    fresh: bool = True,
    scorer: bool = False,
) -> TrainState:
    """A new optimizer with the weights a run starts from, or LoRA factors that change nothing yet.

    Not `fresh`, the state has shapes alone, which a checkpoint fills: no weights are read. A reward
    model (`scorer`) has a head of zeros beside them.
    """
    c, lora = policy.config, config.lora if config.lora.on else None
    rows = scalar.rows(c, lora) if scorer else trained_rows(c, lora)
    if not fresh:
        return abstract_state(optimizer, rows, mesh)
    start = drawn(rows, mesh, config.seed) if lora else starting_weights(policy, mesh, parent)
    if scorer and not lora:
        start = {**scalar.body(start), **drawn(scalar.head_rows(c), mesh, config.seed)}
    return init_state(optimizer, start, mesh)


def frozen_base(
    config: CourseConfig | RLConfig, policy: Policy, mesh: Mesh, parent: Parent | None
) -> Params | None:
    """The weights under LoRA's factors, in the type they are computed in; None without LoRA."""
    if not config.lora.on:
        return None
    return starting_weights(policy, mesh, parent, config.train.dtype)


def drawn(
    model: ModelConfig | table.Rows, mesh: Mesh, seed: int, dtype: Any = jnp.float32
) -> Params:
    """Fresh weights of a model or of a table's rows, made where they are to lie."""
    make = lambda key: table.init(model, key, dtype)  # noqa: E731
    return jax.jit(make, out_shardings=table.shardings(model, mesh))(jax.random.key(seed))


def export(
    directory: RunDirectory,
    policy: Policy,
    params: Params,
    base: Params | None = None,
    lora: LoraConfig | None = None,
    gguf: Storage | None = None,
) -> None:
    """Writes <run>/hf, a model directory as Hugging Face lays it out; every process calls it.

    With LoRA, where `params` are the factors on `base`, its weights are the merged ones, and
    <run>/adapter holds the factors alone. With `gguf` the weights are in <run>/gguf as well.
    """
    if lora:
        factors = params
        if jax.process_count() > 1:
            whole = lambda x: multihost_utils.process_allgather(x, tiled=True)  # noqa: E731
            factors = jax.tree.map(whole, params)
        if directory.write:
            where = directory.path / names.ADAPTER
            save_peft(where, factors, policy.config, lora, str(policy.directory))
    weights = jax.jit(merge)(join(params, base, lora))
    save_policy(directory.path / names.EXPORT, policy, weights, write=directory.write)
    if gguf:
        save_policy_gguf(directory.path / names.GGUF, policy, weights, gguf, write=directory.write)


def check_gguf(policy: Policy, kind: Storage | None) -> None:
    """UserError where the policy cannot be a GGUF file, said before it is trained."""
    if kind:
        gguf_metadata(policy, kind)


def export_on_the_way(
    directory: RunDirectory,
    update: int,
    policy: Policy,
    params: Params,
    base: Params | None = None,
    lora: LoraConfig | None = None,
) -> None:
    """Writes <run>/exports/UPDATE as `export` does <run>/hf; it is there in one step."""
    where = directory.path / names.EXPORTS / str(update)
    writing = where.with_name(f"{update}.writing")
    weights = jax.jit(merge)(join(params, base, lora))
    save_policy(writing, policy, weights, write=directory.write)
    if directory.write:
        shutil.rmtree(where, ignore_errors=True)  # of a run that was resumed from before it
        writing.rename(where)
