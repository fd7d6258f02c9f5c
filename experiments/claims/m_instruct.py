"""(m) An instruction-tuned start converges faster.

python -m experiments.claims --only m --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

import math
from dataclasses import replace

from experiments.claims import arms, pairs
from experiments.claims.arms import ZERO
from experiments.claims.claim import Arm, Claim, ClaimLine, Number, Numbers, Picture, Steps, gain
from experiments.claims.d_cold_start import LAST, SEEDS, updates_to
from experiments.claims.results import RIGHT, course, number, numbers, went
from experiments.claims.trial import BaseAndSeed, ClaimTrial, Study
from experiments.gates.jobs import Job
from experiments.gates.study import PlannedJob
from r1jax.commands import sft
from r1jax.data.examples.conversations import ConversationConfig
from r1jax.run.names import SAVED

COUNT = 2000
"""General replies that are learnt, twice, at the rate of the supervised demo."""
TUNED = "instruct"
CALLED = {ZERO.name: "none", "rl-instruct": "instruction-tuned"}


def tuned(trial: ClaimTrial) -> Steps:
    """Replies to general prompts, and supervised training of the base on them."""
    c, pair = trial.config, BaseAndSeed(trial.base, trial.seed)
    data, name = f"replies-s{trial.seed}", pair.named(TUNED)
    made = pairs.Config(run=c.place(data), count=COUNT, seed=arms.DATA_SEED + trial.seed)
    run = replace(
        c.sft, run=c.place(name), model=trial.model, seed=trial.seed,
        data=ConversationConfig(
            train=(c.place(data, pairs.REPLIES),), template=c.zero.data.template
        ),
    )  # fmt: skip
    return [
        PlannedJob(Job(data, "experiments.claims.pairs", made, pairs.Config())),
        PlannedJob(Job(name, "experiments.sft", run, sft.COMMAND.default), (*trial.needed, data)),
    ]


def _learnt(trial: ClaimTrial) -> Steps:
    name = BaseAndSeed(trial.base, trial.seed).named(TUNED)
    run = arms.learning(trial, "rl-instruct", (name,), parent=trial.config.place(name, SAVED))
    return [*tuned(trial), run]


def steps(study: Study) -> Steps:
    """R1-Zero from the base, and from the base that has learnt general replies."""
    planned = arms.every_base(study.config, "base") + arms.bases_judged(study)
    return planned + study.steps(ZERO, Arm("rl-instruct", _learnt), seeds=SEEDS)


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Updates to 90 % of the base arm's final training accuracy, and their logarithm; finals."""
    plain = study.row(pair.named(ZERO.name))
    curve = course(plain, "accuracy")
    target = 0.9 * sum(curve[-LAST:]) / len(curve[-LAST:]) if curve else None
    tuned_first = study.found.get(pair.named(TUNED), {})
    spent = tuned_first.get("operations", {}).get("student")
    each = plain.get("operations", {}).get("student", 0.0) / max(1, len(curve))
    found: dict[str, Number] = went(tuned_first, CALLED["rl-instruct"])
    for arm, called in CALLED.items():
        row = study.row(pair.named(arm))
        made = None if target is None else updates_to(course(row, "accuracy"), target)
        extra = 0.0 if arm == ZERO.name else spent / each if spent and each else None
        found |= numbers(row, called, RIGHT)
        found |= {
            f"updates/{called}": made,
            f"logarithm of the updates/{called}": None if made is None else math.log(max(1, made)),
            f"updates, supervised training charged/{called}":
                None if made is None or extra is None else made + extra,
            f"tokens/{called}": number(row, "length_mean"),
        }  # fmt: skip
    return found


CLAIM = Claim(
    letter="m",
    title="An instruction-tuned start converges faster",
    source="SimpleRL-Zoo, Open-Reasoner-Zero and others begin at bases; those who begin at "
    "instruction-tuned models report fewer steps.",
    hypothesis="After supervised training on replies that hold no task of the reward, R1-Zero "
    "needs at most 0.8 times the updates to 90 % of what it reaches from the base.",
    protocol="2,000 replies of the world to general prompts, two passes at a rate of 1e-4; then "
    "60 updates as R1-Zero, at a rate chosen on the selection set. Updates are counted as in "
    "claim d (one at least), their logarithms compared; three seeds a base, of which the median "
    "counts. Beside: what supervised training took, in R1-Zero's updates of as many operations, "
    "and finals. The bases have read general replies before (15 % of their corpus).",
    lines=(
        ClaimLine(
            "log of the updates: instruction-tuned - none",
            "logarithm of the updates/instruction-tuned",
            "logarithm of the updates/none",
            sign=-1,
            least=round(math.log(0.8), 3),
            unit="",
        ),
    ),
    beside=(
        gain("updates", "none", "instruction-tuned", 0, "updates"),
        gain("updates, supervised training charged", "none", "instruction-tuned", 0, "updates"),
        gain("pass@1", "instruction-tuned", "none", 0),
    ),
    picture=Picture("Updates to 90 % of R1-Zero's final accuracy", "updates", ("updates",)),
    steps=steps,
    measure=measure,
    minutes=15,
    seeds=SEEDS,
    over="median",
)
