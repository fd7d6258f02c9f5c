"""The reward pool: hostile text is judged in worker processes, each answer under its own limits."""

from __future__ import annotations

import pickle
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import psutil

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, Reward, RewardContext, Value
from r1jax.rewards.adapters import lifted
from r1jax.rewards.workers.launch import Launcher, Worker
from r1jax.rewards.workers.limits import Limits
from r1jax.rewards.workers.schedule import BrokenOff, Work, WorkerSchedule, split
from r1jax.rewards.workers.sendable import dumps, reward_name
from r1jax.rewards.workers.unit import Counts, Status, Tally, Unit, run_unit, widths


class RewardPool(AbstractContextManager["RewardPool"]):
    """Worker processes that judge completions; see `map`. A context manager.

    A call of the reward that uses more than `cpu_seconds` of CPU, or asks for more than
    `memory_mb` MiB, or ends its worker, costs its completions their reward (0.0) and nothing else.
    `wall_seconds` is the backstop for calls that sleep: counted apart, tried once more in a fresh
    worker, then 0.0. A worker is replaced after `max_tasks` completions.

    A reward that is `per_item` is called for one completion at a time. Any other is called once for
    each group, under the limits times the size of the group, and a violation costs the whole group
    this reward. One whose `place` is no worker runs in this process.

    `workers=0` runs everything in this process without limits: for tests and notebooks.
    """

    def __init__(
        self,
        workers: int | None = None,
        cpu_seconds: float = 2.0,
        wall_seconds: float = 10.0,
        memory_mb: int = 1024,
        max_tasks: int = 5000,
    ) -> None:
        self.workers = min(8, psutil.cpu_count() or 1) if workers is None else workers
        self.limits = Limits(cpu_seconds, wall_seconds, memory_mb, max_tasks)
        if self.workers < 0 or min(cpu_seconds, wall_seconds, memory_mb, max_tasks) <= 0:
            raise UserError(
                f"reward pool got workers {workers}, cpu_seconds {cpu_seconds}, wall_seconds "
                f"{wall_seconds}, memory_mb {memory_mb}, max_tasks {max_tasks}; "
                "workers must be at least 0 and the limits above 0"
            )
        self._lock = threading.Lock()
        self._closed = False
        self._unwanted = threading.Event()
        self._team: list[Worker] = []
        self._tokenizer: tuple[Any, bytes] = (None, b"")
        self._launcher = Launcher() if self.workers else None

    def map(
        self,
        reward: Reward,
        problems: Sequence[Problem],
        completions: Sequence[Completion],
        context: RewardContext,
        name: str = "",
    ) -> tuple[list[Value], Counts]:
        """(reward of each completion in their order, what went wrong); may be called from a thread.

        Raises UserError where the reward returns a list of the wrong length or cannot be sent to a
        worker, naming it `name` (its function's name by default), and for an unknown grader.
        """
        name, reward = name or reward_name(reward), lifted(reward)
        if not len(problems) == len(completions) == len(context.group_ids or completions):
            raise ValueError(
                f"{len(problems)} problems, {len(completions)} completions, "
                f"{len(context.group_ids)} group ids"
            )
        reward.check(problems)
        work = Work(name, problems, completions, context, widths(reward, completions))
        units = split(problems, context, reward.per_item, work.widths)
        if self._launcher is None or reward.place != "worker":
            tally = Tally.of(len(problems), work.widths)
            for unit in units:
                if self._unwanted.is_set():
                    raise BrokenOff
                *inputs, groups = work.part(unit)
                outcomes = run_unit(reward, *inputs, replace(context, group_ids=groups))
                tally.take(unit.indices, *outcomes)
        else:
            if not (reward.needs_tokens or reward.per_token):
                work = replace(work, completions=[replace(c, token_ids=()) for c in completions])
            with self._lock:
                if self._closed:
                    raise RuntimeError("the reward pool is closed")
                tokenizer = self._pickled(context.tokenizer) if reward.needs_tokenizer else b""
                if tokenizer:
                    self._ready(self._launcher, modules={type(context.tokenizer).__module__})
                work = replace(work, reward=dumps(reward), tokenizer=tokenizer)
                tally = self._drive(self._launcher, work, units)
        _check_lengths(name, tally)
        return tally.values(), tally.counts()

    @contextmanager
    def broken_off(self) -> Iterator[None]:
        """While it lasts, every call of `map` ends with `BrokenOff`, those of other threads too.

        Busy workers are ended; without workers, the call of the reward that is under way is not.
        """
        self._unwanted.set()
        try:
            yield
        finally:
            self._unwanted.clear()

    def close(self) -> None:
        """Ends the workers; the pool cannot be used afterwards."""
        with self._lock:
            self._closed = True
            for worker in self._team:
                worker.close()
            self._team.clear()
            if self._launcher is not None:
                self._launcher.close()

    def __exit__(self, *error: object) -> None:
        self.close()

    def _drive(self, launcher: Launcher, work: Work, units: list[Unit]) -> Tally:
        self._ready(launcher, graders={p.grader for p in work.problems})
        team, unwanted = self._team, self._unwanted.is_set
        return WorkerSchedule(
            work, units, self.limits, team, self.workers, launcher, unwanted
        ).run()

    def _ready(
        self, launcher: Launcher, graders: Iterable[str] = (), modules: Iterable[str] = ()
    ) -> None:
        """Has libraries imported once, not by every worker, where that takes seconds."""
        if launcher.ready(graders, modules) & {"reasoning_gym", *modules}:
            while self._team:
                launcher.kill(self._team.pop())

    def _pickled(self, tokenizer: Any) -> bytes:
        """The tokenizer's bytes, pickled once for a run rather than once for a batch."""
        if tokenizer is not self._tokenizer[0]:
            self._tokenizer = (tokenizer, pickle.dumps(tokenizer))
        return self._tokenizer[1]


def _check_lengths(name: str, tally: Tally) -> None:
    wrong = [i for i, (status, _) in enumerate(tally.outcomes) if status == Status.LENGTH]
    if wrong:
        message = tally.messages.get(wrong[0]) or tally.counts().first_error
        raise UserError(f"reward {name} {message}")
