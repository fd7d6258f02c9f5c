"""Vectors in other dress: 3i + 4j is (3, 4)."""

from __future__ import annotations

import re
from typing import Any

from r1jax.rewards.answers import arithmetic, formula
from r1jax.rewards.answers.values import Value

_UNIT = re.compile(r"(?<![A-Za-z\\])(?:\{([ijk])\}|([ijk]))(?![A-Za-z])")


def as_vector(value: Value, width: int) -> Value:
    """3i + 4j as (3, 4), in space as (3, 4, 0); what is not linear in i, j, k as it is."""
    letters = {a or b for a, b in _UNIT.findall(value.text)}
    if value.kind != "leaf" or not letters & {"j", "k"}:
        return value
    names = "ijk" if "k" in letters or width == 3 else "ij"
    try:
        linear = _linear(value.text, sorted(letters))
    except formula.Unreadable:
        return value
    if not linear:
        return value
    items = tuple(Value("leaf", _at(value.text, {name: 1})) for name in names)
    return Value("span", value.text, items, ("(", ")"))


def _linear(text: str, letters: list[str]) -> bool:
    """Whether the formula doubles and turns with each letter, and adds them up."""
    ones = [_value(text, {name: 1}) for name in letters]
    held = arithmetic.near(_value(text, {}), 0)
    held = held and arithmetic.near(_value(text, dict.fromkeys(letters, 1)), sum(ones))
    for name, one in zip(letters, ones, strict=True):
        held = held and arithmetic.near(_value(text, {name: 2}), 2 * one)
        held = held and arithmetic.near(_value(text, {name: -1}), -one)
    return held


def _value(text: str, sizes: dict[str, int]) -> Any:
    return arithmetic.value(formula.parse(_at(text, sizes)))


def _at(text: str, sizes: dict[str, int]) -> str:
    """The formula with numbers for the unit vectors, 0 for those that are not named."""
    return _UNIT.sub(lambda m: f"({sizes.get(m[1] or m[2], 0)})", text)
