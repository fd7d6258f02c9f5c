"""(t) TinyZero: R1-Zero teaches a small base to search, and its text grows by itself.

python -m experiments.claims --only t --devices 1 --jobs 8 --memory-fraction 0.11
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.claims import bases
from experiments.claims.claim import Claim, Numbers, Picture, Steps, gain
from experiments.claims.results import numbers, went
from experiments.claims.runs import Config
from experiments.claims.trial import BaseAndSeed, Study
from experiments.gates import jobs, rejection_sft
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from r1jax.checkpoint import CheckpointConfig
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.run.flags import part
from r1jax.run.names import EXPORT, SAVED
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig

PUBLISHED = REPRODUCTIONS["tinyzero-countdown"]
SEEDS = 8
MODULE = "experiments.reproductions.tinyzero_countdown"

# TinyZero's, but for what a base of 24M parameters asks: all of this is ours.
COUNTDOWN = replace(
    PUBLISHED,
    updates=160,  # 40 rollouts, each split into 4 as published
    rollout=replace(
        PUBLISHED.rollout, prompts=64, max_prompt=160, max_tokens=288, slots=512, prefill=32
    ),
    reward=replace(PUBLISHED.reward, workers=1),
    loss=replace(PUBLISHED.loss, beta=0.0, importance_cap=2.0),
    optimizer=OptimizerConfig(lr=5e-5, warmup=8),
    train=replace(
        PUBLISHED.train, rows=32, width=512, max_segments=4, remat="none", unroll=4, chunk=256
    ),
    eval=EvalSchedule(every=0, samples=16, before=False),
    checkpoint=CheckpointConfig(every=40, keep=1),
)


def countdown(config: Config) -> RLConfig:
    """The run; in miniature where the study is."""
    small, zero = config.model, config.zero
    if not small:
        return replace(COUNTDOWN, model=bases.place(config, "tinyzero", 0))
    return replace(
        COUNTDOWN, model=small, updates=4, data=replace(COUNTDOWN.data, eval_count=4),
        rollout=replace(
            zero.rollout, prompts=8, max_prompt=256, max_tokens=32, dtype="float32"
        ),
        reward=replace(COUNTDOWN.reward, workers=0),
        train=replace(
            COUNTDOWN.train, rows=2, width=320, max_segments=2, dtype="float32"
        ),
        eval=replace(COUNTDOWN.eval, samples=2),
    )  # fmt: skip


def seeded(config: Config, name: str, seed: int, **changes: Any) -> list[PlannedJob]:
    """A run under a seed, and an evaluation of which the texts are read."""
    run = countdown(config)
    run = replace(
        run, run=config.place(name), seed=seed, data=replace(run.data, seed=seed), **changes
    )
    needed = bases.needed(config, "tinyzero", 0)
    return [PlannedJob(Job(name, MODULE, run, PUBLISHED), needed), judged(config, name)]


def judged(config: Config, of: str, exported: bool = False) -> PlannedJob:
    """The run `of` the base, or the base itself, on the held-out problems, greedily as well."""
    run = countdown(config)
    common = jobs.judging(run, run.data.eval_count, replace(run.eval, greedy=True))
    where = {"model": config.place(of, EXPORT)} if exported else {"checkpoint": ""}
    if of and not exported:
        where = {"checkpoint": config.place(of, SAVED)}
    name = f"judge-{of or bases.TINYZERO}"
    after = (of,) if of else bases.needed(config, "tinyzero", 0)
    return PlannedJob(jobs.evaluation(name, common, Path(config.out), **where), after)


def base_steps(config: Config) -> Steps:
    """TinyZero's base, made and judged."""
    made = [] if config.model else [bases.base(config, "tinyzero", 0)]
    return [*made, judged(config, "")]


