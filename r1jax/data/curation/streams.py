"""Samples that were kept and dropped, written prompt by prompt so that a kill costs no prompt.

`kept.jsonl` and `dropped.jsonl` hold a row per sample, `prompts.jsonl` a row per prompt with the
sizes of the other two after it: what it does not name was never written.
"""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.data.problems.known import refuse_other_problems
from r1jax.data.rows import Row, jsonl_rows, read_json
from r1jax.errors import UserError
from r1jax.problem import Problem

KEPT, DROPPED, PROMPTS = "kept", "dropped", "prompts"
BATCH = 10_000  # rows of a group in a parquet file


class CurationFiles:
    """The three files of a run. With `write=False` they are read and never touched."""

    def __init__(self, path: Path, *, fresh: bool, write: bool = True) -> None:
        """Opens the files of `path`, cut to the last prompt that was written whole.

        With `fresh` what is there is removed.
        """
        self.path, self.write = path, write
        files = {name: path / f"{name}.jsonl" for name in (KEPT, DROPPED, PROMPTS)}
        if write and fresh:
            for old in (file for name in files for file in path.glob(f"{name}.*")):
                old.unlink()
        named = [] if fresh else _ledger(files[PROMPTS])
        self.prompts: list[dict[str, Any]] = [*itertools.takewhile(_there(files), named)]
        self.lost = len(named) - len(self.prompts)  # prompts without their samples
        if not write:
            return
        last = self.prompts[-1] if self.prompts else {}
        sizes = {name: last.get(f"{name}_bytes", 0) for name in (KEPT, DROPPED)}
        sizes[PROMPTS] = sum(len(_line(row)) for row in self.prompts)
        self._files = {}
        for name, file in files.items():
            self._files[name] = file.open("ab")
            self._files[name].truncate(sizes[name])
        self._sizes = sizes

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises UserError where these are not the problems that the prompts came from."""
        refuse_other_problems(self.path / f"{PROMPTS}.jsonl", self.prompts, problems)

    def add(self, prompt: Row, kept: Sequence[Row], dropped: Sequence[Row]) -> None:
        """Appends the samples of one prompt, then the prompt's own row."""
        sizes = {}
        for name, rows in ((KEPT, kept), (DROPPED, dropped)):
            text = b"".join(map(_line, rows))
            self._sizes[name] += len(text)
            sizes[f"{name}_bytes"] = self._sizes[name]
            if self.write:
                self._files[name].write(text)
                self._files[name].flush()
        self.prompts.append({**prompt, **sizes})
        if self.write:
            self._files[PROMPTS].write(_line(self.prompts[-1]))
            self._files[PROMPTS].flush()

    def left(self, problems: int) -> str:
        """What a run that ends now goes on from."""
        kept = f"{len(self.prompts):,} of {problems:,} prompts are kept"
        return f"{kept}; the same command goes on with the next"

    def settle(self) -> None:
        """Returns once all of it is on the disk itself."""
        for file in self._files.values() if self.write else ():
            os.fsync(file.fileno())

    def rows(self, name: str) -> Iterator[dict[str, Any]]:
        """The rows of kept or dropped, in their order."""
        return _rows(self.path / f"{name}.jsonl")

    def close(self) -> None:
        """Closes the files."""
        if self.write:
            for file in self._files.values():
                file.close()


def write_parquet(source: Path, target: Path) -> None:
    """Writes the rows of a JSONL file as a parquet file; none where there is no row.

    Values of a column are text, numbers, or lists of messages: objects whose values are text.
    """
    import pyarrow
    import pyarrow.parquet

    types = {
        str: pyarrow.string(), bool: pyarrow.bool_(), int: pyarrow.int64(),
        float: pyarrow.float64(),
    }  # fmt: skip

    def kind(value: Any) -> Any:
        if isinstance(value, list):
            fields = [(name, pyarrow.string()) for name in value[0]]
            return pyarrow.list_(pyarrow.struct(fields))
        return types[type(value)]

    first: dict[str, Any] = {}
    for row in _rows(source):
        for name in row.keys() - first.keys():
            if row[name] is not None:
                first[name] = row[name]
    target.unlink(missing_ok=True)
    if not first:
        return
    columns = dict.fromkeys(name for row in _rows(source) for name in row)
    schema = pyarrow.schema([(name, kind(first[name])) for name in columns if name in first])
    temporary = target.with_name(target.name + ".part")
    with pyarrow.parquet.ParquetWriter(temporary, schema) as writer:
        rows = _rows(source)
        while batch := list(itertools.islice(rows, BATCH)):
            writer.write_table(pyarrow.Table.from_pylist(batch, schema))
    temporary.replace(target)


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    return (row for _, row in jsonl_rows(path))


def _ledger(path: Path) -> list[dict[str, Any]]:
    """The lines of prompts.jsonl up to the first that was not written whole, by kill or power cut.

    Raises UserError where whole ones follow it: somebody has changed the file.
    """
    lines = path.read_bytes().split(b"\n")[:-1] if path.exists() else []
    rows: list[dict[str, Any]] = []
    broken = ""
    for number, line in enumerate(lines, start=1):
        try:
            row = read_json(line)
            wrong = "" if isinstance(row, dict) else "no object"
        except ValueError as error:
            wrong = str(error)
        if broken and not wrong:
            raise UserError(f"{path}, line {broken}; start anew with --overwrite")
        if wrong:
            broken = broken or f"{number}: cannot be read ({wrong})"
        else:
            rows.append(row)
    return rows


def _there(files: Mapping[str, Path]) -> Callable[[Row], bool]:
    """Whether the samples that a row of prompts.jsonl counts are in their files, by their sizes."""
    sizes = {name: files[name].stat().st_size if files[name].exists() else 0 for name in files}
    return lambda row: all(row.get(f"{name}_bytes", 0) <= sizes[name] for name in (KEPT, DROPPED))


def _line(row: Row) -> bytes:
    text = json.dumps(row, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode("utf-8", "replace")
