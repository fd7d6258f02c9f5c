"""TinyZero's two tasks, generated: countdown equations and multiplication, train and eval disjoint.

Source: Jiayi-Pan/TinyZero 95df88f, examples/data_preprocess. The published countdown problems are
a data set (hf:Jiayi-Pan/Countdown-Tasks-3to4, which a `countdown` layout reads); these are made
here, in its ranges, so that no network is needed.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.data.problems.generated import GeneratedSource
from r1jax.data.world.keys import countdown_key
from r1jax.errors import UserError
from r1jax.problem import Problem

TINYZERO = "tinyzero"

COUNTDOWN_QUESTION = (
    "Using the numbers {numbers}, create an equation that equals {target}. You can use basic "
    "arithmetic operations (+, -, *, /) and each number can only be used once. Show your work in "
    "<think> </think> tags. And return the final answer in <answer> </answer> tags, for example "
    "<answer> (1 + 2) / 3 </answer>."
)
MULTIPLY_QUESTION = "Give me the answer of the following equation: {a} * {b} ="

_DEFAULTS: dict[str, dict[str, int]] = {
    # 3 or 4 numbers: the data set's name; the ranges are inferred from its rows.
    "countdown": {
        "min_numbers": 3, "max_numbers": 4, "min_number": 1, "max_number": 99,
        "min_target": 10, "max_target": 100,
    },
    "multiply": {"digits": 3},  # code: multiply.py, DIGIT
}  # fmt: skip


def tinyzero(task: str, params: Mapping[str, Any], seed: int) -> GeneratedSource:
    """Problems of `task` (countdown or multiply) without end.

    Parameters: `seed`, and for countdown min_numbers, max_numbers, min_number, max_number,
    min_target, max_target; for multiply digits. Raises UserError for an unknown task or parameter
    and for a value that cannot be met.
    """
    if task not in _DEFAULTS:
        known = ", ".join(_DEFAULTS)
        raise UserError(f"{TINYZERO}:{task}: no such task; choose from {known}")
    known = _DEFAULTS[task]
    for name, value in params.items():
        if name not in known and name != "seed":
            there = ", ".join([*known, "seed"])
            raise UserError(f"{TINYZERO}:{task}: no parameter {name}; there are {there}")
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise UserError(f"{TINYZERO}:{task}?{name}={value}: expected a whole number")
    settings = known | {name: value for name, value in params.items() if name != "seed"}
    _check(task, settings)
    draw = _countdown if task == "countdown" else _multiply
    return GeneratedSource(
        f"{TINYZERO}:{task}", lambda rng: draw(rng, settings), params.get("seed", seed)
    )


def _check(task: str, params: Mapping[str, int]) -> None:
    pairs = [(name, "max_" + name[4:]) for name in params if name.startswith("min_")]
    for low, high in pairs:
        if params[low] > params[high]:
            raise UserError(
                f"{TINYZERO}:{task}: {low} {params[low]} is above {high} {params[high]}"
            )
    if params.get("digits", 1) < 1 or params.get("min_numbers", 2) < 2:
        raise UserError(f"{TINYZERO}:{task}: needs digits >= 1 and min_numbers >= 2")


def countdown_problem(numbers: Sequence[int], target: int) -> Problem:
    """The countdown problem with these numbers in this order; its key forgets the order."""
    key = countdown_key(numbers, target)
    question = COUNTDOWN_QUESTION.replace("{numbers}", str(list(numbers)))
    question = question.replace("{target}", str(target))
    metadata = {"key": key, "numbers": list(numbers), "target": target, "use": "all"}
    return Problem(_identity(question), question, str(target), "countdown", metadata)


def multiply_problem(a: int, b: int) -> Problem:
    """The product of two numbers; its key forgets their order."""
    key = f"multiply|{min(a, b)},{max(a, b)}"
    question = MULTIPLY_QUESTION.replace("{a}", str(a)).replace("{b}", str(b))
    return Problem(_identity(question), question, str(a * b), "number", {"key": key})


def _identity(question: str) -> str:
    return "tinyzero-" + hashlib.sha256(question.encode()).hexdigest()[:16]


def _countdown(rng: random.Random, params: Mapping[str, int]) -> Problem | None:
    """Numbers at random, joined at random to a target that all of them make; None: out of range."""
    count = rng.randint(params["min_numbers"], params["max_numbers"])
    numbers = [rng.randint(params["min_number"], params["max_number"]) for _ in range(count)]
    values = list(numbers)
    while len(values) > 1:
        a, b = (values.pop(rng.randrange(len(values))) for _ in range(2))
        results = [a + b, a - b, a * b, *([a // b] if b and a % b == 0 else [])]
        values.append(rng.choice(results))
    in_range = params["min_target"] <= values[0] <= params["max_target"]
    return countdown_problem(numbers, values[0]) if in_range else None


def _multiply(rng: random.Random, params: Mapping[str, int]) -> Problem:
    """Two factors as in multiply.py: two digits fewer, one fewer, or (half of them) all digits."""

    def factor() -> int:
        fewer = {0: 2, 1: 1}.get(rng.randint(0, 3), 0)
        return rng.randint(0, 10 ** max(params["digits"] - fewer, 0) - 1)

    return multiply_problem(factor(), factor())
