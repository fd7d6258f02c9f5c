"""(d) A cold start saves steps of reinforcement learning; or does supervised training first hurt?

    python -m experiments.claims --only d --bases runs/base0 runs/base1

40 runs of the demo (10 of them claim a's) and 50 short ones; see `python -m experiments.claims`.
"""

from __future__ import annotations

from typing import Any

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, gain
from experiments.claims.results import number, smoothed, summary, training
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob
from r1jax.training.optimizer import OptimizerConfig

FILES = {
    "cold": ("cold-data", "kept.jsonl"),
    "unrewritten": ("cold-others", "unrewritten.jsonl"),
    "corpus": ("cold-others", "corpus.jsonl"),
}
ARMS = {"zero": "none", "cold": "cold start", "unrewritten": "unrewritten", "corpus": "corpus"}
SFT: dict[str, Any] = {
    "epochs": 4,
    "batch": 32,
    "optimizer": OptimizerConfig(lr=4e-4, schedule="cosine", warmup=5),
}
WINDOW = 3  # rollouts over which training accuracy is averaged
LAST = 5  # rollouts that make R1-Zero's final training accuracy


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """Data from the pair's R1-Zero, supervised training on three kinds of it, then RL."""
    model, zero = config.bases[pair.base], pair.named("zero")
    data, others = pair.named("cold-data"), pair.named("cold-others")
    planned = [
        runs.zero(config, pair),
        runs.cold_start(config, data, pair, zero),
        runs.corpus_traces(config, others, pair, data),
    ]
    for what, (folder, file) in FILES.items():
        source, tuned = pair.named(folder), pair.named(f"sft-{what}")
        path = str(runs.file(config, source, file))
        parent = runs.weights(config, tuned)
        planned += [
            runs.tuning(config, tuned, pair, model, path, (source,), **SFT),
            runs.learning(config, pair.named(f"rl-{what}"), pair, model, (tuned,), parent=parent),
        ]
    return planned


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Updates to 90 % of R1-Zero's final accuracy; held-out accuracy before and after RL."""
    measured: dict[str, float | None] = {}
    plain = accuracies(config, pair.named("zero"))
    target = 0.9 * sum(plain[-LAST:]) / len(plain[-LAST:]) if plain else None
    for what, arm in ARMS.items():
        name = pair.named("zero" if what == "zero" else f"rl-{what}")
        curve, done = accuracies(config, name), summary(config, name)
        measured[f"updates/{arm}"] = None if target is None else updates_to(curve, target)
        for side, when in (("before", "before RL"), ("after", "after RL")):
            measured[f"pass@1 {when}/{arm}"] = number(done, side, "pass_at_1")
            measured[f"consistency {when}/{arm}"] = number(done, side, "language_consistency")
    return measured | {
        "examples/cold start": number(summary(config, pair.named("cold-data")), "kept")
    }


def accuracies(config: Config, name: str) -> list[float]:
    """Training accuracy of each rollout, on problems that are always new."""
    return [row["reward/accuracy"] for row in training(config, name)]


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
    title="A cold start saves steps of reinforcement learning",
    source="Sections 2.3.1 and 4: a small supervised cold start before RL avoids the unstable "
    "early phase. Against it: supervised training first can hurt what RL reaches in the end.",
    hypothesis="From supervised training on readable samples of R1-Zero, RL needs at least 5 "
    "updates less to 90 % of R1-Zero's final accuracy than from the base, and at least 3 less than "
    "after supervised training on equally many right traces of the corpus.",
    protocol="`cold_start_data --source zero` on each pair's own R1-Zero (512 prompts x 4 samples, "
    "at most 2 kept of each); four passes of supervised training of the base on them (batches of "
    "32, learning rate 4e-4), on the same samples unrewritten, or on equally many right corpus "
    "traces; then 60 updates as R1-Zero. Updates are counted until the running mean over 3 "
    "rollouts of training accuracy (new problems, temperature 1) reaches 90 % of the mean of "
    "R1-Zero's last 5; a run that never does counts 60. Final accuracy: 256 held-out problems x 16 "
    "samples.",
    comparisons=(
        gain("updates", "none", "cold start", 5, unit="updates"),
        gain("updates", "corpus", "cold start", 3, unit="updates"),
        gain("updates", "unrewritten", "cold start", 2, unit="updates", role="beside"),
        Comparison("opposite claim: final pass@1 falls, cold start - none",
                   "pass@1 after RL/cold start", "pass@1 after RL/none", sign=-1, least=-1,
                   role="beside"),
        Comparison("opposite claim: final pass@1 falls, corpus - none", "pass@1 after RL/corpus",
                   "pass@1 after RL/none", sign=-1, least=-1, role="beside"),
        Comparison("consistency before RL: cold start - base", "consistency before RL/cold start",
                   "consistency before RL/none", least=2, role="beside"),
        gain("consistency before RL", "cold start", "unrewritten", 2, role="beside"),
    ),
    picture=Picture("Updates to 90 % of R1-Zero's final accuracy", "updates", ("updates",)),
    steps=steps,
    measure=measure,
)  # fmt: skip
