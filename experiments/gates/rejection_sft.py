"""The control beside GRPO: supervised training on the base's own right answers.

    python -m experiments.gates.rejection_sft

Draws as many completions as a GRPO run does (same stream of problems, same sampling), but all of
them from the base; keeps those that are right (the paper's rejection sampling, section 2.3.3) and
fine-tunes on them. What GRPO gains beyond this is not explained by the samples alone. A few minutes
on an accelerator. Leaves runs/rejection_sft with summary.json as R1-Zero's, and the model in hf/.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from r1jax.commands import cli
from r1jax.data import DataConfig
from r1jax.data.packing import Sequences
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.measures import EvalConfig
from r1jax.losses.sft import sft
from r1jax.models import table
from r1jax.presets.zero import PRESETS
from r1jax.rewards import AnswerPolicy
from r1jax.rollout.policy import load_weights
from r1jax.run import rows
from r1jax.run.directory import RunDirectory
from r1jax.run.flags import ModelFlags, PlaceFlags, part
from r1jax.stages.opening import opened
from r1jax.stages.summary import digest, gained, transcripts
from r1jax.training.batches import ComputeConfig
from r1jax.training.flops import scoring_flops, train_flops
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl import collect
from r1jax.training.rl.config import (
    EvalSchedule,
    RLConfig,
    RolloutConfig,
    TrainConfig,
)
from r1jax.training.rl.held_out import recorded
from r1jax.training.rl.judging import JudgedBatch, Judging
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.rl.setup import Parts, build
from r1jax.training.supervised.loop import fit, updates_of
from r1jax.training.train_state import init_state
from r1jax.training.update import make_functions
from r1jax.training.weights import export
from r1jax.types import Params

DEMO = PRESETS["demo"]


@dataclass(frozen=True)
class KeptSFTConfig:
    """How the kept completions are learnt."""

    epochs: int = 2
    """Passes over them (paper, B.4.2: two to three)."""
    batch: int = 64
    """Completions per update."""
    optimizer: OptimizerConfig = OptimizerConfig(lr=1e-4, schedule="cosine", warmup=5)
    """The optimizer."""
    train: ComputeConfig = ComputeConfig(
        rows=4, width=256, max_segments=12, remat="none", unroll=4, chunk=256
    )
    """How a batch is cut and computed."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--sft.", epochs="[1,]", batch="[1,]")


@dataclass(frozen=True)
class Config(ModelFlags, PlaceFlags):
    """Sampling as in a GRPO run, then supervised training."""

    run: str = "runs/rejection_sft"
    """Run directory; an unfinished one starts anew."""
    rollouts: int = DEMO.updates // DEMO.train.updates_per_rollout
    """Rollouts of prompts x group completions: as many as the GRPO run beside this makes."""
    until_operations: float = 0.0
    """Draw no more once sampling, and learning what was kept, take so many operations; 0: draw all
    rollouts."""
    unverified: bool = False
    """Learn every sample, right or wrong: the control that tells rewards from more of the same."""
    keep_format: bool = False
    """Keep a right answer only when the whole envelope is right as well."""
    answer: AnswerPolicy = DEMO.reward.answer
    """Where the answer stands: answer_tag, boxed, last, or auto (what is said to be the answer)."""
    workers: int | None = DEMO.reward.workers
    """Processes that grade answers; None: one per core, at most 8; 0: in this one, unlimited."""
    data: DataConfig = DEMO.data
    """Problems."""
    rollout: RolloutConfig = DEMO.rollout
    """Sampling from the base."""
    sft: KeptSFTConfig = KeptSFTConfig()
    """Supervised training."""
    eval: EvalConfig = part(EvalConfig, DEMO.eval)
    """Held-out evaluation, before and after."""

    def __post_init__(self) -> None:
        """Raises UserError on flags of a loop that samples again and again from one policy."""
        super().__post_init__()
        check_ranges(self, "--", rollouts="[1,]", workers="[0,]", until_operations="[0,]")
        off_here = {"max_rounds": 1, "carry": 0, "accuracy_low": 0.0, "accuracy_high": 1.0}
        for name, off in off_here.items():
            if (value := getattr(self.rollout, name)) != off:
                flag = name.replace("_", "-")
                raise UserError(f"--rollout.{flag} {value}: every sample counts here; use {off}")


