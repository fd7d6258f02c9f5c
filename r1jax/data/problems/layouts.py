"""Column layouts of published data sets: one row of each becomes a problem.

`auto` tells them apart (`detect.py`). What a layout does not use becomes the problem's metadata.
"""

from __future__ import annotations

import hashlib
import math as arithmetic
import random
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Literal

from r1jax.data.problems.choices import LETTERS, lettered, read_options
from r1jax.data.problems.livecode import read_livecodebench
from r1jax.data.problems.programs import STREAMS, stream_tests
from r1jax.data.rows import Row, is_blank
from r1jax.data.tinyzero.tasks import countdown_problem
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.answers.countdown import exact
from r1jax.rewards.answers.wrapped import boxes

Layout = Literal[
    "auto", "plain", "gsm8k", "math", "aime", "choice", "gpqa", "mbpp", "humaneval", "streams",
    "livecodebench", "ifeval", "countdown",
]  # fmt: skip
QUESTION_COLUMNS = ("question", "problem", "prompt")
ANSWER_COLUMNS = ("answer", "solution")
ANSWER_NAMES = ("answer", "answerkey", "answer_key", "answer_index", "answer_idx")

_INTEGER = re.compile(r"0*([0-9]{1,3})(?:\.0*)?")


@dataclass(frozen=True)
class Columns:
    """One row with its place in the data, and what the flags say about columns."""

    row: Row
    where: str  # file and line, for messages
    question: str | None = None
    answer: str | None = None
    grader: str | None = None

    def find(self, what: str, given: str | None, usual: Sequence[str]) -> str:
        """The first of the usual columns (capitals do not count); UserError where none is there."""
        lower = {name.lower(): name for name in reversed(list(self.row))}
        for name in (given,) if given else usual:
            if name in self.row or name.lower() in lower:
                return name if name in self.row else lower[name.lower()]
        missing = given or " or ".join(usual)
        raise UserError(
            f"{self.where}: no column {missing}; it has {', '.join(self.row) or 'none'} "
            f"(--data.{what}-column names another)"
        )

    def text(self, column: str) -> str:
        """The text or number in `column`; UserError where it holds neither."""
        value = self.row[column]
        if isinstance(value, str) and not is_blank(value):
            return value
        number = isinstance(value, int | float | Decimal) and not isinstance(value, bool)
        if number and (isinstance(value, int) or arithmetic.isfinite(value)):
            return str(value)
        fault = "is empty" if is_blank(value) else f"is {value!r:.40}"
        raise UserError(f"{self.where}, column {column}: {fault}; expected text")

    def asked(self, usual: Sequence[str] = QUESTION_COLUMNS) -> tuple[str, str]:
        """(column, text) of the question."""
        column = self.find("question", self.question, usual)
        return column, self.text(column)

    def answered(self, usual: Sequence[str] = ANSWER_COLUMNS) -> tuple[str, str]:
        """(column, text) of the answer; the text is empty where there is none."""
        column = self.find("answer", self.answer, usual)
        return column, "" if is_blank(self.row[column]) else self.text(column)

    def problem(
        self,
        question: str,
        answer: str,
        grader: str,
        used: Sequence[str],
        more: Mapping[str, Any] | None = None,
    ) -> Problem:
        """The problem; a column `grader`, then --data.grader, wins over the layout's `grader`."""
        row = self.row
        identity = question_hash(question) if row.get("id") is None else self.text("id")
        named = self.grader or grader
        if not is_blank(row.get("grader")):
            named = self.text("grader")
            if ":" in named:  # a data file must not say what code is run
                raise UserError(
                    f"{self.where}, column grader: {named!r} names a function; only --data.grader "
                    "may"
                )
        taken = {*used, "id", "grader"}
        metadata = {k: v for k, v in row.items() if k not in taken} | dict(more or {})
        return Problem(identity, question, answer, named, metadata)


def question_hash(question: str) -> str:
    """Canonical name of a question: spacing and Unicode form do not count. 16 hex digits."""
    canonical = " ".join(unicodedata.normalize("NFKC", question).split())
    return hashlib.sha256(canonical.encode()).hexdigest()[:16]


def plain(c: Columns) -> Problem:
    """A question and its answer; "reasoning #### 18" is cut to what follows the mark."""
    question_column, question = c.asked()
    answer_column, answer = c.answered()
    return c.problem(
        question, answer.rpartition("####")[2].strip(), "math", (question_column, answer_column)
    )


def gsm8k(c: Columns) -> Problem:
    """GSM8K: the number after ####, without thousands commas."""
    question_column, question = c.asked()
    answer_column, answer = c.answered()
    number = answer.rpartition("####")[2].strip().replace(",", "")
    return c.problem(question, number, "number", (question_column, answer_column))


def math(c: Columns) -> Problem:
    """MATH: what the boxes of the solution hold, several as a list; empty where there is none."""
    question_column, question = c.asked()
    column, solution = c.answered(("solution", "answer"))
    answer = ", ".join(dict.fromkeys(content for _, _, content in boxes(solution) if content))
    return c.problem(question, answer, "math", (question_column,), {column: solution})


def aime(c: Columns) -> Problem:
    """AIME: a whole number from 0 to 999, leading zeros or not; anything else is unreadable."""
    question_column, question = c.asked()
    answer_column, answer = c.answered()
    match = _INTEGER.fullmatch(answer.strip())
    return c.problem(
        question, match.group(1) if match else answer, "number", (question_column, answer_column)
    )


