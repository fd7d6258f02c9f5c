"""Settings in a file: YAML, or a run's config.json, as words of a command line, and back."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from r1jax.errors import UserError, told

FILES = """
--config FILE.yaml takes flags from a file (or a run's config.json), nested as they are; flags given
beside it win. --print-config prints them all as such a file, and runs nothing."""

Nearest = Callable[[str], str | None]

ONLY_SAID = ("overwrite", "take_over")
"""Flags that remove a run, or take it from its owner: said anew each time, never by a file."""

_NOTHING = "tag:yaml.org,2002:null"
_NUMBER = re.compile(r"-[0-9.]+(e[-+]?[0-9]+)?|-inf", re.IGNORECASE)
_LISTED = "--help lists the flags"
_NUMBERS = {".inf": "inf", "+.inf": "inf", "-.inf": "-inf", ".nan": "nan"}


class Setting(NamedTuple):
    """What a file says of one flag: the words of a command line, and where it says so."""

    words: list[str]
    where: str


def about_files(argv: Sequence[str]) -> tuple[list[str], list[str], bool]:
    """(the other words, the files of `--config`, whether `--print-config` was there)."""
    rest, files, show = [], [], False
    words = iter(argv)
    for word in words:
        flag, equals, value = word.partition("=")
        if flag_of(word) == "--print-config" and not equals:
            show = True
        elif flag != "--config":
            rest.append(word)
        elif not (file := value if equals else next(words, "")) or file.startswith("--"):
            raise UserError("--config has no value: expected the path of a YAML file")
        else:
            files.append(file)
    return rest, files, show


def settings(
    files: Sequence[str], argv: Sequence[str], flags: Mapping[str, Any], nearest: Nearest
) -> dict[str, Setting]:
    """What `files` say, the later ones winning, of the flags that a command line leaves alone."""
    given = {_positive(flag_of(word), flags) for word in argv if word.startswith("--")}
    found: dict[str, Setting] = {}
    for file in files:
        found |= read_settings(file, flags, nearest)
    left = {flag: setting for flag, setting in found.items() if flag not in given}
    for flag in (f"--{name.replace('_', '-')}" for name in ONLY_SAID):
        if flag in left and left[flag].words == [flag]:
            raise UserError(f"{left[flag].where}: {flag[2:]}: only the command line may say {flag}")
    return left


def flag_of(word: str) -> str:
    """The flag in a word of a command line, in tyro's spelling."""
    return word.split("=", 1)[0].replace("_", "-")


def read_settings(path: str, flags: Mapping[str, Any], nearest: Nearest) -> dict[str, Setting]:
    """The settings of a file by flag.

    Sections nest as flags do, or are written with dots; `_` and `-` are the same. Every scalar is
    taken as it is written: what it means is for the flag to say, so that 1e-6 is a number and off
    a word. `flags` are the flags there are, with their types; `nearest` finds the one most like
    another. Raises UserError, naming file and line, for what no flag could take.
    """
    with told(f"--config {path}: cannot be read"):
        text = Path(path).read_text(encoding="utf-8")
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except (yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        at = f", line {mark.line + 1}" if mark else ""
        why = getattr(error, "problem", None) or " ".join(str(error).split())[:200]
        raise UserError(f"--config {path}{at}: not YAML ({why})") from None
    found: dict[str, Setting] = {}
    if root is None:
        return found
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"--config {path}: expected flag: value on each line")
    for flag, node in _leaves(root, "--", path, flags, nearest):
        where = _where(path, node)
        if flag in found:
            raise UserError(f"{where}: {flag[2:]} is there twice; take one out")
        found[flag] = Setting(_words(flag, node, flags[flag], where), where)
    return found


def to_yaml(config: Any) -> str:
    """Every flag of a config, nested, in YAML that `read_settings` takes."""
    return yaml.safe_dump(_plain(lasting(config)), sort_keys=False, allow_unicode=True)


def lasting(config: Any) -> Any:
    """A config as files hold it: without what is only said for once."""
    said = {name: False for name in ONLY_SAID if hasattr(config, name)}
    return dataclasses.replace(config, **said) if said else config


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        fields = dataclasses.fields(value)
        return {f.name.rstrip("_"): _plain(getattr(value, f.name)) for f in fields}
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _where(path: str, node: yaml.Node) -> str:
    return f"{path}, line {node.start_mark.line + 1}"


def _leaves(
    section: yaml.MappingNode,
    prefix: str,
    path: str,
    flags: Mapping[str, Any],
    nearest: Nearest,
) -> Iterator[tuple[str, yaml.Node]]:
    """(flag, value) of each key of a section and of those below it."""
    seen: set[str] = set()
    for key, node in section.value:
        where = _where(path, key)
        given = key.value if isinstance(key, yaml.ScalarNode) else "a key of several words"
        # A field named as a Python keyword is has a line below it in config.json: from_.
        flag = prefix + given.replace("_", "-").rstrip("-")
        if flag in seen:
            raise UserError(f"{where}: {flag[2:]} is there twice; take one out")
        seen.add(flag)
        if flag in flags and not _negation(flag, flags):
            yield flag, node
        elif any(name.startswith(f"{flag}.") for name in flags):
            if isinstance(node, yaml.MappingNode):
                yield from _leaves(node, f"{flag}.", path, flags, nearest)
            elif node.tag != _NOTHING:  # a section whose every line is a comment
                raise UserError(f"{where}: {flag[2:]} is a section; write its settings below it")
        else:
            near = nearest(flag) if isinstance(key, yaml.ScalarNode) else None
            hint = f"did you mean {_positive(near, flags)[2:]}?" if near else _LISTED
            raise UserError(f"{where}: {prefix[2:]}{given}: unknown key; {hint}")


def _negation(flag: str, flags: Mapping[str, Any]) -> bool:
    """Whether a flag is the other half of a boolean, --no-strict."""
    return flags[flag] is bool and _positive(flag, flags) != flag


def _positive(flag: str, flags: Mapping[str, Any]) -> str:
    """The flag itself; of the other half of a boolean, --a.no-b, the first one, --a.b."""
    head, dot, tail = flag.removeprefix("--").rpartition(".")
    other = f"--{head}{dot}{tail.removeprefix('no-')}"
    return other if tail.startswith("no-") and flags.get(other) is bool else flag


def _words(flag: str, node: yaml.Node, kind: Any, where: str) -> list[str]:
    """The words of a command line that give `flag` the value of `node`."""
    many = typing.get_origin(kind) is tuple
    if isinstance(node, yaml.SequenceNode) and many:
        values = [_scalar(flag, item, kind, where) for item in node.value]
        if dashed := [v for v in values if v.startswith("-") and not _NUMBER.fullmatch(v)]:
            raise UserError(f"{where}: {flag[2:]}: {dashed[0]!r} begins with - as a flag does")
        return [flag, *values]
    value = _scalar(flag, node, kind, where)
    if kind is not bool:
        return [flag, value] if many else [f"{flag}={value}"]
    if value.lower() not in ("true", "false"):
        raise UserError(f"{where}: {flag[2:]}: {value}; expected true or false")
    head, dot, tail = flag.removeprefix("--").rpartition(".")
    return [flag if value.lower() == "true" else f"--{head}{dot}no-{tail}"]


def _scalar(flag: str, node: yaml.Node, kind: Any, where: str) -> str:
    """A value as a command line has it; UserError where there are several, or none is allowed."""
    if not isinstance(node, yaml.ScalarNode):
        what = "settings below it" if isinstance(node, yaml.MappingNode) else "list"
        raise UserError(f"{where}: {flag[2:]} takes no {what}; give one value")
    if node.tag == _NOTHING:
        if type(None) not in typing.get_args(kind):
            raise UserError(f"{where}: {flag[2:]} has no value; give one, or take the line out")
        return "None"
    if "\0" in node.value:  # no command line could say it
        raise UserError(f"{where}: {flag[2:]} holds a zero character; take it out")
    return node.value if node.style else _NUMBERS.get(node.value.lower(), node.value)
