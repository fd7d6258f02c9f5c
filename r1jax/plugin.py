"""Finds a user's own function by its name, `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import re
import traceback
from collections.abc import Callable, Sequence
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
    # A script that ends by sys.exit() would end the run as if all of it were done.
    except (Exception, SystemExit) as error:
        at = traceback.extract_tb(error.__traceback__)[-1]
        why = " ".join(f"{type(error).__name__}: {error}".split())[:300]
        raise UserError(
            f"{flag} {name}: importing {module_name} failed with {why} "
            f"({Path(at.filename).name}, line {at.lineno}); check the module"
        ) from error
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


def _takes(function: Callable[..., Any], arguments: Sequence[str]) -> bool:
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError:
        return False
    return True
