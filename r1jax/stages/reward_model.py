"""Reward models (paper v2, section 3.1): helpfulness from pairs, safety from labels."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged import Preferences, hold_out_prompts, load_preferences
from r1jax.data.examples.preferences import (
    Feedback,
    PreferenceConfig,
    PreferenceSettings,
    View,
)
from r1jax.errors import UserError
from r1jax.losses.preference import PairwiseConfig, ScoreLoss, pairwise, pointwise
from r1jax.mesh import Mesh, make_mesh
from r1jax.models import scalar, table
from r1jax.rollout.policy import Policy, load_policy
from r1jax.run.directory import RunDirectory
from r1jax.run.progress import Display
from r1jax.stages import supervised
from r1jax.stages.courses import course_over, read_held_out
from r1jax.stages.supervised import HELD_OUT, Parts
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.loop import Loop
from r1jax.training.rl.reward_model import Described, refuse_reward_model
from r1jax.training.rl.setup import find_parent, fit_rows, starting_weights
from r1jax.training.supervised import preference
from r1jax.training.supervised.config import CourseConfig, CourseSettings
from r1jax.training.supervised.loop import Course, updates_of
from r1jax.training.update import init_state
from r1jax.types import TrainState

Note = Callable[[str], Any]


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
    supervised.conduct(config, build, load, close, display)


def build(config: RewardModelConfig, note: Note) -> Parts:
    """Loads no weights and compiles nothing yet, but refuses everything that cannot run."""
    started = begin(config, config.kind, config.view, note)
    config, c, lora = started.config, started.policy.config, started.lora
    rows = scalar.rows(c, lora)
    optimizer = make_optimizer(config.optimizer, config.updates, table.decay_mask(rows))
    loss: ScoreLoss = pairwise(config.loss) if config.kind == "pairwise" else pointwise
    named = Path(config.model)
    about = Described(
        kind=config.kind,
        view=config.view,
        model=str(named.absolute()) if named.is_dir() else config.model,
        family=config.family,
        template="chat" if started.examples.chat else config.data.template,
        system=config.data.system,
        dtype=config.train.dtype,
    )
    course = started.course(
        functions=preference.reward_functions(c, started.mesh, config.train, loss, optimizer, lora),
        examine=preference.reward_examiner(c, started.mesh, config.train, config.kind, lora),
        identity={"reward_model": dataclasses.asdict(about)},
    )
    return Parts(config, started.mesh, started.policy, optimizer, course, started.parent)


@dataclass(frozen=True)
class Started:
    """What a run on judged responses knows before it chooses a loss."""

    config: Any  # a JudgedConfig with the number of updates worked out
    kind: Feedback
    mesh: Mesh
    policy: Policy
    examples: Preferences
    held_out: dict[str, Preferences]
    parent: dict[str, Any] | None

    @property
    def lora(self) -> Any:
        """LoRA's settings, None where all weights are trained."""
        return self.config.lora if self.config.lora.on else None

    def course(self, functions: Any, examine: Any, identity: Mapping[str, Any]) -> Course:
        """The course over the rows with a loss's functions; `identity` joins that of the rest."""
        return course_over(
            self.config, self.policy, self.mesh, self.examples, self.held_out, self.parent,
            functions=functions, examine=examine, identity=identity, cut=preference.cut(self.kind),
        )  # fmt: skip


def begin(
    config: JudgedConfig, kind: Feedback, view: View, note: Note, stops: bool = False
) -> Started:
    """Model, data and number of updates of a run on judged responses.

    With `stops` the tokens that responses end with join the policy's stop tokens: it will write.
    """
    mesh = make_mesh(config.mesh)
    config = fit_rows(config, mesh, note)
    parent = find_parent(config.parent, config.parent_step)
    refuse_reward_model(parent)
    policy = load_policy(config.model, "plain", family=config.family)
    encoder = Encoder(policy.tokenizer, policy.stop_ids)
    examples, held_out = read_data(config, kind, view, encoder, note)
    if stops:
        policy = supervised.with_stops(policy, encoder.ends, note)
    updates = config.updates or updates_of(examples, config.batch, config.epochs)
    config = replace(config, updates=updates)
    count = len(examples.lengths)
    what = "pairs" if kind == "pairwise" else "responses"
    note(
        f"{count:,} {what}, {min(config.batch, count):,} per update -> {updates:,} updates; "
        f"judged: the {'summary' if view == 'summary' else 'whole response'}"
    )
    return Started(config, kind, mesh, policy, examples, held_out, parent)


def read_data(
    config: JudgedConfig, kind: Feedback, view: View, encoder: Encoder, note: Note
) -> tuple[Preferences, dict[str, Preferences]]:
    """(what is learnt, what is tested on by name), with a line of report for every source."""
    data, width = config.data, config.train.width
    if not data.train:
        raise UserError("--data.train: no source; name a .jsonl or .parquet file, or hf:OWNER/NAME")

    def read(sources: Sequence[str]) -> Preferences:
        say = lambda report: note(str(report))  # noqa: E731
        return load_preferences(sources, data, kind, view, encoder, width, say)

    examples = read(data.train)
    if kind == "pointwise" and len(np.unique(examples.labels)) < 2:
        raise UserError(
            f"--data.train {' '.join(data.train)}: every response is "
            f"{'safe' if examples.labels[0] else 'unsafe'}; both labels are needed"
        )
    if data.eval_count:
        examples, held = hold_out_prompts(examples, data.eval_count, config.seed)
        note(f"{len(held.lengths):,} held out")
        return examples, {HELD_OUT: held}
    return examples, read_held_out(data.eval, read, examples, "row", note)


def load(parts: Parts) -> tuple[Parts, TrainState]:
    """The parts with LoRA's frozen body, and the state before the first update: a head of zeros."""
    c, lora, mesh = parts.policy.config, parts.lora, parts.mesh
    dtype = parts.config.train.dtype if lora else "float32"
    below = scalar.body(starting_weights(parts.policy, mesh, parts.parent, dtype))
    fresh = scalar.rows(c, lora) if lora else scalar.head_rows(c)
    start = jax.jit(lambda key: table.init(fresh, key), out_shardings=table.shardings(fresh, mesh))(
        jax.random.key(parts.config.seed)
    )
    if lora is None:
        return parts, init_state(parts.optimizer, {**below, **start}, mesh)
    state = init_state(parts.optimizer, start, mesh)
    return replace(parts, course=replace(parts.course, base=below)), state


def close(parts: Parts, loop: Loop, directory: RunDirectory, found: dict[str, Any]) -> str:
    """Writes the summary and the report; the result in a line."""
    found = found | {"kind": parts.config.kind}
    return supervised.close_run(parts, loop, directory, found, headline)


def headline(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
    """The result in half a line."""
    interval = ""
    if after.get("accuracy_ci"):
        low, high = after["accuracy_ci"]
        interval = f" (95 % {low:.3f} to {high:.3f})"
    return f"held-out accuracy {before['accuracy']:.3f} -> {after['accuracy']:.3f}{interval}"
