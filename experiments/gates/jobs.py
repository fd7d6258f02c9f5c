"""Experiment modules run as processes side by side: what the gates are made of."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

from experiments.gates import rejection_sft
from experiments.gates.command_line import flags, settled
from r1jax.commands import evaluate
from r1jax.data import EvalDataConfig
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.measures import EvalConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.run import compilation
from r1jax.run.directory import inspect, read_json, to_json, write_json
from r1jax.run.flags import Flags, part
from r1jax.stages.opening import FREE
from r1jax.training.rl.config import RLConfig

FLAGS = "flags.json"  # what a finished evaluation was made with
COMPILED = "compiled"  # directory of programs that jobs share
TAIL = 15  # lines of a failed job's log that are shown


@dataclass(frozen=True)
class GateSetting(Flags):
    """The flags of every gate: which runs, where, how many side by side."""

    out: str = "runs/gate"
    """Directory of all runs and of the result."""
    seeds: int = 5
    """Runs, seeds 0 to seeds - 1 (of sampling and of the training problems)."""
    jobs: int = 1
    """Runs at a time, on each device."""
    memory_fraction: float = 0.0
    """Share of the device's memory for each run, where several share a GPU; 0: JAX's own rule."""

    def __post_init__(self) -> None:
        """Raises UserError on values that make no gate."""
        super().__post_init__()
        check_ranges(self, "--", seeds="[1,]", jobs="[1,]", memory_fraction="[0,1]")
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

    def __post_init__(self) -> None:
        """What nothing reads is as the command, which does not say it, leaves it."""
        object.__setattr__(self, "config", settled(self.config, self.default))

    def finished(self, out: Path) -> bool:
        """Whether its result is there; UserError when a run with other flags is in its place.

        An evaluation with other flags is made again.
        """
        if isinstance(self.config, evaluate.Config):
            path = out / self.name / FLAGS
            return path.exists() and read_json(path) == to_json(self.config)
        return inspect(self.config.run, self.config, ignore=FREE) == "finished"

    @property
    def command(self) -> list[str]:
        """The command line."""
        return [sys.executable, "-m", self.module, *flags(self.config, self.default)]


def seed_runs(run: RLConfig, count: int, out: Path) -> dict[str, RLConfig]:
    """The run under seeds 0 to count - 1, of sampling and of the training problems, by name."""
    return {
        f"seed{i}": replace(
            run, run=str(out / f"seed{i}"), seed=i, data=replace(run.data, seed=i)
        )
        for i in range(count)
    }  # fmt: skip


def rejection(run: RLConfig, out: Path) -> rejection_sft.Config:
    """Supervised training on the right ones of as many samples as `run` draws."""
    return rejection_sft.Config(
        run=str(out / "rejection"),
        model=run.model,
        family=run.family,
        seed=run.seed,
        rollouts=run.updates // run.train.updates_per_rollout,
        answer=run.reward.answer,
        workers=run.reward.workers,
        data=run.data,
        rollout=run.rollout,
        eval=part(EvalConfig, run.eval),
        mesh=run.mesh,
    )


def judging(run: RLConfig, problems: int, how: EvalConfig) -> evaluate.Config:
    """An evaluation of the run's model on the first `problems` of its first set."""
    r, default = run.rollout, evaluate.Config()
    return replace(
        default,
        model=run.model,
        family=run.family,
        dtype=r.dtype,
        workers=default.workers if run.reward.workers is None else run.reward.workers,
        data=replace(part(EvalDataConfig, run.data), eval=run.data.eval[:1], eval_count=problems),
        eval=part(EvalConfig, how),
        rollout=part(EngineConfig, r),
        mesh=run.mesh,
    )


def evaluation(name: str, common: evaluate.Config, out: Path, **place: str) -> Job:
    """An evaluation of what `place` names (flags of experiments.evaluate), left in <out>/<name>."""
    config = replace(common, out=str(out / name), **place)
    return Job(name, "experiments.evaluate", config, evaluate.Config())


