"""Countdown answers: a small evaluator of + - * / over exact fractions that never runs text."""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from r1jax.rewards.answers.extract import unwrap
from r1jax.rewards.answers.numeric import plain, to_fraction

MAX_CHARACTERS = 300
"""Longer texts are refused before parsing: they are no expression over a few numbers."""

_ALLOWED = re.compile(r"[0-9+\-*/(). \t]+")
_OPERATORS = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluate(expression: str) -> tuple[Fraction, list[Fraction]] | None:
    """(value, numbers used from left to right) of `expression`; None where it is not one.

    Allowed: decimal numbers, + - * /, one unary minus, parentheses. Refused: `**`, `//`, names,
    calls, division by zero, more than MAX_CHARACTERS characters.
    """
    if len(expression) > MAX_CHARACTERS or not _ALLOWED.fullmatch(expression):
        return None
    used: list[Fraction] = []
    try:
        return _value(ast.parse(expression.strip(), mode="eval").body, used), used
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError, MemoryError):
        return None


def solves(answer: str, numbers: Sequence[Any], target: Any, use: str = "all") -> bool:
    """Whether `answer` is an expression over `numbers` that equals `target`, all exactly.

    use "all": each given number exactly once; "subset": each at most once. `= value` behind the
    expression is accepted where it is true.
    """
    first, *stated = plain(unwrap(answer)).split("=", 4)
    evaluated = evaluate(first)
    if evaluated is None:
        return False
    value, used = evaluated
    if value != exact(target):
        return False
    for claim in stated:
        claimed = evaluate(claim.strip())
        if claimed is None or claimed[0] != value:
            return False
    given, spent = Counter(map(exact, numbers)), Counter(used)
    return spent == given if use == "all" else bool(used) and spent <= given


def exact(value: Any) -> Fraction:
    """The number of a data row; ValueError for what is none, or too large to be written out."""
    number = to_fraction(str(value).strip())
    if number is None:
        raise ValueError(f"{value!r:.40} is no number")
    return number


def _value(node: ast.expr, used: list[Fraction]) -> Fraction:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        used.append(Fraction(str(node.value)))
        return used[-1]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        if isinstance(node.operand, ast.UnaryOp):
            raise ValueError("stacked signs")
        value = _value(node.operand, used)
        return -value
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        left, right = _value(node.left, used), _value(node.right, used)
        return _OPERATORS[type(node.op)](left, right)
    raise ValueError("not plain arithmetic")
