"""Finds a user's own loss by its name, `package.module:function`."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Callable

from r1jax.errors import UserError
from r1jax.types import Loss


def load_loss(name: str, flag: str = "--loss") -> Loss:
    """The function called `name`, to be used as (stats, batch) -> (share, metrics).

    Args:
      name: `package.module:function`, importable from the current directory.
      flag: how the user came to give the name, for the error message.

    Raises:
      UserError: the form is another, the module or function is not there, or what is there cannot
        be called with two arguments. Errors that the module itself raises pass through.
    """
    if not re.fullmatch(r"\w+(\.\w+)*:\w+", name):
        raise UserError(f"{flag} {name}: not of the form package.module:function")
    module_name, function_name = name.split(":")
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise UserError(f"{flag} {name}: cannot import {module_name} ({error})") from error
    function = getattr(module, function_name, None)
    if function is None:
        raise UserError(f"{flag} {name}: {module_name} has no function {function_name}")
    if not callable(function) or not _takes_two(function):
        raise UserError(f"{flag} {name}: must be a function of two arguments, (stats, batch)")
    return function


def _takes_two(function: Callable[..., object]) -> bool:
    try:
        inspect.signature(function).bind(None, None)
    except TypeError:
        return False
    return True