def main(config: Config) -> None:
    """Evaluates, samples, filters, trains, evaluates again."""
    with opened(config) as run:
        if run.finished:
            return
        rows.cut(run.directory, -1, 0)
        parts = build(sampling(config), note=print)
        run.hold(parts.pool)
        base = load_weights(parts.policy, parts.mesh)
        recorded(parts, base, run.directory, 0)
        drawn = draw(parts, config, base)
        kept, completions = (
            drawn.kept,
            drawn.rollouts * config.rollout.prompts * config.rollout.group,
        )
        print(f"kept {len(kept.lengths)} of {completions} completions", flush=True)
        params, updates = learn(parts, config, kept, base, run.directory)
        recorded(parts, params, run.directory, updates)
        export(run.directory, parts.policy, params)
        summary = digest(run.directory, updates) | {
            "rollouts": drawn.rollouts,
            "transcripts": transcripts(run.directory, updates),
            "drawn": completions,
            "kept": len(kept.lengths),
            "operations": drawn.operations,
            "sampled_tokens": drawn.tokens,
            "trained_tokens": config.sft.epochs * int((kept.prompt_lengths + kept.lengths).sum()),
        }
        run.finish(summary, gained(summary))


def sampling(config: Config) -> RLConfig:
    """The GRPO run whose rollouts these are, in the shapes of supervised training."""
    reward = RewardConfig(accuracy=1.0, format=1.0, answer=config.answer, workers=config.workers)
    return replace(
        DEMO, run=config.run, model=config.model, family=config.family, seed=config.seed,
        mesh=config.mesh, data=config.data, rollout=config.rollout, reward=reward,
        eval=EvalSchedule(**vars(config.eval)), train=TrainConfig(**vars(config.sft.train)),
    )  # fmt: skip


class OwnSamples(NamedTuple):
    """What is learnt of all rollouts, and what those were."""

    kept: Sequences
    rollouts: int
    tokens: int  # of all completions
    operations: float  # of sampling, and of learning what was kept


def draw(parts: Parts, config: Config, base: Params) -> OwnSamples:
    """The right completions of all rollouts, or of those until the operations are spent.

    UserError if none is right.
    """
    weights = parts.engine.prepare(base, weights=config.rollout.weights)
    c, kept, rollouts, tokens, operations = parts.policy.config, [], 0, 0, 0.0
    while rollouts < config.rollouts and not 0 < config.until_operations <= operations:
        rollouts += 1
        drawn, good = one_rollout(parts, config, weights, rollouts)
        kept += good.generated
        tokens += int(drawn.lengths.sum())
        operations += scoring_flops(c, drawn.totals)
        operations += config.sft.epochs * train_flops(c, good.totals)
    if not kept:
        raise UserError("--rollouts: not one completion was right; draw more, or easier problems")
    return OwnSamples(collect.to_sequences(kept), rollouts, tokens, operations)


def one_rollout(
    parts: Parts, config: Config, weights: Params, rollout: int
) -> tuple[JudgedBatch, JudgedBatch]:
    """(all completions of rollout number `rollout`, those of them that are to be learnt)."""
    r = config.rollout
    problems = parts.stream.take((rollout - 1) * r.prompts, r.prompts)
    with Judging(parts.policy, parts.terms, parts.pool, step=0) as judging:
        collect.generate(
            parts.engine, parts.policy, weights, problems,
            r.group, r.sampling, config.seed, rollout, leave=r.leave, whole=judging.take,
        )  # fmt: skip
        drawn = judging.finish()
    good = drawn.judgement.parts["accuracy"] == 1
    if config.unverified:
        good = np.ones_like(good)
    if config.keep_format:
        good &= drawn.judgement.parts["format"] == 1
    return drawn, drawn.take(np.flatnonzero(good))


def learn(
    parts: Parts, config: Config, kept: Sequences, base: Params, directory: RunDirectory
) -> tuple[Params, int]:
    """(weights after supervised training, its updates); `base` is used up."""
    c, s, compute = parts.policy.config, config.sft, parts.config.train.compute
    updates = updates_of(kept, s.batch, s.epochs)
    optimizer = make_optimizer(s.optimizer, updates, table.decay_mask(c), compute.dtype)
    functions = make_functions(c, parts.mesh, compute, sft, optimizer)
    state = init_state(optimizer, base, parts.mesh)

    def record(step: int, metrics: dict[str, float]) -> None:
        directory.metrics(step, config.rollouts, metrics)
        if step % 50 == 0 or step == updates:
            print(f"update {step}/{updates}: {metrics['sft/nll']:.4f} nats per token", flush=True)

    state, _ = fit(
        functions, state, kept, compute, parts.mesh,
        updates=updates, batch=s.batch, seed=config.seed, each=record,
    )  # fmt: skip
    return state.params, updates


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
