"""The runs of the study: what each arm does, at which rates and seeds, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

from experiments.gates import jobs, rejection_sft
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob, StudySetting
from experiments.smollm2 import examples
from r1jax.checkpoint import CheckpointConfig
from r1jax.commands import sft
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.errors import UserError, check_ranges
from r1jax.presets.smollm2 import FORGETTING, TASKS, TRANSFER, ZERO
from r1jax.run.flags import part
from r1jax.run.names import SAVED
from r1jax.stages.supervised import SFTConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig

PARTS = (
    "select", "main", "chains", "thought", "supervised", "gsm8k", "budget", "english", "explore",
)  # fmt: skip
TWO_DIGITS = tuple(task.replace("min_digits=1", "min_digits=2") for task in TASKS)
ONE_DIGIT = tuple(task.replace("max_digits=2", "max_digits=1") for task in TASKS)
"""The halves of what is trained, apart: held-out problems are all different, and of two hundred
with one digit few are held out, so that a set of both would hardly have any."""
SELECTION_SEED = 90
"""Of every run that chooses a rate; no other run has it."""
COLD_SEED = 1000
"""Added to the seed of a cold start's problems: they are not those of reinforcement learning."""

RL = replace(
    ZERO,
    updates=50,
    data=replace(ZERO.data, eval=(*TWO_DIGITS, *ONE_DIGIT, *TRANSFER, *FORGETTING), eval_count=256),
    rollout=replace(ZERO.rollout, max_tokens=256),
    reward=replace(ZERO.reward, workers=1),
    eval=EvalSchedule(every=0, samples=16, greedy=False),
    checkpoint=CheckpointConfig(every=0, keep=1),
    memory="off",
)

SFT = SFTConfig(
    epochs=2,
    batch=64,
    eval_every=0,
    export=False,
    optimizer=OptimizerConfig(lr=1e-4, schedule="cosine", warmup=5),
    train=part(ComputeConfig, ZERO.train),
    checkpoint=CheckpointConfig(every=0, keep=1),
)

EXPLORE: dict[str, dict[str, dict[str, Any]]] = {
    "plain": {},
    "clip-higher": {"loss": {"clip_high": 0.4}},
    "dynamic": {"rollout": {"max_rounds": 4}},
    "entropy": {"loss": {"entropy_bonus": 0.01}},
    "temperature": {"rollout": {"temperature": 1.3}},
}
"""What each run changes in the plain one, which splits a rollout into four updates (the first of
them alone has a ratio of 1: nothing would be clipped otherwise) and clips both sides at 0.2."""


@dataclass(frozen=True)
class Config(StudySetting):
    """Which parts of the study are run, on what, how many runs at a time."""

    out: str = "runs/smollm2-study"
    figures: str = "docs/real_model/figures.jsonl"
    model: str = "smollm2"
    """The base: smollm2 (the installed package's file), a GGUF file, or a model directory."""
    only: tuple[str, ...] = PARTS
    """Parts: select (each arm's rate), main (GRPO and the coin, rates of the chains), chains
    (answers or cold start, then GRPO), thought (with the thought left empty, pass@k, votes),
    supervised (arms that learn from samples or solutions alone), gsm8k, budget (accuracy and
    seconds by the length of the thought), english (forgetting), explore."""
    few: int = 3
    """Seeds of the arms that are described only; those of the primary lines have --seeds."""
    rates: tuple[float, ...] = (1e-5, 3e-5, 1e-4)
    """Learning rates that every arm chooses from, on the selection split."""
    problems: int = 2048
    """Problems of the cold start."""
    selection: int = 128
    """Problems of each task on which rates are chosen, behind the held-out ones."""
    many: int = 256
    """Samples of a problem for pass@k."""
    budgets: tuple[int, ...] = (32, 64, 128, 256, 512)
    """Tokens after which a thought is closed."""
    gsm8k: str = ""
    """GSM8K's test set as a file of rows, for the part of that name; empty: it is left out."""
    zero: RLConfig = RL
    """Every reinforcement learning, but for what an arm changes."""
    sft: SFTConfig = SFT
    """Every supervised training on solutions."""
    undigested: ClassVar[bool] = True

    def __post_init__(self) -> None:
        """Raises UserError on values that make no study."""
        super().__post_init__()
        if unknown := [name for name in self.only if name not in PARTS]:
            raise UserError(f"--only {unknown[0]}: no such part; choose from {' '.join(PARTS)}")
        check_ranges(self, "--", few="[1,]", problems="[1,]", selection="[1,]", many="[1,]")
        if not self.rates or min(self.rates) <= 0:
            raise UserError(f"--rates {self.rates}: name learning rates above 0")

    def weights(self, name: str) -> str:
        """Directory of a run's checkpoints."""
        return self.place(name, SAVED)


