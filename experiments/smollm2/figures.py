"""What a finished run has found, as one line of JSON that can be carried away from its machine."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from experiments.gates import rejection_sft, study
from experiments.gates.study import rounded
from experiments.smollm2 import english, thinking
from r1jax.commands import evaluate
from r1jax.run.directory import read_json, read_jsonl
from r1jax.stages.supervised import SFTConfig
from r1jax.training.rl.config import RLConfig

SETS = (
    "products", "sums", "one-digit products", "one-digit sums", "arithmetic", "three terms",
    "letters",
)  # fmt: skip
TRAINED = SETS[:4]
ARMS = (
    "grpo", "coin", "rejection", "unverified", "worked", "answer", "answer-grpo", "worked-grpo",
)  # fmt: skip
COURSE = {
    "accuracy": "reward/accuracy",
    "tokens": "completion/length_mean",
    "truncated": "completion/truncated_frac",
    "entropy": "policy/entropy",
    "same": "group/zero_std_frac",
}
KEPT = ("pass_at_1", "pass_at", "format", "length_mean", "truncated", "pass_at_1_ci")
TEXTS = 6


def figure(name: str, job: Any, out: Path) -> dict[str, Any]:
    """The line of a finished run: its sets before and after, its course, what it cost."""
    where, found = out / name, {"name": name}
    if isinstance(job, evaluate.Config):
        return found | {"after": sides(read_json(where / "eval.json")), "texts": texts(where)}
    summary = read_json(where / "summary.json")
    found["seconds"] = round(summary["wall_seconds"], 1)
    if isinstance(job, english.Config):
        return found | {"logp": rounded(summary["logp"]), "tokens": summary["tokens"]}
    if isinstance(job, thinking.Config):
        return found | {"budgets": budgets(summary["budgets"])}
    if isinstance(job, (RLConfig, rejection_sft.Config)):
        records = read_json(where / "eval.json")
        last = max(record["update"] for record in records)
        found |= {
            "before": sides(r for r in records if r["update"] == 0),
            "after": sides(r for r in records if r["update"] == last),
            "texts": summary["transcripts"][:TEXTS],
        }
    if isinstance(job, (RLConfig, rejection_sft.Config, SFTConfig)):
        rows = read_jsonl(where / "metrics.jsonl")
        tokens = rows[-1].get("data/tokens_seen", 0)
        found |= {"updates": len(rows), "rate": rate(job), "trained_tokens": round(tokens)}
    if isinstance(job, RLConfig):
        found["course"] = study.course(rows, COURSE)
        size = job.rollout.prompts * job.rollout.group
        found["sampled_tokens"] = round(size * sum(found["course"]["tokens"]))
    if isinstance(job, rejection_sft.Config):
        kept = ("drawn", "kept", "sampled_tokens", "trained_tokens")
        found |= {key: summary[key] for key in kept}
    return found


def rate(job: RLConfig | SFTConfig | rejection_sft.Config) -> float:
    """The peak learning rate of a run."""
    optimizer = job.sft.optimizer if isinstance(job, rejection_sft.Config) else job.optimizer
    return optimizer.lr


def budgets(records: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The sets of every budget, with the seconds of an answer alone."""
    found = {}
    for budget, group in itertools.groupby(records, key=lambda record: record["budget"]):
        rows = list(group)
        found[str(budget)] = named = sides(rows)
        for side, row in zip(named.values(), rows, strict=True):
            del side["right"]
            side["seconds"] = round(row.get("seconds", 0.0), 4)
    return found


def sides(records: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """The numbers of every set by its name, in the order of the sets."""
    named = {}
    for name, record in zip(SETS, records, strict=False):
        kept = {key: record[key] for key in KEPT}
        kept["cons"] = record[f"cons_at_{record['samples']}"]
        kept["samples"] = record["samples"]
        kept["right"] = [row["correct"] for row in record["per_problem"]]
        named[name] = rounded(kept)
    return named


def texts(where: Path) -> list[dict[str, Any]]:
    """The first sample of the first problems."""
    rows = read_jsonl(where / "completions.jsonl")
    return [
        {"question": row["question"], "answer": row["gold"],
         "after": {"text": row["text"], "correct": row["lenient"]}}
        for row in rows if row["sample"] == 0
    ][:TEXTS]  # fmt: skip


def score(found: Mapping[str, Any], key: str = "after") -> float:
    """pass@1 in percent, the mean of those sets of what is trained that were judged."""
    values = [found[key][name]["pass_at_1"] for name in TRAINED if name in found[key]]
    return 100 * sum(values) / len(values)


def tokens(found: Mapping[str, Any]) -> float:
    """Length of an answer, the mean of those sets of what is trained that were judged."""
    values = [found["after"][name]["length_mean"] for name in TRAINED if name in found["after"]]
    return sum(values) / len(values)


def truncated(found: Mapping[str, Any]) -> float:
    """The largest share of cut completions of a trained set."""
    return mean_truncated([found])


def mean_truncated(rows: Sequence[Mapping[str, Any]]) -> float:
    """The largest share of cut completions of a trained set, mean over runs."""
    there = [name for name in TRAINED if all(name in row["after"] for row in rows)]
    shares = ([row["after"][name]["truncated"] for row in rows] for name in there)
    return max(sum(values) / len(values) for values in shares)
