"""(p) Distillation on the student's own samples beats distillation on the teacher's.

python -m experiments.claims --only p --devices 1 --jobs 14 --memory-fraction 0.06
"""

from __future__ import annotations

from experiments.claims import f_distillation
from experiments.claims.claim import Claim, ClaimLine, Number, Numbers, Picture, gain
from experiments.claims.trial import BaseAndSeed, Study

TEACHER = ("on-policy distilled", "distilled")


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """Claim f's numbers, and what the teacher computes beside the student."""
    found: dict[str, Number] = dict(f_distillation.measure(study, pair))
    row = study.row(pair.named(f_distillation.ON_POLICY.name)).get("operations", {})
    for who in ("student", "teacher"):
        spent = row.get(who)
        found[f"10^12 operations of the {who}/on-policy distilled"] = spent and spent / 1e12
    return found


CLAIM = Claim(
    letter="p",
    title="On-policy distillation beats off-policy distillation",
    source="Agarwal et al. (GKD, 2306.13649) and others: a student learns more from a teacher's "
    "word on what it writes itself than from the teacher's texts.",
    hypothesis="At equal operations of the student, on-policy distillation ends at least 2 points "
    "of held-out pass@1 above supervised training on the teacher's right samples.",
    protocol="The runs of claim f: the same students, teachers (the pair's R1-Zero) and "
    "operations of the student (those of its own reinforcement learning); rates and, off policy, "
    "the number of problems are chosen on the selection set. On policy: the log-probability ratio "
    "of teacher and student on each token that the student wrote, no reward. What the teacher "
    "computes there is not the student's and stands beside.",
    lines=(gain("pass@1", *TEACHER, 2),),
    conditions=(
        f_distillation.BETTER_TEACHER,
        f_distillation.has_spent(TEACHER[0]),
    ),
    beside=(
        gain("pass@1", "on-policy distilled", "RL", 0),
        ClaimLine(
            "10^12 operations of the teacher beside",
            "10^12 operations of the teacher/on-policy distilled",
            unit="",
        ),
    ),
    picture=Picture("Held-out pass@1 of teacher and students", "percent", ("pass@1",)),
    steps=f_distillation.steps,
    measure=measure,
    minutes=60,
)
