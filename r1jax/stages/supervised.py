"""Supervised fine-tuning (paper, sections 2.3.1, 2.3.3, 2.4): what cold start and distilling do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import optax
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.data.examples.conversations import ConversationConfig, ConversationSettings
from r1jax.data.examples.encoding import Encoder, Examples, hold_out, load_examples
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.mesh import make_mesh
from r1jax.models import table
from r1jax.models.lora import LoraConfig
from r1jax.report.page import write_report
from r1jax.rollout.policy import Policy, load_policy
from r1jax.run.directory import RunDirectory
from r1jax.run.environment import environment
from r1jax.run.progress import Alone, Display
from r1jax.stages import zero
from r1jax.stages.courses import course_over, read_held_out
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.loop import Loop
from r1jax.training.rl.setup import Parent, find_parent, fit_rows, lora_state, starting_weights
from r1jax.training.supervised.config import CourseConfig, CourseSettings
from r1jax.training.supervised.distill import TeacherConfig, make_share
from r1jax.training.supervised.examine import loss_examiner, make_measure
from r1jax.training.supervised.loop import Course, begin, train, updates_of
from r1jax.training.update import (
    Functions,
    functions_of,
    init_state,
    join,
    make_functions,
    trained_rows,
)
from r1jax.types import Params, TrainState

HELD_OUT = "held out"  # name of the set split off the training data


@dataclass(frozen=True)
class SFTSettings(CourseSettings):
    """How examples are learnt."""

    export: bool = True
    """Write the final weights to <run>/hf in the Hugging Face layout."""
    data: ConversationSettings = field(default_factory=ConversationSettings)
    """Examples."""
    teacher: TeacherConfig = field(default_factory=TeacherConfig)
    """A model to learn from beside the text."""


@dataclass(frozen=True)
class SFTConfig(SFTSettings, CourseConfig):
    """A supervised run."""

    run: str = "runs/sft"
    data: ConversationConfig = field(default_factory=ConversationConfig)


@dataclass(frozen=True)
class Parts:
    """Everything a run is made of; nothing in here changes while it runs."""

    config: Any  # a CourseConfig with the number of updates worked out
    mesh: Mesh
    policy: Policy
    optimizer: optax.GradientTransformation
    course: Course
    parent: Parent | None  # the checkpoint it starts from
    teacher: Policy | None = None

    @property
    def lora(self) -> LoraConfig | None:
        """LoRA's settings, None where all weights are trained."""
        return _lora(self.config)

    def model(self, params: Params) -> Params:
        """The parameters a model function takes, from those that are trained."""
        return join(params, self.course.base, self.lora)


def run(config: SFTConfig, display: Display | None = None) -> None:
    """Learns the examples and leaves the run directory with its report."""
    conduct(config, build, load, close, display)


def conduct(
    config: CourseConfig,
    build: Callable[[Any, Callable[[str], Any]], Parts],
    load: Callable[[Parts], tuple[Parts, TrainState]],
    close: Callable[[Parts, Loop, RunDirectory, dict[str, Any]], str],
    display: Display | None = None,
) -> None:
    """A run from its flags to its report: `build` refuses, `load` reads weights, `close` digests.

    `close` receives what the loop alone knows (best checkpoint, seconds) and returns what is to be
    said at the end; every process calls it.
    """
    display = display or Alone()
    meshes.start_processes(config.process)
    directory = zero.open_run(config, display)
    if directory is None:
        return
    started = time.time()
    note = display.note if directory.write else _silent
    parts = build(config, note)
    with contextlib.ExitStack() as opened:
        files = zero.open_files(parts.config, directory, opened, display)
        parts, state = load(parts)
        loop = train(parts.course, begin(parts.course, state, files), files)
        files.checkpoints.wait()
        best = files.checkpoints.best()
    ended = {"best": best, "wall_seconds": time.time() - started}
    said = close(parts, loop, directory, ended)
    if directory.write:
        display.result(said)


def build(config: SFTConfig, note: Callable[[str], Any]) -> Parts:
    """Loads no weights and compiles nothing yet, but refuses everything that cannot run."""
    mesh = make_mesh(config.mesh)
    config = fit_rows(config, mesh, note)
    parent = find_parent(config.parent, config.parent_step)
    policy = load_policy(config.model, "plain", family=config.family)
    encoder = Encoder(policy.tokenizer, policy.stop_ids)
    examples, held_out = read_data(config, encoder, note)
    policy = with_stops(policy, encoder.ends, note)
    config = replace(
        config, updates=config.updates or updates_of(examples, config.batch, config.epochs)
    )
    note(
        f"{len(examples.totals):,} examples, {min(config.batch, len(examples.totals)):,} per "
        f"update -> {config.updates:,} updates"
    )
    lora = _lora(config)
    rows = trained_rows(policy.config, lora)
    optimizer = make_optimizer(config.optimizer, config.updates, table.decay_mask(rows))
    teacher = load_teacher(config.teacher, policy) if config.teacher.model else None
    measure = make_measure(policy.config, mesh, config.train, lora)
    course = course_over(
        config, policy, mesh, examples, held_out, parent,
        functions=functions(config, policy, teacher, mesh, optimizer),
        examine=loss_examiner(measure, config.train, mesh),
    )  # fmt: skip
    return Parts(config, mesh, policy, optimizer, course, parent, teacher)


