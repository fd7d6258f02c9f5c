"""The command line of every experiment: a frozen dataclass read by tyro, mistakes in one line."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
import io
import os
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import tyro

from r1jax.commands.ending import ended, leaving
from r1jax.errors import UserError
from r1jax.run.settings import FILES, about_files, flag_of, settings, to_yaml

Config = TypeVar("Config")

_BOX = str.maketrans("╭╮╰╯│─", "      ")


def run(
    main: Callable[[Config], int | None],
    default: Config,
    argv: Sequence[str] | None = None,
    description: str | None = None,
    presets: Mapping[str, Config] | None = None,
    word: str = "--preset",
) -> int:
    """Parses flags over the preset `default`, calls `main(config)`, returns the exit status.

    With `presets`, `--preset NAME` (or another `word`) puts another default in its place. A file
    named by `--config` changes that default, flags change both, and `--print-config` prints what
    comes of them, as such a file, in place of running it.
    `argv` is the command line without the program's name (default: the process's). The help opens
    with `description` (default: the docstring of the module that holds `main`). Mistakes, signals
    and output that nobody takes end it as `r1jax.commands.ending` says.
    """
    given = _at_home(sys.argv[1:] if argv is None else argv)
    module = sys.modules.get(main.__module__)

    def work() -> int | None:
        page = f"{description or getattr(module, '__doc__', None) or ''}\n{FILES}"
        rest, files, show = about_files(given)
        try:
            config = _with_files(default, rest, files, page, presets or {}, word)
        except SystemExit:  # after --help
            return 0
        if show:
            print(to_yaml(config), end="")
            return 0
        return main(config)

    return leaving(ended(work), argv)


def _with_files(
    default: Config,
    argv: list[str],
    files: Sequence[str],
    page: str,
    presets: Mapping[str, Config],
    word: str,
) -> Config:
    """What flags make of what files make of a preset; a mistake of a file says where it stands."""
    flags, typed = flag_types(default) | ({word: str} if presets else {}), argv
    written = settings(files, argv, flags, lambda flag: _nearest(flag, flags))
    argv = [*(word for setting in written.values() for word in setting.words), *argv]
    try:
        if presets:
            default, argv = choose_preset(default, argv, presets, word)
        config = parse(default, argv, page)
        _check_read(config, typed)
        return config
    except UserError as mistake:
        said = str(mistake)
        place = written.get(_named(said))
        raise UserError(f"{place.where}: {said}" if place else said) from None


def choose_preset(
    default: Config, argv: list[str], presets: Mapping[str, Config], word: str = "--preset"
) -> tuple[Config, list[str]]:
    """(the chosen default, the command line without `--preset NAME`); the last one counts."""
    rest: list[str] = []
    words = iter(argv)
    for given in words:
        if given != word and not given.startswith(f"{word}="):
            rest.append(given)
            continue
        name = given.partition("=")[2] if "=" in given else next(words, "")
        if name not in presets:
            there = ", ".join(filter(None, presets))
            raise UserError(f"{word} {name}: no such {word[2:]}; choose from {there}")
        default = presets[name]
    return default, rest


def parse(default: Config, argv: Sequence[str], description: str | None = None) -> Config:
    """Returns `default` with the flags of `argv` applied.

    Raises UserError for an unknown flag, naming the nearest, for a list given twice, and for a
    wrong value, naming flag, value and what would be right; SystemExit(0) after printing `--help`.
    """
    argv = _at_home(argv)
    flags = flag_types(default)
    for token in argv:
        if any("\ud800" <= letter <= "\udfff" for letter in token):  # bytes that were no UTF-8
            raise UserError(f"{ascii(token)}: is no text in UTF-8; write it in that encoding")
    if not {"-h", "--help"} & set(argv):
        _check_names(argv, flags)
    try:
        return _tyro(default, argv, description)
    except _Refused as refused:
        raise UserError(_diagnose(default, argv, flags, str(refused))) from None
    except UserError as mistake:
        raise UserError(_as_given(str(mistake), argv, flags)) from None


def _at_home(argv: Sequence[str]) -> list[str]:
    """Words with ~ as the home directory, which no shell reads in --run=~/x and none in a file."""
    words = [word.partition("=") if word.startswith("--") else ("", "", word) for word in argv]
    return [f"{flag}{equals}{os.path.expanduser(value)}" for flag, equals, value in words]


def flag_types(config: Any, prefix: str = "--") -> dict[str, Any]:
    """Every flag of a (nested) dataclass instance, in tyro's spelling, with the field's type.

    A boolean has two entries, `--a.b` and `--a.no-b`.
    """
    hints = typing.get_type_hints(type(config))
    flags: dict[str, Any] = {}
    for field in dataclasses.fields(config):
        # A field named as a Python keyword is has a line below it: from_ is --from.
        value, name = getattr(config, field.name), field.name.rstrip("_").replace("_", "-")
        if dataclasses.is_dataclass(value):
            flags |= flag_types(value, f"{prefix}{name}.")
            continue
        flags[prefix + name] = hints[field.name]
        if hints[field.name] is bool:
            flags[f"{prefix}no-{name}"] = bool
    return flags


def idle_flags(config: Any, prefix: str = "--") -> dict[str, str]:
    """The flags that nothing reads beside the others of this config, and when they would be.

    A dataclass says so of its fields, and of those below it, in a property `idle`.
    """
    own, flags = getattr(config, "idle", {}), {}
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            flags |= idle_flags(value, f"{prefix}{field.name.rstrip('_').replace('_', '-')}.")
    return flags | {f"{prefix}{name.replace('_', '-')}": when for name, when in own.items()}


def _check_read(config: Any, typed: Sequence[str]) -> None:
    """Raises UserError where a typed flag would do nothing; presets and files may hold such ones.

    They are made to be changed: `--preset r1-zero --loss.beta 0` keeps no reference.
    """
    idle = idle_flags(config)
    for flag in map(flag_of, typed):
        if flag in idle:
            raise UserError(f"{flag}: is read only {idle[flag]}; leave it out, or change that")


class _Refused(Exception):
    """What tyro said about a command line that it did not take."""


def _tyro(default: Config, argv: Sequence[str], description: str | None) -> Config:
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return tyro.cli(
                type(default), default=default, args=argv, prog=_prog(), description=description
            )
    except SystemExit as stop:
        if not stop.code:
            raise
    raise _Refused(" ".join(said.getvalue().translate(_BOX).split()))


def _prog() -> str:
    """How this was called, for the usage line: `r1jax zero`, `python -m experiments.zero`."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    called = f"python -m {spec.name.removesuffix('.__main__')}" if spec else Path(sys.argv[0]).name
    ours = called.endswith("r1jax")  # whose first word is the command
    return " ".join([called, *sys.argv[1:2]] if ours else [called])


