"""(d) A cold start saves steps of reinforcement learning; and supervised training first can hurt.

python -m experiments.claims --only d --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from typing import Any

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import Arm, Claim, ClaimLine, Number, Numbers, Picture, Steps, gain
from experiments.claims.results import RIGHT, course, number, numbers, smoothed, went
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from r1jax.run.names import SAVED

FILES = {
    "cold": ("cold-data", "kept.jsonl"),
    "unrewritten": ("cold-others", "unrewritten.jsonl"),
    "corpus": ("cold-others", "corpus.jsonl"),
}
CALLED = {
    "zero": "none", "rl-cold": "cold start", "rl-unrewritten": "unrewritten", "rl-corpus": "corpus",
}  # fmt: skip
SFT: dict[str, Any] = {"epochs": 4, "batch": 32}
WINDOW = 3
"""Rollouts over which training accuracy is averaged."""
LAST = 5
"""Rollouts that make R1-Zero's final training accuracy."""
SEEDS = 3


def tuned_on(what: str) -> Arm:
    """Supervised training of the base on one kind of samples."""
    data, file = FILES[what]

    def steps(trial: ClaimTrial) -> Steps:
        zero = trial.of(ZERO.name)
        if zero is None:
            return []
        made = [arms.cold_data(zero), arms.corpus_data(zero, "cold-others", "cold-data")]
        path = zero.inside(data, file)
        return [*made, *arms.tuned(trial, what, path, zero.named(data), **SFT)]

    return Arm(what, steps)


def then_rl(what: str) -> Arm:
    """Reinforcement learning of what that has left."""

    def steps(trial: ClaimTrial) -> Steps:
        before = trial.of(what)
        if before is None:
            return []
        after, parent = before.named(what), before.inside(what, SAVED)
        return [arms.learning(trial, f"rl-{what}", (after,), parent=parent)]

    return Arm(f"rl-{what}", steps)


def steps(study: Study) -> Steps:
    """R1-Zero, samples of it, supervised training on three kinds of them, then RL."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    chain = [arm for what in FILES for arm in (tuned_on(what), then_rl(what))]
    return planned + study.steps(ZERO, *chain, seeds=SEEDS)


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Updates to 90 % of R1-Zero's final accuracy; held-out accuracy before and after RL."""
    found: dict[str, Number] = {}
    plain = course(study.row(pair.named(ZERO.name)), "accuracy")
    target = 0.9 * sum(plain[-LAST:]) / len(plain[-LAST:]) if plain else None
    for arm, called in CALLED.items():
        row = study.row(pair.named(arm))
        curve = course(row, "accuracy")
        made = None if target is None else updates_to(curve, target)
        charged = made if made is None or arm == ZERO.name else made + len(plain)
        before = study.row(pair.named(arm.removeprefix("rl-")))
        if arm == ZERO.name:
            before = study.found.get(f"judge-base{pair.base}", {})
        found |= {**numbers(row, called, RIGHT), **went(before, called)}
        found |= {
            f"updates/{called}": made,
            f"updates, the R1-Zero behind the data charged/{called}": charged,
            f"accuracy in training, mean over all updates/{called}":
                100 * sum(curve) / len(curve) if curve else None,
            f"pass@1 before RL/{called}": number(before, "pass_at_1"),
            f"consistency before RL/{called}": number(before, "language_consistency"),
        }  # fmt: skip
    return found


def updates_to(curve: list[float], target: float) -> float | None:
    """Updates made before the running mean first reaches the target; all of them if it never does.

    None for a run that is not there.
    """
    if not curve:
        return None
    reached = (i for i, value in enumerate(smoothed(curve, WINDOW)) if value >= target)
    return float(next(reached, len(curve)))


CLAIM = Claim(
    letter="d",
    title="A cold start saves steps of reinforcement learning; supervised training first can hurt",
    source="Sections 2.3.1 and 4: a small supervised cold start before RL avoids the unstable "
    "early phase. Against it: supervised training first can hurt what RL reaches in the end.",
    hypothesis="From supervised training on readable samples of R1-Zero, RL needs at least 5 "
    "updates less to 90 % of R1-Zero's final accuracy than from the base; and it ends at least 1 "
    "point of held-out pass@1 lower.",
    protocol="`cold_start_data --source zero` on each pair's own R1-Zero (512 prompts x 4 samples, "
    "at most 2 kept of each); four passes of supervised training of the base on them (batches of "
    "32), on the same samples unrewritten, or on equally many right corpus traces; then 60 updates "
    "as R1-Zero. Updates are counted until the running mean over 3 rollouts of training accuracy "
    "(new problems, temperature 1) reaches 90 % of the mean of R1-Zero's last 5; a run that never "
    "does counts all of its 60. Three seeds a base, of which the median counts. Final accuracy: "
    "256 held-out problems x 16 samples.",
    lines=(
        gain("updates", "none", "cold start", 5, "updates"),
        ClaimLine(
            "final pass@1 falls: cold start - none",
            "pass@1/cold start",
            "pass@1/none",
            sign=-1,
            least=-1,
        ),
    ),
    beside=(
        gain("updates, the R1-Zero behind the data charged", "none", "cold start", 0, "updates"),
        gain("accuracy in training, mean over all updates", "cold start", "none", 0),
        gain("updates", "corpus", "cold start", 0, "updates"),
        gain("updates", "unrewritten", "cold start", 0, "updates"),
        gain("pass@1", "corpus", "none", 0),
        gain("pass@1", "unrewritten", "none", 0),
        gain("consistency before RL", "cold start", "none", 0),
    ),
    picture=Picture("Updates to 90 % of R1-Zero's final accuracy", "updates", ("updates",)),
    steps=steps,
    measure=measure,
    minutes=40,
    seeds=SEEDS,
    over="median",
)