def load_teacher(config: TeacherConfig, student: Policy) -> Policy:
    """The teacher but for its weights; UserError where its tokens are not the student's."""
    teacher = load_policy(config.model, "plain", family=config.family)
    if teacher.tokenizer.get_vocab() != student.tokenizer.get_vocab():
        raise UserError(
            f"--teacher.model {config.model}: has other tokens than the student, so their "
            "distributions cannot be compared; learn from its texts instead (--data.train)"
        )
    return teacher


def functions(
    config: SFTConfig,
    policy: Policy,
    teacher: Policy | None,
    mesh: Mesh,
    optimizer: optax.GradientTransformation,
) -> Functions:
    """The update, with or without a teacher."""
    c, lora = policy.config, _lora(config)
    if teacher is None:
        return make_functions(c, mesh, config.train, sft, optimizer, lora=lora)
    share = make_share(c, teacher.config, config.teacher, mesh, config.train, lora)
    frozen = {
        "base": table.abstract(c) if lora else None,
        "teacher": table.abstract(teacher.config),
    }
    return functions_of(share, trained_rows(c, lora), mesh, config.train, optimizer, frozen)


def read_data(
    config: SFTConfig, encoder: Encoder, note: Callable[[str], Any]
) -> tuple[Examples, dict[str, Examples]]:
    """(what is learnt, what is judged by name), with a line of report for every source."""
    data, width = config.data, config.train.width
    if not data.train:
        raise UserError("--data.train: no source; name a .jsonl or .parquet file, or hf:OWNER/NAME")
    read = lambda sources: load_examples(sources, data, encoder, width, lambda r: note(str(r)))  # noqa: E731
    examples = read(data.train)
    if data.eval_count:
        examples, held = hold_out(examples, data.eval_count, config.seed)
        note(f"{len(held.totals):,} examples held out")
        return examples, {HELD_OUT: held}
    return examples, read_held_out(data.eval, read, examples, "example", note)


def with_stops(policy: Policy, ends: set[int], note: Callable[[str], Any]) -> Policy:
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


def load(parts: Parts) -> tuple[Parts, TrainState]:
    """The parts with what stays frozen (LoRA's base, a teacher), and the state at the start."""
    if parts.teacher:
        where = find_parent(parts.config.teacher.parent, None)
        dtype = parts.config.train.dtype
        weights = starting_weights(parts.teacher, parts.mesh, where, dtype)
        parts = replace(parts, course=replace(parts.course, teacher=weights))
    dtype = parts.config.train.dtype if parts.lora else "float32"
    weights = starting_weights(parts.policy, parts.mesh, parts.parent, dtype)
    if parts.lora is None:
        return parts, init_state(parts.optimizer, weights, parts.mesh)
    state = lora_state(
        parts.optimizer, parts.policy.config, parts.lora, parts.mesh, parts.config.seed
    )
    return replace(parts, course=replace(parts.course, base=weights)), state


def close(parts: Parts, loop: Loop, directory: RunDirectory, found: dict[str, Any]) -> str:
    """Exports the weights, then writes the summary and the report; the result in a line."""
    if parts.config.export:
        zero.export(parts, loop.state.params, directory)

    def said(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
        return f"held-out loss {before['nll']:.4f} -> {after['nll']:.4f} nats per token"

    return close_run(parts, loop, directory, found, said)


def close_run(
    parts: Parts,
    loop: Loop,
    directory: RunDirectory,
    found: dict[str, Any],
    said: Callable[[Mapping[str, Any], Mapping[str, Any]], str],
) -> str:
    """Writes the summary, then the report; what `said` makes of before and after, and its path."""
    if not directory.write:
        return ""
    summary = digest(directory.evaluations(), loop.update) | {
        "tokens_seen": loop.tokens_seen,
        "learnt_tokens_seen": loop.learnt_tokens_seen,
        "examples": len(parts.course.examples.lengths),
        "parent": parts.parent,
        "data": parts.course.identity["data"],
        "environment": environment(),
        **found,
    }
    directory.finish(summary)
    judged = f"{said(summary['before'], summary['after'])}, " if summary["after"] else ""
    return f"{judged}{summary['wall_seconds']:.0f} s\n{write_report(directory.path)}"


def digest(evaluations: Sequence[Mapping[str, Any]], updates: int) -> dict[str, Any]:
    """What summary.json says of the held-out sets: the first, then the others by name."""
    sides = {
        when: {e["set"]: e for e in evaluations if e["update"] == update}
        for when, update in (("before", 0), ("after", updates))
    }
    names = list(sides["after"])
    first = {when: sides[when].get(names[0], {}) if names else {} for when in sides}
    sets = {name: {when: sides[when].get(name, {}) for when in sides} for name in names[1:]}
    return {**first, "sets": sets, "updates": updates}


def _lora(config: CourseConfig) -> LoraConfig | None:
    return config.lora if config.lora.on else None


def _silent(line: str) -> None:
    """Where every process but the first prints."""
