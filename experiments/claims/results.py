"""What finished runs have left, as the numbers of claims; None where a run is not there."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from experiments.claims.runs import Config, file
from experiments.gates import jobs
from r1jax.errors import UserError
from r1jax.models.hub.find import model_directory
from r1jax.run.directory import read_json, read_jsonl

PERCENT = ("pass_at_1", "pass_at_1_strict", "format", "truncated", "language_consistency", "mixed")


def summary(config: Config, name: str) -> dict[str, Any]:
    """summary.json of a finished run; empty where there is none."""
    path = file(config, name, "summary.json")
    return read_json(path) if path.exists() else {}


def judged(config: Config, name: str) -> dict[str, Any]:
    """The record of a finished evaluation; empty where there is none."""
    made = file(config, name, jobs.FLAGS).exists()
    return read_json(file(config, name, "eval.json"))[0] if made else {}


def number(record: Mapping[str, Any], *keys: str) -> float | None:
    """A number of a record; shares come in percent."""
    value: Any = record
    for key in keys:
        value = value.get(key) if isinstance(value, Mapping) else None
    if value is None:
        return None
    share = keys[-1] in PERCENT or keys[-1].startswith("cons_at_") or "pass_at" in keys
    return 100 * value if share else float(value)


def numbers(
    record: Mapping[str, Any], arm: str, measures: Mapping[str, str]
) -> dict[str, float | None]:
    """The numbers of a record by "measure/arm"; `measures` gives the record's key of each."""
    return {f"{measure}/{arm}": number(record, key) for measure, key in measures.items()}


def majority(record: Mapping[str, Any]) -> float | None:
    """The majority vote of all samples, in percent."""
    return number(record, f"cons_at_{record['samples']}") if record else None


def change(new: float | None, old: float | None) -> float | None:
    """new / old - 1, in percent."""
    return None if new is None or not old else 100 * (new / old - 1)


def minus(a: float | None, b: float | None) -> float | None:
    """a - b."""
    return None if a is None or b is None else a - b


def training(config: Config, name: str) -> list[dict[str, Any]]:
    """The first row of each rollout in metrics.jsonl of a finished run: what rollouts say."""
    if not summary(config, name):
        return []
    read = read_jsonl(file(config, name, "metrics.jsonl"))
    rows = itertools.groupby(read, key=lambda row: row["rollout"])
    return [next(group) for _, group in rows]


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Running means of the last `window` values; of fewer at the beginning."""
    parts = (values[max(0, i + 1 - window) : i + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def last(rows: Sequence[Mapping[str, Any]], key: str, count: int = 5) -> float | None:
    """Mean of the last `count` rows that have the number."""
    values = [row[key] for row in rows if row.get(key) is not None][-count:]
    return sum(values) / len(values) if values else None


@functools.cache
def parameters(model: str) -> int:
    """Weights of a base, as its card says. UserError where it has no card."""
    path = model_directory(model) / "card.json"
    if not path.exists():
        raise UserError(f"{path}: is not there; bases come from experiments.pretraining.base")
    return read_json(path)["parameters"]


@functools.cache
def base_seed(model: str) -> int:
    """Seed of a base, as its card says."""
    return read_json(model_directory(model) / "card.json")["seed"]
