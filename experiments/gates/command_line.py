"""The command line that says a run's flags, and no flag that nothing would read."""

from __future__ import annotations

import dataclasses
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any

from r1jax.commands import cli


def flags(config: Any, default: Any) -> Iterator[str]:
    """The command line that turns `default` into `config`, both of one (nested) dataclass.

    It leaves out what nothing reads beside the rest, which a command line may not say.
    """
    return _flags(settled(config, default), default, "--")


def settled(config: Any, default: Any) -> Any:
    """`config` with what nothing reads beside the rest as it is in `default`."""
    idle = cli.idle_flags(config)
    return _settled(config, default, "--", idle) if idle else config


def _settled(config: Any, default: Any, prefix: str, idle: Container[str]) -> Any:
    found = {}
    for f in dataclasses.fields(config):
        value, usual = getattr(config, f.name), getattr(default, f.name)
        flag = prefix + f.name.rstrip("_").replace("_", "-")
        if dataclasses.is_dataclass(value):
            value = _settled(value, usual, f"{flag}.", idle)
        found[f.name] = usual if flag in idle else value
    return replace(config, **found)


def _flags(config: Any, default: Any, prefix: str) -> Iterator[str]:
    for f in dataclasses.fields(config):
        value, old = getattr(config, f.name), getattr(default, f.name)
        name = f.name.rstrip("_").replace("_", "-")
        if dataclasses.is_dataclass(value):
            yield from _flags(value, old, f"{prefix}{name}.")
        elif isinstance(value, bool) and value != old:
            yield prefix + ("" if value else "no-") + name
        elif isinstance(value, tuple) and value != old:
            yield from (prefix + name, *map(str, value))
        elif value != old:
            yield from (prefix + name, str(value))
