"""The runs of the chosen claims in one pool, and again as soon as what is found says which follow.

Rates are chosen first, each arm's on the selection set; then come the runs of all bases and seeds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from experiments.claims.every import CLAIMS
from experiments.claims.figures import figure
from experiments.claims.runs import Config
from experiments.claims.trial import Study, diverged
from experiments.gates import evidence, jobs, study
from experiments.gates.study import Figures, PlannedJob
from r1jax.errors import UserError
from r1jax.rollout.engine import EngineConfig
from r1jax.run.names import NONFINITE
from r1jax.training.rl.config import EvalSchedule

_DEFAULT = Config()
_SMALL = EngineConfig(slots=16, prefill=8, max_prompt=64, max_tokens=64)

SMOKE = replace(
    _DEFAULT,
    out="runs/claims_smoke",
    figures="runs/claims_smoke/figures.jsonl",
    model="embedded",
    bases=2,
    seeds=1,
    rates=(1e-4,),
    jobs=2,
    selection=4,
    zero=replace(
        _DEFAULT.zero,
        updates=2,
        data=replace(_DEFAULT.zero.data, eval_count=8),
        rollout=replace(
            _DEFAULT.zero.rollout, prompts=8, group=4, slots=16, prefill=8, max_tokens=64
        ),
        reward=replace(_DEFAULT.zero.reward, workers=0),
        train=replace(_DEFAULT.zero.train, rows=4),
        eval=EvalSchedule(every=0, samples=2, greedy=False),
    ),
    sft=replace(_DEFAULT.sft, updates=2, train=replace(_DEFAULT.sft.train, rows=4)),
    cold_start=replace(_DEFAULT.cold_start, prompts=32, batch=32, workers=0, rollout=_SMALL),
    rejection=replace(_DEFAULT.rejection, prompts=32, batch=32, workers=0, rollout=_SMALL),
    reward_model=replace(
        _DEFAULT.reward_model, updates=2, train=replace(_DEFAULT.reward_model.train, rows=2)
    ),
    pairs=(20, 40, 60),
    labels=replace(
        _DEFAULT.labels, prompts=16, samples=2, rollouts=2, batch=16, workers=0, rollout=_SMALL
    ),
    step_model=replace(
        _DEFAULT.step_model, updates=2, train=replace(_DEFAULT.step_model.train, rows=2)
    ),
    search=replace(
        _DEFAULT.search, prompts=16, batch=16, workers=0, rollout=_SMALL,
        train=replace(_DEFAULT.search.train, rows=4),
    ),
)  # fmt: skip
"""Every run in seconds, to see that all of it works; what it finds means nothing."""

PRESETS = {"smoke": SMOKE}


def main(config: Config) -> None:
    """Runs what has no line yet; UserError when a run failed."""
    started = time.monotonic()
    until = started + 60 * config.minutes if config.minutes else None
    if unknown := [letter for letter in config.only if letter not in CLAIMS]:
        raise UserError(f"--only {unknown[0]}: no such claim; choose from {' '.join(CLAIMS)}")
    Path(config.out).mkdir(parents=True, exist_ok=True)
    found, failed = study.read(config.figures), []
    known, before = settled(config, found).found, -1
    while before < len(known) + len(failed) and (until is None or time.monotonic() < until):
        before = len(known) + len(failed)
        todo = wanted(config, known, failed)
        print(f"{len(todo)} runs", flush=True)
        new = study.perform(config, todo, found, figure, until) if todo else []
        failed += still_failed(config, todo, found, new)
        known = settled(config, found).found
    print(f"{len(found)} runs have their figures, {time.monotonic() - started:.0f} s")
    jobs.complain(failed, config)


def settled(config: Config, found: Figures) -> Study:
    """The study with the lines that its own flags have made."""
    every = lambda known: planned(plan(config, known))  # noqa: E731
    return Study(config, evidence.agreeing(config, every, found))


def planned(plans: Mapping[str, Sequence[PlannedJob]]) -> dict[str, PlannedJob]:
    """The runs of all claims, by name."""
    return {step.job.name: step for steps in plans.values() for step in steps}


def wanted(config: Config, found: Figures, failed: Sequence[str] = ()) -> dict[str, PlannedJob]:
    """The runs of the chosen claims that have no line, and those whose weights one of them needs.

    What has `failed`, or waits for that or for a run that has diverged, is left out.
    """
    plans = plan(config, found)
    every = planned(plans)
    chosen = config.only or tuple(CLAIMS)
    names = [step.job.name for letter in chosen for step in plans[letter]]
    lost = {name for name, row in found.items() if diverged(row)} | set(failed)
    for name, step in every.items():  # what a run waits for stands before it
        if lost & set(step.after):
            lost.add(name)
    return study.wanted((name for name in names if name not in lost), every, found)


def plan(config: Config, found: Figures) -> dict[str, Sequence[PlannedJob]]:
    """The runs of every claim as far as what is found says which they are."""
    known = Study(config, found)
    plans = {letter: claim.steps(known) for letter, claim in CLAIMS.items()}
    seen: dict[str, PlannedJob] = {}
    for letter, steps in plans.items():
        for step in steps:
            if seen.setdefault(step.job.name, step) != step:
                raise ValueError(f"claim {letter}: {step.job.name} is two different runs")
    return plans


def still_failed(
    config: Config, todo: Mapping[str, PlannedJob], found: Figures, failed: Sequence[str]
) -> list[str]:
    """Those that failed; one whose numbers were not finite has found that, and has its line."""
    left, marks = [], {}
    for name in failed:
        if any((Path(config.out) / name).rglob(NONFINITE)):  # a pipeline has folders of stages
            asked = evidence.digest(name, todo, config.places, marks)
            found[name] = {"name": name, evidence.DIGEST: asked, "diverged": True}
            study.write(config.figures, found)
        else:
            left.append(name)
    return left
