"""(k) The clip range with several updates per rollout, and dividing by the standard deviation.

    python -m experiments.claims --only k --bases runs/base0 runs/base1

40 runs beside claim a's; see `python -m experiments.claims`.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, above, gain
from experiments.claims.results import last as last_of
from experiments.claims.results import number, summary
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob
from r1jax.run.directory import read_jsonl

CLIPS = {"0.2 / 0.2": (0.2, 0.2), "0.2 / 0.28": (0.2, 0.28), "10": (10.0, 10.0)}
PARTS = 8  # updates per rollout
RATE = 0.4  # rollouts, of as many as the plain run has


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """Three ranges with 8 updates per rollout; the standard deviation with one."""
    model = config.bases[pair.base]
    train = replace(config.zero.train, updates_per_rollout=PARTS)
    updates = PARTS * max(1, round(RATE * config.zero.updates))
    loss = config.zero.loss
    clips = [
        runs.learning(
            config, pair.named(name_of(arm)), pair, model, train=train, updates=updates,
            loss=replace(loss, clip_low=low, clip_high=high),
        )
        for arm, (low, high) in CLIPS.items()
    ]  # fmt: skip
    std = replace(loss, advantage_std="unbiased")
    return [
        runs.zero(config, pair),
        *clips,
        runs.learning(config, pair.named("std"), pair, model, loss=std),
    ]


def name_of(arm: str) -> str:
    """What a run of a range is called."""
    return f"clip-{arm.replace(' ', '').replace('/', '-')}"


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Accuracy, and of the last updates entropy and the share of clipped tokens."""
    measured: dict[str, float | None] = {}
    arms = {arm: name_of(arm) for arm in CLIPS} | {"no std": "zero", "std": "std"}
    for arm, what in arms.items():
        name = pair.named(what)
        done = summary(config, name)
        rows = read_jsonl(runs.file(config, name, "metrics.jsonl")) if done else []
        key = arm.replace("/", "-")
        measured[f"pass@1/{key}"] = number(done, "after", "pass_at_1")
        measured[f"tokens/{key}"] = number(done, "after", "length_mean")
        measured[f"entropy/{key}"] = last_of(rows, "policy/entropy", 3 * PARTS)
        clipped = last_of(rows, "policy/clip_frac", 3 * PARTS)
        measured[f"clipped, %/{key}"] = None if clipped is None else 100 * clipped
    return measured


CLAIM = Claim(
    letter="k",
    title="A small clip range hurts; dividing by the standard deviation does not help",
    source="Section 3.2.1 of version 2: a small range cuts the gradient of many tokens and hurts, "
    "R1 takes 10. DAPO: raising the upper bound alone keeps entropy and helps. Dr. GRPO: the "
    "standard deviation biases towards too easy and too hard questions.",
    hypothesis="With 8 updates per rollout a clip range of 10 ends at least 1 point of held-out "
    "pass@1 above 0.2; without the standard deviation a run ends less than 2 points below one with "
    "it.",
    protocol="24 rollouts of 32 prompts x 8 completions, each split into 8 updates, with clip "
    "ranges 0.2 / 0.2, 0.2 / 0.28 and 10 / 10 (in the paper's rule the lower bound of 10 never "
    "binds); and 60 updates on policy with the group's standard deviation (G - 1), beside the 60 "
    "of claim a without. 256 held-out problems x 16 samples; entropy (nats a token) and share of "
    "clipped tokens over the last 24 updates.",
    comparisons=(
        Comparison("pass@1: range 10 - 0.2", "pass@1/10", "pass@1/0.2 - 0.2", least=1),
        above("pass@1: no std - std", -2, "pass@1/no std", "pass@1/std"),
        Comparison("pass@1: upper bound 0.28 - 0.2", "pass@1/0.2 - 0.28", "pass@1/0.2 - 0.2",
                   least=1, role="beside"),
        Comparison("entropy: upper bound 0.28 - 0.2", "entropy/0.2 - 0.28", "entropy/0.2 - 0.2",
                   least=0.01, unit="nats", role="beside"),
        gain("pass@1", "no std", "std", 1, role="beside"),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
)  # fmt: skip
