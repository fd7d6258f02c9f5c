"""(b) A majority of R1-Zero's answers is right more often than one of them.

    python -m experiments.claims --only b --bases runs/base0 runs/base1

The runs of claim a; see `python -m experiments.claims`.
"""

from __future__ import annotations

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture
from experiments.claims.results import majority, minus, number, summary
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """R1-Zero."""
    return [runs.zero(config, pair)]


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """pass@1 and the majority vote before and after."""
    done = summary(config, pair.named("zero"))
    measured: dict[str, float | None] = {}
    for side, arm in (("before", "base"), ("after", "R1-Zero")):
        record = done.get(side, {})
        single, vote = number(record, "pass_at_1"), majority(record)
        measured |= {f"pass@1/{arm}": single, f"cons@16/{arm}": vote}
        measured[f"vote gains/{arm}"] = minus(vote, single)
    return measured


CLAIM = Claim(
    letter="b",
    title="cons@k lies above pass@1",
    source="Section 2.3, table 2: R1-Zero's AIME pass@1 of 71.0 becomes 86.7 by a vote of 64.",
    hypothesis="After R1-Zero the majority of 16 samples is right at least 2 points more often "
    "than one sample.",
    protocol="The runs of claim a (constant); 256 held-out problems x 16 samples at temperature "
    "0.6 and top-p 0.95; tied votes count by their expected score.",
    comparisons=(
        Comparison("R1-Zero: cons@16 - pass@1", "cons@16/R1-Zero", "pass@1/R1-Zero", least=2),
        Comparison("base: cons@16 - pass@1", "cons@16/base", "pass@1/base", least=2, role="beside"),
        Comparison("R1-Zero's pass@1 - the base's cons@16", "pass@1/R1-Zero", "cons@16/base",
                   least=2, role="beside"),
    ),
    picture=Picture("One sample and the vote of 16", "percent right", ("pass@1", "cons@16")),
    steps=steps,
    measure=measure,
)  # fmt: skip
