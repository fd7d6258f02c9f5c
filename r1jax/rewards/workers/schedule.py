"""One call of a reward over a batch: which worker judges what, and who pays for a failure."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import wait

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.workers.board import CAPACITY, NUMBERS
from r1jax.rewards.workers.launch import Launcher, Worker
from r1jax.rewards.workers.limits import Limits
from r1jax.rewards.workers.unit import Status, Tally, Unit

POLL_SECONDS = 0.02
_CHUNK = 256
_IDLE_DEATHS = 3
_REWARDS = 4
"""Rewards whose workers are kept, all of them together."""


class BrokenOff(Exception):
    """A call of a reward that nobody waits for any more."""


Chunk = list[Unit]


@dataclass(frozen=True)
class Work:
    """A batch and the reward that judges it."""

    name: str
    problems: Sequence[Problem]
    completions: Sequence[Completion]
    context: RewardContext
    widths: list[int] | None = None  # numbers of each completion, where tokens are judged
    reward: bytes = b""  # as a worker needs it, and the tokenizer beside it
    tokenizer: bytes = b""

    @property
    def digest(self) -> bytes:
        """What tells this reward (and tokenizer) from another."""
        return hashlib.sha256(self.reward + self.tokenizer).digest()

    def part(self, unit: Unit) -> tuple[list[Problem], list[Completion], tuple[int, ...]]:
        """A unit's problems, completions and group ids."""
        groups, indices = self.context.group_ids, unit.indices
        return (
            [self.problems[i] for i in indices],
            [self.completions[i] for i in indices],
            tuple(groups[i] for i in indices) if groups else (),
        )


def split(
    problems: Sequence[Problem],
    context: RewardContext,
    per_item: bool,
    widths: Sequence[int] | None = None,
) -> list[Unit]:
    """Units in order of their first completion: single ones, or whole groups.

    Groups are those of `context.group_ids`, else the completions of one problem id.
    """
    keys = context.group_ids or tuple(problem.id for problem in problems)
    groups: dict[int | str, list[int]] = {}
    for i, key in enumerate(range(len(problems)) if per_item else keys):
        groups.setdefault(key, []).append(i)
    sizes = widths or [0] * len(problems)
    return [
        Unit(tuple(indices), numbers=sum(sizes[i] for i in indices)) for indices in groups.values()
    ]


def chunks(units: Sequence[Unit], workers: int) -> deque[Chunk]:
    """Units in portions: large enough to be cheap to send, small enough to share evenly.

    Raises UserError for a group that is larger than a worker's board.
    """
    size = max(1, min(_CHUNK, math.ceil(len(units) / (4 * workers))))
    portions: deque[Chunk] = deque()
    answers = numbers = 0  # of the last portion
    for unit in units:
        n = len(unit.indices)
        if n > CAPACITY or unit.numbers > NUMBERS:
            raise UserError(
                f"a group of {n} completions with {unit.numbers} tokens to judge is too large; at "
                f"most {CAPACITY} and {NUMBERS}"
            )
        answers, numbers = answers + n, numbers + unit.numbers
        full = answers > CAPACITY or numbers > NUMBERS
        if not portions or full or len(portions[-1]) == size:
            portions.append([])
            answers, numbers = n, unit.numbers
        portions[-1].append(unit)
    return portions


