"""(g) Reinforcement learning raises pass@1, not pass@k at large k.

python -m experiments.claims --only g --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import (
    Claim,
    ClaimLine,
    Condition,
    Number,
    Numbers,
    Picture,
    Steps,
    below,
    gain,
)  # fmt: skip
from experiments.claims.results import solved, went
from experiments.claims.runs import DEMO, WORLD
from experiments.claims.trial import SELECTION_SEEDS, BaseAndSeed, ClaimTrial, Study
from experiments.gates.study import PlannedJob
from r1jax.evaluate.statistics import pass_at_k, powers_of_two

HARDER = f"{WORLD}?harder=true"
SETS = (
    WORLD, HARDER, *(f"{HARDER}&skip={part * DEMO.data.eval_count}" for part in (1, 2, 3)),
)  # fmt: skip
SAMPLES = 256
WANTED = 75.0
"""pass@256 that the chosen problems are to reach in a second draw, in percent."""
ROOM = (60.0, 90.0)
"""Between which it has to lie in the draw that is compared."""


def drawn(trial: ClaimTrial, name: str, of: str, seed: int, which: int) -> PlannedJob:
    """Many samples of every problem of a set, from the base or the run `of` it."""
    run, samples = trial.zero, min(SAMPLES, 16 * trial.config.zero.eval.samples)
    run = replace(run, data=replace(run.data, eval=(SETS[which],)))
    return arms.evaluated(trial, f"{name}-{which}", of, run, seed, samples=samples)


def steps(study: Study) -> Steps:
    """R1-Zero; three draws of each base (two choose the problems), one of each R1-Zero."""
    planned = arms.every_base(study.config, "base") + study.steps(ZERO)
    rate = study.rate(ZERO.name)
    if rate is None:
        return planned
    for which in range(len(SETS)):
        for base in range(study.config.bases):
            trial = ClaimTrial(study, base, 0, rate)
            planned += [drawn(trial, f"many-base{base}-s{seed}", "", seed, which)
                        for seed in (0, *SELECTION_SEEDS)]  # fmt: skip
        for pair in study.pairs():
            trial, name = ClaimTrial(study, *pair, rate), pair.named(ZERO.name)
            planned.append(drawn(trial, f"many-{name}", name, pair.seed, which))
    return planned


def counts(study: Study, name: str) -> list[int] | None:
    """How often each problem of all sets was solved in a draw."""
    parts = [solved(study.found.get(f"{name}-{which}", {})) for which in range(len(SETS))]
    return None if None in parts else [count for part in parts for count in part]


def chosen(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """Places of the problems solved in one draw, but rarely: as many as another draw makes fit.

    Those with 1 to c right samples in `first`, with the smallest c for which at least WANTED % of
    them are solved in `second`; none where there is no such c.
    """
    for most in range(1, max(first, default=0) + 1):
        places = [i for i, count in enumerate(first) if 1 <= count <= most]
        if places and 100 * fmean(second[i] > 0 for i in places) >= WANTED:
            return places
    return []


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """pass@k on the problems that the base just about solves in 256 samples."""
    named = f"many-base{pair.base}-s"
    first, second = (counts(study, f"{named}{seed}") for seed in SELECTION_SEEDS)
    sides = {"base": f"{named}0", "R1-Zero": f"many-{pair.named(ZERO.name)}"}
    draws = {arm: counts(study, name) for arm, name in sides.items()}
    lost = dict(went(study.row(pair.named(ZERO.name)), "R1-Zero"))
    if not (first and second and all(draws.values())):
        return lost
    places = chosen(first, second)
    if not places:
        return {"problems/chosen": 0.0}
    samples = study.found[f"{named}0-0"]["after"]["samples"]
    found: dict[str, Number] = {"problems/chosen": float(len(places))}
    for arm, every in draws.items():
        for k in powers_of_two(samples):
            value = fmean(pass_at_k(samples, every[i], k) for i in places)
            found[f"pass@{k}/{arm}"] = 100 * value
    return found


CLAIM = Claim(
    letter="g",
    title="RL does not raise pass@k",
    source="DeepSeekMath, figure 7, and Yue et al. (2504.13837): RL sharpens what the base can do; "
    "at large k the base is as good. SimpleRL-Zoo finds pass@k up by 10 to 30 points.",
    hypothesis="On problems of which the base solves 60 to 90 % in 256 samples, R1-Zero raises "
    "pass@256 by less than 2 points.",
    protocol="R1-Zero as in claim a; 256 held-out problems and 1,024 harder than the corpus. At "
    "first there were 256 of these, which left one base 8 problems and another 15; R1-Zero lay "
    "65.9 points below the base at k = 256 then. 768 more were added after that was seen, and "
    "nothing else was changed. Of each base two draws of 256 samples choose the problems (solved "
    "in the first, but by at most c samples; c the smallest with which the second solves 75 % of "
    "them); base and R1-Zero are compared on further draws of 256 samples at temperature 0.6 and "
    "top-p 0.95, pass@k by the unbiased estimator. Each base has problems of its own, so that "
    "bases are the only units.",
    lines=(below("pass@256: R1-Zero - base", 2, "pass@256/R1-Zero", "pass@256/base"),),
    conditions=(
        Condition("there are at least 16 problems a base", "problems/chosen", low=16, each=True),
        Condition(
            "each base solves 60 to 90 % of its problems in 256 samples",
            "pass@256/base",
            low=ROOM[0],
            high=ROOM[1],
            each=True,
        ),
    ),
    beside=(
        ClaimLine(
            "opposite claim: pass@256 rises by 10", "pass@256/R1-Zero", "pass@256/base", least=10
        ),
        *(gain(f"pass@{k}", "R1-Zero", "base", 0) for k in (1, 4, 16, 64)),
    ),
    picture=Picture(
        "pass@k on problems with room", "percent", tuple(f"pass@{k}" for k in (1, 4, 16, 64, 256))
    ),
    steps=steps,
    measure=measure,
    minutes=15,
)
