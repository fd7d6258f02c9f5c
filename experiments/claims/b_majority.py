"""(b) A majority of R1-Zero's answers is right more often than one of them.

python -m experiments.claims --only b --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

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
    gain,
)  # fmt: skip
from experiments.claims.results import of_arms
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study

PART = 4
"""Of R1-Zero's updates the short one makes one in so many: where pass@1 has left room."""
ARMS = {"short": "short R1-Zero", "zero": "R1-Zero"}
MEASURES = {"pass@1": "pass_at_1", "cons@16": "cons"}


def _short(trial: ClaimTrial) -> Steps:
    updates = max(1, trial.zero.updates // PART)
    return [arms.learning(trial, "short", updates=updates)]


SHORT = Arm("short", _short)


def steps(study: Study) -> Steps:
    """A short R1-Zero, and the whole one."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    return planned + study.steps(ZERO, SHORT)


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """pass@1 and the majority vote before and after."""
    return of_arms(study, pair, ARMS, MEASURES)


CLAIM = Claim(
    letter="b",
    title="cons@k lies above pass@1",
    source="Section 2.3, table 2: R1-Zero's AIME pass@1 of 71.0 becomes 86.7 by a vote of 64.",
    hypothesis="Where R1-Zero leaves room (pass@1 of at most 90 %), the majority of 16 samples is "
    "right at least 2 points more often than one sample.",
    protocol="A quarter of R1-Zero's updates, at a rate chosen for it; 256 held-out problems x 16 "
    "samples at temperature 0.6 and top-p 0.95; tied votes count by their expected score. The "
    "whole R1-Zero beside it is too near to its ceiling to decide.",
    lines=(
        ClaimLine(
            "short R1-Zero: cons@16 - pass@1",
            "cons@16/short R1-Zero",
            "pass@1/short R1-Zero",
            least=2,
        ),
    ),
    conditions=(
        Condition("the short R1-Zero's pass@1 is at most 90", "pass@1/short R1-Zero", high=90),
    ),
    beside=(
        ClaimLine("R1-Zero: cons@16 - pass@1", "cons@16/R1-Zero", "pass@1/R1-Zero"),
        ClaimLine("base: cons@16 - pass@1", "cons@16/base", "pass@1/base"),
        ClaimLine("R1-Zero's pass@1 - the base's cons@16", "pass@1/R1-Zero", "cons@16/base"),
        gain("pass@1", "short R1-Zero", "base", 0),
    ),
    picture=Picture("One sample and the vote of 16", "percent", ("pass@1", "cons@16")),
    steps=steps,
    measure=measure,
    minutes=6,
)
