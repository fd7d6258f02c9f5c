"""Where a run stands, and where it writes.

Supervised training takes both, `Loop` with rollout 0 and without what is of rollouts; search takes
how time and operations are counted.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import jax
import numpy as np

from r1jax.checkpoint import Checkpoints
from r1jax.data.packing import Sequences
from r1jax.endpoint import Unscored
from r1jax.errors import Collapsed, Stopped
from r1jax.run import rows
from r1jax.run.directory import RunDirectory
from r1jax.run.names import NONFINITE
from r1jax.run.profile import Profiler
from r1jax.run.progress import Progress
from r1jax.run.saved import Saved
from r1jax.run.signals import held
from r1jax.run.sinks import Sink
from r1jax.training.flops import utilisation
from r1jax.training.optimizer import schedule
from r1jax.training.rl.carried_groups import Group
from r1jax.training.rl.collect import Scored
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.early_stop import Signs
from r1jax.training.supervised.config import CourseConfig
from r1jax.types import Batch, Params, TrainState

OWN = ("rollout", "update")
"""Operations of the model that learns, with its reference's; a critic's and a teacher's are not."""


@dataclass
class Loop:
    """Where a run stands. `rollout` counts from 1 and is the one whose updates come next."""

    state: TrainState
    reference: Params | None
    tower: TrainState | None = None  # of a critic or a reward tower
    rollout: int = 1  # 0 in supervised training, which has none
    taken: int = 0  # training problems taken from the stream
    scored: Scored | None = None  # the rollout being learnt from
    done: int = 0  # its updates already made
    seconds: dict[str, float] = field(default_factory=dict)
    learning: float = 0.0  # operations of learning since the last row, in time/update
    tokens_seen: int = 0  # by updates so far, prompts included
    learnt_tokens_seen: int = 0  # those of completions in the loss
    operations: float = 0.0  # that writing, scoring and learning have taken
    carried: tuple[Group, ...] = ()  # of earlier rollouts, for the next one
    unjudged: bool = False  # whether the last update's evaluation is still to be made
    warned: bool = False  # that sampler and trainer disagree: said once
    judged: dict[str, bool] = field(default_factory=dict)  # by term: whether losses were said
    scores: list[float] = field(default_factory=list)  # held-out pass@1, evaluation by evaluation
    history: list[Signs] = field(default_factory=list)  # of rollouts: how the policy is
    entropy_weight: float | None = None  # of the bonus that adapts, once a rollout was drawn

    @property
    def update(self) -> int:
        """Updates made so far."""
        return int(self.state.update)

    def clock(self, phase: str) -> AbstractContextManager[None]:
        """Adds the wall time of a block to time/<phase> of the next row of metrics."""
        return timed(self.seconds, phase)

    @contextmanager
    def given_back(self) -> Iterator[None]:
        """What a rollout took is as it was where the run is stopped before it was whole."""
        before = self.taken, self.carried, self.entropy_weight
        try:
            yield
        except (Stopped, Unscored):
            self.taken, self.carried, self.entropy_weight = before
            raise

    def learnt(self, sequences: Sequences, flops: Mapping[str, float]) -> dict[str, float]:
        """Counts the tokens of the update just made; what its row says of tokens and speed.

        `flops` are its operations by who learnt.
        """
        seconds, tokens = self.seconds["time/update"], int(sequences.totals.sum())
        self.tokens_seen += tokens
        self.learnt_tokens_seen += int(sequences.learnt.sum())
        self.learning += sum(flops.values())
        metrics = {f"operations/{who}": spent for who, spent in flops.items()} | {
            "perf/train_tokens_per_s": tokens / seconds,
            "data/tokens_seen": self.tokens_seen,
            "data/learnt_tokens_seen": self.learnt_tokens_seen,
        }
        mfu = utilisation(self.learning, seconds)
        return metrics if mfu is None else metrics | {"perf/mfu": mfu}

    @property
    def counts(self) -> dict[str, Any]:
        """What a checkpoint keeps of what was counted."""
        seen = [self.tokens_seen, self.learnt_tokens_seen]
        return {"seen": seen, "operations": self.operations}

    def count_on(self, meta: Mapping[str, Any]) -> None:
        """Goes on from the `counts` in a checkpoint."""
        self.tokens_seen, self.learnt_tokens_seen = meta["seen"]
        self.operations = meta.get("operations", 0.0)

    def spend(self, metrics: Mapping[str, float]) -> None:
        """Counts what the row of an update says of the policy's own operations."""
        self.operations += own_operations(metrics)


