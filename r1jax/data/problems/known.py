"""Whether a run that goes on meets the problems that it began with."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from r1jax.errors import UserError
from r1jax.problem import Problem


def digest_of(problem: Problem) -> str:
    """Of all that a problem is asked and judged by: what a row of it keeps as `problem`."""
    whole = [problem.question, problem.answer, problem.grader, _plain(problem.metadata)]
    text = json.dumps(whole, sort_keys=True, default=lambda value: type(value).__name__)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _plain(value: Any) -> Any:
    """`value` with text for every key, so that keys of several types have an order."""
    if isinstance(value, Mapping):
        return {str(key): _plain(inner) for key, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, list | tuple) else value


def refuse_other_problems(
    path: str | Path, known: Sequence[Mapping[str, Any]], problems: Sequence[Problem]
) -> None:
    """Raises UserError where rows of `path` are of other problems than these, one after the other.

    A row has `id`, and `problem` unless it is an old one. There may be fewer rows than problems.
    """
    for number, (row, problem) in enumerate(itertools.zip_longest(known, problems), start=1):
        if row is None:
            return
        now = problem.id if problem else "no problem"
        if problem and row.get("id") == now:
            own = digest_of(problem)
            if row.get("problem", own) == own:
                continue
            now = "another answer, grader or column for it"
        raise UserError(
            f"{path}, line {number}: has {row.get('id')}, where the data has {now} now; use "
            "the same data, or start anew with --overwrite"
        )
