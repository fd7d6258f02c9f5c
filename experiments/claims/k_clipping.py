"""(k) The clip range with several updates per rollout, and dividing by the standard deviation.

python -m experiments.claims --only k --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import (
    Arm,
    Claim,
    ClaimLine,
    Condition,
    Numbers,
    Picture,
    Steps,
    above,
    gain,
)  # fmt: skip
from experiments.claims.results import last, of_arms
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study

CLIPS = {"0.2": (0.2, 0.2), "0.2 and 0.28": (0.2, 0.28), "10": (10.0, 10.0)}
PARTS = 16
"""Updates per rollout."""
SHARE = 0.4
"""Of R1-Zero's rollouts."""


def clipped(called: str) -> Arm:
    """A range, with many updates of each rollout."""
    arm, (down, up) = f"clip-{called.replace(' ', '')}", CLIPS[called]

    def steps(trial: ClaimTrial) -> Steps:
        run = trial.zero
        size = run.rollout.prompts * run.rollout.group
        count = min(PARTS, size)
        train = replace(run.train, updates_per_rollout=count)
        updates = count * max(1, round(SHARE * run.updates))
        loss = replace(run.loss, clip_low=down, clip_high=up)
        return [arms.learning(trial, arm, train=train, updates=updates, loss=loss)]

    return Arm(arm, steps)


RANGES = {called: clipped(called) for called in CLIPS}
STD = arms.plain("std", loss={"advantage_std": "unbiased"})


def steps(study: Study) -> Steps:
    """Three ranges with 16 updates per rollout; the standard deviation with one."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    return planned + study.steps(ZERO, STD, *RANGES.values())


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Accuracy, and of the last rollouts entropy and the share of clipped tokens."""
    called = {arm.name: name for name, arm in RANGES.items()} | {"zero": "no std", "std": "std"}
    found = of_arms(study, pair, called, {"pass@1": "right", "tokens": "length_mean"})
    for arm, name in called.items():
        row = study.row(pair.named(arm))
        share = last(row, "clipped")
        found[f"entropy/{name}"] = last(row, "entropy")
        found[f"clipped, %/{name}"] = None if share is None else 100 * share
    return found


CLAIM = Claim(
    letter="k",
    title="A small clip range hurts; dividing by the standard deviation does not help",
    source="Section 3.2.1 of version 2: a small range cuts the gradient of many tokens and hurts, "
    "R1 takes 10. DAPO: raising the upper bound alone keeps entropy and helps. Dr. GRPO: the "
    "standard deviation biases towards too easy and too hard questions.",
    hypothesis="With 16 updates per rollout a clip range of 10 ends at least 1 point of held-out "
    "pass@1 above 0.2; without the standard deviation a run ends less than 2 points below one with "
    "it.",
    protocol="24 rollouts of 32 prompts x 8 completions, each split into 16 updates, with clip "
    "ranges 0.2 / 0.2, 0.2 / 0.28 and 10 / 10 (in the paper's rule the lower bound of 10 never "
    "binds); and 60 updates on policy with the group's standard deviation (G - 1), beside the 60 "
    "of claim a without. 256 held-out problems x 16 samples; entropy (nats a token) and share of "
    "clipped tokens over the last rollouts, each one's mean over its updates.",
    lines=(
        gain("pass@1", "10", "0.2", 1),
        above("pass@1: no std - std", -2, "pass@1/no std", "pass@1/std"),
    ),
    conditions=(
        Condition(
            "a range of 0.2 clips at least 1 % of the tokens",
            "clipped, %/0.2",
            low=1,
            lines=("pass@1: 10 - 0.2",),
        ),
    ),
    beside=(
        gain("pass@1", "0.2 and 0.28", "0.2", 0),
        ClaimLine(
            "entropy: 0.2 and 0.28 - 0.2", "entropy/0.2 and 0.28", "entropy/0.2", unit="nats"
        ),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    minutes=15,
)
