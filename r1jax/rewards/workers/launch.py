"""The trainer's side of the workers: starting the forking process, one handle for each worker."""

from __future__ import annotations

import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from multiprocessing import Pipe, reduction
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, cast

import psutil

from r1jax.errors import UserError
from r1jax.rewards.workers.board import SIZE, Board
from r1jax.rewards.workers.limits import Limits
from r1jax.rewards.workers.unit import Status, Unit


@dataclass
class Worker:
    """One worker process: its connection, its board, and what it is doing."""

    pid: int
    connection: Connection
    board: Board
    process: psutil.Process
    rss: int
    loaded: bytes = b""  # digest of the reward it holds
    tasks: int = 0
    busy: list[Unit] = field(default_factory=list)  # the chunk it was given
    since: float = field(default_factory=time.monotonic)
    calls: dict[int, Unit] = field(default_factory=dict)  # by slot of their first completion

    def send(self, *message: Any) -> None:
        """Sends one message; BrokenPipeError where the worker is gone."""
        self.since = time.monotonic()
        self.connection.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    def violation(self, limits: Limits) -> Status | None:
        """The limit that the running call has broken, or None."""
        running = self.board.running()
        if running is None:
            loading = not self.calls and time.monotonic() - self.since > limits.load_seconds
            return Status.WALL if loading else None
        call = self.calls.get(running.slot)
        status = limits.broken(self.process, self.rss, running, len(call.indices) if call else 1)
        # Only the call that was measured is to blame, not one that began meanwhile.
        return status if self.board.running() == running else None

    def close(self) -> None:
        """Closes this side's files; the process itself is ended by the launcher."""
        self.connection.close()
        self.board.close()


class LauncherEnded(RuntimeError):
    """The forking process is gone: killed from outside, or it could not import the graders."""


class Launcher:
    """The forking process; it starts at once and imports the graders in the background.

    Where it was killed from outside, the next order starts it anew.
    """

    def __init__(self) -> None:
        if not hasattr(os, "fork"):
            raise UserError("reward workers need Linux or macOS; set --reward.workers 0 here")
        self.graders, self.modules = {"math"}, set[str]()
        self._start()

    def _start(self) -> None:
        self._control, theirs = Pipe()
        command = (
            f"import sys; sys.path[:] = {json.dumps([str(path) for path in sys.path])}; "
            "from r1jax.rewards.workers.worker import serve; "
            f"serve({theirs.fileno()}, {sorted(self.graders)!r}, {sorted(self.modules)!r})"
        )
        threads = {f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "OPENBLAS", "MKL")}
        # A reward that imports jax against all advice must not take the accelerator's memory, and
        # a tokenizer's library need not say in each worker that it found no PyTorch.
        settings = {"JAX_PLATFORMS": "cpu", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
        self._process = subprocess.Popen(
            [sys.executable, "-c", command],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=os.environ | threads | settings,
            start_new_session=True,
        )
        theirs.close()

    def fork(self, limits: Limits) -> Worker:
        """A fresh worker."""
        connection, theirs = Pipe()
        with _shared_file() as file:
            file.truncate(SIZE)
            board = Board(file.fileno())
            board.clear(0)
            order = ("fork", limits.memory_mb, limits.cpu_seconds)
            files = (theirs.fileno(), file.fileno())
            try:
                pid = self._order(*order, files=files)
            except LauncherEnded:  # killed this instant: a second failure is a real one
                pid = self._order(*order, files=files)
        theirs.close()
        process = psutil.Process(pid)
        return Worker(pid, connection, board, process, process.memory_info().rss)

    def kill(self, worker: Worker) -> None:
        """Ends a worker and whatever it started; with the forking process it ends by itself."""
        worker.close()
        try:
            self._order("kill", worker.pid)
        except LauncherEnded:
            pass  # its workers went with it

    def ready(self, graders: Iterable[str] = (), modules: Iterable[str] = ()) -> set[str]:
        """Imports what graders need, and modules, for all workers forked from now on.

        Returns those that were not ready before. A forking process started anew has all of them.
        """
        new = set(graders) - self.graders, set(modules) - self.modules
        if any(new):
            self.graders |= new[0]
            self.modules |= new[1]
            try:
                self._order("ready", *map(sorted, new))
            except LauncherEnded:  # the next one starts without what may have ended this one
                self.modules -= new[1]
        return set.union(*new)

    def close(self) -> None:
        """Ends the forking process, which ends its workers."""
        self._control.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _order(self, *order: Any, files: tuple[int, ...] = ()) -> int:
        """Sends one order and the files that it needs; what the forking process answers."""
        if self._process.poll() is not None:
            self.close()
            self._start()
        try:
            self._control.send(order)
            for file in files:
                reduction.send_handle(self._control, file, self._process.pid)
            return int(self._control.recv())
        except (OSError, EOFError) as error:
            self.close()
            raise LauncherEnded("the process that starts reward workers has ended") from error
        except BaseException:  # Ctrl-C between order and answer: the next answer would be this one
            self.close()
            raise


def _shared_file() -> BinaryIO:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return cast(BinaryIO, os.fdopen(os.memfd_create("reward-board"), "w+b"))
    return cast(BinaryIO, tempfile.TemporaryFile())
