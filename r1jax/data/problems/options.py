"""Parameters behind the question mark of a source's name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from r1jax.errors import UserError


def pairs(query: str, spec: str, what: str = "parameter") -> Iterator[tuple[str, str]]:
    """(name, text) of each part of `a=1&b=2`; UserError, naming `spec`, for no `what`=value."""
    for pair in filter(None, query.split("&")):
        name, equals, text = pair.partition("=")
        if not equals:
            raise UserError(f"{spec}: {pair!r} is not {what}=value")
        yield name, text


def parse_params(query: str, spec: str) -> dict[str, Any]:
    """Reads `a=1&b=[2, 3]&c=text`: Python literals where they are, text otherwise.

    Raises UserError, naming `spec`, for a part that is no parameter=value.
    """
    params: dict[str, Any] = {}
    for name, text in pairs(query, spec):
        try:
            params[name] = ast.literal_eval(text)
        except (SyntaxError, ValueError):
            params[name] = {"true": True, "false": False}.get(text.lower(), text)
    return params