class WorkerSchedule:
    """Drives a team of workers through a batch; ends with `BrokenOff` once `unwanted` says so."""

    def __init__(
        self,
        work: Work,
        units: Sequence[Unit],
        limits: Limits,
        team: list[Worker],
        size: int,
        launcher: Launcher,
        unwanted: Callable[[], bool],
    ) -> None:
        self._work, self._queue, self._limits = work, chunks(units, size), limits
        self._team, self._size, self._launcher, self._unwanted = team, size, launcher, unwanted
        self._tally = Tally.of(len(work.problems), work.widths)
        self._idle_deaths = 0
        self._watched = 0.0

    def run(self) -> Tally:
        """Judges every unit. On an exception the busy workers are ended, not waited for."""
        try:
            while self._queue or self._busy():
                if self._unwanted():
                    raise BrokenOff
                self._assign()
                self._listen()
        except BaseException:
            for worker in self._busy():
                self._end(worker)
            raise
        return self._tally

    def _busy(self) -> list[Worker]:
        return [worker for worker in self._team if worker.busy]

    def _end(self, worker: Worker) -> None:
        self._team.remove(worker)
        self._launcher.kill(worker)

    def _assign(self) -> None:
        """Gives workers chunks; there are never more at work than chunks to judge."""
        digest = self._work.digest
        while self._queue:
            if len(self._busy()) >= self._size:
                return
            idle = self._idle()
            idle.busy, idle.calls = self._queue.popleft(), {}
            if idle.loaded == digest:
                self._send_chunk(idle)
            else:
                idle.loaded = digest
                self._send(idle, "reward", self._work.reward, self._work.tokenizer)

    def _idle(self) -> Worker:
        """A worker that holds this reward, else a fresh one.

        None serves two rewards, since one may change what the other uses. Of the idle ones that
        wait for another reward the longest unused is ended where there are too many.
        """
        idle = [worker for worker in self._team if not worker.busy]
        worker = next((w for w in idle if w.loaded == self._work.digest), None)
        if worker is not None:
            self._team.remove(worker)
        else:
            if idle and len(self._team) >= _REWARDS * self._size:
                self._end(idle[0])
            worker = self._launcher.fork(self._limits)
        self._team.append(worker)  # the team is in the order of use
        return worker

    def _send_chunk(self, worker: Worker) -> None:
        slot = 0
        for unit in worker.busy:
            worker.calls[slot] = unit
            slot += len(unit.indices)
        worker.board.clear(slot)
        parts = [self._work.part(unit) for unit in worker.busy]
        self._send(worker, "chunk", self._work.context.step, parts)

    def _send(self, worker: Worker, *message: object) -> None:
        try:
            worker.send(*message)
        except (BrokenPipeError, ConnectionResetError):
            self._lose(worker, Status.DIED)

    def _listen(self) -> None:
        """Waits for news; looks at the limits of the busy workers now and then."""
        busy = {worker.connection: worker for worker in self._busy()}
        for connection in wait(list(busy), POLL_SECONDS):
            self._receive(busy[connection])  # type: ignore[index]
        now = time.monotonic()
        if now - self._watched >= POLL_SECONDS:
            self._watched = now
            for worker in self._busy():
                broken = worker.violation(self._limits)
                if broken is not None:
                    self._lose(worker, broken)

    def _receive(self, worker: Worker) -> None:
        try:
            message = worker.connection.recv_bytes()
        except (EOFError, OSError):
            self._lose(worker, Status.DIED)
            return
        if message == b"loaded":
            self._send_chunk(worker)
        elif message in (b"done", b"spent"):
            rest = self._collect(worker)
            self._idle_deaths = 0
            worker.tasks += sum(len(unit.indices) for unit in worker.busy)
            worker.busy = []
            if message == b"spent" or worker.tasks >= self._limits.max_tasks:
                self._end(worker)
            if rest:
                self._queue.appendleft(rest)
        else:
            text = message[1:].decode("utf-8", "replace")
            raise UserError(f"reward {self._work.name} cannot be loaded in a worker: {text}")

    def _collect(self, worker: Worker) -> Chunk:
        """Takes over what the worker has judged; returns the units that it has not."""
        indices, widths = [i for unit in worker.busy for i in unit.indices], self._work.widths
        outcomes = worker.board.outcomes(len(indices), widths and [widths[i] for i in indices])
        error = worker.board.error()
        pending: Chunk = []
        for slot, unit in worker.calls.items():
            if outcomes[slot][0] == Status.PENDING:
                pending.append(unit)
                continue
            message = error[1] if error is not None and error[0] == slot else ""
            self._tally.take(unit.indices, outcomes[slot : slot + len(unit.indices)], message)
        return pending

    def _lose(self, worker: Worker, status: Status) -> None:
        """Ends a worker: the running call pays, the rest of its chunk goes to another."""
        running = worker.board.running()
        # Without calls it was still loading the reward.
        rest = self._collect(worker) if worker.calls else list(worker.busy)
        culprit = worker.calls.get(running.slot) if running is not None else None
        self._end(worker)
        if culprit in rest:
            rest.remove(culprit)
            self._charge(culprit, status)
        else:
            self._idle_deaths += 1
            if self._idle_deaths > _IDLE_DEATHS + self._size:
                raise RuntimeError(
                    f"reward workers end before they judge anything (reward {self._work.name})"
                )
        if rest:
            self._queue.appendleft(rest)

    def _charge(self, unit: Unit, status: Status) -> None:
        """The unit's completions get 0.0, except for a first wall-clock violation: once more."""
        if status == Status.WALL and unit.attempt == 0:
            self._tally.retried += len(unit.indices)
            self._queue.appendleft([replace(unit, attempt=1)])
            return
        for index in unit.indices:
            self._tally.outcomes[index] = (status, 0.0)
