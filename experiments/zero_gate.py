"""The gate: does R1-Zero on the embedded base learn to reason, and is it the reward that teaches?

    python -m experiments.zero_gate --seeds 5 --jobs 2 --out runs/gate

Runs the demo over several seeds, then what could explain it away, from the same base: a random
reward, the format reward alone, supervised training on the base's own right answers; on a harder
set as well; and pass@1 to pass@256 before and after (paper, section 2.3; the doubt that RL only
sharpens what the base can do anyway). Flags of the demo go under --demo. What is finished in --out
is not run again. About 8 minutes per seed on 2 CPU cores, less on an accelerator, where several
jobs share a device by --memory-fraction. Leaves gate.json and gate.md.
"""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from experiments import evaluate, gate_table, rejection_sft
from r1jax import cli
from r1jax.errors import UserError
from r1jax.evaluate import EvalConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.run import inspect, read_json, to_json, write_json
from r1jax.stages import zero
from r1jax.stages.presets import PRESETS
from r1jax.training.config import RLConfig

DEMO = PRESETS["demo"]
WORLD = "world:sum,countdown,word"
FLAGS = "flags.json"  # what a finished evaluation was made with
TAIL = 15  # lines of a failed job's log that are shown


@dataclass(frozen=True)
class Config:
    """Which runs make the gate."""

    out: str = "runs/gate"
    """Directory of all runs and of the result."""
    seeds: int = 5
    """Runs of the demo, seeds 0 to seeds - 1 (of sampling and of the training problems)."""
    jobs: int = 1
    """Runs at a time."""
    memory_fraction: float = 0.0
    """Share of the device's memory for each run, where several share a GPU; 0: JAX's own rule."""
    controls: bool = True
    """Also run the random reward, the format reward alone, and rejection sampling."""
    curve_problems: int = 64
    """Problems of the pass@k curves; 0 leaves the curves out."""
    curve_samples: int = 256
    """Samples for each of them."""
    demo: RLConfig = field(
        default_factory=lambda: replace(
            DEMO, data=replace(DEMO.data, eval=(WORLD, WORLD + "?harder=true"))
        )
    )
    """Every run's flags, but for run directory, seeds and, in the controls, the reward."""

    def __post_init__(self) -> None:
        """Raises UserError on values that make no gate."""
        if self.seeds < 1 or self.jobs < 1:
            raise UserError(f"--seeds {self.seeds} --jobs {self.jobs}: both at least 1")
        if not 0 <= self.memory_fraction * self.jobs <= 1:
            raise UserError(
                f"--memory-fraction {self.memory_fraction} x --jobs {self.jobs} exceeds the device"
            )


@dataclass(frozen=True)
class Job:
    """One experiment module to run with the flags that turn `default` into `config`."""

    name: str
    module: str
    config: Any
    default: Any

    def finished(self, out: Path) -> bool:
        """Whether its result is there; UserError when a run with other flags is in its place.

        An evaluation with other flags is made again.
        """
        if isinstance(self.config, evaluate.Config):
            known = out / self.name / FLAGS
            return known.exists() and read_json(known) == to_json(self.config)
        return inspect(self.config.run, self.config, ignore=zero.FREE) == "finished"

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", self.module, *flags(self.config, self.default)]


def flags(config: Any, default: Any, prefix: str = "--") -> Iterator[str]:
    """The command line that turns `default` into `config`, both of one (nested) dataclass."""
    for f in dataclasses.fields(config):
        value, old = getattr(config, f.name), getattr(default, f.name)
        name = f.name.replace("_", "-")
        if dataclasses.is_dataclass(value):
            yield from flags(value, old, f"{prefix}{name}.")
        elif isinstance(value, bool) and value != old:
            yield prefix + ("" if value else "no-") + name
        elif isinstance(value, tuple) and value != old:
            yield from (prefix + name, *map(str, value))
        elif value != old:
            yield from (prefix + name, str(value))


