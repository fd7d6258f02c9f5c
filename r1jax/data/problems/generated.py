"""Problems made by a function: training and evaluation disjoint by construction."""

from __future__ import annotations

import functools
import hashlib
import inspect
import random
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

from r1jax.data.rows import half_character
from r1jax.errors import UserError
from r1jax.plugin import load_function, users_own
from r1jax.problem import Problem

HELD_OUT = 20  # one key in this many is evaluation
TRIES = 10_000

Make = Callable[[random.Random], Problem | None]
"""Draws a problem; None where the draw led to none, and another is made."""


def held_out(key: str, one_in: int = HELD_OUT) -> bool:
    """Whether a key belongs to evaluation, as one in so many does: decided by the key alone."""
    return int(hashlib.sha256(key.encode()).hexdigest(), 16) % one_in == 0


def key_of(problem: Problem) -> str:
    """What decides a problem's split: its metadata "key" where it has one, else its id."""
    return str(problem.metadata.get("key", problem.id))


class GeneratedSource:
    """Problems of `make` without end; item i is a function of (name, seed, i)."""

    def __init__(self, name: str, make: Make, seed: int) -> None:
        """Raises UserError where no training problem comes of it."""
        self._name, self._make, self._seed = name, make, seed
        self._draw("train", 0)

    def __len__(self) -> int:
        """No end."""
        return sys.maxsize

    def __getitem__(self, index: int) -> Problem:
        """Training problem number `index`."""
        return self._draw("train", int(index))

    def evaluation(self, count: int) -> list[Problem]:
        """The first `count` different held-out problems; fewer where there are fewer."""
        problems: dict[str, Problem] = {}
        for index in range(20 * count + 100):
            problem = self._draw("eval", index)
            problems.setdefault(problem.id, problem)
            if len(problems) == count:
                break
        return list(problems.values())

    def _draw(self, split: str, index: int) -> Problem:
        rng = random.Random(f"{self._name} {self._seed} {split} {index}")
        for _ in range(TRIES):
            problem = self._make(rng)
            if problem is not None and held_out(key_of(problem)) == (split == "eval"):
                return problem
        raise UserError(
            f"{self._name}: no problem of the {split} split in {TRIES:,} tries; widen its "
            "parameters"
        )


def is_task(spec: str) -> bool:
    """Whether a source's name is that of a user's function, `package.module:function?a=1`."""
    return bool(re.fullmatch(r"[A-Za-z_]\w*(\.\w+)*:\w+(\?.*)?", spec, re.DOTALL))


def user_task(name: str, params: Mapping[str, Any], seed: int) -> GeneratedSource:
    """The source behind `package.module:function`, called as function(rng, **params).

    `rng` is a `random.Random`; the function returns a `Problem`, whose id says which problem it is
    (the same id, the same problem), or None to draw again. Raises UserError where the function is
    not there, takes no such parameters or returns something else.
    """
    function = load_function(name, "source", ("rng",))
    arguments = {key: value for key, value in params.items() if key != "seed"}
    accepted = inspect.signature(function).parameters
    if unknown := arguments.keys() - accepted.keys():
        there = ", ".join([*list(accepted)[1:], "seed"])
        raise UserError(f"{name}: no parameter {min(unknown)}; there are {there}")
    make = functools.partial(_checked, name, function, arguments)
    return GeneratedSource(name, make, params.get("seed", seed))


def _checked(
    name: str, function: Callable[..., Any], params: Mapping[str, Any], rng: random.Random
) -> Problem | None:
    with users_own(name, function, "it is to return a Problem, or None"):
        problem = function(rng, **params)
    if problem is not None and not isinstance(problem, Problem):
        raise UserError(
            f"{name}: returned a {type(problem).__name__}; expected an r1jax.problem.Problem or "
            "None"
        )
    for part in ("id", "question", "answer", "grader") if problem else ():
        text = getattr(problem, part)
        if not isinstance(text, str) or half_character(text):
            fault = "half a character in it" if isinstance(text, str) else type(text).__name__
            raise UserError(f"{name}: returned a problem whose {part} has {fault}; expected text")
    if problem and not isinstance(problem.metadata, Mapping):
        kind = type(problem.metadata).__name__
        raise UserError(f"{name}: returned a problem whose metadata is {kind}; expected a dict")
    return problem