@contextmanager
def timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    """Adds the wall time of a block to time/<phase> of `seconds`; a profile shows it, too."""
    began = time.perf_counter()
    with jax.profiler.TraceAnnotation(phase):
        yield
    spent = time.perf_counter() - began
    seconds[f"time/{phase}"] = seconds.get(f"time/{phase}", 0.0) + spent


def own_operations(metrics: Mapping[str, float]) -> float:
    """Those of the model that learns, in a row of metrics."""
    return sum(metrics.get(f"operations/{part}", 0.0) for part in OWN)


def spent(standing: Any, most: float) -> bool:
    """Whether the model that learns has taken so many `operations`; of 0 there is no end."""
    return 0 < most <= standing.operations


def is_due(update: int, every: int, last: int) -> bool:
    """Every so many updates (0: none of them), and after the last."""
    return update == last or bool(every and update % every == 0)


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

    def cut(self, update: int, rollout: int, since: tuple[int, int] = (0, 0)) -> None:
        """Drops the rows behind these counters; says where some before them are missing.

        Those up to the update and rollout `since` are another run's.
        """
        for line in rows.cut(self.run, update, rollout, since):
            self.progress.note(line)

    @contextmanager
    def saving(self, loop: Loop, snapshot: Callable[[Loop], Saved]) -> Iterator[None]:
        """Where a signal stops the loop inside, a checkpoint of that moment is written.

        So it is where a teacher behind an endpoint scores no more: that is no fault of the run.
        Of one that is spoilt nothing more is written; its line says what was.
        """
        with held(self.left):
            try:
                yield
            except (Stopped, Unscored) as stopped:
                if loop.update and loop.update != self.checkpoints.latest():
                    self.checkpoints.save(snapshot(loop))
                self.checkpoints.wait()
                if isinstance(stopped, Unscored):
                    raise
                name = signal.Signals(stopped.number).name
                raise Stopped(stopped.number, f"{name}: ended; {self.left()}") from None
            except Collapsed as spoilt:
                self.checkpoints.wait()
                step = self.checkpoints.whole
                newest = "there is no checkpoint" if step is None else f"checkpoint {step} is whole"
                raise Collapsed(f"{spoilt}; {newest}") from spoilt

    def left(self) -> str:
        """What a run that ends now goes on from."""
        step = self.checkpoints.whole
        then = "begins anew" if step is None else f"goes on from the checkpoint of update {step}"
        return f"the same command {then}"

    def row(self, loop: Loop, config: CourseConfig | RLConfig, metrics: dict[str, float]) -> None:
        """Writes the row of the update just made everywhere, with the seconds since the last."""
        rate = schedule(config.optimizer, config.updates)(loop.update - 1)
        metrics = metrics | loop.seconds | {"lr": float(rate)}
        loop.seconds, loop.learning = {}, 0.0
        self.run.metrics(loop.update, loop.rollout, metrics)
        for sink in self.sinks:
            sink.log(loop.update, metrics)
        self.progress.update(loop.update, metrics)

    def samples(self, loop: Loop, rows: Sequence[Mapping[str, Any]], shown: int) -> None:
        """Writes completions of the rollout just drawn; sinks get the first `shown` of them."""
        self.run.samples(loop.update, loop.rollout, rows)
        for sink in self.sinks if shown else ():
            sink.samples(loop.update + 1, rows[:shown])

    def stop(self, update: int, times: int, batches: list[Batch], advice: str) -> NoReturn:
        """Ends a run whose updates came to nothing finite, and saves the batch that did it."""
        path = self.run.path / NONFINITE
        if self.run.write:
            named = [vars(b) | b.columns for b in batches]
            np.savez(path, **{f"{k}/{i}": v for i, b in enumerate(named) for k, v in b.items()
                              if k != "columns"})  # fmt: skip
        raise Collapsed(
            f"update {update}: loss or gradient was not finite {times} times in a row; the batch "
            f"is in {path}; {advice}"
        )