def runs(config: Config) -> list[Job]:
    """The demo's seeds and the controls."""
    out, demo = Path(config.out), config.demo

    def job(name: str, **changes: Any) -> Job:
        run = replace(demo, run=str(out / name), **changes)
        return Job(name, "experiments.zero_demo", run, DEMO)

    seeds = [job(f"seed{i}", seed=i, data=replace(demo.data, seed=i)) for i in range(config.seeds)]
    if not config.controls:
        return seeds
    only = dict.fromkeys(("accuracy", "format", "tag_count", "overlong", "repetition", "random"), 0)
    rejection = rejection_sft.Config(
        run=str(out / "rejection"),
        model=demo.model,
        seed=demo.seed,
        rollouts=demo.updates // demo.train.updates_per_rollout,
        answer=demo.reward.answer,
        workers=demo.reward.workers,
        data=demo.data,
        rollout=demo.rollout,
        eval=demo.eval,
        mesh=demo.mesh,
    )
    return [
        *seeds,
        job("random", reward=replace(demo.reward, **only | {"random": 1.0, "user": ()})),
        job("format", reward=replace(demo.reward, **only | {"format": 1.0, "user": ()})),
        Job("rejection", "experiments.rejection_sft", rejection, rejection_sft.Config()),
    ]


def curves(config: Config) -> list[Job]:
    """pass@k of the base and of every seed's last weights, on the same problems."""
    if not config.curve_problems:
        return []
    out, demo = Path(config.out), config.demo
    default = evaluate.Config()
    r = demo.rollout
    shapes = {f.name: getattr(r, f.name) for f in dataclasses.fields(EngineConfig)}
    common = replace(
        default,
        model=demo.model,
        dtype=r.dtype,
        data=replace(demo.data, eval=demo.data.eval[:1], eval_count=config.curve_problems),
        eval=EvalConfig(samples=config.curve_samples, greedy=False),
        rollout=EngineConfig(**shapes),
        mesh=demo.mesh,
    )
    if demo.reward.workers is not None:
        common = replace(common, workers=demo.reward.workers)
    where = {"curve-base": ""} | {
        f"curve-seed{i}": str(out / f"seed{i}" / "checkpoints") for i in range(config.seeds)
    }
    return [
        Job(
            name,
            "experiments.evaluate",
            replace(common, checkpoint=checkpoint, out=str(out / name)),
            default,
        )
        for name, checkpoint in where.items()
    ]


def perform(jobs: Sequence[Job], config: Config) -> list[str]:
    """Runs what is not finished, some at a time; returns the names of those that failed."""
    out = Path(config.out)
    waiting = [job for job in jobs if not job.finished(out)]
    with ThreadPoolExecutor(config.jobs) as pool:
        statuses = list(pool.map(lambda job: perform_one(job, config), waiting))
    return [job.name for job, status in zip(waiting, statuses, strict=True) if status]


def perform_one(job: Job, config: Config) -> int:
    """Runs one job with its output in <out>/<name>.log; shows its end when it fails."""
    log = Path(config.out) / f"{job.name}.log"
    environment = dict(os.environ)
    if config.memory_fraction:
        environment["XLA_PYTHON_CLIENT_MEM_FRACTION"] = str(config.memory_fraction)
    print(f"{job.name}: started", flush=True)
    with log.open("a") as file:
        status = subprocess.run(
            job.command, stdout=file, stderr=subprocess.STDOUT, env=environment
        ).returncode
    print(f"{job.name}: {'done' if not status else f'failed with status {status}'}", flush=True)
    if not status and isinstance(job.config, evaluate.Config):
        write_json(Path(job.config.out) / FLAGS, job.config)
    if status:
        lines = log.read_text(errors="replace").splitlines()[-TAIL:]
        print("\n".join(f"  {job.name} | {line}" for line in lines), file=sys.stderr, flush=True)
    return status


def main(config: Config) -> None:
    """Runs everything, then collates what there is; UserError when a run failed."""
    out = Path(config.out)
    out.mkdir(parents=True, exist_ok=True)
    first = runs(config)
    failed = perform(first, config)
    done = [job for job in first if job.name not in failed]
    names = {job.name for job in done} | {"base"}
    second = [job for job in curves(config) if job.name.removeprefix("curve-") in names]
    lost = perform(second, config)
    summaries = {job.name: read_json(out / job.name / "summary.json") for job in done}
    pass_at = {
        job.name.removeprefix("curve-"): read_json(out / job.name / "eval.json")[0]["pass_at"]
        for job in second
        if job.name not in lost
    }
    gate = gate_table.collate(summaries, pass_at)
    write_json(out / "gate.json", gate)
    text = gate_table.markdown(gate)
    (out / "gate.md").write_text(text)
    print(text + f"\n{out / 'gate.md'}")
    if failed + lost:
        names = ", ".join(f"{name} (see {out / name}.log)" for name in failed + lost)
        raise UserError(f"--out {out}: failed: {names}; mend it and repeat the command")


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
