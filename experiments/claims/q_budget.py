"""(q) Accuracy rises with the thought budget.

python -m experiments.claims --only q --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import Claim, ClaimLine, Number, Numbers, Picture, Steps, gain
from experiments.claims.results import numbers, went
from experiments.claims.runs import Config
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from experiments.smollm2 import thinking

PARTS = (16, 8, 4, 2, 1)
"""Budgets: the longest completion by these."""
END = " </think> "
"""What closes a thought, as the corpus writes it."""
MEASURES = {
    "pass@1": "right", "vote of 16": "cons", "tokens": "length_mean", "truncated": "truncated",
}  # fmt: skip


def budgets(config: Config) -> tuple[int, ...]:
    """Tokens after which a thought is closed, the fewest first."""
    return tuple(config.zero.rollout.max_tokens // part for part in PARTS)


def budgeted(trial: ClaimTrial) -> PlannedJob:
    """R1-Zero of the pair, its thoughts closed at each budget."""
    c, of = trial.config, trial.named(ZERO.name)
    name = f"thinking-{of}"
    judged = arms.evaluated(trial, name, of, trial.zero).job.config
    run = thinking.after_evaluation(judged, c.place(name), budgets(c), end=END, alone=0)
    return PlannedJob(Job(name, "experiments.smollm2.thinking", run, thinking.Config()), (of,))


def steps(study: Study) -> Steps:
    """R1-Zero as in claim a, judged by budgets."""
    planned = arms.every_base(study.config, "base") + study.steps(ZERO)
    if (rate := study.rate(ZERO.name)) is None:
        return planned
    return planned + [budgeted(ClaimTrial(study, *pair, rate)) for pair in study.pairs()]


def called(budget: int) -> str:
    """A budget among the numbers."""
    return f"{budget} tokens"


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Accuracy, vote and length by budget."""
    judged = study.found.get(f"thinking-{pair.named(ZERO.name)}", {}).get("budgets", {})
    trained, found = study.row(pair.named(ZERO.name)), dict[str, Number]()
    for budget in budgets(study.config):
        found |= numbers({"after": judged.get(str(budget), {})}, called(budget), MEASURES)
        found |= went(trained, called(budget))
    return found


def doubled(least: int) -> ClaimLine:
    """A budget of twice as many tokens is worth at least 2 points."""
    return gain("pass@1", called(2 * least), called(least), 2)


CLAIM = Claim(
    letter="q",
    title="Accuracy rises with the thought budget",
    source="Supplement E.4 of version 2: of 366 contest problems R1 solves 61.8 % with 8,793 "
    "tokens of thought, GPT-4o 24.7 % with 711; o1's report: accuracy rises with what is spent on "
    "thought.",
    hypothesis="Each doubling of the budget, from 16 to 32, 64 and 128 tokens, raises R1-Zero's "
    "held-out pass@1 by at least 2 points.",
    protocol="The R1-Zero of claim a as it is; 256 held-out problems x 16 samples at "
    "temperature 0.6 and top-p 0.95. A completion that has not ended within its budget is cut "
    "there, its thought is closed (`</think> <answer>`) and the answer is drawn, in at most 24 "
    "tokens, under every budget alike (`experiments/smollm2/thinking.py`). Only budgets are "
    "claimed: thoughts that end by themselves are no longer than they were, so that what a "
    "doubling is worth ends where they do. Beside: the vote of 16 short thoughts against one of "
    "four times as many tokens.",
    lines=(doubled(16), doubled(32), doubled(64)),
    beside=(
        doubled(8),
        ClaimLine("one thought of 64 tokens - vote of 16 thoughts of 16", "pass@1/64 tokens",
                  "vote of 16/16 tokens"),
        gain("tokens", called(128), called(64), 0, "tokens"),
    ),
    picture=Picture("Held-out accuracy by budget", "percent", ("pass@1", "vote of 16")),
    steps=steps,
    measure=measure,
    minutes=10,
)  # fmt: skip
