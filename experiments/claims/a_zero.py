"""(a) R1-Zero raises pass@1, and its answers grow.

    python -m experiments.claims --only a --bases runs/base0 runs/base1

20 runs of the demo and 22 evaluations with the default seeds; see `python -m experiments.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture
from experiments.claims.modes import profile, split_growth
from experiments.claims.results import judged, number, summary
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob
from r1jax.data import load_eval_sets
from r1jax.data.world.traces import MODES
from r1jax.run.directory import read_jsonl

ARMS = {"zero": "constant", "zero-mean": "sequence mean"}
SAMPLES = 64  # of each problem where only the modes are wanted


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """R1-Zero with both reductions; samples of each, and of the base."""
    model = config.bases[pair.base]
    name = pair.named("zero-mean")
    loss = replace(config.zero.loss, reduction="sequence_mean")
    samples = min(SAMPLES, config.judge_samples)
    return [
        runs.zero(config, pair),
        runs.learning(config, name, pair, model, loss=loss),
        runs.judging(config, f"judge-base-b{pair.base}", model),
        runs.judging(config, pair.named("judge-zero"), model, pair.named("zero")),
        runs.judging(config, pair.named("judge-zero-mean"), model, name, samples=samples),
    ]


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Accuracy and lengths of the held-out set; modes and what growth owes to them."""
    measured: dict[str, float | None] = {}
    sides = {"base": summary(config, pair.named("zero")).get("before", {})}
    sides |= {arm: summary(config, pair.named(what)).get("after", {}) for what, arm in ARMS.items()}
    for arm, record in sides.items():
        measured[f"pass@1/{arm}"] = number(record, "pass_at_1")
        for key, name in (("", ""), ("_correct", ", right"), ("_wrong", ", wrong")):
            measured[f"tokens{name}/{arm}"] = number(record, f"length_mean{key}")
    base = samples(config, f"judge-base-b{pair.base}")
    held_out = next(iter(load_eval_sets(config.zero.data).values())) if base else ()
    families = {problem.id: problem.metadata["family"] for problem in held_out}
    for mode, (share, _) in profile(base, families).items() if base else ():
        measured[f"{mode}, %/base"] = 100 * share
    for what, arm in ARMS.items():
        rows = samples(config, pair.named(f"judge-{what}"))
        if base and rows:
            measured |= growth(base, rows, families, arm)
    return measured


def growth(
    base: Sequence[Mapping[str, Any]],
    rows: Sequence[Mapping[str, Any]],
    families: Mapping[str, str],
    arm: str,
) -> Numbers:
    """Shares of modes, and the growth from shares and within modes, right and wrong apart."""
    shares = profile(rows, families)
    measured: dict[str, float | None] = {f"{m}, %/{arm}": 100 * shares[m][0] for m in MODES}
    kinds = {"": (True, False), ", right": (True,), ", wrong": (False,)}
    for name, wanted in kinds.items():
        before, after = (
            profile([row for row in side if row["lenient"] in wanted], families)
            for side in (base, rows)
        )
        if any(share for share, _ in before.values()) and any(s for s, _ in after.values()):
            by_modes, within = split_growth(before, after)
            measured[f"growth by modes{name}/{arm}"] = by_modes
            measured[f"growth within modes{name}/{arm}"] = within
    return measured


def samples(config: Config, name: str) -> list[dict[str, Any]]:
    """The completions of a finished evaluation."""
    record = judged(config, name)
    return read_jsonl(runs.file(config, name, "completions.jsonl")) if record else []


CLAIM = Claim(
    letter="a",
    title="R1-Zero raises pass@1, and its answers grow",
    source="Section 2.3: AIME pass@1 15.6 to 71.0, mean length from hundreds to 10,000 tokens. "
    "Dr. GRPO: part of the growth is an artefact of averaging over each sequence.",
    hypothesis="Reinforcement learning on rule-based rewards alone raises held-out pass@1 by at "
    "least 20 points and mean length by at least 5 tokens, whether tokens count alike (constant) "
    "or each sequence does (sequence mean).",
    protocol="60 updates of 32 prompts x 8 completions with each reduction, from the base; 256 "
    "held-out problems x 16 samples before and after. Length is split on samples of 64 held-out "
    "problems into changed shares of modes (guess, short, long, checked: told from the text by "
    "rule) and changed lengths within modes; the two add up.",
    comparisons=(
        Comparison("pass@1, constant", "pass@1/constant", "pass@1/base", least=20),
        Comparison("pass@1, sequence mean", "pass@1/sequence mean", "pass@1/base", least=20),
        Comparison("length, constant", "tokens/constant", "tokens/base", least=5, unit="tokens"),
        Comparison("length, sequence mean", "tokens/sequence mean", "tokens/base", least=5,
                   unit="tokens"),
        *(Comparison(f"growth within modes, {arm}", f"growth within modes/{arm}", least=2,
                     unit="tokens", role="beside") for arm in ARMS.values()),
        *(Comparison(f"{kind} answers: sequence mean longer than constant",
                     f"tokens, {kind}/sequence mean", f"tokens, {kind}/constant", least=3,
                     unit="tokens", role="beside") for kind in ("wrong", "right")),
    ),
    picture=Picture("Mean length of held-out answers", "tokens",
                    ("tokens", "tokens, right", "tokens, wrong")),
    steps=steps,
    measure=measure,
)  # fmt: skip
