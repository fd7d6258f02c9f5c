"""Judges a model: pass@1 over k samples, majority vote, pass@k, with intervals (paper, section 3).

    r1jax evaluate --model DIRECTORY --data.eval FILE.jsonl --out evaluation

T 0.6 and top-p 0.95 as in the paper. Several sets in one call: name several sources. A run
directory's checkpoint is judged with `--checkpoint runs/demo/checkpoints` beside its `--model`.
`--protocol aime24` (or another of docs/evaluation.md) takes a published evaluation's prompt,
reading, samples and source; what departs from it is said beside the numbers.
Prints a table; with --out leaves eval.json and completions.jsonl, and after Ctrl-C or a kill the
same command goes on with the samples that were there. Seconds for the embedded base on an
accelerator, a minute on a laptop CPU.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.commands import Command
from r1jax.data import EvalDataConfig, load_eval_sets
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.rows import refuse_overwrite
from r1jax.errors import UserError, check_ranges, told
from r1jax.evaluate import protocols
from r1jax.evaluate.kept_samples import KeptSamples
from r1jax.evaluate.measures import EvalConfig, completions_rows, evaluate
from r1jax.mesh import make_mesh
from r1jax.problem import Problem
from r1jax.rewards import RewardPool, SandboxConfig, accuracy
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.policy import load_policy, make_engine, make_sampler
from r1jax.run.digests import find_step
from r1jax.run.directory import differences, to_json, write_json, write_jsonl
from r1jax.run.flags import AskedFlags
from r1jax.run.lock import owned
from r1jax.run.names import CONFIG, OWNER
from r1jax.run.signals import watched
from r1jax.run.visible import line
from r1jax.training.weights import trained_weights

WRITTEN = ("completions.jsonl", "eval.json", "samples.part.jsonl")
GRACE = 20.0  # seconds in which a signal waits for the next segment of decoding


@dataclass(frozen=True)
class Config(AskedFlags):
    """What is judged, on what, how."""

    protocol: str = ""
    """A published evaluation: aime24, aime25, math500, gsm8k, gpqa, mmlu, mmlu-redux, ifeval,
    humaneval, mbpp, livecodebench. Its settings are where other flags leave them."""
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
    with watched(GRACE), contextlib.ExitStack() as held:
        if config.out:
            make_room(Path(config.out), config)
            held.enter_context(owned(Path(config.out), take_over=True))  # of another host's
        judge_sets(config)


def make_room(out: Path, config: Config) -> None:
    """The directory of --out. UserError where another file, or a run, is in its place."""
    if (out / CONFIG).exists():
        raise UserError(f"--out {out}: is a run with an eval.json of its own; name another")
    others = {path.name for path in out.iterdir()} if out.is_dir() else set()
    if others and not others & {*WRITTEN, OWNER}:
        raise UserError(f"--out {out}: holds other files; name a new directory")
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
    mesh, data = make_mesh(config.mesh), config.data
    if not data.eval:
        raise UserError("--data.eval: name the rows to be judged on: a .jsonl or .parquet file")
    policy = load_policy(config.model, data.template, data.system, data.prefill, config.family)
    room = PromptRoom(config.rollout.max_prompt, policy.prompts)
    sets = load_eval_sets(data, print, room)
    protocol, said = protocols.find(config.protocol) if config.protocol else None, {}
    if protocol:
        sets, said = as_asked(config, protocol, sets, room)
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
            started = time.monotonic()
            draw = kept.sampler(name, sampler) if kept else sampler
            evaluation = evaluate(
                problems, draw, config.eval, pool, name, config.seed, sandbox=limits,
                read=protocol.read if protocol else None,
            )  # fmt: skip
            more = {"protocol": said[name]} if protocol else {}
            if all(problem.grader == "ifeval" for problem in problems):
                more["instructions"] = protocols.instruction_measures(evaluation)
            records.append(evaluation.record | more | {"seconds": time.monotonic() - started})
            rows += completions_rows(evaluation)
            show(records[-1])
            if out:
                write(out, records, rows)
    if out:
        kept.remove()
        print(f"{out}/eval.json")


def as_asked(
    config: Config,
    protocol: protocols.Protocol,
    sets: Mapping[str, list[Problem]],
    room: PromptRoom,
) -> tuple[dict[str, list[Problem]], dict[str, dict[str, Any]]]:
    """The sets as a protocol puts them, and what is to be said of each."""
    usual, data = to_json(PRESETS[protocol.name]), config.data
    own = ("eval.", "sandbox.", "data.template", "data.system", "data.prefill", "data.grader",
           "rollout.max_tokens")  # fmt: skip
    departures = [d for d in differences(usual, to_json(config)) if d.startswith(own)]
    asked = {
        name: protocols.prepared(protocol, problems, config.seed)
        for name, problems in sets.items()
    }  # fmt: skip
    for name, problems in asked.items():
        long = room.too_long(problems)
        if long and (data.too_long == "error" or len(long) == len(problems)):
            what = (
                f"--protocol {protocol.name}: {len(long)} of {len(problems)} prompts of {name} are"
            )
            raise room.refusal(what, max(long.values()), data.too_long)
        asked[name] = [problem for i, problem in enumerate(problems) if i not in long]
    return asked, {
        name: protocols.described(
            protocol, departures, len(problems), len(sets[name]) - len(problems), config.seed
        )
        for name, problems in asked.items()
    }


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
    if "instructions" in record:
        print("  ".join(f"{name} {value:.3f}" for name, value in record["instructions"].items()))
    if "protocol" in record:
        print(line(protocols.line_of(record["protocol"])))


def write(out: Path, records: list[dict[str, Any]], rows: list[dict[str, Any]]) -> None:
    """Leaves eval.json and completions.jsonl in `out`."""
    with told(f"--out {out}: cannot be written"):
        write_jsonl(out / WRITTEN[0], rows)
        write_json(out / WRITTEN[1], records)


def preset(protocol: protocols.Protocol) -> Config:
    """The flags of a protocol: R1's sampling, whole sets, answers of up to 32,768 tokens."""
    programs = SandboxConfig(cpu_seconds=60.0, wall_seconds=90.0, memory_mb=2048)
    return Config(
        protocol=protocol.name,
        data=EvalDataConfig(
            template="chat", layout=protocol.layout, eval_count=100_000,
            eval=(protocol.source,) if protocol.source else (),
        ),
        eval=EvalConfig(samples=protocol.samples, greedy=False),
        rollout=EngineConfig(slots=64, max_prompt=4096, max_tokens=32768),
        sandbox=programs if protocol.layout == "livecodebench" else SandboxConfig(),
    )  # fmt: skip


PRESETS = {"": Config()} | {name: preset(found) for name, found in protocols.PROTOCOLS.items()}
COMMAND = Command(main, PRESETS[""], PRESETS, "--protocol")
