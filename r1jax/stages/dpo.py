"""Direct preference optimisation: a policy learns from pairs without a reward model; a baseline."""

from __future__ import annotations

from dataclasses import dataclass, field

from jax.sharding import Mesh

from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.judged import Preferences
from r1jax.data.examples.preferences import View
from r1jax.losses.preference import DPOConfig, dpo
from r1jax.models import table
from r1jax.models.hub.gguf.write import Storage
from r1jax.rollout.policy import Policy
from r1jax.run.progress import Display
from r1jax.stages import courses
from r1jax.stages.opening import opened
from r1jax.stages.reward_model import JudgedConfig, headline, read_judged_data
from r1jax.stages.supervised import with_stops
from r1jax.training.optimizer import make_optimizer
from r1jax.training.supervised import preference
from r1jax.training.supervised.loop import Course, begin, train
from r1jax.training.update import make_functions, token_logp, trained_rows
from r1jax.training.weights import (
    Parent,
    check_gguf,
    export,
    first_state,
    frozen_base,
    identity,
    starting_weights,
)


@dataclass(frozen=True)
class DPORunConfig(JudgedConfig):
    """A run of direct preference optimisation."""

    run: str = "runs/dpo"
    export: bool = True
    """Write the final weights to <run>/hf in the Hugging Face layout."""
    export_gguf: Storage | None = None
    """Write them to <run>/gguf as well, quantised so, for llama.cpp and Ollama (docs/gguf.md)."""
    loss: DPOConfig = field(default_factory=DPOConfig)
    """The objective."""

    @property
    def view(self) -> View:
        """What of a response is learnt."""
        return "whole" if self.data.view == "auto" else self.data.view


def run(config: DPORunConfig, display: Display | None = None) -> None:
    """Learns the pairs and leaves the run directory with its report."""
    with opened(config, display) as run:
        if run.finished:
            return
        mesh, policy, parent = courses.named_model(config)
        encoder = Encoder(policy.tokenizer, policy.stop_ids)
        pairs, held_out = read_judged_data(config, "pairwise", config.view, encoder, run.note)
        policy = with_stops(policy, encoder.ends, run.note)
        check_gguf(policy, config.export_gguf)
        config = courses.completed(config, pairs, "pair", mesh, run.note)
        c, lora = policy.config, config.lora if config.lora.on else None
        rows = trained_rows(c, lora)
        optimizer = make_optimizer(
            config.optimizer, config.updates, table.decay_mask(rows), config.train.dtype
        )

        files = run.files(config)
        pairs, *others = with_reference(config, policy, mesh, parent, pairs, *held_out.values())
        course = Course(
            config, c, mesh, pairs, dict(zip(held_out, others, strict=True)),
            identity=identity(config, policy, parent) | {"data": pairs.digest},
            functions=make_functions(c, mesh, config.train, dpo(config.loss), optimizer, lora=lora),
            examine=preference.dpo_examiner(c, mesh, config.train, config.loss, lora),
            base=frozen_base(config, policy, mesh, parent),
            packing=preference.PAIRS,
        )  # fmt: skip
        state = first_state(config, policy, mesh, parent, optimizer, files.fresh)
        loop = train(course, begin(course, state, files), files)
        if config.export or config.export_gguf:
            made = policy, loop.state.params, course.base, lora
            export(run.directory, *made, gguf=config.export_gguf)
        summary = courses.course_summary(course, loop, files) | {"kind": "dpo"}
        margin = f", margin {summary['after']['margin']:+.3f}" if summary["after"] else ""
        run.finish(summary, headline(summary) + margin)


def with_reference(
    config: DPORunConfig, policy: Policy, mesh: Mesh, parent: Parent | None, *sets: Preferences
) -> tuple[Preferences, ...]:
    """The sets of pairs with the reference's log-probabilities, where the loss asks for them.

    The reference is the policy as it starts: it is scored once, over all pairs, and not kept.
    """
    if config.loss.reference_free:
        return sets
    dtype = config.train.dtype if config.lora.on else "float32"
    reference = starting_weights(policy, mesh, parent, dtype)
    logp = token_logp(policy.config, mesh, config.train, temperature=1.0)
    known = (preference.with_reference(rows, logp, reference, config.train, mesh) for rows in sets)
    return tuple(known)
