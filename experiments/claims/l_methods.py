"""(l) The choice of the method of reinforcement learning does not matter.

python -m experiments.claims --only l --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

import itertools
from statistics import median

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import Arm, Claim, ClaimLine, Numbers, Picture, Steps
from experiments.claims.results import course, of_arms, smoothed
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.methods.changes import CHANGES

METHODS = {"GRPO": "grpo", "RLOO": "rloo", "PPO": "ppo-tinyzero", "PRIME": "prime"}
TARGET = 0.75
"""Training accuracy of GRPO where all are compared."""
WINDOW = 3
"""Rollouts over which it is averaged."""
MARGIN = 3.0
CHANGED = ("updates", "rollout", "reward", "loss", "critic", "prime", "train")
"""What a method may change of R1-Zero's flags."""


def spent(trial: ClaimTrial) -> float | None:
    """Operations at which the median of all GRPO runs first reaches the target."""
    rows = [trial.study.row(pair.named(ZERO.name)) for pair in trial.study.pairs()]
    return operations_at([(course(r, "operations"), course(r, "accuracy")) for r in rows])


def operations_at(curves: list[tuple[list[float], list[float]]]) -> float | None:
    """Of (operations, accuracy) of every run, rollout by rollout; of all updates if it never does.

    None where a run is not there.
    """
    if not curves or not all(accuracy for _, accuracy in curves):
        return None
    smooth = [smoothed(accuracy, WINDOW) for _, accuracy in curves]
    count = min(map(len, smooth))
    there = (i for i in range(count) if median(curve[i] for curve in smooth) >= TARGET)
    place = next(there, count - 1)
    return median(operations[place] for operations, _ in curves)


def method(called: str) -> Arm:
    """A method for as long as these operations last."""
    arm, change = f"method-{called.lower()}", CHANGES[METHODS[called]]

    def steps(trial: ClaimTrial) -> Steps:
        run = change(trial.zero)
        return [arms.learning(trial, arm, **{name: getattr(run, name) for name in CHANGED})]

    return arms.at_equal_operations(Arm(arm, steps), spent)


ARMS = {called: method(called) for called in METHODS}


def steps(study: Study) -> Steps:
    """GRPO's whole runs, then all methods."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    return planned + study.steps(ZERO, *ARMS.values())


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Held-out pass@1 of every method."""
    measures = {"pass@1": "right", "format": "format", "tokens": "length_mean"}
    return of_arms(study, pair, {arm.name: called for called, arm in ARMS.items()}, measures)


CLAIM = Claim(
    letter="l",
    title="The choice of the RL method does not matter",
    source="R1 takes GRPO for its cost; Open-Reasoner-Zero and others report as much with PPO, "
    "SimpleRL-Zoo with either, PRIME more with rewards of tokens.",
    hypothesis="At equal operations of the policy, where GRPO's training accuracy reaches 75 %, "
    "no two of GRPO, RLOO, PPO and PRIME differ by more than 3 points of held-out pass@1.",
    protocol="Losses, critic and reward tower of the presets (`experiments/methods/changes.py`), "
    "problems, reward, lengths and completions of a rollout R1-Zero's; each method's rate is "
    "chosen from the same four on the selection set. Operations: what writing, scoring and "
    "learning take the policy until the median of all GRPO runs (running mean of 3 rollouts) "
    "first reaches 75 %; what critic and reward tower compute is not counted. A pair is alike "
    "where its 90 % interval lies within +-3 points, and unlike where its 95 % interval (Holm "
    "over six) lies beyond.",
    lines=tuple(
        ClaimLine(f"{one} - {other}", f"pass@1/{one}", f"pass@1/{other}", within=MARGIN)
        for one, other in itertools.combinations(METHODS, 2)
    ),
    picture=Picture("Held-out pass@1 at equal operations", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    minutes=30,
)
