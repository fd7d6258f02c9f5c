"""What trained runs are judged by beside their held-out problems: the study's further jobs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from experiments.gates import jobs
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from experiments.smollm2 import english, thinking
from experiments.smollm2.arms import ONE_DIGIT, TWO_DIGITS, Config, Trial
from r1jax.commands import evaluate
from r1jax.evaluate.measures import EvalConfig
from r1jax.run.names import EXPORT
from r1jax.training.rl.config import RLConfig

TRAINED = len(TWO_DIGITS + ONE_DIGIT)
"""The first sets: what is trained."""


def judged(trial: Trial, of: str, name: str, prefill: str | None = None) -> PlannedJob:
    """The run `of` on the sets that a reinforcement learning of it is judged on."""
    run = replace(trial.zero, data=replace(trial.zero.data, prefill=prefill))
    return evaluated(run, name, of, trial.config, run.eval, len(run.data.eval), trial.seed)


def many_samples(config: Config, of: str, name: str) -> PlannedJob:
    """pass@k of the base or of a run, to k = --many, on 64 problems of each set at most."""
    how = replace(config.zero.eval, samples=config.many, temperature=1.0, top_p=1.0)
    run = replace(config.zero, model=config.model)
    data = replace(run.data, eval_count=min(64, run.data.eval_count))
    return evaluated(replace(run, data=data), name, of, config, how, TRAINED)


def votes(trial: Trial, of: str, count: int, name: str) -> PlannedJob:
    """The vote of so many samples of the run `of`, on what is trained."""
    how = replace(trial.zero.eval, samples=count)
    return evaluated(trial.zero, name, of, trial.config, how, TRAINED, trial.seed)


def evaluated(
    run: RLConfig, name: str, of: str, config: Config, how: EvalConfig, sets: int, seed: int = 0
) -> PlannedJob:
    """An evaluation of the base, or of what the run `of` has left, on the first `sets` of `run`."""
    common = jobs.judging(run, run.data.eval_count, how)
    common = replace(common, data=replace(common.data, eval=run.data.eval[:sets]), seed=seed)
    place = config.weights(of) if of else ""
    job = jobs.evaluation(name, common, Path(config.out), checkpoint=place)
    return PlannedJob(job, (of,) if of else ())


def budgeted(trial: Trial, of: str, name: str, budgets: tuple[int, ...]) -> PlannedJob:
    """Accuracy, tokens and seconds of the run `of` (or the base) by the length of its thought."""
    c = trial.config
    common = evaluated(trial.zero, name, of, c, c.zero.eval, TRAINED, trial.seed).job.config
    fewer = replace(common.eval, samples=max(1, common.eval.samples // 2))
    run = thinking.after_evaluation(common, c.place(name), budgets, eval=fewer)
    job = Job(name, "experiments.smollm2.thinking", run, thinking.Config())
    return PlannedJob(job, (of,) if of else ())


def reading(config: Config, of: str, name: str, exported: bool = False) -> PlannedJob:
    """How likely plain English is to the run `of` (or the base); `exported`: its hf/ is read."""
    model = config.place(of, EXPORT) if exported else config.model
    place = config.weights(of) if of and not exported else ""
    run = english.Config(run=config.place(name), model=model, checkpoints=place)
    job = Job(name, "experiments.smollm2.english", run, english.Config())
    return PlannedJob(job, (of,) if of else ())


def gsm8k(config: Config) -> PlannedJob:
    """GSM8K's test set, asked of the base by the protocol of that name."""
    usual = evaluate.PRESETS["gsm8k"]
    shapes = replace(usual.rollout, slots=config.zero.rollout.slots, max_prompt=512, max_tokens=512)
    run = replace(
        usual, model=config.model, dtype=config.zero.rollout.dtype, rollout=shapes,
        out=config.place("gsm8k-base"),
        data=replace(usual.data, eval=(config.gsm8k,), too_long="drop"),
    )  # fmt: skip
    return PlannedJob(Job("gsm8k-base", "experiments.evaluate", run, evaluate.Config()))
