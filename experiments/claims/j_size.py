"""(j) Small bases gain little from reinforcement learning.

python -m experiments.claims --only j --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

import math
from statistics import fmean

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import Claim, ClaimLine, Condition, Number, Numbers, Picture, Steps
from experiments.claims.results import minus, number, went
from experiments.claims.trial import BaseAndSeed, Study

SIZES = {"student": "student-rl", "base": ZERO.name, "large": "large-zero"}
"""Kinds of bases, and R1-Zero's runs on each, at a rate of its own."""


def steps(study: Study) -> Steps:
    """R1-Zero on each size."""
    planned: Steps = []
    for kind, arm in SIZES.items():
        planned += arms.every_base(study.config, kind) + arms.bases_judged(study, kind)
        planned += study.steps(arms.plain(arm), kind=kind)
    return planned


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Accuracy before and after by size; the slope of the gain on the logarithm of the size."""
    found: dict[str, Number] = {}
    points = []
    for kind, arm in SIZES.items():
        before = number(study.found.get(f"judge-{kind}{pair.base}", {}), "pass_at_1")
        row = study.row(pair.named(arm))
        after = number(row, "pass_at_1")
        found |= {**went(row, kind), **went(row, "all sizes")}
        gain = minus(after, before)
        found |= {f"before/{kind}": before, f"after/{kind}": after, f"gain/{kind}": gain}
        count = study.found.get(f"{kind}{pair.base}", {}).get("parameters")
        if gain is not None and count:
            points.append((math.log2(count), gain))
    return found | {"slope/all sizes": slope(points) if len(points) == len(SIZES) else None}


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares through points with different abscissas."""
    x, y = (fmean(values) for values in zip(*points, strict=True))
    across = sum((a - x) ** 2 for a, _ in points)
    return sum((a - x) * (b - y) for a, b in points) / across


CLAIM = Claim(
    letter="j",
    title="Small bases gain little from RL",
    source="Supplement G.1: bases of 7B and 16B gave no meaningful gain, 32B and above did; "
    "SimpleRL-Zoo and Qwen2-Math-7B-Zero found gains on small ones.",
    hypothesis="The gain of R1-Zero grows with the base by at least 2 points of held-out pass@1 "
    "for each doubling of its parameters.",
    protocol="60 updates of R1-Zero on bases of 0.4, 1.8 and 7 million parameters, trained on the "
    "same corpus with the same seeds and updates; the rate of each size is chosen on the selection "
    "set. The slope of the gain on log2 of the parameters, fitted for each pair.",
    lines=(ClaimLine("slope of the gain", "slope/all sizes", least=2, unit="points a doubling"),),
    conditions=(
        Condition("the middle size leaves room above it (97 at most)", "after/base", high=97),
    ),
    beside=(
        ClaimLine("gain: 1.8M - 0.4M", "gain/base", "gain/student"),
        ClaimLine("gain: 7M - 1.8M", "gain/large", "gain/base"),
    ),
    picture=Picture("pass@1 before and after, by size", "percent", ("before", "after", "gain")),
    steps=steps,
    measure=measure,
    minutes=20,
)
