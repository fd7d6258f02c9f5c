"""Rows of worked solutions whose steps are judged one by one.

Layouts: TRL's (prompt, completions, labels), PRM800K's (question, label.steps with ratings) and
ProcessBench's (problem, steps, label: the first wrong step, -1 for none).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.data.examples.messages import Unfit, column_of
from r1jax.data.rows import Row, is_blank, open_rows
from r1jax.errors import UserError

Cut = Literal["line", "paragraph", "sentence"]
SEPARATORS: dict[Cut, str] = {"line": "\n", "paragraph": "\n\n", "sentence": " "}
"""What stands between two steps of a row, by where a written text is cut into steps."""
BETWEEN: dict[Cut, re.Pattern[str]] = {
    "line": re.compile(r"\n"),
    "paragraph": re.compile(r"\n\s*\n"),
    "sentence": re.compile(r"(?<=[.!?])\s+|(?<=[。！？])|\n"),
}


@dataclass(frozen=True)
class JudgedSolution:
    """A prompt with the steps of a solution; the first `len(labels)` of them are judged."""

    prompt: str
    steps: tuple[str, ...]
    labels: tuple[float, ...]  # 1 right, 0 wrong, or the share of continuations that ended right


def step_ends(text: str, cut: Cut) -> list[int]:
    """Where the steps of a text end: behind the last character of each that is no space."""
    ends, begin = [], 0
    for end in [*(match.start() for match in BETWEEN[cut].finditer(text)), len(text)]:
        if step := text[begin:end].rstrip():
            ends.append(begin + len(step))
        begin = end
    return [end for i, end in enumerate(ends) if text[(ends[i - 1] if i else 0) : end].strip()]


def steps_of(text: str, ends: Sequence[int]) -> list[str]:
    """The steps of a text that end there."""
    return [text[a:b].strip() for a, b in zip([0, *ends], ends, strict=False)]


def read_solutions(
    source: str, prompt_column: str | None = None, unfit: list[str] | None = None
) -> Iterator[tuple[str, JudgedSolution]]:
    """(place, solution) of every row of `source`, in order.

    A row without a single step, or in which none is judged, is left out and added to `unfit`.
    Raises UserError naming file, line and column where a row is of no known layout, a label none,
    or their number not the steps'.
    """
    unit, rows = open_rows(source)
    number = 0
    for number, row in rows:
        where = f"{source}, {unit} {number}"
        try:
            yield where, _solution(row, where, prompt_column)
        except Unfit as why:
            if unfit is not None:
                unfit.append(f"{unit} {number} ({why})")
    if not number:
        raise UserError(f"{source}: is empty; expected one row per {unit}")


def _solution(row: Row, where: str, prompt_column: str | None) -> JudgedSolution:
    if isinstance(row.get("label"), Mapping):
        prompt, steps, labels = _prm800k(row, where)
    elif "completions" in row:
        prompt = column_of(row, where, prompt_column or "prompt")
        steps, labels = column_of(row, where, "completions"), column_of(row, where, "labels")
        _refuse_others(steps, labels, where)
    elif "steps" in row:
        prompt = column_of(row, where, prompt_column or "problem")
        steps = column_of(row, where, "steps")
        labels = _up_to_first(column_of(row, where, "label"), steps, where)
    else:
        raise UserError(
            f"{where}: no solution in steps; expected the columns prompt, completions, labels "
            "(TRL), question, label (PRM800K) or problem, steps, label (ProcessBench)"
        )
    if not isinstance(prompt, str):
        raise UserError(f"{where}: the prompt is {type(prompt).__name__}; expected text")
    if not isinstance(steps, list) or not all(isinstance(step, str) for step in steps):
        raise UserError(f"{where}: the steps are no list of texts")
    kept = [step.strip() for step in steps]
    if is_blank(prompt) or not kept or any(map(is_blank, kept)):
        raise Unfit("no prompt" if is_blank(prompt) else "a step is empty" if kept else "no steps")
    if not labels:
        raise Unfit("no step is judged")
    return JudgedSolution(prompt, tuple(kept), tuple(_label(label, where) for label in labels))


def _refuse_others(steps: Any, labels: Any, where: str) -> None:
    """UserError unless each step has a label, or those up to the first wrong one."""
    if not isinstance(labels, list):
        raise UserError(f"{where}, column labels: expected a list with a label for each step")
    count, given = len(steps) if isinstance(steps, list) else len(labels), len(labels)
    if given > count or 0 < given < count and _label(labels[-1], where) > 0:
        raise UserError(
            f"{where}, column labels: {given} for {count} completions; expected a label for each "
            "step, or for those up to the first wrong one"
        )


def _label(value: Any, where: str) -> float:
    if isinstance(value, (bool, int, float)) and 0 <= value <= 1:
        return float(value)
    raise UserError(f"{where}: label {value!r}; expected true, false, or a number from 0 to 1")


def _up_to_first(label: Any, steps: Any, where: str) -> list[bool]:
    """ProcessBench: right up to the first wrong step; what comes behind it is not judged."""
    count = len(steps) if isinstance(steps, list) else 0
    if isinstance(label, bool) or not isinstance(label, int) or not -1 <= label < count:
        raise UserError(
            f"{where}, column label: {label!r}; expected the number of the first wrong step, from "
            f"0 to {count - 1}, or -1"
        )
    return [True] * count if label < 0 else [True] * label + [False]


def _prm800k(row: Row, where: str) -> tuple[Any, list[Any], list[Any]]:
    """The chosen completion of each step, or the first; rated 1 and 0 right, -1 wrong."""
    question = column_of(row, where, "question")
    prompt = question.get("problem") if isinstance(question, Mapping) else question
    steps, labels, rated = [], [], row["label"].get("steps") or []
    if not isinstance(rated, list):
        raise UserError(f"{where}, column label: its steps are {rated!r:.40}; expected a list")
    for number, step in enumerate(rated, start=1):
        try:
            offered, chosen = step.get("completions") or [], step.get("chosen_completion") or 0
            if not offered:
                break  # a person wrote this step; nothing behind it was rated
            text, rating = offered[chosen]["text"], offered[chosen].get("rating")
        except (AttributeError, IndexError, KeyError, TypeError) as error:
            raise UserError(
                f"{where}, column label: step {number} is not PRM800K's; expected completions with "
                "text and rating, and the number of the chosen one"
            ) from error
        if rating not in (-1, 0, 1):
            break
        steps.append(text)
        labels.append(rating >= 0)
        if rating < 0:
            break
    return prompt, steps, labels
