"""Problems from a JSONL or parquet file: one row is one problem, and a bad row is named."""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1jax.data.config import DataConfig
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.graders import check_gold

QUESTION_COLUMNS = ("question", "problem", "prompt")
ANSWER_COLUMNS = ("answer", "solution")
TOLERATED = 0.01  # share of unreadable gold answers above which a file is refused
LISTED = 5

Row = Mapping[str, Any]


@dataclass(frozen=True)
class DataReport:
    """What became of the rows of a file: kept, dropped as unreadable, dropped as duplicates."""

    source: str
    rows: int
    kept: int
    duplicates: int = 0
    unreadable: int = 0
    examples: tuple[str, ...] = ()  # the first few unreadable ones: where, what, why

    def __str__(self) -> str:
        """One line for the terminal."""
        parts = [f"{self.source}: {self.kept} of {self.rows} problems kept"]
        if self.duplicates:
            parts.append(f"{self.duplicates} repeated questions dropped")
        if self.unreadable:
            parts.append(f"{self.unreadable} gold answers cannot be read: {self.listed()}")
        return "; ".join(parts)

    def listed(self) -> str:
        """The examples, with a mark when there are more."""
        return ", ".join(self.examples) + (", ..." if self.unreadable > len(self.examples) else "")


def load_file(path: str, config: DataConfig) -> tuple[list[Problem], DataReport]:
    """Reads every problem of `path` in order.

    Columns other than question, answer, id and grader become the problem's metadata. Without a
    column `id` the id is a hash of the question, and a repeated question is dropped. A gold answer
    in the form "reasoning #### 18" is cut to what follows the mark.

    Raises UserError naming file, line and column: not a file, no rows, a malformed line, a missing
    column, a value that is not text, an id used twice, an unknown grader; and when too many gold
    answers cannot be read.
    """
    unit, rows = _open(Path(path))
    problems: dict[str, Problem] = {}
    n_rows = duplicates = 0
    unreadable: list[str] = []
    for number, row in rows:
        n_rows += 1
        where = f"{path}, {unit} {number}"
        problem = _problem(row, where, config)
        if problem.id in problems:
            if "id" in row:
                raise UserError(f"{where}, column id: {problem.id!r} is used twice; make it unique")
            duplicates += 1
        elif (why := _unreadable(problem, where)) is not None:
            unreadable.append(f"{unit} {number} ({why})")
        else:
            problems[problem.id] = problem
    if not n_rows:
        raise UserError(f"{path}: is empty; expected one problem per {unit}")
    report = DataReport(
        path, n_rows, len(problems), duplicates, len(unreadable), tuple(unreadable[:LISTED])
    )
    _refuse_unreadable(report, config)
    return list(problems.values()), report


def question_hash(question: str) -> str:
    """Canonical name of a question: spacing and Unicode form do not count. 16 hex digits."""
    canonical = " ".join(unicodedata.normalize("NFKC", question).split())
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def _unreadable(problem: Problem, where: str) -> str | None:
    if not problem.answer:
        return "the gold answer is empty"
    try:
        return check_gold(problem)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _refuse_unreadable(report: DataReport, config: DataConfig) -> None:
    if not report.unreadable:
        return
    share = report.unreadable / report.rows
    if config.strict or share > TOLERATED or not report.kept:
        rule = "--data.strict allows none" if config.strict else f"at most {TOLERATED:.0%} may be"
        raise UserError(
            f"{report.source}: {report.unreadable} of {report.rows} gold answers cannot be read "
            f"({rule}): {report.listed()}; correct them, or choose another --data.grader"
        )


def _open(path: Path) -> tuple[str, Iterator[tuple[int, Row]]]:
    """The word for a row (line, row), and the rows numbered from 1."""
    readers: dict[str, tuple[str, Callable[[Path], Iterator[tuple[int, Row]]]]] = {
        ".jsonl": ("line", _jsonl),
        ".parquet": ("row", _parquet),
    }
    if path.suffix not in readers:
        raise UserError(
            f"{path}: not a source; expected world:FAMILIES, reasoning_gym:NAME, or the path of a "
            ".jsonl or .parquet file"
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


def _problem(row: Row, where: str, config: DataConfig) -> Problem:
    asked = _column(row, where, config.question_column, QUESTION_COLUMNS, "question")
    answered = _column(row, where, config.answer_column, ANSWER_COLUMNS, "answer")
    question = _text(row[asked], where, asked)
    blank = row[answered] is None or row[answered] == ""
    answer = "" if blank else _text(row[answered], where, answered).rpartition("####")[2].strip()
    identity = question_hash(question) if "id" not in row else _text(row["id"], where, "id")
    grader = config.grader if row.get("grader") is None else _text(row["grader"], where, "grader")
    used = {asked, answered, "id", "grader"}
    metadata = {name: value for name, value in row.items() if name not in used}
    return Problem(identity, question, answer, grader, metadata)


def _column(row: Row, where: str, given: str | None, usual: tuple[str, ...], what: str) -> str:
    for name in (given,) if given else usual:
        if name in row:
            return name
    wanted = given or " or ".join(usual)
    raise UserError(
        f"{where}: no column {wanted}; it has {', '.join(row) or 'none'} "
        f"(--data.{what}-column names another)"
    )


def _text(value: Any, where: str, column: str) -> str:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    found = "is empty" if value is None or isinstance(value, str) else f"is {value!r:.40}"
    raise UserError(f"{where}, column {column}: {found}; expected text")
