"""The user commands, a module each: what it is, `main(config)` and the presets that flags change.

`r1jax zero` and, in a clone, `python -m experiments.zero` are the same function. A new command is a
new file here that ends with its `COMMAND`.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent


class Command(NamedTuple):
    """A function of a config, the config that flags change, and others by the flag `word`."""

    main: Callable[[Any], int | None]
    default: Any
    presets: Mapping[str, Any] = {}
    word: str = "--preset"
    instead: Mapping[str, Command] = {}  # commands of other flags, by the word that asks for one


def load(name: str) -> tuple[Command, str | None]:
    """The command `name` and the page in front of it: its module's docstring."""
    within = [*paths()[name].relative_to(HERE).with_suffix("").parts]
    module = importlib.import_module(".".join([__name__, *within]))
    return module.COMMAND, module.__doc__


def run(name: str, argv: Sequence[str] | None = None) -> int:
    """Reads the flags `argv` (default: the process's) and runs `name`; returns the exit status."""
    from r1jax.commands.ending import at_once, leaving

    given = sys.argv[1:] if argv is None else list(argv)
    with at_once():
        from r1jax.commands import cli

        command, page = load(name)
        for flag in filter(command.instead.__contains__, list(given)):
            given.remove(flag)
            command = command.instead[flag]
    status = cli.run(command.main, command.default, given, page, command.presets, command.word)
    return leaving(status, argv)


def paths() -> dict[str, Path]:
    """The file of every command, those of the reproductions last."""
    files = [*sorted(HERE.glob("*.py")), *sorted(HERE.glob("reproductions/*.py"))]
    return {file.stem: file for file in files if file.stem not in {"__init__", "cli", "ending"}}


def summary(file: Path) -> str:
    """The first line of a module's docstring, read without importing it."""
    return (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").split("\n")[0]
