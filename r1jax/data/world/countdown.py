"""Countdown: reach a target from given numbers, each used once, with + - and *."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from r1jax.data.corpora import any_of
from r1jax.data.problems.generated import held_out
from r1jax.data.world.keys import countdown_key

COUNTDOWN_NUMBERS = 40  # the largest given number
COUNTDOWN_LIMIT = 199  # no trial of a search shows a larger value

Step = tuple[int, str, int, int]
"""One two-operand operation: left, operator, right, value."""


def apply(left: int, operator: str, right: int) -> int:
    """Value of `left operator right` for +, - and *."""
    if operator == "+":
        return left + right
    return left - right if operator == "-" else left * right


class Expression(NamedTuple):
    """An expression over a countdown's numbers; `held_out`: its value makes an evaluation key."""

    text: str
    value: int
    first: Step  # the operation that is done first
    held_out: bool


@cache
def expressions(numbers: tuple[int, int, int]) -> tuple[Expression, ...]:
    """All expressions without brackets over three numbers in descending order.

    No two are the same up to the order of terms and factors, values lie in 1..COUNTDOWN_LIMIT, and
    the plain sum comes first.
    """
    x, y, z = numbers
    candidates = [(f"{x}+{y}+{z}", x + y + z, (x, "+", y, x + y))]
    candidates += [(f"{p}+{q}-{r}", p + q - r, (p, "+", q, p + q)) for p, q, r in _turns(x, y, z)]
    candidates += [(f"{x}-{y}-{z}", x - y - z, (x, "-", y, x - y))]
    for p, q, r in _turns(x, y, z):
        first = (p, "*", q, p * q)
        candidates += [(f"{p}*{q}+{r}", p * q + r, first), (f"{p}*{q}-{r}", p * q - r, first)]
        candidates += [(f"{r}-{p}*{q}", r - p * q, first)]
    candidates += [(f"{x}*{y}*{z}", x * y * z, (x, "*", y, x * y))]
    return tuple(
        Expression(text, value, first, held_out(countdown_key(numbers, value)))
        for text, value, first in candidates
        if 0 < value <= COUNTDOWN_LIMIT
    )


def _turns(x: int, y: int, z: int) -> tuple[tuple[int, int, int], ...]:
    return (x, y, z), (x, z, y), (y, z, x)


def draw_countdown(rng: random.Random, harder: bool) -> tuple[str, dict[str, Any]]:
    """One number is below ten, so that no trial can spell a sum of two-digit numbers."""
    numbers = [1 + int(rng.random() * 9)]
    while len(numbers) < (4 if harder else 3):
        number = 1 + int(rng.random() * COUNTDOWN_NUMBERS)
        if number not in numbers:
            numbers.append(number)
    if harder:
        answer, target = _left_to_right(rng, numbers)
    else:
        options = expressions(tuple(sorted(numbers, reverse=True)))
        answer, target = any_of(options, rng)[:2]
    _shuffle(rng, numbers)
    fields = {"numbers": tuple(numbers), "target": target, "steps": len(numbers) - 1}
    return countdown_key(numbers, target), fields | {"expression": answer}


def _left_to_right(rng: random.Random, numbers: Sequence[int]) -> tuple[str, int]:
    """A random expression over four numbers without brackets: one product at most, then + and -."""
    order = list(numbers)
    while True:
        _shuffle(rng, order)
        signs = ["+" if rng.random() < 0.6 else "-" for _ in order[1:]]
        if rng.random() < 0.5:
            signs[0] = "*"
        text, value = str(order[0]), order[0]
        for sign, number in zip(signs, order[1:], strict=True):
            text, value = f"{text}{sign}{number}", apply(value, sign, number)
        if 0 < value <= COUNTDOWN_LIMIT:
            return text, value


def _shuffle(rng: random.Random, items: list[int]) -> None:
    """Fisher-Yates on `rng.random`, several times faster than `rng.shuffle`."""
    for i in range(len(items) - 1, 0, -1):
        j = int(rng.random() * (i + 1))
        items[i], items[j] = items[j], items[i]
