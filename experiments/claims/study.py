"""Claims from their runs to their results: one pool for the runs of all of them."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from experiments.claims.claim import Claim
from experiments.claims.every import CLAIMS
from experiments.claims.runs import Config, PlannedJob
from experiments.claims.verdicts import collate
from experiments.gates import jobs
from r1jax.errors import UserError
from r1jax.rollout.engine import EngineConfig
from r1jax.run.directory import write_json
from r1jax.training.rl.config import EvalSchedule

_DEFAULT = Config()
_SMALL = EngineConfig(slots=16, prefill=8, max_prompt=64, max_tokens=64)

SMOKE = replace(
    _DEFAULT,
    out="runs/claims_smoke",
    results="runs/claims_smoke/results",
    only=("a", "c", "i"),
    seeds=1,
    jobs=2,
    chinese_bases=("embedded",),
    general_bases=("embedded",),
    students=("embedded",),
    sizes=("embedded",),
    judge_problems=4,
    judge_samples=4,
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
    long=4,
)
"""Every run in seconds, to see that all of it works; what it finds means nothing."""

PRESETS = {"smoke": SMOKE}


def main(config: Config) -> None:
    """Runs what is not finished, then collates what there is; UserError when a run failed."""
    started = time.monotonic()
    chosen = [CLAIMS[letter] for letter in config.only]
    check(config, chosen)
    Path(config.out).mkdir(parents=True, exist_ok=True)
    steps = plan(config, chosen)
    print(f"{len(steps)} runs for {len(chosen)} claims on {len(config.pairings)} pairs", flush=True)
    after = {step.job.name: step.after for step in steps}
    until = started + config.deadline if config.deadline else None
    failed = jobs.perform([s.job for s in steps], config, after, config.devices, until)
    left = sum(not step.job.finished(Path(config.out)) for step in steps)
    results = Path(config.results)
    results.mkdir(parents=True, exist_ok=True)
    for claim in chosen:
        record = collected(config, claim)
        write_json(results / f"{claim.letter}.json", record)
        print(f"({claim.letter}) {claim.title}: {record['verdict']}", flush=True)
    print(f"{len(steps) - left} runs done, {left} left, {time.monotonic() - started:.0f} s")
    jobs.complain(failed, config)


def check(config: Config, chosen: Sequence[Claim]) -> None:
    """Raises UserError where a claim's bases are not named."""
    for claim in chosen:
        for name in claim.needs:
            count = len(getattr(config, name))
            flag = name.replace("_", "-")
            if count % len(config.bases) or not count:
                raise UserError(
                    f"--{flag}: names {count} directories for {len(config.bases)} of --bases; "
                    f"claim {claim.letter} needs one for each, or --only without it"
                )


def plan(config: Config, chosen: Sequence[Claim]) -> list[PlannedJob]:
    """The runs of all claims, those that several share once, in the order of the claims."""
    steps: dict[str, PlannedJob] = {}
    for claim in chosen:
        for pair in config.pairings:
            for step in claim.steps(config, pair):
                known = steps.setdefault(step.job.name, step)
                if known != step:
                    raise ValueError(f"claim {claim.letter}: {step.job.name} is two different runs")
    return list(steps.values())


def collected(config: Config, claim: Claim) -> dict[str, Any]:
    """The claim's JSON from what its runs have left; pairs of which nothing is there stay out."""
    pairs: list[Mapping[str, Any]] = []
    for pair in config.pairings:
        numbers = claim.measure(config, pair)
        if any(value is not None for value in numbers.values()):
            pairs.append({"base": pair.base, "seed": pair.seed, "numbers": numbers})
    return collate(claim, pairs, len(config.pairings))
