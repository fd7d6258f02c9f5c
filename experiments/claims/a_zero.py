"""(a) R1-Zero raises pass@1, and its answers grow.

python -m experiments.claims --only a --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import Claim, ClaimLine, Number, Numbers, Picture, Steps, gain
from experiments.claims.modes import split_growth
from experiments.claims.results import of_arms
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from r1jax.data.world.traces import MODES

MEAN = arms.plain("zero-mean", loss={"reduction": "sequence_mean"})
COIN = arms.rewarded("coin", random=1.0)
FORMAT = arms.rewarded("format", format=1.0)
REJECTION = arms.own_samples("rejection")
UNVERIFIED = arms.own_samples("unverified", unverified=True)
ON_POLICY = arms.on_policy("on-policy")
ARMS = {
    "zero": "R1-Zero", "zero-mean": "sequence mean", "rejection": "own right samples",
    "unverified": "own samples, unverified", "on-policy": "on-policy distilled", "coin": "coin",
    "format": "format alone",
}  # fmt: skip
MEASURES = {
    "pass@1": "right", "strict": "pass_at_1_strict", "format": "format", "tokens": "length_mean",
}  # fmt: skip
READ = ("zero", "zero-mean")
"""Arms whose texts are read."""


def steps(study: Study) -> Steps:
    """R1-Zero with both reductions, its controls, and samples of which the modes are told."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    planned += study.steps(ZERO, MEAN, REJECTION, UNVERIFIED, ON_POLICY, COIN, FORMAT)
    for arm in READ:
        if (rate := study.rate(arm)) is not None:
            planned += [arms.judging(ClaimTrial(study, *pair, rate), arm) for pair in study.pairs()]
    return planned


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Accuracy, format and length of every arm; modes, and what growth owes to them."""
    found = of_arms(study, pair, ARMS, MEASURES)
    base = study.found.get(f"judge-base{pair.base}", {}).get("modes")
    for arm in READ:
        modes = study.found.get(f"judge-{pair.named(arm)}", {}).get("modes")
        found |= grown(base, modes, ARMS[arm]) if base and modes else {}
    return found


def grown(base: dict[str, list[float]], modes: dict[str, list[float]], arm: str) -> Numbers:
    """Shares of modes, and the growth from shares and within modes; no share of no growth."""
    by_modes, within = split_growth(base, modes)
    whole = by_modes + within
    shares: dict[str, Number] = {f"{mode}, %/{arm}": 100 * modes[mode][0] for mode in MODES}
    return shares | {
        f"growth by modes/{arm}": by_modes,
        f"growth within modes/{arm}": within,
        f"share of growth by modes, %/{arm}": 100 * by_modes / whole if whole else None,
    }


CLAIM = Claim(
    letter="a",
    title="R1-Zero raises pass@1, and its answers grow",
    source="Section 2.3: AIME pass@1 15.6 to 71.0, mean length from hundreds to 10,000 tokens. "
    "Dr. GRPO: part of the growth is an artefact of averaging over each sequence.",
    hypothesis="Reinforcement learning on rule-based rewards alone raises held-out pass@1 by at "
    "least 20 points, by at least 2 more than supervised training on as many own samples, the "
    "right ones; and its answers grow by at least 2 tokens within the modes that the corpus holds, "
    "beyond a new weighting of these.",
    protocol="60 updates of 32 prompts x 8 completions from each base. Controls from the same "
    "bases and seeds: a coin as reward, the format alone, supervised training on as many own "
    "samples as R1-Zero draws (the right ones, or all of them), on-policy distillation from the "
    "same seed's R1-Zero. 256 held-out problems x 16 samples. Length is split on further samples "
    "of these problems into changed shares of modes (guess, short, long, checked: told from the "
    "text by rule) and changed lengths within modes; the two add up.",
    lines=(
        gain("pass@1", "R1-Zero", "base", 20),
        gain("pass@1", "R1-Zero", "own right samples", 2),
        ClaimLine(
            "growth within modes, R1-Zero", "growth within modes/R1-Zero", least=2, unit="tokens"
        ),
    ),
    beside=(
        gain("tokens", "R1-Zero", "base", 5, "tokens"),
        ClaimLine(
            "share of the growth that new weights of modes explain",
            "share of growth by modes, %/R1-Zero",
            unit="%",
        ),
        gain("pass@1", "sequence mean", "R1-Zero", 0),
        gain("tokens", "sequence mean", "R1-Zero", 0, "tokens"),
        gain("strict", "R1-Zero", "own right samples", 0),
        gain("pass@1", "own samples, unverified", "base", 0),
        gain("pass@1", "on-policy distilled", "R1-Zero", 0),
        gain("pass@1", "coin", "base", 0),
        gain("pass@1", "format alone", "base", 0),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    minutes=30,
)
