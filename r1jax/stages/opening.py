"""One door for every run: it starts, goes on or is finished already; what is opened is closed.

    with opened(config, display) as run:
        if run.finished:
            return
        ...
        run.finish(summary, "held-out pass@1 0.310 -> 0.840")

A chapter of the paper stands between these lines and knows nothing of processes, of what lies on
disk, or of who prints. What belongs to a run as a whole is taken in `opened` and given back there.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import jax

from r1jax.checkpoint import Checkpoints
from r1jax.report.page import write_report
from r1jax.run import processes, rows
from r1jax.run.directory import RunDirectory, inspect
from r1jax.run.environment import environment
from r1jax.run.flags import PlaceFlags
from r1jax.run.lock import owned
from r1jax.run.names import PROFILE, REPORT
from r1jax.run.profile import Profiler
from r1jax.run.progress import Alone, Display
from r1jax.run.signals import watched
from r1jax.run.sinks import open_sinks
from r1jax.stages import exhausted_memory
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.state import Files
from r1jax.training.supervised.config import CourseConfig

T = TypeVar("T")

FREE = (
    "overwrite", "take_over", "checkpoint.unverified", "checkpoint.grace", "run", "log",
    "data.too_long", "memory", "stop_on_collapse", "mesh", "process", "profile", "workers",
    "endpoint.key_variable", "endpoint.timeout", "endpoint.retries", "endpoint.backoff",
    "endpoint.longest_wait", "endpoint.concurrency",
)  # fmt: skip
"""Flags that may differ when a run is resumed."""


@dataclass
class Run:
    """A run that is open. Every process has one; the first alone writes files and shows lines."""

    directory: RunDirectory
    display: Display
    page: str  # the file that tells a reader what came of it
    started: float
    held: contextlib.ExitStack
    planned: Mapping[str, int] | None = None  # the memory plan, where one was made
    opened: Files | None = None  # what `files` has opened

    @property
    def finished(self) -> bool:
        """Whether there is nothing to do: the summary is there."""
        return self.directory.status == "finished"

    @property
    def path(self) -> Path:
        """The run directory."""
        return self.directory.path

    def note(self, line: str) -> None:
        """Says something on the way, before there is a progress to say it."""
        if self.directory.write:
            self.display.note(line)

    def hold(self, thing: contextlib.AbstractContextManager[T]) -> T:
        """Enters `thing`, which is left as the run is closed, whatever happens."""
        return self.held.enter_context(thing)

    def files(self, config: CourseConfig | RLConfig, start: int = 0) -> Files:
        """Checkpoints, sinks, progress and profiler, as the flags of a training run ask for them.

        `config` is complete: it has the number of updates. The run begins after update `start`.
        """
        where, how = self.directory.checkpoints, config.checkpoint
        settle = functools.partial(rows.settle, self.directory)
        checkpoints = Checkpoints(where, how.keep, how.unverified, self.note, settle)
        self.held.callback(checkpoints.close)
        start = checkpoints.latest() or start
        sinks = open_sinks(config.log, self.directory, config, start)
        for sink in sinks:
            self.held.callback(sink.close)
        profiler = Profiler(config.profile, self.path / PROFILE)
        self.held.callback(profiler.close)
        progress = self.display.progress(config.updates, config.run, start, self.directory.write)
        self.opened = Files(self.directory, checkpoints, sinks, self.hold(progress), profiler)
        return self.opened

    def out_of_memory(self, error: Exception, config: PlaceFlags) -> exhausted_memory.OutOfMemory:
        """The error in one line: what to change, and how the run goes on with it."""
        step = self.opened.checkpoints.whole if self.opened else None
        then = "with --overwrite, as nothing is saved yet"
        if step is not None:
            then = "with --overwrite it begins anew with it"
        if step is not None and hasattr(config, "continue_from"):
            then = f"--continue-from {self.path} --run NEW goes on from update {step} with it"
        phase = self.opened.progress.doing if self.opened else ""
        said = exhausted_memory.said(error, config, phase, self.planned)
        return exhausted_memory.OutOfMemory(said, then)

    def finish(self, summary: Mapping[str, Any], said: str) -> None:
        """Writes the summary, which marks the run as finished, then the report; shows the result.

        What the run holds is closed first, so that all that was saved is on disk by then. Every
        process calls it; only the first one's `summary` and `said` count.
        """
        self.held.close()
        if not self.directory.write:
            return
        seconds = time.monotonic() - self.started
        ended = {"environment": environment(), "wall_seconds": seconds}
        self.directory.finish({**summary, **ended})
        said = f"{said}, {seconds:.0f} s" if said else f"{seconds:.0f} s"
        self.display.result(f"{said}\n{self.written(anew=True)}")

    def written(self, anew: bool = False) -> Path:
        """Where its page is; a report is drawn `anew`, or where the run ended just before it."""
        page = self.path / self.page
        drawn = self.page == REPORT and (anew or not page.exists())
        return write_report(self.path) if drawn else page


@contextlib.contextmanager
def opened(config: PlaceFlags, display: Display | None = None, page: str = REPORT) -> Iterator[Run]:
    """The run that the flags name, in every process of it; `page` tells a reader what came of it.

    A run that is finished says where its page is and is handed out all the same: see `finished`.
    Raises UserError where the directory holds another run.
    """
    processes.start_processes(config.process)
    display, how = display or Alone(), {"overwrite": config.overwrite, "ignore": FREE}
    own = owned(Path(config.run), config.take_over, display.note)
    if inspect(config.run, config, **how) == "finished":
        own = contextlib.nullcontext()
    with watched(config.checkpoint.grace), own, contextlib.ExitStack() as held:
        directory = RunDirectory.start(config.run, config, **how)
        run = Run(directory, display, page, time.monotonic(), held)
        if run.finished and directory.write:
            run.display.result(f"finished already: {run.written()}")
        try:
            yield run
        except jax.errors.JaxRuntimeError as error:
            if not exhausted_memory.is_exhausted(error):
                raise
            raise run.out_of_memory(error, config) from error
