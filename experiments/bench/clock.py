"""Wall-clock seconds of device work, and what was compiled meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax

from r1jax.errors import UserError

COMPILED = "/jax/core/compile/backend_compile_duration"
"""JAX's event for one program handed to XLA (or found in a compilation cache), with its seconds."""


def timed(run: Callable[[], Any], repeats: int, warmup: int = 1) -> list[float]:
    """Seconds of each of `repeats` calls, after `warmup` others, until their results are there."""
    for _ in range(warmup):
        jax.block_until_ready(run())
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(run())
        seconds.append(time.perf_counter() - start)
    return seconds


class Compiled:
    """The programs compiled inside a `with` block: how many, in how many seconds, their names."""

    def __init__(self) -> None:
        self.count, self.seconds = 0, 0.0
        self.names: list[str] = []

    def __enter__(self) -> Compiled:
        jax.monitoring.register_event_duration_secs_listener(self._heard)
        return self

    def __exit__(self, *error: object) -> None:
        jax.monitoring.unregister_event_duration_listener(self._heard)

    def _heard(self, event: str, seconds: float, **about: Any) -> None:
        if event == COMPILED:
            self.count += 1
            self.seconds += seconds
            self.names.append(str(about.get("fun_name", "unnamed")))

    def require_none(self, where: str) -> None:
        """UserError, naming the programs, if anything was compiled; `where` opens the line."""
        if self.count:
            names = ", ".join(sorted(set(self.names)))
            raise UserError(
                f"{where}: compiled after warm-up: {names} ({self.count} in all); no time is a "
                "measure unless everything was compiled before"
            )
