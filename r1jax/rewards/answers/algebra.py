"""Whether two numbers or formulas are the same: by text, by value, and only then by math-verify.

A decimal counts as the number that it rounds to 6 places (math-verify's default): 0.333333 is 1/3,
0.333 is not, unless the gold is 0.333. Units that are known have to agree; 50% is 50 and 0.5.
"""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from functools import lru_cache
from typing import Any

from r1jax.rewards.answers import arithmetic, formula, units
from r1jax.rewards.answers.brackets import split
from r1jax.rewards.answers.values import Value

MAX_CHARACTERS = 400
"""A longer formula that is no number is wrong, unless the gold is of that size too."""


_CONSTANT = re.compile(r"\+ ?(?:[ckK]|\\text ?\{ ?(?:[cC]|const(?:ant|\.)?) ?\})$")
_CLOCK = re.compile("(?:1?[0-9]|2[0-4]):[0-5][0-9]")
"""A ratio that may be a time: 1:20 is no 2:40."""
_LEFT_WORDS = re.compile(
    r"\\text ?\{[^{}]{0,200}[A-Za-z]{2}"
    r"|(?<![A-Za-z\\{])[A-Za-z]{2,} [A-Za-z]{2,}"
)
"""Words that are no unit: math-verify would read past them."""


def leaf(gold: Value, given: Value) -> bool:
    """Numbers and formulas, with their units."""
    a, b = (_squeezed(value.text) for value in (gold, given))
    ratios = [split(text, ":") for text in (a, b)]
    if min(map(len, ratios)) > 1:
        hours = _CLOCK.fullmatch(a) and _CLOCK.fullmatch(b)
        return a == b if hours else _proportional(*ratios)
    if gold.text.endswith("C") and _CONSTANT.search(given.text):
        given = replace(given, text=_CONSTANT.sub("+C", given.text))
    gold, given = (_without_radians(value) for value in (gold, given))
    times = units.factor(gold.unit, given.unit)
    if times is None:
        return False
    if a == b:
        return times == 1
    try:
        second = formula.parse(given.text)
        arithmetic.value(second)  # what is too large is no matter for math-verify either
        first = formula.parse(gold.text)
        if times != 1:
            return arithmetic.near(arithmetic.value(first), times * arithmetic.value(second), True)
        same = arithmetic.same(first, second)
        percents = units.is_percent(gold.unit), units.is_percent(given.unit)
        if not same and percents[0] != percents[1]:
            a, b = arithmetic.value(first), arithmetic.value(second)
            same = arithmetic.near(*((a / 100, b) if percents[0] else (a, b / 100)), True)
        if not same and (turn := _degrees(gold, given)) is not None:
            same = arithmetic.near(*(arithmetic.value(formula.parse(text)) for text in turn))
    except formula.TooLarge:
        return False
    except formula.Unreadable:
        return algebra(gold.text, given.text)
    return algebra(gold.text, given.text) if same is None else same


def _proportional(gold: list[str], given: list[str]) -> bool:
    """2:4:6 is 1:2:3."""
    try:
        a, b = ([arithmetic.value(formula.parse(x)) for x in ratio] for ratio in (gold, given))
    except formula.Unreadable:
        return gold == given
    if len(a) != len(b) or not any(a):
        return gold == given
    pivot = next(i for i, x in enumerate(a) if x)
    same = (arithmetic.near(x * b[pivot], y * a[pivot]) for x, y in zip(a, b, strict=True))
    return bool(b[pivot]) and all(same)


def _degrees(gold: Value, given: Value) -> tuple[str, str] | None:
    """Both angles as formulas, where one is in degrees and the other a multiple of \\pi."""
    for mine, other in ((gold, given), (given, gold)):
        if mine.unit == "degree" and not other.unit and "\\pi" in other.text:
            return f"({mine.text})^\\circ", other.text
    return None


def _without_radians(value: Value) -> Value:
    """A multiple of \\pi that is called radians, which it is anyway."""
    said = units.known(value.unit)
    called = said is not None and said[0] == "radians" and "\\pi" in value.text
    return replace(value, unit="") if called else value


def _squeezed(text: str) -> str:
    # Inner braces stay: \frac{11}{2} is no \frac{1}{12}. So do spaces between digits.
    text = re.sub(r"(?<![0-9]) +| +(?![0-9])", "", text)
    if text.startswith("{") and text.endswith("}"):
        text = text[1:-1]
    return text.removeprefix("+")


def algebra(gold: str, given: str) -> bool:
    """math-verify's verdict on two formulas."""
    if len(given) > max(MAX_CHARACTERS, 4 * len(gold)):
        return False
    if "\\ldots" in given and "\\ldots" not in gold:
        return False
    if given.count("{") > given.count("}"):  # cut off
        return False
    if _LEFT_WORDS.search(given) and not _LEFT_WORDS.search(gold):
        return False
    wanted, found = parsed(gold), parsed(given)
    if not wanted or not found:
        return False
    # No timeouts: theirs count wall time through SIGALRM and fail outside the main thread.
    return bool(math_verify().verify(list(wanted), list(found), timeout_seconds=None))


@lru_cache(maxsize=4096)
def parsed(text: str, timeout: int | None = None) -> tuple[Any, ...]:
    """A formula as math-verify reads it; empty where it cannot."""
    package = math_verify()
    found = package.parse(
        f"${text}$",
        extraction_config=[package.LatexExtractionConfig()],
        fallback_mode="no_fallback",
        extraction_mode="first_match",
        parsing_timeout=timeout,
    )
    return tuple(found)


@lru_cache(maxsize=1)
def math_verify() -> Any:
    """The package math-verify, imported when it is first needed."""
    import math_verify

    # It warns once that timeouts are off; they are, because the worker pool bounds CPU time.
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    return math_verify
