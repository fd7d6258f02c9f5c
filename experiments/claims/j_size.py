"""(j) Small bases gain little from reinforcement learning.

    python -m experiments.claims --only j --bases runs/base0 runs/base1 \\
        --sizes runs/small0 runs/small1 runs/base0 runs/base1 runs/large0 runs/large1

10 runs of the demo for each size, but for sizes that claims a and f have run; see
`python -m experiments.claims`.
"""

from __future__ import annotations

import math

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture
from experiments.claims.results import base_seed, minus, number, parameters, summary
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob
from r1jax.errors import UserError


def of_pair(config: Config, pair: BaseAndSeed) -> dict[int, str]:
    """The bases of all sizes that go with a pair, by parameters: those of one seed of training."""
    by_size: dict[int, dict[int, str]] = {}
    for model in config.sizes:
        by_size.setdefault(parameters(model), {})[base_seed(model)] = model
    ragged = [count for count, by_seed in by_size.items() if len(by_seed) != len(config.bases)]
    if ragged:
        raise UserError(
            f"--sizes: {len(by_size[ragged[0]])} bases of {ragged[0]:,} parameters with different "
            f"seeds (see card.json); each size needs {len(config.bases)}, as many as --bases"
        )
    return {
        count: by_seed[sorted(by_seed)[pair.base]] for count, by_seed in sorted(by_size.items())
    }


def run_name(config: Config, pair: BaseAndSeed, count: int, model: str) -> str:
    """The run of a base; those of the claims' own bases and students are claim a's and f's."""
    if model == config.bases[pair.base]:
        return pair.named("zero")
    if config.students and model == config.students[pair.base]:
        return pair.named("student-middle")
    return pair.named(f"size{count}")


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """R1-Zero on each size."""
    return [
        runs.learning(config, run_name(config, pair, count, model), pair, model)
        for count, model in of_pair(config, pair).items()
    ]


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Accuracy before and after by size; the slope of the gain."""
    measured: dict[str, float | None] = {}
    points = []
    for count, model in of_pair(config, pair).items():
        done, arm = summary(config, run_name(config, pair, count, model)), f"{count / 1e6:.2f}M"
        before, after = (number(done, side, "pass_at_1") for side in ("before", "after"))
        gain = minus(after, before)
        measured |= {f"before/{arm}": before, f"after/{arm}": after, f"gain/{arm}": gain}
        if gain is not None:
            points.append((math.log2(count), gain))
    whole = len(points) > 1 and len(points) == len(of_pair(config, pair))
    return measured | {"slope/of the gain": slope(points) if whole else None}


def slope(points: list[tuple[float, float]]) -> float:
    """Least squares through points with different abscissas."""
    x, y = (sum(values) / len(points) for values in zip(*points, strict=True))
    across = sum((a - x) ** 2 for a, _ in points)
    return sum((a - x) * (b - y) for a, b in points) / across


CLAIM = Claim(
    letter="j",
    title="Small bases gain little from RL",
    source="Supplement G.1: bases of 7B and 16B gave no meaningful gain, 32B and above did; "
    "SimpleRL-Zoo and Qwen2-Math-7B-Zero found gains on small ones.",
    hypothesis="The gain of R1-Zero grows with the base by at least 2 points of held-out pass@1 "
    "for each doubling of its parameters.",
    protocol="60 updates of R1-Zero on bases of several sizes, trained on the same corpus with the "
    "same seeds and updates, all at the demo's learning rate; the slope of the gain on log2 of the "
    "parameters, fitted for each pair.",
    comparisons=(
        Comparison("slope of the gain", "slope/of the gain", least=2, unit="points a doubling"),
    ),
    picture=Picture("pass@1 before and after, by parameters", "percent",
                    ("before", "after", "gain")),
    steps=steps,
    measure=measure,
    needs=("sizes",),
)  # fmt: skip
