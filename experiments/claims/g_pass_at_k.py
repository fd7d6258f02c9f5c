"""(g) Reinforcement learning raises maj@k and pass@1, not pass@k at large k.

    python -m experiments.claims --only g --bases runs/base0 runs/base1

Claim a's runs and 12 of its evaluations; see `python -m experiments.claims`.
"""

from __future__ import annotations

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, below
from experiments.claims.results import judged, majority
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob

LARGEST = 256


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """R1-Zero; many samples of it and of the base."""
    zero = pair.named("zero")
    model = config.bases[pair.base]
    return [
        runs.zero(config, pair),
        runs.judging(config, f"judge-base-b{pair.base}", model),
        runs.judging(config, pair.named("judge-zero"), model, zero),
    ]


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """pass@k and the vote of all samples."""
    measured: dict[str, float | None] = {}
    curves = {}
    for arm, name in (("base", f"judge-base-b{pair.base}"), ("R1-Zero", pair.named("judge-zero"))):
        record = judged(config, name)
        curves[arm] = {int(k): 100 * v for k, v in record.get("pass_at", {}).items()}
        measured |= {f"{arm}/{k}": value for k, value in curves[arm].items()}
        measured[f"{arm}/maj {LARGEST}"] = majority(record)
    measured["base as good from k on/crossing"] = crossing(curves["base"], curves["R1-Zero"])
    return measured


def crossing(base: dict[int, float], zero: dict[int, float]) -> float | None:
    """The smallest k at which the base is at least as good; None where it never is."""
    return next((float(k) for k in sorted(base.keys() & zero.keys()) if base[k] >= zero[k]), None)


CLAIM = Claim(
    letter="g",
    title="RL raises maj@k, not pass@k",
    source="DeepSeekMath, figure 7, and Yue et al. (2504.13837): RL sharpens what the base can do; "
    "at large k the base is as good. SimpleRL-Zoo finds pass@k up by 10 to 30 points.",
    hypothesis="R1-Zero raises the majority vote of 256 samples by at least 5 points and pass@1 by "
    "at least 20, but pass@256 by less than 2.",
    protocol="The runs of claim a (constant); 64 held-out problems x 256 samples of base and "
    "R1-Zero at temperature 0.6 and top-p 0.95; pass@k by the unbiased estimator.",
    comparisons=(
        Comparison("maj@256: R1-Zero - base", f"R1-Zero/maj {LARGEST}", f"base/maj {LARGEST}",
                   least=5),
        Comparison("pass@1: R1-Zero - base", "R1-Zero/1", "base/1", least=20),
        below("pass@256: R1-Zero - base", 2, f"R1-Zero/{LARGEST}", f"base/{LARGEST}"),
        Comparison("opposite claim: pass@256 rises", f"R1-Zero/{LARGEST}", f"base/{LARGEST}",
                   least=5, role="beside"),
    ),
    picture=Picture("pass@k and the vote of 256", "percent", ("base", "R1-Zero")),
    steps=steps,
    measure=measure,
)  # fmt: skip
