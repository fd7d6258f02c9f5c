"""Supervised fine-tuning (paper, sections 2.3.1, 2.3.3, 2.4): what cold start and distilling do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import optax
from jax.sharding import Mesh

from r1jax.data.examples.conversations import ConversationConfig, ConversationSettings
from r1jax.data.examples.encoding import Encoder, Examples, hold_out, load_examples
from r1jax.losses.sft import sft
from r1jax.models import table
from r1jax.models.hub.gguf.write import Storage
from r1jax.rollout.policy import Policy
from r1jax.run.progress import Display
from r1jax.stages import courses
from r1jax.stages.courses import Note
from r1jax.stages.opening import opened
from r1jax.training.optimizer import make_optimizer
from r1jax.training.supervised.config import CourseConfig, CourseSettings
from r1jax.training.supervised.distill import TeacherConfig, beside_text, make_share
from r1jax.training.supervised.examine import loss_examiner
from r1jax.training.supervised.loop import Course, begin, train
from r1jax.training.update import Functions, functions_of, make_functions, trained_rows
from r1jax.training.weights import (
    check_gguf,
    export,
    find_teacher_parent,
    first_state,
    frozen_base,
    identity,
    load_teacher,
    starting_weights,
)
from r1jax.types import Params


@dataclass(frozen=True)
class SFTSettings(CourseSettings):
    """How examples are learnt."""

    export: bool = True
    """Write the final weights to <run>/hf in the Hugging Face layout."""
    export_gguf: Storage | None = None
    """Write them to <run>/gguf as well, quantised so, for llama.cpp and Ollama (docs/gguf.md)."""
    data: ConversationSettings = field(default_factory=ConversationSettings)
    """Examples."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """A model to learn from beside the text."""


@dataclass(frozen=True)
class SFTConfig(SFTSettings, CourseConfig):
    """A supervised run."""

    run: str = "runs/sft"
    data: ConversationConfig = field(default_factory=ConversationConfig)


def run(config: SFTConfig, display: Display | None = None) -> None:
    """Learns the examples and leaves the run directory with its report."""
    with opened(config, display) as run:
        if run.finished:
            return
        mesh, policy, parent = courses.named_model(config)
        encoder = Encoder(policy.tokenizer, policy.stop_ids)
        examples, held_out = read_data(config, encoder, run.note)
        policy = with_stops(policy, encoder.ends, run.note)
        check_gguf(policy, config.export_gguf)
        teacher = load_teacher(config.teacher, policy)
        config = courses.completed(config, examples, "example", mesh, run.note)
        lora = config.lora if config.lora.on else None
        rows = trained_rows(policy.config, lora)
        optimizer = make_optimizer(
            config.optimizer, config.updates, table.decay_mask(rows), config.train.dtype
        )

        files = run.files(config)
        course = Course(
            config, policy.config, mesh, examples, held_out,
            identity=identity(config, policy, parent) | {"data": examples.digest},
            functions=functions(config, policy, teacher, mesh, optimizer),
            examine=loss_examiner(policy.config, mesh, config.train, lora),
            base=frozen_base(config, policy, mesh, parent),
            teacher=teacher_weights(config, teacher, mesh),
        )  # fmt: skip
        state = first_state(config, policy, mesh, parent, optimizer, files.fresh)
        loop = train(course, begin(course, state, files), files)
        if config.export or config.export_gguf:
            made = policy, loop.state.params, course.base, lora
            export(run.directory, *made, gguf=config.export_gguf)
        summary = courses.course_summary(course, loop, files)
        run.finish(summary, headline(summary))


def read_data(
    config: SFTConfig, encoder: Encoder, note: Note
) -> tuple[Examples, dict[str, Examples]]:
    """(what is learnt, what is judged by name), with a line of report for every source."""
    width, say = config.train.width, lambda report: note(str(report))
    read = lambda sources: load_examples(sources, config.data, encoder, width, say)  # noqa: E731
    return courses.read_sets(config.data, read, hold_out, config.seed, "example", note)


def teacher_weights(config: SFTConfig, teacher: Policy | None, mesh: Mesh) -> Params | None:
    """Its own, or those of its checkpoint, in the type they are computed in."""
    if teacher is None:
        return None
    parent = find_teacher_parent(teacher, config.teacher, config.checkpoint.unverified)
    return starting_weights(teacher, mesh, parent, config.train.dtype)


def functions(
    config: SFTConfig,
    policy: Policy,
    teacher: Policy | None,
    mesh: Mesh,
    optimizer: optax.GradientTransformation,
) -> Functions:
    """The update, with or without a teacher."""
    c, lora = policy.config, config.lora if config.lora.on else None
    if teacher is None:
        return make_functions(c, mesh, config.train, sft, optimizer, lora=lora)
    how, temperatures = config.teacher, (1.0, config.teacher.temperature)
    added = beside_text(how)
    share = make_share(c, teacher.config, how, added, mesh, config.train, lora, temperatures)
    frozen = {
        "base": table.abstract(c) if lora else None,
        "teacher": table.abstract(teacher.config),
    }
    return functions_of(share, trained_rows(c, lora), mesh, config.train, optimizer, frozen)


def with_stops(policy: Policy, ends: set[int], note: Note) -> Policy:
    """The policy with the tokens that its turns will end with among its stop tokens.

    A base often names only the end of a text: what it learns to end a chat's turn with would not
    stop it.
    """
    new = tuple(sorted(ends - set(policy.stop_ids)))
    if not new:
        return policy
    named = ", ".join(policy.tokenizer.convert_ids_to_tokens(new))
    note(f"turns end with {named}: added to the model's stop tokens")
    config = replace(policy.config, eos_ids=(*policy.config.eos_ids, *new))
    return replace(policy, config=config, stop_ids=(*policy.stop_ids, *new))


def headline(summary: Mapping[str, Any]) -> str:
    """The result in half a line; empty where nothing is held out."""
    before, after = summary["before"], summary["after"]
    if not after:
        return ""
    return f"held-out loss {before['nll']:.4f} -> {after['nll']:.4f} nats per token"
