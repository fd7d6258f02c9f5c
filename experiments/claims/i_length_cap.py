"""(i) Raising the length cap in mid-run lets accuracy and length jump.

    python -m experiments.claims --only i --bases runs/base0 runs/base1

30 half runs of the demo, claim a's, and 10 evaluations; see `python -m experiments.claims`.
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, above, gain
from experiments.claims.results import judged, last, numbers, summary, training
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob

MEASURES = {"pass@1": "pass_at_1", "tokens": "length_mean", "truncated": "truncated"}
ELSEWHERE = 500  # added to the seed of the second half's problems


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """A first half under the low cap, continued under the same and under the full one."""
    model, half = config.bases[pair.base], max(1, config.zero.updates // 2)
    full = config.zero.rollout
    low = replace(full, max_tokens=full.max_tokens * 3 // 8)
    first, kept = pair.named("cap-first"), pair.named("cap-kept")
    later = {
        "updates": half,
        "parent": runs.weights(config, first),
        "data": replace(config.zero.data, seed=pair.seed + ELSEWHERE),
    }
    return [
        runs.zero(config, pair),
        runs.learning(config, first, pair, model, updates=half, rollout=low),
        runs.learning(config, kept, pair, model, (first,), rollout=low, **later),
        runs.learning(config, pair.named("cap-raised"), pair, model, (first,), **later),
        runs.judging(config, pair.named("judge-cap-kept"), model, kept,
                     config.zero.data.eval_count, config.zero.eval.samples),
    ]  # fmt: skip


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Held-out accuracy and length of each; what the low cap cuts off the base."""
    first = summary(config, pair.named("cap-first"))
    records = {
        "base": first.get("before", {}),
        "first half": first.get("after", {}),
        "kept": summary(config, pair.named("cap-kept")).get("after", {}),
        "kept, judged at the full cap": judged(config, pair.named("judge-cap-kept")),
        "raised": summary(config, pair.named("cap-raised")).get("after", {}),
        "full throughout": summary(config, pair.named("zero")).get("after", {}),
    }
    measured: dict[str, float | None] = {}
    for arm, record in records.items():
        measured |= numbers(record, arm, MEASURES)
    for arm, name in (("kept", "cap-kept"), ("raised", "cap-raised")):
        rows = training(config, pair.named(name))
        measured[f"tokens in training, first 5/{arm}"] = last(rows[:5], "completion/length_mean")
        measured[f"tokens in training, last 5/{arm}"] = last(rows, "completion/length_mean")
    return measured


CLAIM = Claim(
    letter="i",
    title="Raising the length cap in mid-run lets accuracy and length jump",
    source="Section 2.3 of version 2: both jump at step 8,200, when the cap goes from 32,768 to "
    "65,536 tokens.",
    hypothesis="Continued under a cap of 128 tokens instead of 48, a run ends at least 3 points "
    "more accurate and 3 tokens longer.",
    protocol="30 updates of R1-Zero with completions cut at 48 tokens, then 30 more with the "
    "optimizer anew under the same cap or under 128, beside the 60 of claim a under 128; 256 "
    "held-out problems x 16 samples, each at its own cap, and the one that kept 48 at 128 as well.",
    comparisons=(
        above("the low cap cuts the base: truncated", 2, "truncated/base",
              unit="%", role="condition"),
        gain("pass@1", "raised", "kept", 3),
        Comparison("length: raised - kept", "tokens/raised", "tokens/kept", least=3,
                   unit="tokens"),
        Comparison("pass@1, both judged at the full cap: raised - kept", "pass@1/raised",
                   "pass@1/kept, judged at the full cap", least=3, role="beside"),
        Comparison("length, both judged at the full cap: raised - kept", "tokens/raised",
                   "tokens/kept, judged at the full cap", least=3, unit="tokens", role="beside"),
        above("pass@1 catches up: raised - full throughout", -3, "pass@1/raised",
              "pass@1/full throughout", role="beside"),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
)  # fmt: skip
