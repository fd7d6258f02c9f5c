"""The arms: what each changes in GRPO's run of the demo, and those that are no such run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

from experiments.claims import runs as claims
from experiments.gates import command_line, jobs, rejection_sft
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob, StudySetting
from experiments.methods.changes import CHANGES, REFERENCE
from experiments.process_reward import labels
from r1jax.commands import rejection, reward_model, sft
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.errors import UserError
from r1jax.evaluate.measures import EvalConfig
from r1jax.presets.search import PRESETS as SEARCH
from r1jax.run.flags import part
from r1jax.run.names import SAVED
from r1jax.search.config import Method
from r1jax.stages.rejection import RejectionConfig
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.search.config import SearchRunConfig
from r1jax.stages.supervised import SFTConfig
from r1jax.training.rl.config import RLConfig

MOST = 2
"""Updates an arm may make, in those of GRPO for as many completions: short answers are cheap."""
_COMMON = claims.Config()


@dataclass(frozen=True)
class Config(StudySetting):
    """Which methods run, on what, how many at a time."""

    out: str = "runs/methods"
    figures: str = "docs/methods/figures.jsonl"
    seeds: int = 1
    only: tuple[str, ...] = ()
    """Names of methods; none: all."""
    model: str = "embedded"
    """The base: embedded, or a model directory."""
    zero: RLConfig = claims.ZERO
    """GRPO's run, which every reinforcement learning changes."""
    sft: SFTConfig = replace(
        _COMMON.sft,
        updates=4000,
        optimizer=replace(_COMMON.sft.optimizer, schedule="constant"),
    )
    """Supervised training on a teacher's samples; its end is where operations are spent."""
    samples: RejectionConfig = replace(_COMMON.rejection, prompts=4096)
    """Samples of the teacher, whose right ones are learnt."""
    labels: labels.Config = replace(_COMMON.labels, labels="truth", prompts=1024, batch=256)
    """Steps of the base's own solutions, judged by the world."""
    steps: RewardModelConfig = replace(
        _COMMON.step_model, steps="sentence", data=replace(_COMMON.step_model.data, eval_count=128)
    )
    """The process reward model that learns them."""
    search: SearchRunConfig = replace(_COMMON.search, rounds=48, prompts=192, batch=192)
    """Rounds of search; their end is where operations are spent."""

    def __post_init__(self) -> None:
        """Raises UserError on values that make no study."""
        super().__post_init__()
        if unknown := [name for name in self.only if name not in ARMS]:
            raise UserError(f"--only {unknown[0]}: no such method; choose from {' '.join(ARMS)}")


@dataclass(frozen=True)
class MethodTrial:
    """An arm's run: its seed, and the operations that its student may spend; 0: GRPO's own."""

    config: Config
    seed: int
    most: float = 0.0

    def named(self, arm: str) -> str:
        """The run's name."""
        return f"{arm}-s{self.seed}"

    def inside(self, arm: str, file: str) -> str:
        """A file of an arm's run."""
        return self.config.place(self.named(arm), file)

    @property
    def zero(self) -> RLConfig:
        """GRPO with this seed; where another's operations are spent, for as long as those last."""
        c = self.config
        run = replace(c.zero, model=c.model, seed=self.seed)
        run = replace(run, data=replace(run.data, seed=self.seed))
        if not self.most:
            return run
        return replace(
            run, updates=MOST * run.updates, until_operations=self.most,
            eval=replace(run.eval, before=False),
        )  # fmt: skip


Jobs = list[PlannedJob]
PLACES = ("--run", "--updates", "--teacher.parent")
"""Flags with a value that say where a run is and how long it may be, not what its method is."""


def told(run: RLConfig, plain: RLConfig) -> str:
    """What a run changes in GRPO's flags."""
    words, said = iter(command_line.flags(run, plain)), []
    for word in words:
        if word in PLACES:
            next(words)
        else:
            said.append(word)
    return " ".join(said)


def learning(trial: MethodTrial, arm: str, run: RLConfig, *after: str) -> PlannedJob:
    """A reinforcement learning under the arm's name."""
    name = trial.named(arm)
    run = replace(run, run=trial.config.place(name))
    job = Job(name, "experiments.zero_demo", run, claims.DEMO)
    return PlannedJob(job, tuple(trial.named(first) for first in after))


def changed(name: str) -> Callable[[MethodTrial], Jobs]:
    """The arm that `changes` alone tell from GRPO."""
    return lambda trial: [learning(trial, name, CHANGES[name](trial.zero))]


def by_teacher(name: str) -> Callable[[MethodTrial], Jobs]:
    """The arm whose tokens GRPO's last weights judge."""

    def steps(trial: MethodTrial) -> Jobs:
        run, parent = CHANGES[name](trial.zero), trial.inside(REFERENCE, SAVED)
        teacher = replace(run.teacher, model=trial.config.model, parent=parent)
        return [learning(trial, name, replace(run, teacher=teacher), REFERENCE)]

    return steps


