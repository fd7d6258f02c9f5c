"""Scores of steps put to use: the first wrong step, a score of the whole, the best of N.

ProcessBench (2412.06559): the first step scored below one half is where an error is said to be.
Published work reduces a solution's steps by their minimum, their product or the last of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

Reduction = Literal["min", "product", "last"]


def first_wrong(scores: Sequence[float] | np.ndarray) -> int:
    """Number of the first step scored below one half; -1 where there is none."""
    below = np.flatnonzero(np.asarray(scores) < 0.5)
    return int(below[0]) if len(below) else -1


def process_bench(said: Sequence[int], truth: Sequence[int]) -> dict[str, float]:
    """ProcessBench's figures of first errors `said` and their `truth`, -1 for none.

    `error_accuracy` counts solutions with an error whose place is told exactly, `correct_accuracy`
    those without of which none is told; `f1` is their harmonic mean. What has no solutions is 0.
    """
    found, known = np.asarray(said), np.asarray(truth)
    right, wrong = found == known, known >= 0
    error = float(right[wrong].mean()) if wrong.any() else 0.0
    correct = float(right[~wrong].mean()) if not wrong.all() else 0.0
    f1 = 2 * error * correct / (error + correct) if error + correct else 0.0
    return {"error_accuracy": error, "correct_accuracy": correct, "f1": f1}


def reduced(scores: Sequence[float] | np.ndarray, how: Reduction) -> float:
    """A solution's score by those of its steps; 0 without a step."""
    values = np.asarray(scores, np.float64)
    if not len(values):
        return 0.0
    return float({"min": np.min, "product": np.prod, "last": lambda x: x[-1]}[how](values))


def best_of(scores: Sequence[float], right: Sequence[float]) -> float:
    """Whether the sample with the highest score is right; of equal ones the mean."""
    values = np.asarray(scores)
    return float(np.asarray(right, np.float64)[values == values.max()].mean())
