"""The trainer's side of the workers: starting the forking process, one handle for each worker."""

from __future__ import annotations

import json
import os
import pickle
import socket
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any, BinaryIO, cast

import psutil

from r1jax.errors import UserError
from r1jax.rewards.workers.board import SIZE, Board
from r1jax.rewards.workers.unit import Status
from r1jax.rewards.workers.worker import ORDER

_RSS_SLACK = 128 << 20  # pages of libraries that a worker touches for the first time
_CPU_SLACK = 0.05  # the worker's own, finer clock decides near the limit


@dataclass(frozen=True)
class Limits:
    """What one answer may cost; a whole-list call gets `cpu` and `wall` times its completions."""

    cpu_seconds: float = 2.0
    wall_seconds: float = 10.0
    memory_mb: int = 1024
    max_tasks: int = 5000  # completions after which a worker is replaced
    load_seconds: float = 120.0  # wall clock for unpickling a reward, its imports included


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
    busy: Any = None  # the chunk it was given
    since: float = field(default_factory=time.monotonic)
    sizes: dict[int, int] = field(default_factory=dict)  # slot -> completions of that call

    def send(self, *message: Any) -> None:
        """Sends one message; BrokenPipeError where the worker is gone."""
        self.since = time.monotonic()
        self.connection.send_bytes(pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL))

    def violation(self, limits: Limits) -> Status | None:
        """The limit that the running call has broken, or None."""
        running = self.board.running()
        if running is None:
            loading = not self.sizes and time.monotonic() - self.since > limits.load_seconds
            return Status.WALL if loading else None
        try:
            times, rss = self.process.cpu_times(), self.process.memory_info().rss
        except psutil.Error:
            return None  # it just died; the connection will say so
        size = self.sizes.get(running.slot, 1)
        status = None
        if times.user + times.system - running.cpu > limits.cpu_seconds * size + _CPU_SLACK:
            status = Status.CPU
        elif rss - self.rss > (limits.memory_mb << 20) + _RSS_SLACK:
            status = Status.MEMORY
        elif time.monotonic() - running.wall > limits.wall_seconds * size:
            status = Status.WALL
        # Only the call that was measured is to blame, not one that began meanwhile.
        return status if self.board.running() == running else None

    def close(self) -> None:
        """Closes this side's files; the process itself is ended by the launcher."""
        self.connection.close()
        self.board.close()


class LauncherEnded(RuntimeError):
    """The forking process is gone: killed from outside, or it could not import the graders."""


class Launcher:
    """The forking process; it starts at once and imports the graders in the background."""

    def __init__(self, graders: tuple[str, ...]) -> None:
        if not hasattr(socket, "send_fds"):
            raise UserError("reward workers need Linux or macOS; set --reward.workers 0 here")
        self._socket, theirs = socket.socketpair()
        command = (
            f"import sys; sys.path[:] = {json.dumps([str(path) for path in sys.path])}; "
            "from r1jax.rewards.workers.worker import serve; "
            f"serve({theirs.fileno()}, {list(graders)!r})"
        )
        threads = {f"{lib}_NUM_THREADS": "1" for lib in ("OMP", "OPENBLAS", "MKL")}
        # A reward that imports jax against all advice must not take the accelerator's memory, and
        # a tokenizer's library need not say in each worker that it found no PyTorch.
        own = {"JAX_PLATFORMS": "cpu", "TRANSFORMERS_NO_ADVISORY_WARNINGS": "1"}
        environment = os.environ | threads | own
        self._process = subprocess.Popen(
            [sys.executable, "-c", command],
            stdin=subprocess.DEVNULL,
            pass_fds=[theirs.fileno()],
            env=environment,
            start_new_session=True,
        )
        theirs.close()

    def fork(self, limits: Limits) -> Worker:
        """A fresh worker."""
        ours, theirs = socket.socketpair()
        with _shared_file() as file:
            file.truncate(SIZE)
            board = Board(file.fileno())
            board.clear(0)
            files = [theirs.fileno(), file.fileno()]
            pid = self._order(b"fork", limits.memory_mb, limits.cpu_seconds, files=files)
        theirs.close()
        process = psutil.Process(pid)
        connection = Connection(ours.detach())
        return Worker(pid, connection, board, process, process.memory_info().rss)

    def kill(self, worker: Worker) -> None:
        """Ends a worker and whatever it started; with the forking process it ends by itself."""
        worker.close()
        try:
            self._order(b"kill", worker.pid)
        except LauncherEnded:
            pass  # its workers went with it

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def warm(self, grader: str) -> None:
        """Imports what `grader` needs, for all workers forked from now on."""
        self._order(b"warm", text=grader.encode())

    def close(self) -> None:
        """Ends the forking process, which ends its workers."""
        self._socket.close()
        try:
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _order(
        self,
        order: bytes,
        number: int = 0,
        seconds: float = 0.0,
        text: bytes = b"",
        files: list[int] | None = None,
    ) -> int:
        message = ORDER.pack(order, number, seconds, text)
        try:
            socket.send_fds(self._socket, [message], files or [])
            answer = self._socket.recv(8, socket.MSG_WAITALL)
        except OSError:
            answer = b""
        except BaseException:  # Ctrl-C between order and answer: the next answer would be this one
            self.close()
            raise
        if len(answer) < 8:
            raise LauncherEnded("the process that starts reward workers has ended")
        return int(struct.unpack("<q", answer)[0])


def _shared_file() -> BinaryIO:
    """A file without a name, in memory where the system has such files."""
    if hasattr(os, "memfd_create"):
        return cast(BinaryIO, os.fdopen(os.memfd_create("reward-board"), "w+b"))
    return cast(BinaryIO, tempfile.TemporaryFile())
