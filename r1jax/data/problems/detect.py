"""Which layout the columns of a row speak for."""

from __future__ import annotations

from r1jax.data.problems.layouts import QUESTION_COLUMNS
from r1jax.data.problems.programs import has_stream_tests
from r1jax.data.rows import Row
from r1jax.rewards.answers.wrapped import boxes


def detect(row: Row) -> str:
    """The layout that the columns of a row speak for; plain where they say nothing."""
    names = {name.lower() for name in row}
    asked = names & set(QUESTION_COLUMNS)
    if {"correct answer", "incorrect answer 1"} <= names:
        return "gpqa"
    if "entry_point" in names and "test" in names:
        return "humaneval"
    if "test_list" in names:
        return "mbpp"
    if "instruction_id_list" in names:
        return "ifeval"
    if "public_test_cases" in names:
        return "livecodebench"
    if has_stream_tests(row):
        return "streams"
    if names & {"nums", "numbers"} and "target" in names and not asked:
        return "countdown"
    if asked and (names & {"choices", "options"} or {"a", "b", "answer"} <= names):
        return "choice"
    if asked and "####" in str(row.get("answer")):
        return "gsm8k"
    if asked and "solution" in names and "answer" not in names:
        return "math" if boxes(str(row.get("solution") or row.get("Solution"))) else "plain"
    return "plain"
