"""The limits of a worker: processor time, memory and wall clock of the call it is at."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from r1jax.rewards.workers.board import Running
from r1jax.rewards.workers.unit import Status

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

    def broken(
        self, process: psutil.Process, rss: int, running: Running, size: int
    ) -> Status | None:
        """The limit that a worker's call on `size` completions has broken, or None.

        `rss` are the bytes that the process held before it began.
        """
        try:
            times, now = process.cpu_times(), process.memory_info().rss
        except psutil.Error:
            return None  # it just died; the connection will say so
        if times.user + times.system - running.cpu > self.cpu_seconds * size + _CPU_SLACK:
            return Status.CPU
        if now - rss > (self.memory_mb << 20) + _RSS_SLACK:
            return Status.MEMORY
        return Status.WALL if time.monotonic() - running.wall > self.wall_seconds * size else None
