"""(f) A small model learns more from a large one's samples than by reinforcement learning itself.

    python -m experiments.claims --only f --bases runs/base0 runs/base1 \\
        --students runs/student0 runs/student1

80 runs of students and 40 of supervised training with the default seeds; see
`python -m experiments.claims`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from statistics import fmean
from typing import Any

from experiments.claims import runs
from experiments.claims.claim import Claim, Comparison, Numbers, Picture, below, gain
from experiments.claims.results import judged, number, parameters, smoothed, summary, training
from experiments.claims.runs import BaseAndSeed, Config, PlannedJob
from experiments.gates.rejection_sft import KeptSFTConfig as OwnSFT
from r1jax.training.optimizer import OptimizerConfig

RATES = {"low": 0.3, "middle": 1.0, "high": 3.0}  # of the plain run's learning rate
SFT: dict[str, Any] = {
    "epochs": 4,
    "batch": 32,
    "optimizer": OptimizerConfig(lr=5e-4, schedule="cosine", warmup=5),
}
WINDOW = 3  # rollouts over which training accuracy is averaged
TRAIN, SAMPLE = 6, 2  # operations per parameter and token


def steps(config: Config, pair: BaseAndSeed) -> list[PlannedJob]:
    """Teacher, samples, students."""
    student, named = config.students[pair.base], pair.named
    samples, others, tuned = named("teacher-data"), named("teacher-others"), named("distil")

    def rl(what: str, rate: float, after: tuple[str, ...] = (), **changes: Any) -> PlannedJob:
        optimizer = replace(config.zero.optimizer, lr=rate * config.zero.optimizer.lr)
        return runs.learning(
            config, named(what), pair, student, after, optimizer=optimizer, **changes
        )

    def tune(name: str, source: str, file: str) -> PlannedJob:
        path = str(runs.file(config, source, file))
        return runs.tuning(config, name, pair, student, path, (source,), **SFT)

    sft = replace(OwnSFT(), train=config.sft.train, **SFT)
    count = config.zero.data.eval_count
    return [
        runs.zero(config, pair),
        runs.teaching(config, samples, pair, named("zero")),
        runs.corpus_traces(config, others, pair, samples),
        tune(tuned, samples, "kept.jsonl"),
        rl("distil-rl", RATES["middle"], (tuned,), parent=runs.weights(config, tuned)),
        *(rl(f"student-{name}", rate) for name, rate in RATES.items()),
        runs.own_samples(config, named("student-own"), pair, student, sft=sft),
        tune(named("student-corpus"), others, "corpus.jsonl"),
        runs.judging(config, named("judge-student-corpus"), student, named("student-corpus"),
                     count, config.zero.eval.samples),
        rl("student-long", RATES["middle"], updates=config.long),
    ]  # fmt: skip


def measure(config: Config, pair: BaseAndSeed) -> Numbers:
    """Held-out pass@1 of every student; training accuracy at equal operations."""
    named = pair.named
    best = best_rate(config, pair.base)
    rl = summary(config, named(f"student-{best}")) if best else {}
    after_distilling = summary(config, named("distil-rl"))
    records: dict[str, Mapping[str, Any]] = {
        "teacher": summary(config, named("zero")).get("after", {}),
        "student": rl.get("before", {}),
        "distilled": after_distilling.get("before", {}),
        "RL": rl.get("after", {}),
        "own samples": summary(config, named("student-own")).get("after", {}),
        "corpus": judged(config, named("judge-student-corpus")),
        "distilled, then RL": after_distilling.get("after", {}),
        "long RL": summary(config, named("student-long")).get("after", {}),
    }
    measured = {f"pass@1/{arm}": number(record, "pass_at_1") for arm, record in records.items()}
    measured["learning rate, 1e-5/RL"] = (
        1e5 * RATES[best] * config.zero.optimizer.lr if best else None
    )
    if rl:
        models = config.students[pair.base], config.bases[pair.base]
        small, large = map(parameters, models)
        measured["parameters, % of the teacher's/student"] = 100 * small / large
    return measured | at_equal_cost(config, pair, best)


def best_rate(config: Config, base: int) -> str | None:
    """The learning rate whose mean held-out pass@1 over the seeds of a base is highest.

    Choosing on the set that is reported favours RL. None before all of them are done.
    """
    means = {}
    for name in RATES:
        done = (
            number(
                summary(config, BaseAndSeed(base, s).named(f"student-{name}")), "after", "pass_at_1"
            )
            for s in range(config.seeds)
        )
        if values := [value for value in done if value is not None]:
            means[name] = fmean(values)
    return max(means, key=lambda name: means[name]) if len(means) == len(RATES) else None


def at_equal_cost(config: Config, pair: BaseAndSeed, best: str | None) -> Numbers:
    """Operations in units of 10^12, and training accuracy (temperature 1) where they are equal.

    The distilled student's is that of the first rollout of the RL that follows it.
    """
    named = pair.named
    small, large = parameters(config.students[pair.base]), parameters(config.bases[pair.base])
    tuned, teaching = summary(config, named("distil")), summary(config, named("teacher-data"))
    teacher, first = training(config, named("zero")), training(config, named("distil-rl"))
    if not (tuned and teaching and teacher and first):
        return {}
    student_cost = TRAIN * small * tuned["tokens_seen"]
    each = tokens(teacher)[-1] / (len(teacher) * config.zero.rollout.prompts
                                  * config.zero.rollout.group)  # fmt: skip
    charged = student_cost + (TRAIN + SAMPLE) * large * tokens(teacher)[-1]
    charged += SAMPLE * large * teaching["samples"] * each
    measured: dict[str, float | None] = {
        "10^12 operations/distilled": student_cost / 1e12,
        "10^12 operations/distilled, teacher charged": charged / 1e12,
        "training accuracy/distilled": 100 * first[0]["reward/accuracy"],
    }
    short = training(config, named(f"student-{best}")) if best else []
    for arm, rows, cost in (
        ("RL", short, student_cost),
        ("long RL", training(config, named("student-long")), charged),
    ):
        if rows:
            spent, accuracy = reached(rows, (TRAIN + SAMPLE) * small, cost)
            measured[f"10^12 operations/{arm}"] = spent / 1e12
            measured[f"training accuracy/{arm}"] = accuracy
    return measured


def tokens(rows: list[dict[str, Any]]) -> list[int]:
    """Tokens learnt from, prompts included, up to each row."""
    return [row["data/tokens_seen"] for row in rows]


def reached(rows: list[dict[str, Any]], each: float, cost: float) -> tuple[float, float]:
    """(operations, training accuracy in percent) of a run when it has spent `cost`, or at its end.

    `each` are the operations of a token.
    """
    spent = [each * seen for seen in tokens(rows)]
    accuracies = smoothed([row["reward/accuracy"] for row in rows], WINDOW)
    there = next((i for i, operations in enumerate(spent) if operations >= cost), -1)
    return spent[there], 100 * accuracies[there]


CLAIM = Claim(
    letter="f",
    title="Distillation beats reinforcement learning on the small model",
    source="Section 4.1, table 6: Distill-Qwen-32B 72.6 on AIME, R1-Zero-Qwen-32B 47.0.",
    hypothesis="A student of at most a quarter of the teacher's parameters reaches at least 3 "
    "points more held-out pass@1 by supervised training on the teacher's right samples than by RL "
    "with the best of three learning rates, and still does at equal operations of the student.",
    protocol="Teacher: the pair's R1-Zero. Samples: 1,024 problems x 4, right, in format, in one "
    "language; 4 passes in batches of 32 at learning rate 5e-4. RL: 60 updates as R1-Zero at 3e-5, "
    "1e-4 and 3e-4, the best by the mean over the seeds of a base on the held-out set (which "
    "favours RL); 300 updates at 1e-4 for the comparison that charges the teacher. Beside: "
    "supervised training on the student's own right samples (as many drawn as in RL), on equally "
    "many right corpus traces, and RL at 1e-4 after distilling. Operations: 6 N a token learnt, "
    "2 N a token sampled, prompts included; the teacher's are its RL and its sampling. At equal "
    "operations training accuracy (new problems, temperature 1, running mean of 3 rollouts) is "
    "compared: of RL when it has spent as much or ends, of the distilled student in its next "
    "rollout.",
    comparisons=(
        Comparison("the teacher is better: teacher - student", "pass@1/teacher", "pass@1/student",
                   least=20, role="condition"),
        below("the student is small: its share of the teacher's parameters", 25.1,
              "parameters, % of the teacher's/student", unit="%", role="condition"),
        gain("pass@1", "distilled", "RL", 3),
        Comparison("training accuracy at equal operations of the student: distilled - RL",
                   "training accuracy/distilled", "training accuracy/RL", least=3),
        Comparison("training accuracy, the teacher charged: distilled - long RL",
                   "training accuracy/distilled", "training accuracy/long RL", least=3,
                   role="beside"),
        gain("pass@1", "distilled", "long RL", 3, role="beside"),
        gain("pass@1", "distilled", "own samples", 3, role="beside"),
        Comparison("pass@1: distilled - corpus traces", "pass@1/distilled", "pass@1/corpus",
                   least=3, role="beside"),
        gain("pass@1", "distilled, then RL", "distilled", 1, role="beside"),
    ),
    picture=Picture("Held-out pass@1 of teacher and students", "percent", ("pass@1",)),
    steps=steps,
    measure=measure,
    needs=("students",),
)  # fmt: skip
