"""Vectors in other dress: 3i + 4j, and a number before a tuple or a column."""

from __future__ import annotations

import re

from r1jax.rewards.answers import arithmetic, formula
from r1jax.rewards.answers.values import Value

_UNIT = re.compile(r"(?<![A-Za-z\\])\{?([ijk])\}?(?![A-Za-z])")


def as_vector(value: Value) -> Value:
    """3i + 4j as (3, 4), and with a k as (3, 4, c); other values as they are."""
    letters = set(_UNIT.findall(value.text))
    if value.kind != "leaf" or not letters & {"j", "k"}:
        return value
    try:
        if not arithmetic.near(arithmetic.value(formula.parse(_at(value.text, ""))), 0):
            return value
    except formula.Unreadable:
        return value
    names = "ijk" if "k" in letters else "ij"
    items = tuple(Value("leaf", _at(value.text, name)) for name in names)
    return Value("span", value.text, items, ("(", ")"))


def _at(text: str, name: str) -> str:
    """The formula where one unit vector is 1 and the others are 0: that component."""
    return _UNIT.sub(lambda m: "(1)" if m.group(1) == name else "(0)", text)
