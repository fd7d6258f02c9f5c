"""The runs that arms are made of: reinforcement learning, supervised training, data, judging."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.claims import bases, traces
from experiments.claims.claim import Arm, Steps
from experiments.claims.runs import DEMO, Config
from experiments.claims.trial import ClaimTrial, Study
from experiments.gates import jobs, rejection_sft
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from experiments.methods.changes import taught
from r1jax.commands import cold_start_data, rejection, sft
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.evaluate.measures import EvalConfig
from r1jax.run.flags import part
from r1jax.run.names import SAVED
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import RLConfig

DATA_SEED = 1000
"""Added to the seed of the problems that a teacher answers: they are not those of its training."""


def learning(trial: ClaimTrial, arm: str, after: Sequence[str] = (), **changes: Any) -> PlannedJob:
    """Reinforcement learning as R1-Zero, with `changes` to its flags."""
    name = trial.named(arm)
    run = replace(trial.zero, run=trial.config.place(name), **changes)
    return PlannedJob(Job(name, "experiments.zero_demo", run, DEMO), (*trial.needed, *after))


def plain(arm: str, **changes: Any) -> Arm:
    """Reinforcement learning that changes parts of R1-Zero's flags: `loss={...}` and the like."""

    def steps(trial: ClaimTrial) -> Steps:
        run = trial.zero
        new = {name: replace(getattr(run, name), **values) for name, values in changes.items()}
        return [learning(trial, arm, **new)]

    return Arm(arm, steps)


ZERO = plain("zero")


def rewarded(arm: str, **weights: float) -> Arm:
    """R1-Zero on these terms of the reward and no others."""
    return Arm(arm, lambda trial: [learning(trial, arm, **trial.zero.control(**weights))])


def own_samples(arm: str, unverified: bool = False) -> Arm:
    """Supervised training on as many own samples as R1-Zero draws: the right ones, or all."""

    def steps(trial: ClaimTrial) -> Steps:
        run, c, name = trial.zero, trial.config, trial.named(arm)
        made = jobs.rejection(run, Path(c.out))
        how = replace(
            made.sft, epochs=1 if unverified else 2, train=c.sft.train,
            optimizer=replace(made.sft.optimizer, lr=run.optimizer.lr),
        )  # fmt: skip
        made = replace(
            made, run=c.place(name), unverified=unverified, sft=how, until_operations=trial.most
        )
        job = Job(name, "experiments.gates.rejection_sft", made, rejection_sft.Config())
        return [PlannedJob(job, trial.needed)]

    return Arm(arm, steps)


def tuned(trial: ClaimTrial, arm: str, file: str, after: str, **how: Any) -> Steps:
    """Supervised training of the base on a file of another run, and what it is worth."""
    c, name = trial.config, trial.named(arm)
    how = {"optimizer": OptimizerConfig(lr=trial.rate, schedule="cosine", warmup=5)} | how
    run = replace(
        c.sft, run=c.place(name), model=trial.model, seed=trial.seed,
        data=ConversationConfig(train=(file,)), **how,
    )  # fmt: skip
    job = Job(name, "experiments.sft", run, sft.COMMAND.default)
    return [PlannedJob(job, (*trial.needed, after)), judging(trial, arm)]


def judging(trial: ClaimTrial, arm: str, **how: Any) -> PlannedJob:
    """A run on the problems that reinforcement learning is judged on; `how`: flags of that."""
    run = trial.zero
    return evaluated(trial, f"judge-{trial.named(arm)}", trial.named(arm), run, **how)


def evaluated(
    trial: ClaimTrial, name: str, of: str, run: RLConfig, seed: int | None = None, **how: Any
) -> PlannedJob:
    """An evaluation of the run `of` the base, or of the base itself, as `run` is judged."""
    c = trial.config
    how = replace(part(EvalConfig, run.eval), **how)
    common = replace(
        jobs.judging(run, run.data.eval_count, how),
        seed=trial.seed if seed is None else seed, workers=run.reward.workers or 0,
    )  # fmt: skip
    where = c.place(of, SAVED) if of else ""
    job = jobs.evaluation(name, common, Path(c.out), checkpoint=where)
    return PlannedJob(job, (of,) if of else trial.needed)


def bases_judged(study: Study, kind: str = "base") -> Steps:
    """Every base as it is, once."""
    count = study.config.bases
    trials = [
        ClaimTrial(study, number, 0, study.config.rates[0], kind=kind) for number in range(count)
    ]
    return [evaluated(t, f"judge-{kind}{t.base}", "", t.zero) for t in trials]


def every_base(config: Config, kind: str) -> Steps:
    """The runs that make the bases of a kind, that of the selection set too."""
    return [] if config.model else [bases.base(config, kind, n) for n in range(config.bases + 1)]


def cold_data(trial: ClaimTrial, arm: str = "cold-data") -> PlannedJob:
    """Readable samples of the R1-Zero of the same base and seed (a trial at its rate)."""
    default = cold_start_data.COMMAND.default
    return sampled(trial, arm, trial.config.cold_start, "experiments.cold_start_data", default)


def taught_data(trial: ClaimTrial, arm: str, prompts: int) -> PlannedJob:
    """What that R1-Zero gets right, of so many problems, for others to learn from."""
    stage, default = replace(trial.config.rejection, prompts=prompts), rejection.COMMAND.default
    return sampled(trial, arm, stage, "experiments.rejection", default)


def sampled(trial: ClaimTrial, arm: str, stage: Any, module: str, default: Any) -> PlannedJob:
    """A stage that samples R1-Zero on problems that it has not learnt from."""
    name, zero = trial.named(arm), trial.named(ZERO.name)
    run = replace(
        stage, run=trial.config.place(name), model=trial.model, seed=trial.seed,
        parent=trial.config.place(zero, SAVED),
        data=replace(stage.data, seed=DATA_SEED + trial.seed),
    )  # fmt: skip
    return PlannedJob(Job(name, module, run, default), (*trial.needed, zero))


def corpus_data(trial: ClaimTrial, arm: str, like: str) -> PlannedJob:
    """As many right traces of the corpus as the arm `like` has kept; its samples unrewritten."""
    name = trial.named(arm)
    run = traces.Config(
        run=trial.config.place(name), like=trial.inside(like, "kept.jsonl"),
        seed=DATA_SEED + trial.seed, template=trial.config.zero.data.template,
    )  # fmt: skip
    job = Job(name, "experiments.claims.traces", run, traces.Config())
    return PlannedJob(job, (trial.named(like),))


def on_policy(arm: str) -> Arm:
    """The word of the same seed's R1-Zero on every token that the student writes, no reward."""

    def steps(trial: ClaimTrial) -> Steps:
        teacher = trial.of(ZERO.name)
        if teacher is None:
            return []
        run, named = taught("sampled")(trial.zero), teacher.named(ZERO.name)
        parent = teacher.inside(ZERO.name, SAVED)
        said = replace(run.teacher, model=teacher.model, parent=parent)
        return [learning(trial, arm, (named,), teacher=said, reward=run.reward, loss=run.loss)]

    return Arm(arm, steps)


def at_equal_operations(arm: Arm, most: Callable[[ClaimTrial], float | None]) -> Arm:
    """The arm for as long as so many student operations last; nothing until they are known."""

    def steps(trial: ClaimTrial) -> Steps:
        found = most(trial)
        return arm.steps(replace(trial, most=found)) if found else []

    return Arm(arm.name, steps)
