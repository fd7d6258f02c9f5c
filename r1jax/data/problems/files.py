"""Problems from a file or a Hugging Face data set: one row is one problem, a bad row is named."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.data.config import SourceConfig
from r1jax.data.problems.layouts import LAYOUTS, Columns, detect
from r1jax.data.rows import Row, open_rows
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.answers.graders import UNRULED, check_gold

TOLERATED = 0.01  # share of unreadable gold answers above which a file is refused
LISTED = 5


@dataclass(frozen=True)
class DataReport:
    """What became of the rows of a file: kept, dropped as unreadable, dropped as duplicates."""

    source: str
    rows: int
    kept: int
    duplicates: int = 0
    unreadable: int = 0
    missing: int = 0  # rows that say of themselves that they have no answer (answer_missing)
    examples: tuple[str, ...] = ()  # the first few unreadable ones: where, what, why

    def __str__(self) -> str:
        """One line for the terminal."""
        parts = [f"{self.source}: {self.kept} of {self.rows} problems kept"]
        if self.duplicates:
            parts.append(f"{self.duplicates} repeated questions dropped")
        if self.missing:
            parts.append(f"{self.missing} rows marked answer_missing dropped")
        if self.unreadable:
            parts.append(f"{self.unreadable} gold answers cannot be read: {self.listed()}")
        return "; ".join(parts)

    def listed(self) -> str:
        """The examples, with a mark when there are more."""
        return ", ".join(self.examples) + (", ..." if self.unreadable > len(self.examples) else "")


def load_file(path: str, config: SourceConfig) -> tuple[list[Problem], DataReport]:
    """Reads every problem of `path` in order, by the layout `config.layout`.

    `path` is whatever `rows.open_rows` takes: a .jsonl or .parquet file, with ?column=value behind
    it for a part of its rows, or hf:OWNER/NAME. Columns that the layout does not use become the
    problem's metadata. Without a column `id` the id is a hash of the question, and a repeated
    question is dropped. Rows marked `answer_missing` are dropped.

    Raises UserError naming file, line and column: not a file, no rows, a malformed line, a missing
    column, a value that is not text, an id used twice, an unknown grader; and when too many gold
    answers cannot be read.
    """
    unit, rows = open_rows(path)
    problems: dict[str, Problem] = {}
    n_rows = duplicates = missing = 0
    unreadable: list[str] = []
    for number, row in rows:
        n_rows += 1
        where = f"{path}, {unit} {number}"
        if row.get("answer_missing"):
            missing += 1
            continue
        problem = _problem(row, where, config)
        if problem.id in problems:
            if row.get("id") is not None:
                raise UserError(f"{where}, column id: {problem.id!r} is used twice; make it unique")
            duplicates += 1
        elif (why := _unreadable(problem, where)) is not None:
            unreadable.append(f"{unit} {number} ({why})")
        else:
            problems[problem.id] = problem
    if not n_rows:
        raise UserError(f"{path}: is empty; expected one problem per {unit}")
    report = DataReport(
        path, n_rows, len(problems), duplicates, len(unreadable), missing,
        tuple(unreadable[:LISTED]),
    )  # fmt: skip
    _refuse_unreadable(report, config)
    return list(problems.values()), report


def _problem(row: Row, where: str, config: SourceConfig) -> Problem:
    layout = detect(row) if config.layout == "auto" else config.layout
    grader = None if config.grader == "auto" else config.grader
    columns = Columns(row, where, config.question_column, config.answer_column, grader)
    return LAYOUTS[layout](columns)


def _unreadable(problem: Problem, where: str) -> str | None:
    # The tests are the gold of programs; what no rule judges has none.
    if not problem.answer and problem.grader not in ("code", UNRULED):
        return "the gold answer is empty"
    try:
        return check_gold(problem)
    except UserError as error:
        raise UserError(f"{where}: {error}") from None


def _refuse_unreadable(report: DataReport, config: SourceConfig) -> None:
    if not report.unreadable:
        return
    share = report.unreadable / report.rows
    if config.strict or share > TOLERATED or not report.kept:
        rule = "--data.strict allows none" if config.strict else f"at most {TOLERATED:.0%} may be"
        raise UserError(
            f"{report.source}: {report.unreadable} of {report.rows} gold answers cannot be read "
            f"({rule}): {report.listed()}; correct them, or choose another --data.grader"
        )