def choice(c: Columns) -> Problem:
    """MMLU, ARC: options, and what names the right one: a label, a letter, a place, its text."""
    question_column, question = c.asked()
    options = read_options(c.row, c.where)
    lower = {name.lower(): name for name in c.row}
    given = [n for n in ANSWER_NAMES if n in lower and not is_blank(c.row[lower[n]])]
    column = c.find("answer", c.answer, given or ANSWER_NAMES)
    gold = options.named(c.row[column])
    if gold is None:
        marks = options.labels or LETTERS[: len(options.texts)]
        raise UserError(
            f"{c.where}, column {column}: {c.row[column]!r:.40} names none of the "
            f"{len(options.texts)} options, or two; expected one of {', '.join(marks)}, a place "
            "from 0, or an option's text"
        )
    _alone(c, options.texts, gold)
    return c.problem(
        lettered(question, options.texts), LETTERS[gold], "choice",
        (question_column, column, *options.columns), {"options": list(options.texts)},
    )  # fmt: skip


def gpqa(c: Columns) -> Problem:
    """GPQA: the right and three wrong answers, in an order fixed by the question's id alone."""
    question_column, question = c.asked()
    names = ("Correct Answer", *(f"Incorrect Answer {i}" for i in (1, 2, 3)))
    columns = [c.find("answer", None, (name,)) for name in names]
    options = [c.text(column).strip() for column in columns]
    _alone(c, options, 0)
    identity = next((str(c.row[n]) for n in ("id", "Record ID") if c.row.get(n)), None)
    identity = identity or question_hash("\n".join([question, *sorted(options)]))
    order = list(range(len(options)))
    random.Random(f"gpqa {identity}").shuffle(order)
    shown = [options[i] for i in order]
    problem = c.problem(
        lettered(question.strip(), shown), LETTERS[order.index(0)], "choice",
        (question_column, *columns), {"options": shown},
    )  # fmt: skip
    return Problem(identity, problem.question, problem.answer, problem.grader, problem.metadata)


def _alone(c: Columns, options: Sequence[str], gold: int) -> None:
    """UserError where another option says the same as the right one: its letter would be wrong."""
    if options.count(options[gold]) > 1:
        raise UserError(
            f"{c.where}: the right option, {options[gold]!r:.40}, is there twice; take one out"
        )


def mbpp(c: Columns) -> Problem:
    """MBPP: a task and the asserts it must pass; the reference program is the answer."""
    question_column, question = c.asked(("text", *QUESTION_COLUMNS))
    answer_column, answer = c.answered(("code", *ANSWER_COLUMNS))
    tests = c.row[c.find("answer", None, ("test_list",))]
    if not (isinstance(tests, list | tuple) and tests and all(isinstance(t, str) for t in tests)):
        raise UserError(f"{c.where}, column test_list: expected a list of assert statements")
    question += "\nYour code should pass these tests:\n" + "\n".join(tests)
    return c.problem(question, answer, "code", (question_column, answer_column))


def humaneval(c: Columns) -> Problem:
    """HumanEval: a signature with docstring to complete; `test` and `entry_point` check it."""
    question_column, question = c.asked()
    answer_column, answer = c.answered(("canonical_solution", *ANSWER_COLUMNS))
    for column in ("test", "entry_point"):
        c.text(c.find("answer", None, (column,)))
    return c.problem(
        question, answer, "code", (question_column, answer_column), {"prompt": question}
    )


def streams(c: Columns) -> Problem:
    """A program judged by what it prints: `tests`, or APPS' and TACO's `input_output`."""
    question_column, question = c.asked()
    used = [n for n in (c.answer, "code", *ANSWER_COLUMNS) if n and isinstance(c.row.get(n), str)]
    tests = {"tests": stream_tests(c.row, c.where)}
    answer = c.row[used[0]] if used else ""  # a reference program is not needed
    return c.problem(question, answer, "code", (question_column, *used[:1], *STREAMS), tests)


def livecodebench(c: Columns) -> Problem:
    """LiveCodeBench: a statement with what to begin with, and its public and private tests."""
    return c.problem(*read_livecodebench(c.row, c.where))


def ifeval(c: Columns) -> Problem:
    """IFEval: a prompt, and the instructions in it that can be checked (they are the answer)."""
    question_column, question = c.asked()
    named = c.row.get("instruction_id_list") or ()
    if not isinstance(named, (list, tuple)):
        raise UserError(f"{c.where}: expected a list of instructions in instruction_id_list")
    answer = ", ".join(map(str, named))
    return c.problem(question, answer, "ifeval", (question_column,))


def countdown(c: Columns) -> Problem:
    """TinyZero's Countdown-Tasks: `nums` (or `numbers`) and `target`."""
    column = c.find("question", None, ("nums", "numbers"))
    try:
        numbers, target = [_whole(n) for n in c.row[column]], _whole(c.row["target"])
    except (KeyError, TypeError, ValueError):
        raise UserError(
            f"{c.where}: expected a list of whole numbers in {column} and one in target"
        ) from None
    if not numbers:
        raise UserError(f"{c.where}, column {column}: is empty; expected at least one number")
    problem = countdown_problem(numbers, target)
    more = {k: v for k, v in c.row.items() if k not in (column, "target", "id")}
    identity = problem.id if c.row.get("id") is None else c.text("id")
    return Problem(
        identity, problem.question, problem.answer, problem.grader, more | problem.metadata
    )


def _whole(value: Any) -> int:
    """The whole number that a cell holds, as 98, 98.0 or text; ValueError for anything else."""
    number = exact(value)
    if number.denominator != 1:
        raise ValueError(value)
    return int(number)


LAYOUTS: dict[str, Callable[[Columns], Problem]] = {
    read.__name__: read
    for read in (
        plain,
        gsm8k,
        math,
        aime,
        choice,
        gpqa,
        mbpp,
        humaneval,
        streams,
        livecodebench,
        ifeval,
        countdown,
    )
}
