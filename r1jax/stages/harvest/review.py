"""Samples that people look through: written to a file, and read back with what they said."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from r1jax.data.curation.streams import KEPT
from r1jax.data.rows import Row, open_rows
from r1jax.errors import UserError
from r1jax.problem import Completion, Problem
from r1jax.run.directory import write_jsonl
from r1jax.stages.harvest.samples import Judge, Sample

SELF_CONTAINED = ("math", "number", "choice")
"""Graders that need nothing but the reference answer; for others what people say counts alone."""


def export_review(source: str, review: str) -> str:
    """Writes `review` for people to fill in: the kept samples of run `source`, `accept` open.

    Returns what is to be done next. Raises UserError where there is no such run.
    """
    kept = Path(source) / f"{KEPT}.jsonl"
    if not source or not kept.exists():
        raise UserError(
            f"--review {review}: no such file, and --review-from "
            f"{source or '(none)'} is no run with a kept.jsonl to make it from"
        )
    lines = []
    for _, row in open_rows(str(kept))[1]:
        text = row["messages"][-1]["content"] if "messages" in row else row["completion"]
        fields = {name: row[name] for name in ("id", "question", "gold", "grader")}
        lines.append(fields | {"text": text.strip(), "accept": None})
    target = Path(review)
    target.parent.mkdir(parents=True, exist_ok=True)
    write_jsonl(target, lines)
    return (
        f"{len(lines):,} samples to review in {target}: set accept to true or false, correct text "
        "where it needs it, then repeat the command"
    )


def read_review(path: str) -> list[tuple[Problem, list[Row]]]:
    """The rows of a filled-in file by question. UserError naming the row that cannot be read."""
    unit, rows = open_rows(path)
    groups: dict[str, tuple[Problem, list[Row]]] = {}
    for number, row in rows:
        where = f"{path}, {unit} {number}"
        for column in ("question", "text"):
            if not isinstance(row.get(column), str) or not row[column].strip():
                raise UserError(f"{where}, column {column}: expected text")
        if not isinstance(row.get("accept"), bool | None):
            raise UserError(
                f"{where}, column accept: is {row['accept']!r}; expected true, false or null"
            )
        name = str(row.get("id") or row["question"])
        problem = Problem(
            name, row["question"], str(row.get("gold") or ""), str(row.get("grader") or "math")
        )
        groups.setdefault(name, (problem, []))[1].append(row)
    if not any(row.get("accept") for _, group in groups.values() for row in group):
        raise UserError(f"{path}: no row has accept set to true; review it first")
    return list(groups.values())


def reviewed(problem: Problem, rows: Sequence[Row], judge: Judge) -> list[Sample]:
    """The samples of one question with what people said of them, judged where rules can."""
    completions = [Completion.parse(row["text"].strip()) for row in rows]
    right: list[bool | None] = [True] * len(rows)
    if problem.answer and problem.grader in SELF_CONTAINED:
        right = judge([problem] * len(rows), completions)
    reasons = {True: None, False: "rejected", None: "unreviewed"}
    return [
        Sample(problem, completion, verdict, anew=True, reason=reasons[row.get("accept")])
        for row, completion, verdict in zip(rows, completions, right, strict=True)
    ]
