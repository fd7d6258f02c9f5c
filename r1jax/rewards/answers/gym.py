"""reasoning-gym's scorers, except those that evaluate what the model wrote as Python.

Seen in reasoning-gym 0.1.25: nine `score_answer` functions pass the answer to `eval` or to sympy's
`parse_expr`, which evaluates it: a model's text would run as code. Six of them are judged here by
other means with the same verdict; the other three are refused before training starts. So are
problems whose scorer pays for junk (`paid_junk`): coin_flip's counts the digits that a text and the
answer begin with, game_of_life_halting's takes any text for the answer.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import lru_cache
from types import CodeType, FunctionType
from typing import Any

from r1jax.errors import UserError
from r1jax.rewards.answers.compare import right
from r1jax.rewards.answers.countdown import solves
from r1jax.rewards.answers.reading import expression
from r1jax.rewards.answers.values import read

_EVALUATORS = frozenset({"eval", "exec", "compile", "parse_expr", "sympify", "S", "parse_latex"})

# These scorers evaluate a field of the problem, never the answer; it may hold only these.
_REVIEWED: dict[str, tuple[tuple[str, ...], re.Pattern[str]]] = {
    "bitwise_arithmetic": (("metadata", "problem"), re.compile(r"[0-9a-fA-Fx+\-*<>() ]{1,2000}")),
    "number_sorting": (("answer",), re.compile(r"[\[\]0-9'\", .eE+\-]{1,20000}")),
}

_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?")

NONSENSE = ("qzxv", "I cannot say.", "?")
"""What answers no task."""


def _expression(answer: str, entry: Mapping[str, Any]) -> bool:
    return solves(answer, entry["metadata"]["numbers"], entry["metadata"].get("target", 24))


def _equal(answer: str, entry: Mapping[str, Any]) -> bool:
    return answer.strip() == entry["answer"].strip()


def _board(answer: str, entry: Mapping[str, Any]) -> bool:
    return answer.strip() in entry["metadata"]["valid_answers"]


# Where theirs gives full marks to exact text only and evaluates for partial credit.
OWN_SCORERS: dict[str, Callable[[str, Mapping[str, Any]], bool]] = {
    "countdown": _expression,
    "puzzle24": _expression,
    "string_insertion": _equal,
    "spiral_matrix": _equal,
    "binary_matrix": _equal,
    "n_queens": _board,
}


@lru_cache(maxsize=1)
def unsafe_reasoning_gym_tasks() -> dict[str, str]:
    """Task -> reason, for the installed package's tasks that cannot be graded safely.

    Found in the byte code of each scorer and of what it calls, so that a newer package with a new
    such scorer is refused too.
    """
    import reasoning_gym.factory as factory

    unsafe = {"composite": "it hands the answer to the scorers of other tasks"}
    for name, (dataset, _) in sorted(factory.DATASETS.items()):
        if name in OWN_SCORERS or name in _REVIEWED:
            continue
        evaluator = _evaluator(dataset.score_answer, dataset)
        if evaluator:
            unsafe[name] = f"its scorer evaluates the model's text as code ({evaluator})"
    return unsafe


def check_task(name: str) -> None:
    """Raises UserError where reasoning-gym has no task `name` or its scorer is unsafe."""
    import reasoning_gym.factory as factory

    if name in unsafe_reasoning_gym_tasks():
        reason = unsafe_reasoning_gym_tasks()[name]
        raise UserError(f"reasoning-gym task {name!r} is refused: {reason}; choose another task")
    if name not in factory.DATASETS:
        near = difflib.get_close_matches(name, factory.DATASETS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else "see reasoning_gym.factory.DATASETS"
        raise UserError(f"reasoning-gym has no task {name!r}; {hint}")


def paid_junk(metadata: Mapping[str, Any]) -> str | None:
    """A worthless answer that gets full marks for the entry of `metadata`; None where none does.

    Tried are `NONSENSE`, and 0 where the answer is a number far from it. A user's version of
    reasoning-gym may be another than ours, so scorers are tried, not listed.
    """
    gold = str(metadata["entry"].get("answer"))
    for junk in (*NONSENSE, *(["0"] if _far_from_zero(gold) else [])):
        with suppress(Exception):  # theirs raise on what they cannot read, and that pays nothing
            if score(metadata, junk):
                return junk
    return None


def _far_from_zero(gold: str) -> bool:
    try:
        return abs(float(gold)) > 0.01
    except ValueError:
        return False


def score(metadata: Mapping[str, Any], answer: str) -> bool:
    """Whether `answer` gets full marks for the entry that made the problem.

    `metadata`: "dataset" (task name), "entry" (what the dataset returned), and "config" where the
    dataset was made with parameters. Raises UserError for an unsafe task.
    """
    name, entry = metadata["dataset"], metadata["entry"]
    if name in OWN_SCORERS:
        return OWN_SCORERS[name](answer, entry)
    check_task(name)
    if not _trusted(name, entry):
        return False
    dataset = _dataset(name, json.dumps(dict(metadata.get("config", {})), sort_keys=True))
    return bool(dataset.score_answer(answer, entry) >= 1.0)


def judged(metadata: Mapping[str, Any], answer: str) -> bool:
    """Whether an answer out of a sentence, or the number that it states, is right (`score`).

    Most scorers compare texts: to them `7 * 1 = 7` is not 7, and `1,426` not 1426.
    """
    if score(metadata, answer):
        return True
    number = _number_alone(answer)
    return number is not None and score(metadata, number)


def _number_alone(answer: str) -> str | None:
    """`7` of `7 * 1 = 7`, which holds, and `1426` of `1,426`; None of what ends in no number."""
    text = expression(answer)
    found = read(text)
    alone = (found.items[-1] if found.kind == "relation" else found).text
    return alone if _NUMBER.fullmatch(alone) and right(alone, text) else None


@lru_cache(maxsize=64)
def _dataset(name: str, config: str) -> Any:
    import reasoning_gym

    return reasoning_gym.create_dataset(name, **json.loads(config))


def _trusted(name: str, entry: Mapping[str, Any]) -> bool:
    """Whether the field that a reviewed scorer evaluates holds a plain literal."""
    if name not in _REVIEWED:
        return True
    path, allowed = _REVIEWED[name]
    field: Any = entry
    for key in path:
        field = field[key]
    return bool(allowed.fullmatch(str(field)))


def _evaluator(function: Any, owner: type, seen: frozenset[Any] = frozenset()) -> str | None:
    """The name of an evaluating function that `function` reaches within its own package."""
    if not isinstance(function, FunctionType) or function in seen:
        return None
    seen = seen | {function}
    for name in _names(function.__code__):
        if name in _EVALUATORS:
            return name
        called = getattr(owner, name, None) or function.__globals__.get(name)
        inside = getattr(called, "__module__", "") or ""
        if inside.startswith("reasoning_gym") and (evaluator := _evaluator(called, owner, seen)):
            return evaluator
    return None


def _names(code: CodeType) -> list[str]:
    nested = [name for c in code.co_consts if isinstance(c, CodeType) for name in _names(c)]
    return [*code.co_names, *nested]