@dataclass(frozen=True)
class Trial:
    """An arm's run: a seed, a rate, and whether it is judged on the selection split."""

    config: Config
    seed: int
    rate: float
    selecting: bool = False

    def named(self, arm: str) -> str:
        """The run's name."""
        return f"select-{arm}-{self.rate:g}" if self.selecting else f"{arm}-s{self.seed}"

    @property
    def zero(self) -> RLConfig:
        """Reinforcement learning of the base with this seed and rate."""
        c = self.config
        run = replace(
            c.zero, model=c.model, seed=self.seed, data=replace(c.zero.data, seed=self.seed),
            optimizer=replace(c.zero.optimizer, lr=self.rate),
        )  # fmt: skip
        return selected(run, c) if self.selecting else run


def selected(run: RLConfig, config: Config) -> RLConfig:
    """The run judged on the selection split: problems of two digits behind the held-out ones."""
    skip = config.zero.data.eval_count
    sets = tuple(f"{task}&skip={skip}" for task in run.data.eval[: len(TWO_DIGITS)])
    return replace(
        run,
        data=replace(run.data, eval=sets, eval_count=config.selection),
        eval=replace(run.eval, samples=max(1, run.eval.samples // 2)),
    )


def learning(trial: Trial, arm: str, after: str = "", **changes: Any) -> PlannedJob:
    """Reinforcement learning of the base, or of what the run `after` has left.

    The base is judged once for each seed, by the runs of grpo.
    """
    name, parent = trial.named(arm), trial.config.weights(after) if after else ""
    how = replace(trial.zero.eval, before=arm == "grpo" and not trial.selecting)
    run = replace(trial.zero, run=trial.config.place(name), parent=parent, eval=how, **changes)
    return PlannedJob(Job(name, "experiments.smollm2", run, ZERO), (after,) if after else ())


def grpo(trial: Trial) -> PlannedJob:
    """GRPO on accuracy alone."""
    return learning(trial, "grpo")


def coin(trial: Trial) -> PlannedJob:
    """GRPO on a coin for every sample."""
    return learning(trial, "coin", **trial.zero.control(random=1.0))


def own_samples(trial: Trial, unverified: bool) -> PlannedJob:
    """Supervised training on the base's own samples: the right ones, or all of them."""
    name = trial.named("unverified" if unverified else "rejection")
    made = jobs.rejection(trial.zero, Path(trial.config.out))
    train = rejection_sft.KeptSFTConfig(
        epochs=1 if unverified else 2,
        optimizer=replace(trial.config.sft.optimizer, lr=trial.rate),
        train=trial.config.sft.train,
    )
    made = replace(made, run=trial.config.place(name), unverified=unverified, sft=train)
    return PlannedJob(Job(name, "experiments.gates.rejection_sft", made, rejection_sft.Config()))


def solved(config: Config, seed: int, kind: str) -> PlannedJob:
    """The solver's examples."""
    name = f"examples-{kind}-s{seed}"
    made = examples.Config(
        run=config.place(name), count=config.problems, kind=kind,
        train=config.zero.data.train, seed=COLD_SEED + seed,
    )  # fmt: skip
    return PlannedJob(Job(name, "experiments.smollm2.examples", made, examples.Config()))


def tuned(trial: Trial, kind: str) -> list[PlannedJob]:
    """Supervised training of the base on the solver's examples: worked, or answers alone."""
    c, first = trial.config, solved(trial.config, trial.seed, kind)
    name = trial.named(kind)
    data = ConversationConfig(
        train=(c.place(first.job.name, examples.NAME),),
        template=c.zero.data.template, too_long="drop",
    )  # fmt: skip
    run = replace(
        c.sft, run=c.place(name), model=c.model, seed=trial.seed, data=data,
        optimizer=replace(c.sft.optimizer, lr=trial.rate),
    )  # fmt: skip
    job = Job(name, "experiments.sft", run, sft.PRESETS["research"])
    return [first, PlannedJob(job, (first.job.name,))]


def exploring(trial: Trial) -> list[PlannedJob]:
    """One change at a time to the plain run that makes four updates of a rollout."""
    zero = trial.zero
    loss = replace(zero.loss, clip_low=0.2, clip_high=0.2)
    train = replace(zero.train, updates_per_rollout=4)
    updates = 4 * trial.config.zero.updates
    steps = []
    for name, changes in EXPLORE.items():
        new = {"loss": loss, "rollout": zero.rollout}
        new |= {field: replace(new[field], **values) for field, values in changes.items()}
        steps.append(learning(trial, f"explore-{name}", train=train, updates=updates, **new))
    return steps
