"""What studies of many runs share: one line of figures for each run, kept as soon as it ends.

A run with a line of the same flags (`evidence`) is not made again, so that the file of figures is
all that has to be kept, unless a run without one needs what it leaves.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

from experiments.gates import evidence, jobs
from r1jax.errors import check_ranges
from r1jax.run.directory import read_jsonl, write_jsonl

DIGITS = 5

Figures = dict[str, dict[str, Any]]


class PlannedJob(NamedTuple):
    """A job, and the names of those it waits for."""

    job: Any
    after: tuple[str, ...] = ()


Wanted = Callable[[Figures], Mapping[str, PlannedJob]]
"""What is to be run, by what is known."""


@dataclass(frozen=True)
class StudySetting(jobs.GateSetting):
    """The flags of a gate, and where the figures of its runs are and how long it may take."""

    figures: str = ""
    """File of what the runs have found, a line for each; a run that has one is not made again."""
    minutes: float = 0.0
    """Time after which runs under way are stopped; the same command goes on. 0: none."""
    devices: int = 0
    """GPUs, the jobs dealt out to them in turn; 0: every job sees all that there is."""
    undigested: ClassVar[bool] = False
    """Whether a line without a digest of its flags counts: the file is older than digests."""

    def __post_init__(self) -> None:
        """Raises UserError on values that make no study."""
        super().__post_init__()
        check_ranges(self, "--", minutes="[0,]", devices="[0,]")

    def place(self, name: str, inside: str = "") -> str:
        """Directory of a run, or a file of it."""
        return str(Path(self.out) / name / inside)

    @property
    def places(self) -> tuple[str, ...]:
        """Directories whose own names say nothing of a run."""
        return (str(Path(self.out)),)


def read(path: str) -> Figures:
    """What is known, by the name of the run."""
    return {row["name"]: row for row in read_jsonl(Path(path))} if Path(path).exists() else {}


def write(path: str, found: Mapping[str, Mapping[str, Any]]) -> None:
    """The file anew, in one step."""
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(Path(path), found.values())


def wanted(
    names: Iterable[str], every: Mapping[str, PlannedJob], found: Collection[str]
) -> dict[str, PlannedJob]:
    """Those of the runs that have no line, and those whose weights or files one of them needs."""
    todo = [name for name in names if name not in found]
    for name in todo:  # grows as it is walked
        todo += [first for first in every[name].after if first in every and first not in todo]
    return {name: every[name] for name in every if name in todo}


def conduct(
    config: StudySetting,
    parts: Iterable[tuple[str, Wanted]],
    figure: Callable[[str, Any, Path], dict[str, Any]],
) -> None:
    """Runs what has no line yet, part by part; UserError when a run failed.

    A part, by its name, says what it wants once the parts before it have their figures.
    `figure(name, flags, out)` is the line of a run that has ended.
    """
    started = time.monotonic()
    until = started + 60 * config.minutes if config.minutes else None
    Path(config.out).mkdir(parents=True, exist_ok=True)
    found, failed = read(config.figures), []
    for name, plan in parts:
        if until is None or time.monotonic() < until:
            todo = plan(found)
            print(f"{name}: {len(todo)} runs", flush=True)
            failed += perform(config, todo, found, figure, until)
    print(f"{len(found)} runs have their figures, {time.monotonic() - started:.0f} s")
    jobs.complain(failed, config)


def perform(
    config: StudySetting,
    todo: Mapping[str, PlannedJob],
    found: Figures,
    figure: Callable[[str, Any, Path], dict[str, Any]],
    until: float | None = None,
) -> list[str]:
    """Runs what is not finished and names what failed; `found` and the file grow run by run.

    `figure(name, flags, out)` is the line of a run that has ended; it takes the place of one with
    other flags.
    """
    out, marks = Path(config.out), {}

    def keep(job: Any) -> None:
        asked = evidence.digest(job.name, todo, config.places, marks)
        if not evidence.agrees(config, found.get(job.name), asked):
            made = figure(job.name, job.config, out)
            found[job.name] = {"name": job.name, evidence.DIGEST: asked} | made
            write(config.figures, found)

    tasks = [step.job for step in todo.values()]
    for job in tasks:
        if job.finished(out):
            keep(job)
    after = {name: step.after for name, step in todo.items()}
    return jobs.perform(tasks, config, after, config.devices, until, keep)


def first_rows(rows: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The row of each rollout's first update, which says what the rollout was like."""
    return [next(group) for _, group in itertools.groupby(rows, key=lambda row: row["rollout"])]


def course(rows: Iterable[Mapping[str, Any]], names: Mapping[str, str]) -> dict[str, list[float]]:
    """What the rollouts said of the policy, a number for each: metrics by the `names` they get."""
    firsts = first_rows(rows)
    return {
        name: rounded([row[key] for row in firsts])
        for name, key in names.items()
        if firsts and key in firsts[0]
    }


def rounded(value: Any) -> Any:
    """Numbers to a few digits, in whatever holds them."""
    if isinstance(value, float):
        return round(value, DIGITS)
    if isinstance(value, Mapping):
        return {key: rounded(v) for key, v in value.items()}
    return [rounded(v) for v in value] if isinstance(value, (list, tuple)) else value
