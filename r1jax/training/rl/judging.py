"""The rewards of a rollout, given in a thread while the devices go on writing."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import jax
import numpy as np

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, Term
from r1jax.rewards.score import Marks, joined, marks
from r1jax.rollout.engine import Generated
from r1jax.rollout.policy import Policy
from r1jax.training.rl.judgement import Judgement, judge

GATHER_SECONDS = 0.02
"""How long the first group of a batch waits for others: what ends in one look of the engine's host
arrives within milliseconds, and workers judge it best as one batch."""


@dataclass(frozen=True)
class JudgedBatch:
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

    @property
    def lengths(self) -> np.ndarray:
        """i64[N], tokens of each completion."""
        return np.asarray([len(g.tokens) for g in self.generated], np.int64)

    @property
    def totals(self) -> np.ndarray:
        """i64[N], tokens of each completion with its prompt."""
        prompts = [len(g.prompt_tokens) for g in self.generated]
        return self.lengths + np.asarray(prompts, np.int64)

    def joined(self, later: JudgedBatch) -> JudgedBatch:
        """This round and a later one, whose groups get numbers of their own."""
        return JudgedBatch(
            self.problems + later.problems,
            self.generated + later.generated,
            self.completions + later.completions,
            np.concatenate([self.groups, later.groups + self.groups.max() + 1]),
            self.judgement.joined(later.judgement),
        )

    def take(self, index: np.ndarray) -> JudgedBatch:
        """The completions at `index`, in its order."""
        lists = (self.problems, self.generated, self.completions)
        taken = ([items[i] for i in index] for items in lists)
        return JudgedBatch(*taken, self.groups[index], self.judgement.take(index))


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
        self._early = [t for t in terms if grades and t.reward.place != "devices"]
        self._waiting: deque[tuple[Problem, list[Generated]]] = deque()
        self._last = threading.Event()  # no group comes after those that wait
        self._thread = ThreadPoolExecutor(1, "judging")
        self._calls: deque[Future[None]] = deque()  # one for each group, done or not
        # What was judged so far, and of each batch the marks of the terms that need no device.
        self._judged: list[tuple[Problem, Generated, Completion]] = []
        self._batches: list[dict[str, Marks]] = []

    def __enter__(self) -> Judging:
        return self

    def __exit__(self, *error: object) -> None:
        self._last.set()
        with self._pool.broken_off():
            self._thread.shutdown(cancel_futures=True)

    def take(self, problem: Problem, group: list[Generated]) -> None:
        """Hands over a whole group, in the order of its samples.

        Raises what a reward has raised meanwhile: UserError, for one.
        """
        while self._calls and self._calls[0].done():
            self._calls[0].result()
            self._calls.popleft()
        self._waiting.append((problem, group))
        self._calls.append(self._thread.submit(self._judge_waiting))

    def finish(self) -> JudgedBatch:
        """All groups in the order of their prompts, judged; waits for what is left of that.

        Raises what a reward has raised.
        """
        self._last.set()
        for call in self._calls:
            call.result()
        began = time.perf_counter()
        # In the order of prompts and, within a group, of samples.
        order = sorted(range(len(self._judged)), key=lambda i: self._judged[i][1].prompt)
        rows = [self._judged[i] for i in order]
        problems, generated, completions = (list(column) for column in zip(*rows, strict=True))
        early = {}
        for name in self._batches[0]:
            values, counts = joined([batch[name] for batch in self._batches])
            early[name] = [values[i] for i in order], counts
        groups = np.asarray([g.prompt for g in generated])
        context = RewardContext(self._step, tuple(groups.tolist()), self._policy.tokenizer)
        judgement = judge(self._terms, problems, completions, context, self._pool, early)
        self.seconds += time.perf_counter() - began
        return JudgedBatch(problems, generated, completions, groups, judgement)

    def _judge_waiting(self) -> None:
        """In the thread: judges the groups that wait and those that soon will, if any do."""
        if not self._waiting:  # they were judged with an earlier group
            return
        self._last.wait(GATHER_SECONDS)
        began = time.perf_counter()
        groups = [self._waiting.popleft() for _ in range(len(self._waiting))]
        problems = [problem for problem, group in groups for _ in group]
        generated = [g for _, group in groups for g in group]
        completions = [self._policy.completion(g) for g in generated]
        numbers = tuple(g.prompt for g in generated)
        context = RewardContext(self._step, numbers, self._policy.tokenizer)
        marks_by_term = marks(self._early, problems, completions, context, self._pool)
        self._judged += zip(problems, generated, completions, strict=True)
        self._batches.append(marks_by_term)
        self.seconds += time.perf_counter() - began
