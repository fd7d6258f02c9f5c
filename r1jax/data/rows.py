"""Rows of a file or of a Hugging Face data set, as dictionaries with a number to name them by."""

from __future__ import annotations

import codecs
import json
import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.data.problems.options import pairs, parse_params
from r1jax.errors import UserError, once_each
from r1jax.rewards.format import is_visible

Row = Mapping[str, Any]
HUB = "hf"
LISTED = 5
DEEPEST = 64  # objects and lists inside one another; what reads and writes rows goes down by calls

_HALF = re.compile("[\ud800-\udfff]")
_MAY_BE_ENDLESS = re.compile(r"[0-9][eE]\+?[0-9]{3}|[0-9]{300}")
_MAY_BE_HALF = re.compile(r"\\u[dD][89a-fA-F]")


def open_rows(source: str) -> tuple[str, Iterator[tuple[int, Row]]]:
    """The word for a row (line, row), and the rows of `source` numbered from 1.

    A source is the path of a .jsonl or .parquet file, or `hf:OWNER/NAME?split=train&config=main`.
    Behind a path `?column=value,value` keeps the rows whose column holds one of the values.

    Raises UserError where it does not exist or cannot be read.
    """
    kind, colon, rest = source.partition(":")
    if colon and kind == HUB:
        return "row", _hub(source, rest)
    name, _, query = source.partition("?")
    if not name.strip():
        raise UserError(f"{source!r}: names no source; expected the path of a file, or another one")
    unit, rows = _file(Path(name))
    wanted = {column: values.split(",") for column, values in pairs(query, source, "column")}
    return unit, _kept(rows, wanted, name) if wanted else rows


def read_json(text: str | bytes) -> Any:
    """The value of a JSON text in UTF-8, NaN taken as null.

    Raises ValueError, its reason in one line, for what is no JSON, for a key that an object has
    twice, and for what nothing can work with later: half a character (a lone surrogate), an
    infinite number, and too deep a nesting.
    """
    text = text if isinstance(text, str) else text.decode("utf-8")
    try:
        value = json.loads(text, parse_constant=_constant, object_pairs_hook=once_each)
    except RecursionError:
        raise ValueError(_DEEP) from None
    except ValueError as error:
        if isinstance(error, json.JSONDecodeError) or _NUMBER not in str(error):
            raise
        raise ValueError(
            f"holds a whole number of more than {sys.get_int_max_str_digits()} digits; write it as "
            "text"
        ) from None
    deep = text.count("[") + text.count("{") > DEEPEST
    if deep or _MAY_BE_HALF.search(text) or _MAY_BE_ENDLESS.search(text):
        _check(value)
    return value


_NUMBER = "integer string conversion"  # in Python's words for a number that it will not read
_DEEP = f"lists and objects lie more than {DEEPEST} deep in one another"


def _constant(name: str) -> None:
    if name != "NaN":
        raise ValueError(f"{name} is no number of JSON's")


def _check(value: Any) -> None:
    """Raises ValueError for half a character, a number read as infinite, too deep a nesting."""
    level, depth = [value], 0
    while level:
        for text in level:
            if isinstance(text, str) and (half := half_character(text)):
                raise ValueError(
                    f"holds half a character, {half}, without its other half; write the whole one "
                    "or take it out"
                )
            if isinstance(text, float) and math.isinf(text):
                raise ValueError(
                    "holds a number beyond 1.8e308; write it as text, or a smaller one"
                )
        inside = [
            (*v.keys(), *v.values()) if isinstance(v, dict) else v
            for v in level
            if isinstance(v, dict | list)
        ]
        if (depth := depth + bool(inside)) > DEEPEST:
            raise ValueError(_DEEP)
        level = [item for items in inside for item in items]


def half_character(text: str) -> str:
    """The first lone surrogate of a text, as \\ud83d; empty where there is none.

    No encoder of text takes one: not UTF-8, so neither a tokenizer nor a file.
    """
    half = _HALF.search(text)
    return f"\\u{ord(half.group()):04x}" if half else ""


def refuse_overwrite(flag: str, out: str | Path, sources: Sequence[str | Path]) -> None:
    """Raises UserError where the file `out` is one of the sources, by whatever name or link."""
    for source in sources:
        name = Path(str(source).partition("?")[0])
        there = os.path.exists(name) and os.path.exists(out)
        if os.path.realpath(name) == os.path.realpath(out) or there and os.path.samefile(name, out):
            raise UserError(f"{flag} {out}: is read as {source}; name another file")


