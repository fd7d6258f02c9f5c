"""Tries at a countdown, as a crowd of unequal solvers makes them; held-out problems never solved.

A try joins all the numbers, two at a time, by operations written out with their values. What a try
shows of three numbers or more is checked against the split of data.problems.generated, so that no
try at one problem is the solution of a held-out one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

from r1jax.data.corpora import any_of
from r1jax.data.problems.generated import held_out
from r1jax.data.world.keys import countdown_key

LIMIT = 400  # no product or sum inside a try is larger
CRUDE = 0.5  # how often the unskilled just add
ATTEMPTS = 40  # draws after which a solver finds nothing new to try

Operation = tuple[str, int]
"""Operator and value."""


class Step(NamedTuple):
    """One operation on two values, the larger first."""

    left: int
    operator: str
    right: int
    value: int

    @property
    def text(self) -> str:
        """As it is written: 19+36=55."""
        return f"{self.left}{self.operator}{self.right}={self.value}"


class Try(NamedTuple):
    """All numbers joined: the expression, and its steps in the order they are worked out."""

    expression: str
    steps: tuple[Step, ...]

    @property
    def value(self) -> int:
        """What the expression makes."""
        return self.steps[-1].value

    @property
    def text(self) -> str:
        """The steps: 19+36=55, 55-7=48."""
        return ", ".join(step.text for step in self.steps)


class _Part(NamedTuple):
    value: int
    text: str
    numbers: tuple[int, ...]


def operations(left: int, right: int) -> list[Operation]:
    """What can be done with left >= right >= 1 so that a whole number from 1 to LIMIT results."""
    options = [("+", left + right)] if left + right <= LIMIT else []
    if left > right:
        options.append(("-", left - right))
    if left * right <= LIMIT:
        options.append(("*", left * right))
    if right > 1 and left % right == 0:
        options.append(("/", left // right))
    return options


def gives_away(numbers: Sequence[int], value: int) -> bool:
    """Whether these numbers making this value solve a held-out problem."""
    return len(numbers) > 2 and held_out(countdown_key(numbers, value))


def tries(
    rng: random.Random, numbers: Sequence[int], target: int, skill: float, most: int
) -> list[Try]:
    """Up to `most` different tries, of which at most the last makes `target`.

    `skill` (0 to 1) is the probability that a try's last operation is the one that comes nearest;
    without any, numbers are mostly just added.
    """
    seen: dict[str, Try] = {}
    for _ in range(ATTEMPTS):
        attempt = propose(rng, numbers, target, skill)
        if attempt is None or attempt.expression in seen:
            continue
        seen[attempt.expression] = attempt
        if attempt.value == target or len(seen) == most:
            break
    return list(seen.values())


def propose(rng: random.Random, numbers: Sequence[int], target: int, skill: float) -> Try | None:
    """One try: random pairs, operations by `skill`; None where nothing fits, or it gives away."""
    parts = [_Part(n, str(n), (n,)) for n in numbers]
    steps: list[Step] = []
    while len(parts) > 1:
        a = parts.pop(int(rng.random() * len(parts)))
        b = parts.pop(int(rng.random() * len(parts)))
        if a.value < b.value:
            a, b = b, a
        options = operations(a.value, b.value)
        if not options:
            return None
        if not parts and rng.random() < skill:
            operator, value = min(options, key=lambda option: abs(option[1] - target))
        elif rng.random() < CRUDE * (1 - skill):
            operator, value = options[0]
        else:
            operator, value = any_of(options, rng)
        used = a.numbers + b.numbers
        if gives_away(used, value):
            return None
        steps.append(Step(a.value, operator, b.value, value))
        parts.append(_Part(value, f"{_wrapped(a)}{operator}{_wrapped(b)}", used))
    return Try(parts[0].text, tuple(steps))


def _wrapped(part: _Part) -> str:
    return part.text if len(part.numbers) == 1 else f"({part.text})"
