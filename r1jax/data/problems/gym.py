"""Problems from reasoning-gym: any of its tasks by name, without end, train and eval disjoint."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import sys
from typing import Any

from r1jax.data.problems import generated
from r1jax.data.problems.layouts import question_hash
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.answers.gym import check_task, paid_junk

CHUNK = 500  # tasks that prepare their problems in advance hold this many per seed
ATTEMPTS = 64
SCREENED = 3  # problems of a task that junk answers are tried on
HELD_OUT = 4  # one question in this many is evaluation: finding 256 of them has to stay cheap

held_out = functools.partial(generated.held_out, one_in=HELD_OUT)
"""Whether a problem belongs to evaluation: decided by its id alone."""


class GymSource:
    """Task `name` of reasoning-gym; item i is one problem, a pure function of (seed, i).

    Problems are graded by the task's own scorer: `metadata` has the task (`dataset`), its
    parameters (`config`) and reasoning-gym's `entry`. A problem whose hash says it belongs to
    evaluation is replaced by another. The source is endless unless the parameter `size` ends it;
    the parameter `seed` takes the place of the run's, and `skip` leaves the first held-out problems
    out of an evaluation: two splits of one task, apart from each other.
    """

    def __init__(self, name: str, params: dict[str, Any], seed: int) -> None:
        """Raises UserError for an unknown task or parameter, a value the task refuses, and a task
        whose scorer pays for junk.
        """
        self._name = name
        self._seed = params.pop("seed", seed)
        self._size = params.pop("size", sys.maxsize)
        self._params = params
        self._skip = params.pop("skip", 0)
        for key, value, least in (("size", self._size, 1), ("skip", self._skip, 0)):
            if not isinstance(value, int) or value < least:
                raise UserError(f"reasoning_gym:{name}?{key}={value}: expected at least {least}")
        _check(name, params)
        # A few hold the neighbourhood of an index and of its replacements.
        self._dataset = functools.lru_cache(maxsize=16)(self._create)
        for index in range(min(self._size, SCREENED)):
            self._screen(self._problem(index, 0))

    def __len__(self) -> int:
        """Number of problems; `sys.maxsize` when there is no end."""
        return self._size

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`."""
        for attempt in range(ATTEMPTS):
            problem = self._problem(int(index), attempt)
            if not held_out(problem.id):
                return problem
        raise UserError(
            f"reasoning_gym:{self._name}: has too few different problems to train on; "
            "widen its parameters"
        )

    def evaluation(self, count: int) -> list[Problem]:
        """`count` different held-out problems after those skipped; fewer where there are fewer.

        Raises UserError when there is none.
        """
        problems: dict[str, Problem] = {}
        wanted = self._skip + count
        for index in range(min(self._size, 10 * HELD_OUT * (wanted + 10))):
            problem = self._problem(index, 0)
            if held_out(problem.id):
                problems[problem.id] = problem
            if len(problems) == wanted:
                break
        chosen = list(problems.values())[self._skip :]
        if not chosen:
            raise UserError(
                f"reasoning_gym:{self._name}: has too few different problems for an evaluation "
                "set; widen its parameters"
            )
        return chosen

    def _create(self, chunk: int, attempt: int) -> Any:
        import reasoning_gym

        digest = hashlib.sha256(f"{self._name}/{self._seed}/{attempt}".encode()).digest()
        # Item j of most tasks is seeded by seed + j, so consecutive chunks continue each other.
        seed = (int.from_bytes(digest[:4], "big") + chunk * CHUNK) % 2**31
        try:
            return reasoning_gym.create_dataset(self._name, seed=seed, size=CHUNK, **self._params)
        except (AssertionError, TypeError, ValueError) as error:
            raise UserError(f"reasoning_gym:{self._name}?{self._query()}: {error}") from None

    def _problem(self, index: int, attempt: int) -> Problem:
        chunk, offset = divmod(index, CHUNK)
        entry = self._dataset(chunk, attempt)[offset]
        return Problem(
            id=f"{self._name}-{question_hash(entry['question'])}",
            question=entry["question"],
            answer="" if entry["answer"] is None else str(entry["answer"]),
            grader="reasoning_gym",
            metadata={"dataset": self._name, "config": self._params, "entry": entry},
        )

    def _screen(self, problem: Problem) -> None:
        junk = paid_junk(problem.metadata)
        if junk is not None:
            raise UserError(
                f"reasoning-gym task {self._name!r} is refused: its scorer gives full marks to "
                f"{junk!r} where the answer is {problem.answer!r}; choose another task"
            )

    def _query(self) -> str:
        return "&".join(f"{key}={value}" for key, value in self._params.items())


def _check(name: str, params: dict[str, Any]) -> None:
    check_task(name)
    from reasoning_gym.factory import DATASETS

    known = [field.name for field in dataclasses.fields(DATASETS[name][1])]
    for param in params:
        if param not in known:
            raise UserError(
                f"reasoning_gym:{name}: no parameter {param}; it has {', '.join(known)}"
            )
