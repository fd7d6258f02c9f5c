"""(i) Raising the length cap in mid-run lets accuracy and length jump.

python -m experiments.claims --only i --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import Arm, Claim, Condition, Numbers, Picture, Steps, gain
from experiments.claims.results import last, numbers, of_arms, went
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.gates.study import PlannedJob
from r1jax.run.names import SAVED
from r1jax.training.rl.sampled import RolloutConfig

ELSEWHERE = 500
"""Added to the seed of the second half's problems."""
CALLED = {"cap-kept": "kept", "cap-raised": "raised", "zero": "full throughout"}
MEASURES = {"pass@1": "right", "tokens": "length_mean", "truncated": "truncated"}


def low(full: RolloutConfig) -> RolloutConfig:
    """Three eighths of the tokens."""
    return replace(full, max_tokens=full.max_tokens * 3 // 8)


def _first(trial: ClaimTrial) -> Steps:
    half = max(1, trial.zero.updates // 2)
    return [arms.learning(trial, "cap-first", updates=half, rollout=low(trial.zero.rollout))]


FIRST = Arm("cap-first", _first)


def then(arm: str, raised: bool) -> Arm:
    """As many updates again under the same cap, or under the full one."""

    def steps(trial: ClaimTrial) -> Steps:
        before, zero = trial.of(FIRST.name), trial.zero
        if before is None:
            return []
        named = before.named(FIRST.name)
        run = arms.learning(
            trial, arm, (named,), parent=before.inside(FIRST.name, SAVED),
            updates=max(1, zero.updates // 2),
            rollout=zero.rollout if raised else low(zero.rollout),
            data=replace(zero.data, seed=trial.seed + ELSEWHERE),
        )  # fmt: skip
        # All are judged under the full cap, whatever they were trained under.
        return [run] if raised else [run, at_full_cap(trial, arm)]

    return Arm(arm, steps)


def at_full_cap(trial: ClaimTrial, arm: str) -> PlannedJob:
    """The run judged under the full cap."""
    return arms.evaluated(trial, f"full-{trial.named(arm)}", trial.named(arm), trial.zero)


def steps(study: Study) -> Steps:
    """A first half under the low cap, continued under the same and under the full one."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    kept, raised = then("cap-kept", raised=False), then("cap-raised", raised=True)
    return planned + study.steps(ZERO, FIRST, kept, raised)


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Held-out accuracy and length of each; what the low cap cuts off the first half."""
    found = of_arms(study, pair, CALLED, MEASURES)
    full = study.found.get(f"full-{pair.named('cap-kept')}", {})
    kept = "kept, judged at the full cap"
    first = study.row(pair.named(FIRST.name))
    found |= {**numbers(full, kept, MEASURES), **went(study.row(pair.named("cap-kept")), kept)}
    found |= {**went(first, kept), **went(first, CALLED["cap-raised"])}
    found |= numbers(first, "first half", MEASURES)
    for arm in ("cap-kept", "cap-raised"):
        row = study.row(pair.named(arm))
        found[f"tokens in training, last 5/{CALLED[arm]}"] = last(row, "tokens")
    return found


CLAIM = Claim(
    letter="i",
    title="Raising the length cap in mid-run lets accuracy and length jump",
    source="Section 2.3 of version 2: both jump at step 8,200, when the cap goes from 32,768 to "
    "65,536 tokens.",
    hypothesis="Continued under a cap of 128 tokens instead of 48, a run ends at least 5 points "
    "more accurate and 3 tokens longer, both judged under the cap of 128.",
    protocol="30 updates of R1-Zero with completions cut at 48 tokens, then 30 more with the "
    "optimizer anew under the same cap or under 128, beside the 60 of claim a under 128; each "
    "part's rate is chosen on the selection set. 256 held-out problems x 16 samples, all under the "
    "cap of 128; the one that kept 48 under that as well (kept).",
    lines=(
        gain("pass@1", "raised", "kept, judged at the full cap", 5),
        gain("tokens", "raised", "kept, judged at the full cap", 3, "tokens"),
    ),
    conditions=(
        Condition(
            "the low cap cuts at least 2 % of what the first half writes",
            "truncated/first half",
            low=2,
        ),
    ),
    beside=(
        gain("pass@1", "raised", "kept", 0),
        gain("pass@1", "raised", "full throughout", 0),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    minutes=15,
)