def _check_names(argv: Sequence[str], flags: dict[str, Any]) -> None:
    seen: set[str] = set()
    for token in argv:
        if not token.startswith("--"):
            continue
        given, flag = token.split("=", 1)[0], flag_of(token)
        if flag not in flags:
            nearest = _nearest(flag, flags)
            hint = f"did you mean {nearest}?" if nearest else "--help lists the flags"
            raise UserError(f"{given}: unknown flag; {hint}")
        # The last of several wins, as anywhere; but values of a list were meant to add up.
        if flag in seen and typing.get_origin(flags[flag]) is tuple:
            raise UserError(f"{given}: given twice; put all its values after one {given}")
        seen.add(flag)


def _nearest(flag: str, flags: dict[str, Any]) -> str | None:
    """The flag most like `flag`; a forgotten prefix (`--group`) counts as nearly right."""
    head, dot, tail = flag.removeprefix("--no-").rpartition(".")
    if flag.startswith("--no-") and (other := f"--{head}{dot}no-{tail}") in flags:
        return other

    def likeness(candidate: str) -> float:
        whole = difflib.SequenceMatcher(None, flag, candidate).ratio()
        tails = flag.lstrip("-").rpartition(".")[2], candidate.lstrip("-").rpartition(".")[2]
        return max(whole, 0.95 * difflib.SequenceMatcher(None, *tails).ratio())

    best = max(flags, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.6 else None


def _diagnose(default: Any, argv: Sequence[str], flags: dict[str, Any], said: str) -> str:
    """Finds the flag to blame by parsing each alone; `said` is the last resort."""
    groups: list[list[str]] = []
    for token in argv:
        if token.startswith("--") or not groups:
            groups.append([])
        groups[-1].append(token)
    for group in groups:
        flag = flag_of(group[0])
        if flag not in flags:
            return f"{group[0]}: unexpected; every value follows its flag, as in --flag value"
        try:
            _tyro(default, group, None)
        except _Refused:
            given = " ".join(group).replace("=", " ", 1 if "=" in group[0] else 0)
            missing = " has no value" if len(group) == 1 and "=" not in group[0] else ""
            return f"{given}{missing}: expected {_expected(flags[flag], flag)}"
    return said


def _as_given(said: str, argv: Sequence[str], flags: dict[str, Any]) -> str:
    """A mistake with its flag as it was given: a stage's settings do not know the stage's name."""
    named = _named(said)
    given = [flag for flag in map(flag_of, argv) if flag.endswith(f".{named.removeprefix('--')}")]
    return said if named in flags or not given else given[-1] + said.removeprefix(named)


def _named(said: str) -> str:
    """The flag that a mistake is about."""
    return said.split(maxsplit=1)[0].rstrip(":,")


def _expected(kind: Any, flag: str) -> str:
    """What a flag of this type takes, in words."""
    simple = {int: "a whole number", float: "a number", str: "text", Path: "a path"}
    if kind is bool:
        return f"nothing after it ({flag} alone switches it)"
    if kind in simple:
        return simple[kind]
    if kind is type(None):
        return "None"
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        return "one of " + ", ".join(map(str, args))
    if origin in (typing.Union, types.UnionType):
        return " or ".join(_expected(arg, flag) for arg in args)
    if origin is tuple and Ellipsis in args:
        return f"any number of values, each {_expected(args[0], flag)}"
    if origin is tuple:
        return f"{len(args)} values: " + ", ".join(_expected(arg, flag) for arg in args)
    return str(kind)
