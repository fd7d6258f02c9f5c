"""Finds a user's own function by its name, `package.module:function`; what it raises is a line."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from r1jax.errors import UserError


def load_function(
    name: str,
    flag: str,
    arguments: Sequence[str],
    otherwise: Callable[[Any], Any] = lambda function: False,
) -> Callable[..., Any]:
    """The function called `name`.

    Args:
      name: `package.module:function`, importable from the current directory.
      flag: how the user came to give the name, for the error message.
      arguments: what it will be called with, by position.
      otherwise: says of a function that it has another form that will do.

    Raises:
      UserError: the form is another, the module or function is not there, or what is there cannot
        be called so; or importing the module fails.
    """
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
        raise UserError(f"{flag} {name}: not of the form package.module:function")
    module_name, function_name = name.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"{flag} {name}: cannot import {module_name} ({error})") from error
    except (Exception, SystemExit) as error:
        what = f"{flag} {name}: importing {module_name} failed with"
        raise UserError(f"{what} {_failed(error)}; check the module") from error
    function = getattr(module, function_name, None)
    if function is None:
        raise UserError(f"{flag} {name}: {module_name} has no function {function_name}")
    takes = callable(function) and (otherwise(function) or _takes(function, arguments))
    if not takes:
        raise UserError(
            f"{flag} {name}: must be a function of {len(arguments)} argument"
            f"{'s' * (len(arguments) > 1)}, ({', '.join(arguments)})"
        )
    return function


@contextlib.contextmanager
def users_own(what: str, function: Callable[..., Any], then: str) -> Iterator[None]:
    """Whatever the user's `function`, called inside, raises becomes one line: a UserError.

    `what` names it as the user did, `then` says what is expected of it. An exit is a failure too:
    it would end the run as if all of it were done.
    """
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        code = getattr(inspect.unwrap(function), "__code__", None)
        failed = _failed(error, code.co_filename if code else None)
        raise UserError(f"{what}: failed with {failed}; {then}") from error


def _failed(error: BaseException, file: str | None = None) -> str:
    """What was raised, in one line, and the innermost line of the user's `file` that led to it."""
    frames = traceback.extract_tb(error.__traceback__)
    at = next((f for f in reversed(frames) if f.filename == file), frames[-1])
    try:
        said = " ".join(str(error).split())[:300]
    except Exception:
        said = "(no message)"
    return (
        f"{f'{type(error).__name__}: {said}'.strip()} ({Path(at.filename).name}, line {at.lineno})"
    )


def _takes(function: Callable[..., Any], arguments: Sequence[str]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True
