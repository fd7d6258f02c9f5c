"""Reward models (paper v2, 3.1): helpfulness from pairs, safety from labels; and of steps."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from jax.sharding import Mesh

from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged import PACKINGS, Preferences, hold_out_prompts, load_preferences
from r1jax.data.examples.judged_steps import JudgedSteps, hold_out_solutions, load_steps
from r1jax.data.examples.preferences import (
    Feedback,
    JudgeKind,
    PreferenceConfig,
    PreferenceSettings,
    View,
)
from r1jax.data.examples.steps import Cut
from r1jax.data.packing import ONE_BY_ONE
from r1jax.errors import UserError
from r1jax.losses.preference import PairwiseConfig, ScoreLoss, pairwise, pointwise, process
from r1jax.models import scalar, table
from r1jax.models.config import ModelConfig
from r1jax.run.progress import Display
from r1jax.stages import courses
from r1jax.stages.courses import Note
from r1jax.stages.opening import opened
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.reward_model import Described
from r1jax.training.supervised import preference
from r1jax.training.supervised.config import CourseConfig, CourseSettings
from r1jax.training.supervised.examine import Examine
from r1jax.training.supervised.loop import Course, begin, train
from r1jax.training.supervised.process import process_examiner
from r1jax.training.weights import first_state, frozen_base, identity

UNITS: dict[JudgeKind, str] = {"pairwise": "pair", "pointwise": "response", "process": "solution"}
"""The word for what one row judges."""


@dataclass(frozen=True)
class JudgedSettings(CourseSettings):
    """How judged responses are learnt."""

    data: PreferenceSettings = field(default_factory=PreferenceSettings)
    """Judged responses."""

    def __post_init__(self) -> None:
        """Raises UserError where a row cannot hold a pair."""
        super().__post_init__()
        if self.train.max_segments % 2:
            raise UserError(
                f"--train.max-segments {self.train.max_segments}: must be even; a pair takes two"
            )


@dataclass(frozen=True)
class JudgedConfig(JudgedSettings, CourseConfig):
    """What runs on judged responses have in common."""

    data: PreferenceConfig = field(default_factory=PreferenceConfig)


@dataclass(frozen=True)
class PairwiseSettings(JudgedSettings):
    """How a reward model learns from pairs."""

    loss: PairwiseConfig = field(default_factory=PairwiseConfig)
    """The objective of kind pairwise."""

    def __post_init__(self) -> None:
        """Raises UserError on a flag that scores have no use for."""
        super().__post_init__()
        if self.train.chunk != ComputeConfig().chunk:
            raise UserError(
                f"--train.chunk {self.train.chunk}: a reward model has no logits to cut; leave it "
                "out"
            )


@dataclass(frozen=True)
class RewardModelConfig(JudgedConfig, PairwiseSettings):
    """A reward model."""

    run: str = "runs/reward_model"
    kind: JudgeKind = "pairwise"
    """pairwise (prompt, chosen, rejected: helpfulness), pointwise (prompt, response, label safe or
    unsafe: safety), process (prompt, completions, labels: the steps of a solution, as TRL,
    PRM800K or ProcessBench write them)."""
    steps: Cut = "line"
    """Of kind process, where a text is cut into steps: line, paragraph (an empty line), sentence.
    A row's own steps are joined likewise."""

    def __post_init__(self) -> None:
        """Raises UserError where a value would be read by nothing."""
        super().__post_init__()
        if self.kind != "pairwise" and self.loss != PairwiseConfig():
            raise UserError(f"--loss.*: belongs to --kind pairwise; leave it out of {self.kind}")
        if self.kind != "process" and self.steps != "line":
            raise UserError(f"--steps {self.steps}: belongs to --kind process, not {self.kind}")
        if self.kind == "process" and self.data.view not in ("auto", "whole"):
            raise UserError(
                f"--data.view {self.data.view}: the steps of kind process are the whole response's"
            )

    @property
    def view(self) -> View:
        """What of a response is judged."""
        if self.data.view == "auto":
            return "summary" if self.kind == "pairwise" else "whole"
        return self.data.view


