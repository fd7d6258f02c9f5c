"""The rewards of a rollout, given in a thread while the devices go on writing."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import Counts, RewardPool, Term, score
from r1jax.rewards.score import Marks, joined, marks
from r1jax.rollout.engine import Generated
from r1jax.rollout.policy import Policy
from r1jax.training.rl.reward_model import RewardModel

GATHER_SECONDS = 0.02
"""How long the first group of a batch waits for others: what ends in one look of the engine's host
arrives within milliseconds, and workers judge it best as one batch."""


@dataclass(frozen=True)
class Judgement:
    """Rewards of a rollout: totals f32[N], parts f32[N] by name (NaN where a term was left out)."""

    total: np.ndarray
    parts: dict[str, np.ndarray]
    lost: dict[str, int]

    def take(self, index: np.ndarray) -> Judgement:
        """The rewards at `index`; what was lost stays counted."""
        parts = {name: part[index] for name, part in self.parts.items()}
        return Judgement(self.total[index], parts, self.lost)


@dataclass(frozen=True)
class Drawn:
    """N judged completions: what was asked, what came, whose group, what it earned."""

    problems: list[Problem]
    generated: list[Generated]
    completions: list[Completion]
    groups: np.ndarray  # i64[N]
    judgement: Judgement

    @property
    def truncated(self) -> np.ndarray:
        """bool[N], completions the token limit cut."""
        return np.asarray([c.finish_reason == "length" for c in self.completions])

    def joined(self, later: Drawn) -> Drawn:
        """This round and a later one, whose groups get numbers of their own."""
        a, b = self.judgement, later.judgement
        parts = {name: np.concatenate([part, b.parts[name]]) for name, part in a.parts.items()}
        lost = {name: count + b.lost[name] for name, count in a.lost.items()}
        return Drawn(
            self.problems + later.problems,
            self.generated + later.generated,
            self.completions + later.completions,
            np.concatenate([self.groups, later.groups + self.groups.max() + 1]),
            Judgement(np.concatenate([a.total, b.total]), parts, lost),
        )

    def take(self, index: np.ndarray) -> Drawn:
        """The completions at `index`, in its order."""
        own = (self.problems, self.generated, self.completions)
        lists = ([items[i] for i in index] for items in own)
        return Drawn(*lists, self.groups[index], self.judgement.take(index))


@dataclass(frozen=True)
class _Batch:
    """Whole groups that were judged together, and the marks of the terms that need no device."""

    problems: list[Problem]
    generated: list[Generated]
    completions: list[Completion]
    marks: dict[str, Marks]


class Judging:
    """Judges a rollout in a thread, group by group as they are finished; a context manager.

    The thread reads texts and calls rewards for all groups that wait, again and again. A reward
    sees one group at most, so that the result is that of judging everything at once afterwards,
    bit for bit. Only the first process grades, and what takes all processes is done by `finish` in
    the thread that calls it: reward models, and telling the others. The block's end is the
    thread's: what it is at is broken off if `finish` was not reached.
    """

    def __init__(self, policy: Policy, terms: Sequence[Term], pool: RewardPool, step: int) -> None:
        self.seconds = 0.0  # spent on judging, in the thread and in `finish`
        self._policy, self._terms, self._pool, self._step = policy, terms, pool, step
        grades = jax.process_index() == 0
        self._early = [t for t in terms if grades and not isinstance(t.reward, RewardModel)]
        self._waiting: queue.SimpleQueue[tuple[Problem, list[Generated]] | None] = (
            queue.SimpleQueue()
        )
        self._batches: list[_Batch] = []
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._work, name="judging", daemon=True)

    def __enter__(self) -> Judging:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            with self._pool.broken_off():
                self._thread.join()

    def take(self, problem: Problem, group: list[Generated]) -> None:
        """Hands over a whole group, in the order of its samples.

        Raises what a reward has raised meanwhile: UserError, for one.
        """
        self._complain()
        self._waiting.put((problem, group))

    def finish(self) -> Drawn:
        """All groups in the order of their prompts, judged; waits for what is left of that.

        Raises what a reward has raised.
        """
        self._waiting.put(None)
        self._thread.join()
        self._complain()
        began = time.perf_counter()
        problems, generated, completions, early = _in_order(self._batches)
        groups = np.asarray([g.prompt for g in generated])
        context = RewardContext(self._step, tuple(groups.tolist()), self._policy.tokenizer)
        judgement = judge(self._terms, problems, completions, context, self._pool, early)
        self.seconds += time.perf_counter() - began
        return Drawn(problems, generated, completions, groups, judgement)

    def _complain(self) -> None:
        if self._error is not None:
            raise self._error

    def _work(self) -> None:
        """The thread: judges batches until there are no more; an error is kept for the others."""
        try:
            while batch := self._gather():
                began = time.perf_counter()
                self._batches.append(self._judged(batch))
                self.seconds += time.perf_counter() - began
        except BaseException as error:
            self._error = error

    def _gather(self) -> list[tuple[Problem, list[Generated]]]:
        """All groups that wait, at least one; none after the last."""
        found = []
        item = self._waiting.get()
        until = time.monotonic() + GATHER_SECONDS
        while item is not None:
            found.append(item)
            try:
                item = self._waiting.get(timeout=max(until - time.monotonic(), 0))
            except queue.Empty:
                return found
        self._waiting.put(None)  # for the next call
        return found

    def _judged(self, groups: Sequence[tuple[Problem, list[Generated]]]) -> _Batch:
        problems = [problem for problem, group in groups for _ in group]
        generated = [one for _, group in groups for one in group]
        completions = [self._policy.completion(one) for one in generated]
        numbers = tuple(one.prompt for one in generated)
        context = RewardContext(self._step, numbers, self._policy.tokenizer)
        found = marks(self._early, problems, completions, context, self._pool)
        return _Batch(problems, generated, completions, found)


def judge(
    terms: Sequence[Term],
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    pool: RewardPool,
    early: Mapping[str, Marks] | None = None,
) -> Judgement:
    """Rewards by the first process, told to all others: grading may time out, runs may not part.

    Reward models run before, in every process: their weights may be spread over all of them.
    `early` are marks that the first process has given already.
    """
    n = len(completions)
    table = np.zeros((len(terms) + 1, n), np.float32)
    lost = np.zeros(len(terms), np.int32)
    models = [term for term in terms if isinstance(term.reward, RewardModel)]
    judged = {t.name: (list(t.reward(problems, completions, context)), Counts()) for t in models}
    if jax.process_index() == 0:
        judged |= early or {}
        total, parts, counts = score(terms, problems, completions, context, pool, judged)
        rows = [[np.nan if v is None else v for v in parts[t.name]] for t in terms]
        table = np.asarray([total, *rows], np.float32)
        lost = np.asarray([counts[t.name].lost for t in terms], np.int32)
    if jax.process_count() > 1:
        table, lost = multihost_utils.broadcast_one_to_all((table, lost))
    names = [term.name for term in terms]
    return Judgement(
        np.asarray(table[0]),
        dict(zip(names, np.asarray(table[1:]), strict=True)),
        dict(zip(names, np.asarray(lost).tolist(), strict=True)),
    )


def _in_order(
    batches: Sequence[_Batch],
) -> tuple[list[Problem], list[Generated], list[Completion], dict[str, Marks]]:
    """Everything that was judged, in the order of prompts and, within a group, of samples."""
    generated = [one for batch in batches for one in batch.generated]
    order = sorted(range(len(generated)), key=lambda i: generated[i].prompt)
    problems = [problem for batch in batches for problem in batch.problems]
    completions = [completion for batch in batches for completion in batch.completions]
    found = {}
    for name in batches[0].marks:
        values, counts = joined([batch.marks[name] for batch in batches])
        found[name] = [values[i] for i in order], counts
    return (
        [problems[i] for i in order],
        [generated[i] for i in order],
        [completions[i] for i in order],
        found,
    )
