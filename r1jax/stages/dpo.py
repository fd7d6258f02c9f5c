"""Direct preference optimisation: a policy learns from pairs without a reward model; a baseline."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from r1jax.data.examples.judged import Preferences
from r1jax.data.examples.preferences import View
from r1jax.losses.preference import DPOConfig, dpo
from r1jax.models import table
from r1jax.run.directory import RunDirectory
from r1jax.run.progress import Display
from r1jax.stages import supervised, zero
from r1jax.stages.reward_model import JudgedConfig, Note, begin, headline
from r1jax.stages.supervised import Parts
from r1jax.training.optimizer import make_optimizer
from r1jax.training.rl.loop import Loop
from r1jax.training.rl.setup import starting_weights
from r1jax.training.supervised import preference
from r1jax.training.update import make_functions, trained_rows
from r1jax.types import TrainState


@dataclass(frozen=True)
class DPORunConfig(JudgedConfig):
    """A run of direct preference optimisation."""

    run: str = "runs/dpo"
    export: bool = True
    """Write the final weights to <run>/hf in the Hugging Face layout."""
    loss: DPOConfig = field(default_factory=DPOConfig)
    """The objective."""

    @property
    def view(self) -> View:
        """What of a response is learnt."""
        return "whole" if self.data.view == "auto" else self.data.view


def run(config: DPORunConfig, display: Display | None = None) -> None:
    """Learns the pairs and leaves the run directory with its report."""
    supervised.conduct(config, build, load, close, display)


def build(config: DPORunConfig, note: Note) -> Parts:
    """Loads no weights and compiles nothing yet, but refuses everything that cannot run."""
    started = begin(config, "pairwise", config.view, note, stops=True)
    config, c, lora, mesh = started.config, started.policy.config, started.lora, started.mesh
    optimizer = make_optimizer(
        config.optimizer, config.updates, table.decay_mask(trained_rows(c, lora))
    )
    course = started.course(
        functions=make_functions(c, mesh, config.train, dpo(config.loss), optimizer, lora=lora),
        examine=preference.dpo_examiner(c, mesh, config.train, config.loss, lora),
        identity={},
    )
    return Parts(config, mesh, started.policy, optimizer, course, started.parent)


def load(parts: Parts) -> tuple[Parts, TrainState]:
    """The parts with the reference's log-probabilities, and the state before the first update.

    The reference is the policy as it starts: it is scored once, over all pairs, and not kept.
    """
    config, course, mesh = parts.config, parts.course, parts.mesh
    if not config.loss.reference_free:
        dtype = config.train.dtype if parts.lora else "float32"
        reference = starting_weights(parts.policy, mesh, parts.parent, dtype)
        logp = preference.token_logp(parts.policy.config, mesh, config.train)

        def known(rows: Preferences) -> Preferences:
            return preference.with_reference(rows, logp, reference, config.train, mesh)

        held_out = {name: known(rows) for name, rows in course.held_out.items()}
        course = replace(course, examples=known(course.examples), held_out=held_out)
        del reference
    return supervised.load(replace(parts, course=course))


def close(parts: Parts, loop: Loop, directory: RunDirectory, found: dict[str, Any]) -> str:
    """Exports the weights, then writes the summary and the report; the result in a line."""
    if parts.config.export:
        zero.export(parts, loop.state.params, directory)

    def said(before: Mapping[str, Any], after: Mapping[str, Any]) -> str:
        return f"{headline(before, after)}, margin {after['margin']:+.3f}"

    return supervised.close_run(parts, loop, directory, found | {"kind": "dpo"}, said)
