"""Reward models (paper v2, section 3.1): helpfulness from pairs, safety from labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged import PACKINGS, Preferences, hold_out_prompts, load_preferences
from r1jax.data.examples.preferences import (
    Feedback,
    PreferenceConfig,
    PreferenceSettings,
    View,
)
from r1jax.errors import UserError
from r1jax.losses.preference import PairwiseConfig, pairwise, pointwise
from r1jax.mesh import make_mesh
from r1jax.models import scalar, table
from r1jax.rollout.policy import load_policy
from r1jax.run.progress import Display
from r1jax.stages import courses
from r1jax.stages.courses import Note
from r1jax.stages.opening import opened
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.reward_model import Described
from r1jax.training.supervised import preference
from r1jax.training.supervised.config import CourseConfig, CourseSettings
from r1jax.training.supervised.loop import Course, begin, train
from r1jax.training.weights import find_parent, first_state, frozen_base, identity


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
    kind: Feedback = "pairwise"
    """pairwise (prompt, chosen, rejected: helpfulness) or pointwise (prompt, response, label safe
    or unsafe: safety)."""

    def __post_init__(self) -> None:
        """Raises UserError where a value would be read by nothing."""
        super().__post_init__()
        if self.kind == "pointwise" and self.loss != PairwiseConfig():
            raise UserError("--loss.*: belongs to --kind pairwise; leave it out of pointwise")

    @property
    def view(self) -> View:
        """What of a response is judged."""
        usual: dict[Feedback, View] = {"pairwise": "summary", "pointwise": "whole"}
        return usual[self.kind] if self.data.view == "auto" else self.data.view


def run(config: RewardModelConfig, display: Display | None = None) -> None:
    """Trains a reward model and leaves the run directory with its report."""
    with opened(config, display) as run:
        if run.finished:
            return
        mesh = make_mesh(config.mesh)
        parent = find_parent(config.parent, config.parent_step, config.checkpoint.unverified)
        policy = load_policy(config.model, "plain", family=config.family)
        encoder = Encoder(policy.tokenizer, policy.stop_ids)
        examples, held_out = read_data(config, config.kind, config.view, encoder, run.note)
        unit = "pair" if config.kind == "pairwise" else "response"
        config = courses.completed(config, examples, unit, mesh, run.note)
        c, lora = policy.config, config.lora if config.lora.on else None
        rows = scalar.rows(c, lora)
        optimizer = make_optimizer(
            config.optimizer, config.updates, table.decay_mask(rows), config.train.dtype
        )
        loss = pairwise(config.loss) if config.kind == "pairwise" else pointwise

        files = run.files(config)
        base = frozen_base(config, policy, mesh, parent)
        about = {
            "data": examples.digest,
            "reward_model": dataclasses.asdict(described(config, examples)),
        }
        course = Course(
            config, c, mesh, examples, held_out,
            identity=identity(config, policy, parent) | about,
            functions=preference.reward_functions(c, mesh, config.train, loss, optimizer, lora),
            examine=preference.reward_examiner(c, mesh, config.train, config.kind, lora),
            base=base and scalar.body(base),
            packing=PACKINGS[config.kind],
        )  # fmt: skip
        state = first_state(config, policy, mesh, parent, optimizer, files.fresh, scorer=True)
        loop = train(course, begin(course, state, files), files)
        summary = courses.course_summary(course, loop, files) | {"kind": config.kind}
        run.finish(summary, headline(summary))


def read_data(
    config: JudgedConfig, kind: Feedback, view: View, encoder: Encoder, note: Note
) -> tuple[Preferences, dict[str, Preferences]]:
    """(what is learnt, what is tested on by name), with a line of report for every source."""
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


def described(config: RewardModelConfig, examples: Preferences) -> Described:
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