def perform(
    jobs: Sequence[Any],
    setting: GateSetting,
    after: Mapping[str, Sequence[str]] | None = None,
    devices: int = 0,
    until: float | None = None,
    each: Callable[[Any], None] = lambda job: None,
) -> list[str]:
    """Runs what is not finished, some at a time, the first ones first; names those that failed.

    `after[name]` names the jobs that must be done before: one that waits for a failed one is not
    run, and neither failed. With `devices` GPUs there are `setting.jobs` jobs on each, dealt out in
    turn; otherwise as many in all. Each keeps to its own share of the cores. At `until` (of
    `time.monotonic`) what runs is ended, and what waits stays: another call goes on with it. `each`
    is told of every job as it is done. Raises UserError where jobs wait for each other.
    """
    out, after = Path(setting.out), after or {}
    todo = {job.name: job for job in jobs if not job.finished(out)}
    order = TopologicalSorter(
        {name: [first for first in after.get(name, ()) if first in todo] for name in todo}
    )
    try:
        order.prepare()
    except CycleError as error:
        names = ", ".join(sorted(set(error.args[1])))
        raise UserError(f"jobs {names}: wait for each other; none can start") from error

    def work(name: str, cores: Sequence[int], device: int | None) -> int | None:
        if cores:  # this thread's, and those of the process that it starts
            os.sched_setaffinity(0, cores)
        left = None if until is None else until - time.monotonic()
        return perform_one(todo[name], setting, device, left)

    places = places_of(setting.jobs, devices)
    failed, ready, running = [], [], {}
    with ThreadPoolExecutor(len(places)) as pool:
        while True:
            ready = sorted([*ready, *order.get_ready()], key=list(todo).index)
            while ready and places and (until is None or time.monotonic() < until):
                name, place = ready.pop(0), places.pop(0)
                running[pool.submit(work, name, *place)] = name, place
            if not running:
                return failed
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                name, place = running.pop(ended)
                places.append(place)
                if (status := ended.result()) == 0:
                    order.done(name)
                    each(todo[name])
                elif status is not None:
                    failed.append(name)


def places_of(jobs: int, devices: int) -> list[tuple[list[int], int | None]]:
    """(cores, device) of every job side by side: `jobs` on each device, or in all without devices.

    A process starts as many threads as it sees cores: thirty on thirty cores stand in each other's
    way. No cores where the system does not deal them out (on Linux it does).
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    dealt = [device for _ in range(jobs) for device in (range(devices) if devices else [None])]
    return [(cores_of(i, len(dealt), cores), device) for i, device in enumerate(dealt)]


def cores_of(number: int, count: int, cores: Sequence[int]) -> list[int]:
    """The cores of one of `count` jobs side by side: its share of them, two at least."""
    first, size = number * len(cores) // count, max(2, len(cores) // count)
    return [cores[(first + i) % len(cores)] for i in range(min(size, len(cores)))]


def perform_one(
    job: Any, setting: GateSetting, device: int | None = None, seconds: float | None = None
) -> int | None:
    """Runs one job with its output in <out>/<name>.log; shows its end when it fails.

    Sees GPU `device` alone, if one is named. Returns its exit status, None when it was ended after
    `seconds`: the same command goes on where it stood.
    """
    log = Path(setting.out) / f"{job.name}.log"
    print(f"{job.name}: started", flush=True)
    started = time.monotonic()
    limit = {} if seconds is None else {"timeout": max(seconds, 0.0)}
    told = environment(setting, device)
    with log.open("a") as file:
        try:
            status = subprocess.run(
                job.command, stdout=file, stderr=subprocess.STDOUT, env=told, **limit
            ).returncode
        except subprocess.TimeoutExpired:
            print(f"{job.name}: stopped, to be gone on with", flush=True)
            return None
    took = f"{time.monotonic() - started:.0f} s"
    ended = f"done, {took}" if not status else f"failed with status {status}, {took}"
    print(f"{job.name}: {ended}", flush=True)
    if not status and isinstance(job.config, evaluate.Config):
        write_json(Path(job.config.out) / FLAGS, job.config)
    if status:
        lines = log.read_text(errors="replace").splitlines()[-TAIL:]
        print("\n".join(f"  {job.name} | {line}" for line in lines), file=sys.stderr, flush=True)
    return status


def environment(setting: GateSetting, device: int | None) -> dict[str, str]:
    """What a job's process is told by its environment: its device and its share of that.

    Where the user names no place for compiled programs, equal ones of all jobs are kept in
    <out>/compiled: on a GPU compiling takes longer than a short run.
    """
    told = dict(os.environ)
    if not told.get("JAX_COMPILATION_CACHE_DIR"):
        keeping = compilation.settings(Path(setting.out) / COMPILED)
        told |= {name.upper(): str(value) for name, value in keeping.items()}
    if setting.memory_fraction:
        told["XLA_PYTHON_CLIENT_MEM_FRACTION"] = str(setting.memory_fraction)
    if device is not None:
        told["CUDA_VISIBLE_DEVICES"] = str(device)
    return told


def conclude(
    gate: Mapping[str, Any], text: str, failed: Sequence[str], setting: GateSetting
) -> None:
    """Leaves gate.json and gate.md, shows the latter; UserError naming the jobs that failed."""
    out = Path(setting.out)
    write_json(out / "gate.json", gate)
    (out / "gate.md").write_text(text)
    print(text + f"\n{out / 'gate.md'}")
    complain(failed, setting)


def complain(failed: Sequence[str], setting: GateSetting) -> None:
    """Raises UserError naming the jobs that failed, if any did."""
    out = Path(setting.out)
    if failed:
        names = ", ".join(f"{name} (see {out / name}.log)" for name in failed)
        raise UserError(f"--out {out}: failed: {names}; mend it and repeat the command")
