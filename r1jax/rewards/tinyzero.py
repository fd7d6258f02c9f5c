"""TinyZero's two rewards: 0 without an answer, 0.1 with a wrong one, 1 with the right one.

Source: Jiayi-Pan/TinyZero 95df88f, verl/utils/reward_score/countdown.py and multiply.py. Its text
is what follows the first "Assistant:", hence the completion with the prefilled <think>. Nothing
that a model wrote is run as code here.
"""

from __future__ import annotations

import ast
import operator
import re
from collections import Counter
from collections.abc import Callable
from typing import Any

from r1jax.problem import Completion, Problem
from r1jax.rewards.adapters import per_completion
from r1jax.rewards.answers import countdown as exact

MAX_CHARACTERS = 300
"""Longer equations count as invalid: they are no equation over a few numbers."""

_ALLOWED = re.compile(r"[\d+\-*/().\s]+", re.ASCII)
_BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Pow: operator.pow,
}


@per_completion
def countdown(
    problem: Problem,
    completion: Completion,
    *,
    last_line_only: bool = True,
    strict_numbers: bool = True,
    loose_syntax: bool = True,
    format_score: float = 0.1,
) -> float:
    """1 for an equation that makes the target, `format_score` for any other answer, else 0.

    Three traps of the original, each an option:
    last_line_only: only the completion's last line is searched for the answer.
    strict_numbers: every number has to be used exactly once, though the prompt says "can only be
    used once"; false lets some be left out.
    loose_syntax: `**` and `//` pass, and numbers are read off as runs of digits, so that 1.5 uses
    up 1 and 5; a value within 1e-5 will do. False: + - * / over the given numbers, exactly.
    """
    text = completion.text.split("\n")[-1] if last_line_only else completion.text
    equation = last_answer(text)
    if equation is None:
        return 0.0
    numbers, target = problem.metadata["numbers"], problem.metadata["target"]
    if not loose_syntax:
        use = "all" if strict_numbers else "subset"
        return 1.0 if exact.solves(equation, numbers, target, use) else format_score
    used = Counter(map(int, re.findall(r"[0-9]{1,300}", equation[:MAX_CHARACTERS])))
    given = Counter(numbers)
    if not (used == given if strict_numbers else used and used <= given):
        return format_score
    value = _value_of(equation)
    close = value is not None and abs(value - target) < 1e-5
    return 1.0 if close else format_score


@per_completion
def multiply(problem: Problem, completion: Completion, *, format_score: float = 0.1) -> float:
    """1 for the product, `format_score` for another whole number, 0 for anything else.

    The last answer of the whole reply counts; one that is no whole number earns 0, not 0.1.
    """
    answer = last_answer(completion.text)
    try:
        number = int(answer or "")
    except ValueError:
        return 0.0
    return 1.0 if number == int(problem.answer) else format_score


def last_answer(text: str) -> str | None:
    """The content of the last <answer>...</answer> that opens and closes on one line, stripped."""
    answer = None
    for line in text.split("\n"):
        at = 0
        while (start := line.find("<answer>", at)) >= 0:
            end = line.find("</answer>", start + 8)
            if end < 0:
                break
            answer, at = line[start + 8 : end].strip(), end + 9
    return answer


def _value_of(equation: str) -> Any:
    """The value of arithmetic as Python reads it, or None; powers beyond use are none."""
    if len(equation) > MAX_CHARACTERS or not _ALLOWED.fullmatch(equation):
        return None
    try:
        return _value(ast.parse(equation, mode="eval").body)
    except (SyntaxError, ValueError, ArithmeticError, TypeError, RecursionError, MemoryError):
        return None


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Constant) and type(node.value) in (int, float):
        return node.value
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
        value = _value(node.operand)
        return value if isinstance(node.op, ast.UAdd) else -value
    if isinstance(node, ast.BinOp) and type(node.op) in _BINARY:
        left, right = _value(node.left), _value(node.right)
        # A target is small: such a power is wrong anyway, and could take for ever.
        if isinstance(node.op, ast.Pow) and (abs(right) > 64 or abs(left) > 10**9):
            raise ValueError("power out of range")
        return _BINARY[type(node.op)](left, right)
    raise ValueError("not arithmetic")
