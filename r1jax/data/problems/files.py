"""Problems from a file or a Hugging Face data set: one row is one problem, a bad row is named."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from r1jax.data.config import SourceConfig
from r1jax.data.problems.detect import detect
from r1jax.data.problems.layouts import LAYOUTS, Columns
from r1jax.data.problems.prompt_length import PromptRoom
from r1jax.data.rows import LISTED, Row, is_blank, listed, open_rows
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.answers.graders import UNRULED, check_gold

TOLERATED = 0.01  # share of unreadable gold answers above which a file is refused


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
    too_long: tuple[str, ...] = ()  # prompts that were left out: where, how long
    digest: str = ""  # of what was kept, in its order
    contradictory: int = 0  # duplicates whose answer is not that of the question's first row

    def __str__(self) -> str:
        """One line for the terminal."""
        parts = [f"{self.source}: {self.kept} of {self.rows} problems kept"]
        if self.duplicates:
            other = f" ({self.contradictory} with another answer)" if self.contradictory else ""
            parts.append(f"{self.duplicates} repeated questions dropped{other}")
        if self.missing:
            parts.append(f"{self.missing} rows marked answer_missing dropped")
        if self.unreadable:
            parts.append(f"{self.unreadable} gold answers cannot be read: {self.listed()}")
        if self.too_long:
            parts.append(f"{len(self.too_long)} prompts too long, dropped: {listed(self.too_long)}")
        return "; ".join(parts)

    def listed(self) -> str:
        """The examples, with a mark when there are more."""
        return ", ".join(self.examples) + (", ..." if self.unreadable > len(self.examples) else "")


def load_file(
    path: str, config: SourceConfig, room: PromptRoom | None = None
) -> tuple[list[Problem], DataReport]:
    """Reads every problem of `path` in order, by the layout `config.layout`.

    `path` is whatever `rows.open_rows` takes: a .jsonl or .parquet file, with ?column=value behind
    it for a part of its rows, or hf:OWNER/NAME. Columns that the layout does not use become the
    problem's metadata. Without a column `id` the id is a hash of the question, and a repeated
    question is dropped. Rows marked `answer_missing` are dropped. Where there is a `room` for
    prompts, longer ones are refused or dropped, as `config.too_long` says.

    Raises UserError naming file, line and column: not a file, no rows, a malformed line, a missing
    column, a value that is not text, an id used twice, an unknown grader; and when too many gold
    answers cannot be read.
    """
    unit, rows = open_rows(path)
    problems: dict[str, Problem] = {}
    places: list[str] = []
    n_rows = duplicates = contradictory = missing = 0
    unreadable: list[str] = []
    for number, row in rows:
        n_rows += 1
        where = f"{path}, {unit} {number}"
        if _says_missing(row, where):
            missing += 1
            continue
        problem = _problem(row, where, config)
        if problem.id in problems:
            if row.get("id") is not None:
                raise UserError(f"{where}, column id: {problem.id!r} is used twice; make it unique")
            duplicates += 1
            contradictory += problem.answer.strip() != problems[problem.id].answer.strip()
        elif (why := _unreadable(problem, where)) is not None:
            unreadable.append(f"{unit} {number} ({why})")
        else:
            problems[problem.id] = problem
            places.append(f"{unit} {number}")
    if not n_rows:
        raise UserError(f"{path}: is empty; expected one problem per {unit}")
    report = DataReport(
        path, n_rows, len(problems), duplicates, len(unreadable), missing,
        tuple(unreadable[:LISTED]), contradictory=contradictory,
    )  # fmt: skip
    _refuse_unreadable(report, config)
    kept, too_long = _with_room(path, list(problems.values()), places, config, room)
    report = replace(report, kept=len(kept), too_long=too_long, digest=_digest(kept))
    return kept, report


def _says_missing(row: Row, where: str) -> bool:
    """Whether a row says that it has no answer; UserError where what it says is neither."""
    said = row.get("answer_missing")
    words = {"": False, "false": False, "0": False, "no": False, "true": True, "1": True,
             "yes": True}  # fmt: skip
    word = "" if is_blank(said) else str(said).strip().lower().removesuffix(".0")
    if word not in words:
        raise UserError(f"{where}, column answer_missing: is {said!r:.40}; expected true or false")
    return words[word]


def _with_room(
    path: str,
    problems: list[Problem],
    places: Sequence[str],
    config: SourceConfig,
    room: PromptRoom | None,
) -> tuple[list[Problem], tuple[str, ...]]:
    """(problems whose prompts have room, the others' places); UserError where none is to be."""
    long = room.too_long(problems) if room else {}
    if not long:
        return problems, ()
    named = tuple(f"{places[i]} ({tokens} tokens)" for i, tokens in long.items())
    if config.too_long == "error" or len(long) == len(problems):
        what = f"{path}: {len(long)} of {len(problems)} prompts ({listed(named)}) are"
        raise room.refusal(what, max(long.values()), config.too_long)
    return [problem for i, problem in enumerate(problems) if i not in long], named


def _digest(problems: Sequence[Problem]) -> str:
    """SHA-256 of problems in their order, the first 16 hex digits."""
    digest = hashlib.sha256()
    for p in problems:
        fields = (p.id, p.question, p.answer, p.grader, dict(p.metadata))
        digest.update(json.dumps(fields, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:16]


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
