"""Rows of a file or of a Hugging Face data set, as dictionaries with a number to name them by."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from r1jax.data.problems.options import pairs, parse_params
from r1jax.errors import UserError

Row = Mapping[str, Any]
HUB = "hf"


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
    unit, rows = _file(Path(name))
    wanted = {column: values.split(",") for column, values in pairs(query, source, "column")}
    return unit, _kept(rows, wanted, name) if wanted else rows


def _kept(
    rows: Iterator[tuple[int, Row]], wanted: Mapping[str, list[str]], name: str
) -> Iterator[tuple[int, Row]]:
    for number, row in rows:
        for column in wanted:
            if column not in row:
                raise UserError(f"{name}, row {number}: no column {column} to choose rows by")
        if all(str(row[column]) in values for column, values in wanted.items()):
            yield number, row


def _file(path: Path) -> tuple[str, Iterator[tuple[int, Row]]]:
    readers: dict[str, tuple[str, Callable[[Path], Iterator[tuple[int, Row]]]]] = {
        ".jsonl": ("line", _jsonl),
        ".parquet": ("row", _parquet),
    }
    if path.suffix not in readers:
        raise UserError(
            f"{path}: not a source; expected world:FAMILIES, general:KINDS, reasoning_gym:NAME, "
            "tinyzero:TASK, "
            "hf:OWNER/NAME, package.module:function, or the path of a .jsonl or .parquet file"
        )
    if not path.is_file():
        raise UserError(f"{path}: {'is a directory' if path.is_dir() else 'no such file'}")
    unit, reader = readers[path.suffix]
    return unit, reader(path)


def _jsonl(path: Path) -> Iterator[tuple[int, Row]]:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError as error:
                raise UserError(f"{path}, line {number}: not JSON ({error})") from None
            if not isinstance(row, dict):
                raise UserError(f"{path}, line {number}: expected an object {{...}} per line")
            yield number, row


def _parquet(path: Path) -> Iterator[tuple[int, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with pyarrow.parquet.ParquetFile(path) as file:
            number = 0
            for batch in file.iter_batches():
                for row in batch.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
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