def listed(reasons: Sequence[str]) -> str:
    """The first few of some reasons, with a mark where there are more."""
    return ", ".join(reasons[:LISTED]) + (", ..." if len(reasons) > LISTED else "")


def is_blank(value: Any) -> bool:
    """Whether a cell holds nothing: null, nothing to be seen, or NaN, a table's null."""
    blank = value is None or isinstance(value, str) and not is_visible(value)
    return blank or isinstance(value, float) and math.isnan(value)


def _kept(
    rows: Iterator[tuple[int, Row]], wanted: Mapping[str, list[str]], name: str
) -> Iterator[tuple[int, Row]]:
    number = some = 0
    for number, row in rows:
        for column in wanted:
            if column not in row:
                raise UserError(f"{name}, row {number}: no column {column} to choose rows by")
        if all(str(row[column]) in values for column, values in wanted.items()):
            some = number
            yield number, row
    if number and not some:
        values = " and ".join(f"{column} {' or '.join(v)}" for column, v in wanted.items())
        raise UserError(f"{name}: none of its rows has {values}")


def _file(path: Path) -> tuple[str, Iterator[tuple[int, Row]]]:
    readers: dict[str, tuple[str, Callable[[Path], Iterator[tuple[int, Row]]]]] = {
        ".jsonl": ("line", jsonl_rows),
        ".parquet": ("row", _parquet),
    }
    if path.suffix not in readers:
        raise UserError(
            f"{path}: not a source; expected world:FAMILIES, general:KINDS, reasoning_gym:NAME, "
            "tinyzero:TASK, "
            "hf:OWNER/NAME, package.module:function, or the path of a .jsonl or .parquet file"
        )
    if not os.path.isfile(path):  # Path's own raises for a name that is too long
        what = "is a pipe or a device; write its rows to a file, which is read more than once"
        there = "is a directory" if os.path.isdir(path) else what
        raise UserError(f"{path}: {there if os.path.exists(path) else 'no such file'}")
    unit, reader = readers[path.suffix]
    return unit, reader(path)


def jsonl_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """(line, row) of a JSONL file; UserError naming a line that is no object."""
    begun = False
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            line = line.removeprefix(codecs.BOM_UTF8) if number == 1 else line
            if not line.strip():
                continue
            if not begun and line.lstrip().startswith(b"["):
                raise UserError(
                    f"{path}: is one JSON array; expected an object {{...}} per line "
                    f"(jq -c '.[]' {path} writes them so)"
                )
            begun = True
            try:
                row = read_json(line)
            except json.JSONDecodeError as error:
                what = f"not JSON ({error.msg} at character {error.pos + 1})"
                raise UserError(
                    f"{path}, line {number}: {what}; expected an object {{...}} per line"
                ) from None
            except UnicodeDecodeError as error:
                raise UserError(f"{path}, line {number}: not UTF-8 ({error})") from None
            except ValueError as error:
                raise UserError(f"{path}, line {number}: {error}") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: expected an object {{...}} per line")
            yield number, row


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number, names = 0, file.schema_arrow.names
            if twice := [name for name in names if names.count(name) > 1]:
                raise UserError(f"{path}: has two columns {twice[0]}; rename one")
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path}: not a readable parquet file ({reason})") from None


def _hub(source: str, rest: str) -> Iterator[tuple[int, Row]]:
    name, _, query = rest.partition("?")
    params = {"split": "train", "config": None} | parse_params(query, source)
    if unknown := params.keys() - {"split", "config"}:
        raise UserError(f"{source}: no parameter {min(unknown)}; there are split and config")
    try:
        import datasets
    except ImportError:
        raise UserError(
            f"{source}: needs the package datasets (pip install datasets); or name a .jsonl or "
            ".parquet file"
        ) from None
    try:
        table = datasets.load_dataset(name, params["config"], split=params["split"])
    except Exception as error:  # whatever the hub, the network or the cache raises ends in a line
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"{source}: cannot be loaded ({type(error).__name__}: {reason}); check the name, split "
            "and config and the network, or download it and name the file"
        ) from error
    return ((number, row) for number, row in enumerate(table, start=1))
