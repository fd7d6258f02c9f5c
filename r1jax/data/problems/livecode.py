"""LiveCodeBench's rows: a statement, what to begin with, public tests and packed private ones."""

from __future__ import annotations

import base64
import io
import pickle
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.data.rows import Row, is_blank, read_json
from r1jax.errors import UserError

USED = ("question_content", "starter_code", "public_test_cases", "private_test_cases", "metadata")
SETUP = '''
import json

def _listed(value):
    """Tuples as the lists that JSON has."""
    return [_listed(v) for v in value] if isinstance(value, (list, tuple)) else value
'''


def read_livecodebench(row: Row, where: str) -> tuple[str, str, str, Sequence[str], dict[str, Any]]:
    """(question, answer, grader, columns used, metadata) of a row, for a `Columns.problem`.

    Tests are all public and private ones: of standard input, or calls of a method of `Solution`.
    Raises UserError naming `where` for a row of another form.
    """
    statement, starter = row.get("question_content"), row.get("starter_code") or ""
    if not isinstance(statement, str) or is_blank(statement):
        raise UserError(f"{where}, column question_content: expected the problem's text")
    private = row.get("private_test_cases") or "[]"
    tests = [
        *_tests(row.get("public_test_cases"), f"{where}, column public_test_cases"),
        *_tests(_unpacked(private, f"{where}, column private_test_cases"),
                f"{where}, column private_test_cases"),
    ]  # fmt: skip
    if not tests:
        raise UserError(f"{where}: holds no tests; expected public_test_cases")
    question = f"{statement.strip()}\n\n{FORMAT[bool(starter)].format(starter=starter)}"
    if tests[0]["testtype"] != "functional":
        found: dict[str, Any] = {
            "tests": [{"input": t["input"], "output": t["output"]} for t in tests]
        }
    else:
        data = _json(row.get("metadata") or "{}", f"{where}, column metadata")
        name = data.get("func_name") if isinstance(data, Mapping) else None
        if not isinstance(name, str) or not name.isidentifier():
            raise UserError(f"{where}, column metadata: its tests call a function; no func_name")
        asserts = [_call(name, test["input"], test["output"]) for test in tests]
        found = {"test_list": asserts, "test_setup_code": SETUP}
    return question, "", "code", USED, found


FORMAT = {
    False: "Read the inputs from standard input, solve the problem and write the answer to "
    "standard output (do not test on the sample inputs). Enclose the program in a block of code "
    "as below.\n```python\n# YOUR CODE HERE\n```",
    True: "Use the following starter code to write the solution, and enclose it in a block of code "
    "as below.\n```python\n{starter}\n```",
}
"""What is asked for, after LiveCodeBench's own format messages; with starter code or without."""


def _call(name: str, given: str, expected: str) -> str:
    lines = [line for line in given.split("\n") if line.strip()]
    call = f"Solution().{name}(*map(json.loads, {lines!r}))"
    return f"assert _listed({call}) == json.loads({expected!r})"


def _unpacked(packed: Any, where: str) -> Any:
    """Private tests as they stand, or out of base64, zlib and a pickle that may hold text alone."""
    if not isinstance(packed, str) or packed.lstrip()[:1] == "[":
        return packed
    try:
        return _Text(io.BytesIO(zlib.decompress(base64.b64decode(packed, validate=True)))).load()
    except (ValueError, zlib.error, pickle.UnpicklingError, EOFError) as error:
        raise UserError(
            f"{where}: cannot be unpacked ({error}); expected LiveCodeBench's own form"
        ) from None


class _Text(pickle.Unpickler):
    """Reads a pickle of text, lists and numbers; a file must not say what code is run."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}")


def _tests(value: Any, where: str) -> list[dict[str, str]]:
    tests = _json(value, where) if isinstance(value, str | bytes) else value
    keys = {"input", "output", "testtype"}
    whole = isinstance(tests, list) and all(
        isinstance(t, Mapping) and keys <= t.keys() and all(isinstance(t[k], str) for k in keys)
        for t in tests
    )
    if not whole:
        raise UserError(f"{where}: expected a list of input, output and testtype")
    return tests


def _json(text: str | bytes, where: str) -> Any:
    try:
        return read_json(text)
    except ValueError as error:
        raise UserError(f"{where}: {error}") from None
