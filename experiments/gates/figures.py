"""What a finished run has found, as one line of JSON that can be carried away from its machine."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from experiments.gates import rejection_sft, study
from experiments.gates.study import rounded
from r1jax.commands import evaluate
from r1jax.run import names
from r1jax.run.directory import read_json, read_jsonl
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.search.config import SearchRunConfig
from r1jax.stages.supervised import SFTConfig
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.state import own_operations

COURSE = {
    "accuracy": "reward/accuracy",
    "tokens": "completion/length_mean",
    "entropy": "policy/entropy",
}
"""What a rollout says of the policy."""
SIDE = ("pass_at_1", "pass_at_1_ci", "pass_at_1_strict", "format", "length_mean", "truncated")
OTHERS = {
    "critic": "critic", "teacher": "teacher", "prime": "reward tower", "value": "value model",
    "value_update": "value model",
}  # fmt: skip
DIGITS = 4


def figure(name: str, job: Any, out: Path) -> dict[str, Any]:
    """The line of a run that has ended: where it ran, held-out numbers, operations, its course."""
    where, found = out / name, {"name": name}
    if isinstance(job, evaluate.Config):
        (record,) = read_json(where / names.EVALUATIONS)
        return found | {"after": side(record)}
    summary = read_json(where / names.SUMMARY)
    found |= {"seconds": round(summary["wall_seconds"]), "machine": machine(summary["environment"])}
    if isinstance(job, (RLConfig, rejection_sft.Config)):
        judged = {"before": summary["before"], "after": summary["after"]}
        found |= {key: side(record) for key, record in judged.items() if record}
    if isinstance(job, rejection_sft.Config):
        found["operations"] = {"student": short(summary["operations"])}
    if isinstance(job, (RLConfig, SFTConfig, RewardModelConfig)):
        rows = read_jsonl(where / names.METRICS)
        found |= {"updates": summary["updates"], "operations": operations(rows)}
    if isinstance(job, SearchRunConfig):
        found["operations"] = operations(read_jsonl(where / names.METRICS))
    if isinstance(job, RLConfig):
        found |= {"ended": summary["ended"], "course": course(rows)}
    return found


def side(record: Mapping[str, Any]) -> dict[str, Any]:
    """The numbers of an evaluation, with its majority vote."""
    samples = record["samples"]
    return rounded(
        {key: record[key] for key in SIDE}
        | {"cons": record[f"cons_at_{samples}"], "samples": samples}
    )


def machine(environment: Mapping[str, Any]) -> dict[str, str]:
    """What a run ran on, and when."""
    return {
        "device": environment["device_kind"],
        "python": environment["python"],
        "jax": environment["packages"]["jax"],
        "date": time.strftime("%Y-%m-%d"),
    }


def operations(rows: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Sums over a run: the student's, and those of whoever stands beside it."""
    rows = list(rows)
    found = {"student": sum(map(own_operations, rows))} | dict.fromkeys(OTHERS.values(), 0.0)
    for name, said in OTHERS.items():
        found[said] += sum(row.get(f"operations/{name}", 0.0) for row in rows)
    return {name: short(spent) for name, spent in found.items() if spent}


def short(value: float) -> float:
    """A large number to a few digits."""
    return float(f"{value:.{DIGITS}g}")


def course(rows: Iterable[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Numbers of each rollout: what it said of the policy, the student's operations by its end."""
    rows = list(rows)
    by_rollout = itertools.groupby(rows, key=lambda row: row["rollout"])
    spent = itertools.accumulate(sum(map(own_operations, group)) for _, group in by_rollout)
    return study.course(rows, COURSE) | {"operations": [short(value) for value in spent]}
