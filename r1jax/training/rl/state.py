"""Where a run of reinforcement learning stands, and where it writes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

import jax
import numpy as np

from r1jax.checkpoint import Checkpoints
from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory
from r1jax.run.names import NONFINITE
from r1jax.run.profile import Profiler
from r1jax.run.progress import Progress
from r1jax.run.sinks import Sink
from r1jax.training.rl.carry import Group
from r1jax.training.rl.collect import Scored
from r1jax.types import Batch, Params, TrainState


@dataclass
class Loop:
    """Where a run stands. `rollout` counts from 1 and is the one whose updates come next."""

    state: TrainState
    reference: Params | None
    rollout: int = 1
    taken: int = 0  # training problems taken from the stream
    scored: Scored | None = None  # the rollout being learnt from
    done: int = 0  # its updates already made
    seconds: dict[str, float] = field(default_factory=dict)
    tokens_seen: int = 0  # by updates so far, prompts included
    learnt_tokens_seen: int = 0  # those of completions in the loss
    carried: tuple[Group, ...] = ()  # of earlier rollouts, for the next one
    warned: bool = False  # that sampler and trainer disagree: said once

    @property
    def update(self) -> int:
        """Updates made so far."""
        return int(self.state.update)

    @contextmanager
    def clock(self, phase: str) -> Iterator[None]:
        """Adds the wall time of a block to time/<phase> of the next row of metrics."""
        began = time.perf_counter()
        with jax.profiler.TraceAnnotation(phase):
            yield
        spent = time.perf_counter() - began
        self.seconds[f"time/{phase}"] = self.seconds.get(f"time/{phase}", 0.0) + spent


@dataclass(frozen=True)
class Files:
    """Where a run writes."""

    run: RunDirectory
    checkpoints: Checkpoints
    sinks: tuple[Sink, ...]
    progress: Progress
    profiler: Profiler

    @property
    def fresh(self) -> bool:
        """Whether the run begins: no checkpoint has been written yet."""
        return self.checkpoints.latest() is None

    def stop(self, update: int, times: int, batches: list[Batch], advice: str) -> NoReturn:
        """Ends a run whose updates came to nothing finite, and saves the batch that did it."""
        path = self.run.path / NONFINITE
        if self.run.write:
            named = [vars(b) | b.columns for b in batches]
            arrays = {f"{k}/{i}": v for i, b in enumerate(named) for k, v in b.items()}
            np.savez(path, **{k: v for k, v in arrays.items() if not k.startswith("columns/")})
        raise UserError(
            f"update {update}: loss or gradient was not finite {times} times in a row; the batch "
            f"is in {path}; {advice}"
        )
