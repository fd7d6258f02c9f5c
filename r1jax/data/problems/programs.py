"""Tests of whole programs as published sets write them: what is read, what must be printed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1jax.data.rows import Row, read_json
from r1jax.errors import UserError

STREAMS = ("input_output", "tests")
"""Columns that hold such tests: APPS and TACO have the first."""


def has_stream_tests(row: Row) -> bool:
    """Whether a row has a column of such tests."""
    tests = row.get("tests")
    listed = isinstance(tests, list | tuple) and tests and isinstance(tests[0], Mapping)
    return bool("input_output" in row or (listed and {"input", "output"} <= set(tests[0])))


def stream_tests(row: Row, where: str) -> list[dict[str, str]]:
    """[{"input": text, "output": text}, ...] of a row.

    From `tests` in that form, or `input_output`: {"inputs": [...], "outputs": [...]} as an object
    or as its JSON text; a list of lines is joined. Raises UserError naming `where` for anything
    else, and for tests that call a function (`fn_name`).
    """
    if "tests" in row:
        listed = row["tests"] if isinstance(row["tests"], list) else []
        pairs = [(_part(test, "input"), _part(test, "output")) for test in listed]
    else:
        given = _object(row.get("input_output"))
        if given.get("fn_name"):
            raise UserError(
                f"{where}, column input_output: its tests call a function (fn_name); use rows "
                "whose tests are standard input and output"
            )
        sides = [given.get(name) for name in ("inputs", "outputs")]
        fit = all(isinstance(side, list) for side in sides) and len(sides[0]) == len(sides[1])
        pairs = list(zip(*sides, strict=True)) if fit else []
    tests = [{"input": _text(a), "output": _text(b)} for a, b in pairs]
    if not tests or any(None in test.values() for test in tests):
        raise UserError(
            f"{where}: expected tests, a list of input and output, or input_output with as many "
            "inputs as outputs, all of them text"
        )
    return tests  # type: ignore[return-value]


def _object(value: Any) -> Mapping[str, Any]:
    if isinstance(value, str):
        try:
            value = read_json(value)
        except ValueError:
            return {}
    return value if isinstance(value, Mapping) else {}


def _part(test: Any, name: str) -> Any:
    return test.get(name) if isinstance(test, Mapping) else None


def _text(value: Any) -> str | None:
    if isinstance(value, list | tuple) and all(isinstance(line, str) for line in value):
        return "\n".join(value)
    return value if isinstance(value, str) else None