def run(config: RewardModelConfig, display: Display | None = None) -> None:
    """Trains a reward model and leaves the run directory with its report."""
    with opened(config, display) as run:
        if run.finished:
            return
        mesh, policy, parent = courses.named_model(config)
        encoder = Encoder(policy.tokenizer, policy.stop_ids)
        examples, held_out = read_data(config, encoder, run.note)
        config = courses.completed(config, examples, UNITS[config.kind], mesh, run.note)
        c, lora = policy.config, config.lora if config.lora.on else None
        rows = scalar.rows(c, lora)
        optimizer = make_optimizer(
            config.optimizer, config.updates, table.decay_mask(rows), config.train.dtype
        )
        loss, steps = loss_of(config), config.kind == "process"

        files = run.files(config)
        base = frozen_base(config, policy, mesh, parent)
        about = {
            "data": examples.digest,
            "reward_model": dataclasses.asdict(described(config, examples)),
        }
        course = Course(
            config, c, mesh, examples, held_out,
            identity=identity(config, policy, parent) | about,
            functions=preference.reward_functions(
                c, mesh, config.train, loss, optimizer, lora, steps
            ),
            examine=examiner(config, c, mesh),
            base=base and scalar.body(base),
            packing=ONE_BY_ONE if steps else PACKINGS[config.kind],
        )  # fmt: skip
        state = first_state(config, policy, mesh, parent, optimizer, files.fresh, scorer=True)
        loop = train(course, begin(course, state, files), files)
        summary = courses.course_summary(course, loop, files) | {"kind": config.kind}
        run.finish(summary, headline(summary))


def loss_of(config: RewardModelConfig) -> ScoreLoss:
    """The objective of the kind of reward model."""
    return {"pairwise": pairwise(config.loss), "pointwise": pointwise, "process": process}[
        config.kind
    ]


def examiner(config: RewardModelConfig, c: ModelConfig, mesh: Mesh) -> Examine:
    """What held-out rows are measured by."""
    lora = config.lora if config.lora.on else None
    if config.kind == "process":
        return process_examiner(c, mesh, config.train, lora)
    return preference.reward_examiner(c, mesh, config.train, config.kind, lora)


def read_data(
    config: RewardModelConfig, encoder: Encoder, note: Note
) -> tuple[Preferences | JudgedSteps, dict[str, Preferences | JudgedSteps]]:
    """(what is learnt, what is tested on by name), with a line of report for every source."""
    if config.kind == "process":
        return _solutions(config, encoder, note)
    return read_judged_data(config, config.kind, config.view, encoder, note)


def _solutions(
    config: RewardModelConfig, encoder: Encoder, note: Note
) -> tuple[JudgedSteps, dict[str, JudgedSteps]]:
    data = config.data

    def read(sources: Sequence[str]) -> JudgedSteps:
        return load_steps(sources, data, config.steps, encoder, config.train.width, note)

    unit = UNITS["process"]
    examples, held_out = courses.read_sets(data, read, hold_out_solutions, config.seed, unit, note)
    labels = examples.labels[examples.examples.learn]
    if len(np.unique(labels > 0.5)) < 2:
        raise UserError(
            f"--data.train {' '.join(data.train)}: every step is "
            f"{'right' if labels[0] > 0.5 else 'wrong'}; both labels are needed"
        )
    return examples, held_out


def read_judged_data(
    config: JudgedConfig, kind: Feedback, view: View, encoder: Encoder, note: Note
) -> tuple[Preferences, dict[str, Preferences]]:
    """As `read_data`, of whole responses."""
    data, width = config.data, config.train.width

    def read(sources: Sequence[str]) -> Preferences:
        say = lambda report: note(str(report))  # noqa: E731
        return load_preferences(sources, data, kind, view, encoder, width, say)

    examples, held_out = courses.read_sets(data, read, hold_out_prompts, config.seed, "row", note)
    if kind == "pointwise" and len(np.unique(examples.labels)) < 2:
        raise UserError(
            f"--data.train {' '.join(data.train)}: every response is "
            f"{'safe' if examples.labels[0] else 'unsafe'}; both labels are needed"
        )
    note(f"judged: the {'summary' if view == 'summary' else 'whole response'}")
    return examples, held_out


def described(config: RewardModelConfig, examples: Preferences | JudgedSteps) -> Described:
    """What a run that judges by this model must know of it."""
    named = Path(config.model)
    return Described(
        kind=config.kind,
        view=config.view,
        model=str(named.absolute()) if named.exists() else config.model,
        family=config.family,
        template="chat" if examples.chat else config.data.template,
        system=config.data.system,
        dtype=config.train.dtype,
        steps=config.steps,
    )


def headline(summary: Mapping[str, Any]) -> str:
    """The result in half a line; empty where nothing is held out."""
    before, after = summary["before"], summary["after"]
    if not after:
        return ""
    interval = ""
    if after.get("accuracy_ci"):
        low, high = after["accuracy_ci"]
        interval = f" (95 % {low:.3f} to {high:.3f})"
    return f"held-out accuracy {before['accuracy']:.3f} -> {after['accuracy']:.3f}{interval}"
