"""The lines of runs as numbers of claims; None where a line, or a number of it, is not there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from experiments.claims.claim import Number, Numbers
from experiments.claims.trial import BaseAndSeed, Study, diverged

Row = Mapping[str, Any]
SHARES = (
    "pass_at_1", "pass_at_1_strict", "format", "truncated", "cons", "language_consistency",
)  # fmt: skip
"""What comes in percent."""
RIGHT = {"pass@1": "right"}
DIVERGED = ("diverged", "diverged with every rate")
"""What is said of a run whose numbers were not finite."""


def number(row: Row, key: str, side: str = "after") -> float | None:
    """A number of a side of a line; shares come in percent."""
    value = row.get(side, {}).get(key)
    if value is None:
        return None
    return 100 * value if key in SHARES else float(value)


def solved(row: Row, side: str = "after") -> list[int] | None:
    """How often each held-out problem was solved, in their order."""
    text = row.get(side, {}).get("right")
    return None if text is None else [int(count) for count in text.split()]


def scores(row: Row, side: str = "after") -> list[float] | None:
    """pass@1 of each held-out problem, in percent."""
    counts = solved(row, side)
    return None if counts is None else [100 * c / row[side]["samples"] for c in counts]


def numbers(row: Row, arm: str, measures: Mapping[str, str], side: str = "after") -> Numbers:
    """The numbers of a line by "measure/arm"; `measures` gives the line's key of each.

    "right" is pass@1, problem by problem. Beside them stands whether the run diverged.
    """
    found: dict[str, Number] = {
        f"{measure}/{arm}": scores(row, side) if key == "right" else number(row, key, side)
        for measure, key in measures.items()
    }
    return found | went(row, arm)


def went(row: Row, arm: str) -> dict[str, Number]:
    """That a run diverged, where it did: "diverged/arm", or the same "with every rate"."""
    how = DIVERGED[bool(row.get("rates"))]
    return {f"{how}/{arm}": 1.0} if diverged(row) else {}


def of_arms(
    study: Study,
    pair: BaseAndSeed,
    arms: Mapping[str, str],
    measures: Mapping[str, str] = RIGHT,
    kind: str = "base",
) -> dict[str, Number]:
    """The numbers of the base (arm "base") and of the runs of `arms`, what each is called there."""
    found = dict(numbers(study.found.get(f"judge-{kind}{pair.base}", {}), "base", measures))
    for arm, called in arms.items():
        found |= numbers(study.row(pair.named(arm)), called, measures)
    return found


def minus(a: float | None, b: float | None) -> float | None:
    """a - b."""
    return None if a is None or b is None else a - b


def smoothed(values: Sequence[float], window: int) -> list[float]:
    """Running means of the last `window` values; of fewer at the beginning."""
    parts = (values[max(0, i + 1 - window) : i + 1] for i in range(len(values)))
    return [sum(part) / len(part) for part in parts]


def course(row: Row, key: str) -> list[float]:
    """Numbers of a run's rollouts; none where it is not there."""
    return row.get("course", {}).get(key, [])


def last(row: Row, key: str, count: int = 5) -> float | None:
    """Mean over a run's last rollouts."""
    values = course(row, key)[-count:]
    return sum(values) / len(values) if values else None