def own_samples(config: Config, seed: int) -> list[PlannedJob]:
    """Supervised training on the base's own right answers, as many drawn as in a run."""
    run, name = replace(countdown(config), seed=seed), f"countdown-rejection-s{seed}"
    run = replace(run, data=replace(run.data, seed=seed))
    sft = rejection_sft.KeptSFTConfig(
        batch=128, optimizer=OptimizerConfig(lr=5e-5, schedule="cosine", warmup=5),
        train=part(ComputeConfig, run.train),
    )  # fmt: skip
    made = replace(jobs.rejection(run, Path(config.out)), run=config.place(name), sft=sft)
    job = Job(name, "experiments.gates.rejection_sft", made, rejection_sft.Config())
    return [PlannedJob(job, bases.needed(config, "tinyzero", 0)), judged(config, name, True)]


def seeds_of(study: Study) -> int:
    """Seeds of each arm: as said here, or fewer where the study tries all in miniature."""
    return 1 if study.config.model else SEEDS


def steps(study: Study) -> Steps:
    """R1-Zero, and supervised training on own samples."""
    c = study.config
    planned = base_steps(c)
    for seed in range(seeds_of(study)):
        planned += seeded(c, f"countdown-zero-s{seed}", seed) + own_samples(c, seed)
    return planned


MEASURES = {
    "pass@1": "right", "greedy": "pass_at_1_greedy", "tokens": "length_mean",
    "truncated": "truncated",
}  # fmt: skip
TEXTS = {"tries": "tries", "TinyZero's reward, %": "reward", "answer tag seen, %": "tagged",
         "tries, greedy": "greedy_tries"}  # fmt: skip


def read(study: Study, name: str, arm: str) -> dict[str, Any]:
    """The numbers of an evaluation of which the texts were read."""
    row = study.found.get(f"judge-{name}", {})
    found: dict[str, Any] = dict(numbers(row, arm, MEASURES))
    found |= went(study.found.get(name, {}), arm)
    for said, key in TEXTS.items():
        if key in row:
            found[f"{said}/{arm}"] = (100 if said.endswith("%") else 1) * row[key]
    return found


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Accuracy, length, tries and TinyZero's reward of base and runs."""
    return (
        read(study, bases.TINYZERO, "base")
        | read(study, f"countdown-zero-s{pair.seed}", "R1-Zero")
        | read(study, f"countdown-rejection-s{pair.seed}", "own right samples")
        | read(study, f"countdown-text-s{pair.seed}", "coin of the text")
    )


CLAIM = Claim(
    letter="t",
    title="TinyZero: R1-Zero teaches a small base to search, and its text grows",
    source="TinyZero: countdown from a base of 3B parameters; accuracy and length rise together.",
    hypothesis="On TinyZero's countdown, R1-Zero gains at least 20 points of held-out pass@1, at "
    "least 5 more than supervised training on as many own samples, and its answers grow by at "
    "least 10 tokens.",
    protocol="TinyZero's prompt, task and reward (0 / 0.1 / 1), GRPO in place of its PPO, at one "
    "rate (5e-5), from one base of 24M parameters that has read tries of every patience: the units "
    "are the seeds. 40 rollouts of 64 problems x 8 completions of at most 288 tokens, 4 updates "
    "each; 256 held-out problems (3 or 4 numbers) x 16 samples at T 0.6, top-p 0.95. The coin of "
    "the random reward (below) is the control.",
    lines=(
        gain("pass@1", "R1-Zero", "base", 20),
        gain("pass@1", "R1-Zero", "own right samples", 5),
        gain("tokens", "R1-Zero", "base", 10, "tokens"),
    ),
    beside=(
        gain("pass@1", "R1-Zero", "coin of the text", 0),
        gain("tries", "R1-Zero", "base", 0, "tries"),
        gain("TinyZero's reward, %", "R1-Zero", "base", 0),
        gain("TinyZero's reward, %", "R1-Zero", "own right samples", 0),
        gain("greedy", "R1-Zero", "base", 0),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    minutes=20,
    jobs=8,
    seeds=SEEDS,
    one_base=True,
)
