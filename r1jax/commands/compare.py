"""Runs side by side: the flags in which they differ, and what became of each.

    r1jax compare --runs runs/sweep/* --by optimizer.lr

For a sweep, or for the seeds of one setting. A finished run is read from summary.json, one under
way from its last evaluation and metrics. With --by, runs that agree in those flags are averaged,
with the standard error of the mean. Prints a table; --out writes it as CSV. Seconds; no
accelerator.
"""

from __future__ import annotations

import csv
import io
import math
import statistics
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.commands import Command
from r1jax.data.rows import refuse_overwrite
from r1jax.errors import UserError, told
from r1jax.run.directory import flatten, read_json, read_jsonl, write_text
from r1jax.run.visible import line

IGNORED = ("run", "overwrite", "log", "process", "profile")


@dataclass(frozen=True)
class Config:
    """Which runs are compared, on what."""

    runs: tuple[str, ...] = ()
    """Run directories."""
    by: tuple[str, ...] = ()
    """Flags (as in config.json: optimizer.lr) whose equal runs are averaged; none: every run."""
    metrics: tuple[str, ...] = ("reward/mean", "completion/length_mean")
    """Metrics of the last update to show beside the evaluations."""
    out: str = ""
    """CSV file to write the table to; empty: print only."""


def main(config: Config) -> None:
    """Reads the runs, prints the table."""
    paths = [Path(run) for run in config.runs]
    if not paths:
        raise UserError("--runs: name at least one run directory, as in --runs runs/sweep/*")
    if config.out:
        read = [file for path in paths for file in (path.iterdir() if path.is_dir() else ())]
        refuse_overwrite("--out", config.out, read)
    configs = [read_config(path) for path in paths]
    results = [read_result(path, config.metrics) for path in paths]
    for name in set(config.metrics) - {*Config.metrics}:
        if all(result[name] is None for result in results):
            raise UserError(f"--metrics {name}: is in no last row of metrics.jsonl of these runs")
    if config.by:
        rows = averaged(configs, results, config.by)
    else:
        differing = different(configs)
        rows = [
            {"run": path.name} | {name: flags.get(name) for name in differing} | result
            for path, flags, result in zip(paths, configs, results, strict=True)
        ]
    show(rows)
    if config.out:
        table = io.StringIO()
        writer = csv.DictWriter(table, columns(rows))
        writer.writeheader()
        writer.writerows(rows)
        with told(f"--out {config.out}: cannot be written"):
            Path(config.out).parent.mkdir(parents=True, exist_ok=True)
            write_text(Path(config.out), table.getvalue())


def read_config(path: Path) -> dict[str, Any]:
    """The flags of a run, dotted; UserError where the directory holds no run."""
    if not (path / "config.json").exists():
        raise UserError(f"--runs {path}: holds no config.json; name run directories")
    config = read_json(path / "config.json")
    if not isinstance(config, dict):
        raise UserError(f"--runs {path}: its config.json holds no flags; name run directories")
    return flatten(config)


def read_result(path: Path, metrics: Sequence[str]) -> dict[str, Any]:
    """State, updates made, held-out pass@1 at the first and last evaluation, chosen metrics."""
    metrics_file = path / "metrics.jsonl"
    last = (read_jsonl(metrics_file) if metrics_file.exists() else [])[-1:] or [{}]
    judged = read_json(path / "eval.json") if (path / "eval.json").exists() else []
    if not isinstance(judged, list) or not all(isinstance(e, dict) for e in judged):
        raise UserError(f"--runs {path}: its eval.json is no list of evaluations")
    first_set = [e for e in judged if e.get("set") == judged[0].get("set")]
    scores = [s for e in first_set if isinstance(s := e.get("pass_at_1"), int | float)]
    return {
        "state": "finished" if (path / "summary.json").exists() else "unfinished",
        "updates": last[0].get("update", 0),
        "before": scores[0] if scores else None,
        "after": scores[-1] if scores else None,
        **{name: last[0].get(name) for name in metrics},
    }


def different(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """The flags that do not have the same value in every run, in the first one's order."""
    names = dict.fromkeys(name for flags in configs for name in flags)
    return [
        name
        for name in names
        if name.partition(".")[0] not in IGNORED
        and any(flags.get(name) != configs[0].get(name) for flags in configs)
    ]


def averaged(
    configs: Sequence[Mapping[str, Any]], results: Sequence[Mapping[str, Any]], by: Sequence[str]
) -> list[dict[str, Any]]:
    """One row for each combination of the flags `by`: mean of every number, and its error."""
    groups: dict[tuple[str, ...], list[Mapping[str, Any]]] = defaultdict(list)
    for flags, result in zip(configs, results, strict=True):
        if unknown := [name for name in by if name not in flags]:
            raise UserError(f"--by {unknown[0]}: no such flag in config.json")
        groups[tuple(str(flags[name]) for name in by)].append(result)
    rows = []
    for values, members in groups.items():
        row: dict[str, Any] = dict(zip(by, values, strict=True)) | {"runs": len(members)}
        for name in members[0]:
            numbers = [m[name] for m in members if isinstance(m[name], int | float)]
            if numbers:
                row[name] = statistics.fmean(numbers)
                error = statistics.stdev(numbers) / math.sqrt(len(numbers)) if numbers[1:] else None
                row[f"±{name}"] = error
        rows.append(row)
    return rows


def columns(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """The keys of all rows, in the order in which they first occur."""
    return list(dict.fromkeys(name for row in rows for name in row))


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Prints the rows as a table."""
    names = columns(rows)
    table = Table()
    for name in names:
        table.add_column(Text(line(name)), justify="right")
    for row in rows:
        values = (row.get(name) for name in names)
        table.add_row(*("" if v is None else f"{v:.4g}" if isinstance(v, float)
                        else Text(line(str(v))) for v in values))  # fmt: skip
    Console(width=max(120, 16 * len(names))).print(table)


COMMAND = Command(main, Config())