def process(trial: MethodTrial) -> Jobs:
    """Steps labelled by the world's truth, a model that learns them, GRPO with its word beside."""
    c, first, then = trial.config, trial.named("steps"), trial.named("step-model")
    made = replace(c.labels, model=c.model, run=c.place(first), seed=trial.seed)
    taught = replace(
        c.steps, model=c.model, run=c.place(then), seed=trial.seed,
        data=replace(c.steps.data, train=(c.place(first, labels.ROWS),)),
    )  # fmt: skip
    run = trial.zero
    run = replace(run, reward=replace(run.reward, model=(f"{c.place(then)}=0.5",)))
    default = reward_model.COMMAND.default
    return [
        PlannedJob(Job(first, "experiments.process_reward.labels", made, labels.Config())),
        PlannedJob(Job(then, "experiments.reward_model", taught, default), (first,)),
        learning(trial, "process", run, "step-model"),
    ]


def own_samples(name: str) -> Callable[[MethodTrial], Jobs]:
    """Supervised training on the base's own samples: the right ones, or all of them."""

    def steps(trial: MethodTrial) -> Jobs:
        c, run, unverified = trial.config, trial.zero, name == "unverified"
        made = replace(
            jobs.rejection(run, Path(c.out)), run=c.place(trial.named(name)),
            unverified=unverified, until_operations=trial.most,
        )  # fmt: skip
        rate = replace(made.sft.optimizer, lr=run.optimizer.lr)
        how = replace(made.sft, epochs=1 if unverified else 2, optimizer=rate)
        made = replace(made, sft=replace(how, train=c.sft.train))
        module, default = "experiments.gates.rejection_sft", rejection_sft.Config()
        return [PlannedJob(Job(trial.named(name), module, made, default))]

    return steps


def off_policy(trial: MethodTrial) -> Jobs:
    """Supervised training on the right samples of GRPO's last weights, and what it is worth."""
    c, first, name = trial.config, trial.named("samples"), trial.named("off-policy")
    reference = trial.named(REFERENCE)
    drawn = replace(
        c.samples, model=c.model, run=c.place(first), seed=trial.seed,
        parent=trial.inside(REFERENCE, SAVED),
        data=replace(c.samples.data, seed=1000 + trial.seed),
    )  # fmt: skip
    tuned = replace(
        c.sft, model=c.model, run=c.place(name), seed=trial.seed, until_operations=trial.most,
        data=ConversationConfig(train=(c.place(first, "kept.jsonl"),)),
    )  # fmt: skip
    drawing = Job(first, "experiments.rejection", drawn, rejection.COMMAND.default)
    return [
        PlannedJob(drawing, (reference,)),
        PlannedJob(Job(name, "experiments.sft", tuned, sft.COMMAND.default), (first,)),
        judging(trial, name),
    ]


def judging(trial: MethodTrial, name: str) -> PlannedJob:
    """The run `name` on the held-out problems of a reinforcement learning."""
    c = trial.config
    judged = jobs.judging(trial.zero, c.zero.data.eval_count, part(EvalConfig, c.zero.eval))
    where = c.place(name, SAVED)
    return PlannedJob(
        jobs.evaluation(f"judge-{name}", judged, Path(c.out), checkpoint=where), (name,)
    )


def searching(method: Method) -> Callable[[MethodTrial], Jobs]:
    """Rounds of a search and of learning from what it found."""

    def steps(trial: MethodTrial) -> Jobs:
        c, name = trial.config, trial.named(f"search-{method}")
        run = replace(
            c.search, run=c.place(name), model=c.model, method=method, seed=trial.seed,
            until_operations=trial.most, data=replace(c.search.data, seed=trial.seed),
        )  # fmt: skip
        job = Job(name, "experiments.search", run, SEARCH["demo"])
        return [PlannedJob(job), judging(trial, name)]

    return steps


TEACHERS = ("on-policy", "gkd", "taught")
FREE = (REFERENCE, "steps", "step-model", "samples")
"""Runs that spend nothing of what a student may spend, or say how much that is."""
ARMS: dict[str, Callable[[MethodTrial], Jobs]] = {
    REFERENCE: changed(REFERENCE),
    "process": process,
    "off-policy": off_policy,
    "rejection": own_samples("rejection"),
    "unverified": own_samples("unverified"),
    **{f"search-{method}": searching(method) for method in get_args(Method)},
} | {
    name: by_teacher(name) if name in TEACHERS else changed(name)
    for name in CHANGES if name != REFERENCE
}  # fmt: skip
"""What each arm runs, in this order."""
