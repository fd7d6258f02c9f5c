"""Worked arithmetic beside TinyZero's countdown: what a base has to know before it can search."""

from __future__ import annotations

import random

from r1jax.data.corpora import any_of
from r1jax.data.tinyzero.search import operations, propose


def arithmetic(rng: random.Random) -> list[str]:
    """Up to seven lines: single operations, chains with their expression, comparisons, orders."""
    lines = (any_of(MAKERS, rng)(rng) for _ in range(2 + int(rng.random() * 6)))
    return [line for line in lines if line]


def _number(rng: random.Random) -> int:
    """1 to 999, those below a hundred far more often."""
    return 1 + int(rng.random() * (99 if rng.random() < 0.85 else 999))


def _operation(rng: random.Random) -> str:
    a, b = _number(rng), _number(rng)
    if rng.random() < 0.3:
        b = 1 + int(rng.random() * 12)
    if rng.random() < 0.15 and a * b < 1000:
        return f"{a * b}/{b}={a}"
    a, b = max(a, b), min(a, b)
    options = operations(a, b) or [("-", a - b)]
    operator, value = any_of(options, rng)
    return f"{a}{operator}{b}={value}"


def _chain(rng: random.Random) -> str:
    """Three or four numbers joined step by step, then the same as one expression."""
    numbers = [1 + int(rng.random() * 99) for _ in range(3 + (rng.random() < 0.5))]
    attempt = propose(rng, numbers, 1 + int(rng.random() * 100), 0.5)
    return f"{attempt.text}: {attempt.expression}={attempt.value}" if attempt else ""


def _comparison(rng: random.Random) -> str:
    a, b = _number(rng), _number(rng)
    return f"{a}{'<' if a < b else '>' if a > b else '='}{b}"


def _order(rng: random.Random) -> str:
    numbers = sorted(_number(rng) for _ in range(3 + int(rng.random() * 3)))
    return " < ".join(map(str, dict.fromkeys(numbers)))


MAKERS = (_operation, _operation, _operation, _chain, _chain, _comparison, _order)
