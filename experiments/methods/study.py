"""GRPO first, then every other method for as long as GRPO's operations last."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.claims.study import SMOKE as CLAIMS
from experiments.gates import evidence, study
from experiments.gates.figures import figure
from experiments.gates.study import Figures, PlannedJob
from experiments.methods.arms import ARMS, FREE, Config, MethodTrial, told
from experiments.methods.changes import REFERENCE
from r1jax.training.rl.config import RLConfig


def plan(config: Config, found: Figures) -> dict[str, PlannedJob]:
    """The runs of all methods asked for, and of GRPO, by name.

    Until GRPO of a seed has its line nobody knows what the others may spend: they are not there.
    """
    every: dict[str, PlannedJob] = {}
    for seed in range(config.seeds):
        first = MethodTrial(config, seed)
        reference = first.named(REFERENCE)
        most = found[reference]["operations"]["student"] if reference in found else 0.0
        for arm in dict.fromkeys((REFERENCE, *(config.only or ARMS))):
            trial = first if arm == REFERENCE else replace(first, most=most)
            steps = {step.job.name: step for step in ARMS[arm](trial)}
            every |= {name: s for name, s in steps.items() if most or arm_of(name) in FREE}
    return every


def arm_of(name: str) -> str:
    """A run's name without its seed."""
    return name.rpartition("-s")[0]


def left(config: Config, free: bool, found: Figures) -> dict[str, PlannedJob]:
    """The runs without a line: the `free` ones, or those that may spend what GRPO does."""
    known = evidence.agreeing(config, functools.partial(plan, config), found)
    every = plan(config, known)
    part = [name for name in every if (arm_of(name) in FREE) == free]
    return study.wanted(part, every, known)


def line(config: Config, name: str, job: Any, out: Path) -> dict[str, Any]:
    """The line of a run that has ended; of reinforcement learning, with its flags."""
    found = figure(name, job, out)
    if not isinstance(job, RLConfig):
        return found
    plain = MethodTrial(config, job.seed, job.until_operations).zero
    return found | {"flags": told(job, plain)}


def main(config: Config) -> None:
    """Runs what has no line yet; UserError when a run failed."""
    first = functools.partial(left, config, True)
    others = functools.partial(left, config, False)  # what GRPO spends is known once it is done
    study.conduct(
        config,
        (("what comes first", first), ("the methods", others)),
        functools.partial(line, config),
    )


_FULL = Config()
SMOKE = replace(
    _FULL,
    out="runs/methods_smoke",
    figures="runs/methods_smoke/figures.jsonl",
    zero=CLAIMS.zero,
    sft=replace(_FULL.sft, updates=40, train=CLAIMS.sft.train),
    samples=replace(CLAIMS.rejection, prompts=64),
    search=replace(
        _FULL.search, prompts=16, batch=16, workers=0, rollout=CLAIMS.rejection.rollout,
        data=replace(_FULL.search.data, eval_count=4),
    ),
    labels=replace(
        _FULL.labels, prompts=16, samples=2, batch=16, workers=0, rollout=CLAIMS.rejection.rollout
    ),
    steps=replace(
        CLAIMS.reward_model, kind="process", steps="sentence",
        data=replace(_FULL.steps.data, eval_count=4),
    ),
)  # fmt: skip
"""Every run in seconds, to see that all of it works; what it finds means nothing."""
