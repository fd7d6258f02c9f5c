"""Profiler traces of chosen updates, by flag."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import jax

from r1jax.errors import UserError


@dataclass(frozen=True)
class ProfileConfig:
    """Which updates are traced; the phases of the loop carry their names in the trace."""

    steps: tuple[int, ...] = ()
    """First and last update to trace, as in --profile.steps 5 6 (one number: that update alone);
    the trace goes to <run>/profile, for TensorBoard's profiler or ui.perfetto.dev."""

    def __post_init__(self) -> None:
        """Raises UserError on anything but one or two updates in order."""
        if self.steps and not 1 <= self.steps[0] <= self.steps[-1] or len(self.steps) > 2:
            shown = " ".join(map(str, self.steps))
            raise UserError(
                f"--profile.steps {shown}: expected the first and the last update, counted from 1"
            )


class Profiler:
    """Starts and ends the trace of one process; `close` ends one that is still open."""

    def __init__(self, config: ProfileConfig, directory: Path) -> None:
        self._steps, self._directory = config.steps, directory
        self._open = False

    def before(self, update: int) -> None:
        """To be called before the work of each update, its rollout included."""
        if self._steps and not self._open and self._steps[0] <= update <= self._steps[-1]:
            jax.profiler.start_trace(str(self._directory), create_perfetto_trace=True)
            self._open = True

    def after(self, update: int) -> None:
        """To be called when an update is made."""
        if self._open and update >= self._steps[-1]:
            self.close()

    def close(self) -> None:
        """Writes the trace, if one is open."""
        if self._open:
            self._open = False
            jax.profiler.stop_trace()
