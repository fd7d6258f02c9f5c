"""Judges a model: pass@1 over k samples, majority vote, pass@k, with intervals (paper, section 3).

    r1jax evaluate --model DIRECTORY --data.eval FILE.jsonl --out evaluation

T 0.6 and top-p 0.95 as in the paper. Several sets in one call: name several sources. A run
directory's checkpoint is judged with `--checkpoint runs/demo/checkpoints` beside its `--model`.
Prints a table; with --out leaves eval.json and completions.jsonl, and after Ctrl-C or a kill the
same command goes on with the samples that were there. Seconds for the embedded base on an
accelerator, a minute on a laptop CPU.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.checkpoint import find_step
from r1jax.commands import Command
from r1jax.data import EvalDataConfig, load_eval_sets
from r1jax.data.problems.room import PromptRoom
from r1jax.data.rows import refuse_overwrite
from r1jax.errors import UserError, check_ranges, told
from r1jax.evaluate.kept import KeptSamples
from r1jax.evaluate.measures import EvalConfig, completions_rows, evaluate
from r1jax.mesh import make_mesh
from r1jax.rewards import RewardPool, SandboxConfig, accuracy
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.policy import load_policy, make_engine, make_sampler
from r1jax.run.directory import to_json, write_json, write_jsonl
from r1jax.run.flags import AskedFlags
from r1jax.run.names import CONFIG
from r1jax.run.signals import watched
from r1jax.run.visible import line
from r1jax.training.weights import trained_weights

WRITTEN = ("completions.jsonl", "eval.json", "samples.part.jsonl")
GRACE = 20.0  # seconds in which a signal waits for the next segment of decoding


@dataclass(frozen=True)
class Config(AskedFlags):
    """What is judged, on what, how."""

    out: str = ""
    """Directory for eval.json and completions.jsonl; empty: print only."""
    workers: int = 2
    """Processes that grade answers; 0 grades in this process, without limits."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    """Running programs, where answers are such."""
    data: EvalDataConfig = field(default_factory=lambda: EvalDataConfig(template="mini"))
    """The sets, under --data.eval."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """How many samples, drawn how."""
    rollout: EngineConfig = field(
        default_factory=lambda: EngineConfig(slots=256, max_prompt=128, max_tokens=128)
    )
    """Shapes of the generation engine."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", workers="[0,]")


def main(config: Config) -> None:
    """Loads, samples, judges, prints; what is judged is written before the next set begins.

    With --out samples are kept as they come, for the same command to go on with.
    """
    with watched(GRACE):
        judge_sets(config)


def make_room(out: Path, config: Config) -> None:
    """The directory of --out. UserError where another file, or a run, is in its place."""
    if (out / CONFIG).exists():
        raise UserError(f"--out {out}: is a run with an eval.json of its own; name another")
    for name in WRITTEN:
        refuse_overwrite("--out", out / name, config.data.eval)
    with told(f"--out {out}: cannot be written"):
        out.mkdir(parents=True, exist_ok=True)


def origin(config: Config, model: Path) -> dict[str, Any]:
    """What texts come from: the flags, and files by size and time of change."""
    folders = [model]
    if config.checkpoint:
        step = find_step(config.checkpoint, config.step, config.unverified)
        folders.append(Path(config.checkpoint) / str(step))
    files = [path for folder in folders for path in sorted(folder.glob("*")) if path.is_file()]
    known = {str(p): [p.stat().st_size, p.stat().st_mtime_ns] for p in files}
    apart = ("out", "workers", "sandbox")
    return {k: v for k, v in to_json(config).items() if k not in apart} | {"files": known}


def judge_sets(config: Config) -> None:
    """As `main`, for who listens to signals."""
    out = Path(config.out) if config.out else None
    if out:
        make_room(out, config)
    mesh, data = make_mesh(config.mesh), config.data
    policy = load_policy(config.model, data.template, data.system, data.prefill, config.family)
    sets = load_eval_sets(data, print, PromptRoom(config.rollout.max_prompt, policy.prompts))
    limits = config.sandbox
    for problems in sets.values():
        accuracy(sandbox=limits).check(problems)
    params = trained_weights(policy, mesh, config.checkpoint, config.step, config.unverified)
    engine = make_engine(policy, mesh, config.rollout, dtype=config.dtype)
    sampler = make_sampler(engine, policy, engine.prepare(params), config.eval.max_tokens or None)
    kept = KeptSamples(out / WRITTEN[2], origin(config, policy.directory)) if out else None
    records, rows = [], []
    with RewardPool(workers=config.workers, **limits.room) as pool:
        for name, problems in sets.items():
            started = time.time()
            draw = kept.sampler(name, sampler) if kept else sampler
            evaluation = evaluate(
                problems, draw, config.eval, pool, name, config.seed, sandbox=limits
            )
            records.append(evaluation.record | {"seconds": time.time() - started})
            rows += completions_rows(evaluation)
            show(records[-1])
            if out:
                write(out, records, rows)
    if out:
        kept.remove()
        print(f"{out}/eval.json")


def show(record: Mapping[str, Any]) -> None:
    """Prints a record: the set as a whole, then by metadata."""
    k = record["samples"]
    keys = ["pass_at_1", "pass_at_1_strict", "pass_at_1_greedy", f"cons_at_{k}", f"pass_at_{k}"]
    keys += ["format", "length_mean", "truncated"]
    table = Table(title=Text(line(f"{record['set']}: {record['problems']} problems x {k} samples")))
    for column in ("", *keys):
        table.add_column(column, justify="right")
    rows = {"all": record} | {
        f"{by} {value}": part for by, parts in record["by"].items() for value, part in parts.items()
    }
    for name, row in rows.items():
        numbers = (row.get(key) for key in keys)
        table.add_row(Text(line(name)), *("" if n is None else f"{n:.3f}" for n in numbers))
    Console(width=140).print(table)
    print(f"mixed {record['mixed']:.3f}  {record['seconds']:.1f} s")


def write(out: Path, records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Leaves eval.json and completions.jsonl in `out`."""
    with told(f"--out {out}: cannot be written"):
        write_jsonl(out / WRITTEN[0], rows)
        write_json(out / WRITTEN[1], records)


COMMAND = Command(main, Config())
