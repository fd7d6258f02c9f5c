"""(f) A small model learns more from a large one's samples than by reinforcement learning itself.

python -m experiments.claims --only f --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from dataclasses import replace

from experiments.claims import arms
from experiments.claims.arms import ZERO
from experiments.claims.claim import (
    Arm,
    Claim,
    ClaimLine,
    Condition,
    Number,
    Numbers,
    Picture,
    Steps,
    gain,
)  # fmt: skip
from experiments.claims.results import RIGHT, numbers, of_arms, went
from experiments.claims.trial import LOST, BaseAndSeed, ClaimTrial, Study
from r1jax.run.names import SAVED
from r1jax.training.optimizer import OptimizerConfig

SIZES = (256, 1024, 4096)
"""Problems of which the teacher's samples are drawn, four of each."""
KIND = "student"
RL = arms.plain("student-rl")
DISTILLED = tuple(f"distil-{size}" for size in SIZES)
MOST_UPDATES = 100_000
"""Of supervised training, which ends where its operations are spent."""
BETTER_TEACHER = Condition(
    "the teacher is better than the student by 20 points",
    "pass@1/teacher",
    "pass@1/base",
    low=20,
)
CHARGED = "RL, the teacher's operations too"
CHARGED_LONGER = 8
"""Updates, in R1-Zero's, of the student that may spend more than five times its own operations."""
SPENT = "operations spent, %"
"""100 where a run went on until its operations were spent, 0 where its updates ended before."""


def spent(trial: ClaimTrial) -> float | None:
    """Operations of the student's own reinforcement learning with the same base and seed."""
    rl = trial.of(RL.name, KIND)
    row = trial.study.row(rl.named(RL.name)) if rl else {}
    return row.get("operations", {}).get("student")


def spent_with_teacher(trial: ClaimTrial) -> float | None:
    """The same, with those of the teacher's training."""
    own, teacher = spent(trial), trial.of(ZERO.name)
    row = trial.study.row(teacher.named(ZERO.name)) if teacher else {}
    taught = row.get("operations", {}).get("student")
    return own + taught if own and taught else None


def distilled(size: int) -> Arm:
    """Supervised training on the teacher's right samples of so many problems."""
    arm, data = f"distil-{size}", f"teacher-data-{size}"

    def steps(trial: ClaimTrial) -> Steps:
        teacher = trial.of(ZERO.name)
        if teacher is None:
            return []
        made = arms.taught_data(teacher, data, size)
        optimizer = OptimizerConfig(lr=trial.rate, warmup=5)
        how = {"updates": MOST_UPDATES, "until_operations": trial.most, "optimizer": optimizer}
        file = teacher.inside(data, "kept.jsonl")
        return [made, *arms.tuned(trial, arm, file, teacher.named(data), **how)]

    return arms.at_equal_operations(Arm(arm, steps), spent)


def then_rl(study: Study) -> Arm | None:
    """Reinforcement learning of the distilled student; None until it is known which that is."""
    best = study.best(DISTILLED)
    if best is None:
        return None

    def steps(trial: ClaimTrial) -> Steps:
        before = trial.of(best, KIND)
        after, parent = before.named(best), before.inside(best, SAVED)
        return [arms.learning(trial, "distil-rl", (after,), parent=parent)]

    return Arm("distil-rl", steps)


def charged(study: Study) -> Steps:
    """The student's reinforcement learning for as long as the teacher's operations last as well."""
    rate = study.rate(RL.name)
    trials = [ClaimTrial(study, *pair, rate, kind=KIND) for pair in study.pairs()] if rate else []
    most = [(trial, spent_with_teacher(trial)) for trial in trials]
    return [
        arms.learning(replace(t, most=m, longer=CHARGED_LONGER), "charged-rl") for t, m in most if m
    ]


ON_POLICY = arms.at_equal_operations(arms.on_policy("student-on-policy"), spent)
OWN = arms.own_samples("student-own")
CALLED = {"student-on-policy": "on-policy distilled", "student-own": "own right samples",
          "distil-rl": "distilled, then RL", "charged-rl": CHARGED,
          RL.name: "RL"}  # fmt: skip


def steps(study: Study) -> Steps:
    """Teachers, their samples, students."""
    c = study.config
    planned = arms.every_base(c, "base") + arms.every_base(c, KIND)
    planned += arms.bases_judged(study) + arms.bases_judged(study, KIND)
    planned += study.steps(ZERO)
    more = [found for found in (then_rl(study),) if found]
    every = (RL, *map(distilled, SIZES), ON_POLICY, OWN, *more)
    return planned + study.steps(*every, kind=KIND) + charged(study)


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Held-out pass@1 of every student, and of the teacher; parameters."""
    called = dict(zip(DISTILLED, (f"distilled, {size} problems" for size in SIZES), strict=True))
    found = of_arms(study, pair, CALLED | called, kind=KIND)
    teacher = study.row(pair.named(ZERO.name))
    found |= {**numbers(teacher, "teacher", RIGHT), **went(teacher, "distilled")}
    found |= went(teacher, CALLED[ON_POLICY.name])
    if (best := study.best(DISTILLED)) is not None:
        found |= numbers(study.row(pair.named(best)), "distilled", RIGHT)
    if all(map(study.lost, DISTILLED)):
        found |= went(LOST, "distilled")
    for arm in (ON_POLICY.name, "charged-rl"):
        ended = study.row(pair.named(arm)).get("ended")
        found[f"{SPENT}/{CALLED[arm]}"] = None if ended is None else 100.0 * (ended == "operations")
    sizes = [study.found.get(f"{kind}{pair.base}", {}).get("parameters") for kind in (KIND, "base")]
    share: Number = 100 * sizes[0] / sizes[1] if all(sizes) else None
    return found | {"parameters, % of the teacher's/student": share}


def has_spent(arm: str, *lines: str) -> Condition:
    """That all runs of an arm have spent their operations."""
    said = f"all operations are spent ({arm})"
    return Condition(said, f"{SPENT}/{arm}", low=100, lines=lines)


OTHERS = ("RL", "distilled")
CLAIM = Claim(
    letter="f",
    title="Distillation beats reinforcement learning on the small model",
    source="Section 4.1, table 6: Distill-Qwen-32B 72.6 on AIME, R1-Zero-Qwen-32B 47.0.",
    hypothesis="At equal operations of the student, one of at most a quarter of the teacher's "
    "parameters reaches at least 3 points more held-out pass@1 by supervised training on the "
    "teacher's right samples than by RL.",
    protocol="Teacher: the pair's R1-Zero. RL: 60 updates as R1-Zero; what its writing, scoring "
    "and learning take is what every other student may spend. Samples: 256, 1,024 or 4,096 "
    "problems x 4, right, in format, in one language, passed over until the operations are spent, "
    "at a constant rate. Rate and, of the distilled, number of problems are chosen on the "
    "selection set, for every arm from the same rates. Beside: on-policy distillation by the same "
    "teacher, supervised training on the student's own right samples (as many drawn as in RL), RL "
    "after distilling, and RL that may spend what the teacher's training took as well.",
    lines=(gain("pass@1", "distilled", "RL", 3),),
    conditions=(
        BETTER_TEACHER,
        Condition(
            "the student has at most a quarter of the teacher's parameters",
            "parameters, % of the teacher's/student",
            high=25,
        ),
        has_spent(CHARGED, f"pass@1: distilled - {CHARGED}"),
        has_spent("on-policy distilled", *(f"pass@1: on-policy distilled - {a}" for a in OTHERS)),
    ),
    beside=(
        *(gain("pass@1", "on-policy distilled", other, 0) for other in OTHERS),
        gain("pass@1", "distilled", CHARGED, 0),
        gain("pass@1", "distilled", "own right samples", 0),
        gain("pass@1", "distilled, then RL", "distilled", 0),
        ClaimLine("teacher's pass@1 - distilled", "pass@1/teacher", "pass@1/distilled"),
    ),
    picture=Picture("Held-out pass@1 of teacher and students", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    minutes=60,
)
