"""Whether a program has printed what was expected."""

from __future__ import annotations

import re
from itertools import zip_longest

_NUMBER = re.compile(r"[-+]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?")
_WHOLE = re.compile(r"[-+]?[0-9]+")


def same_output(output: str, expected: str, tolerance: float | None) -> bool:
    """Whether lines are equal but for white space at their ends and empty lines at the end.

    With a tolerance, numbers in the same place of a line may differ by it, absolutely or as a share
    of the expected one; two whole numbers may not.
    """
    if tolerance is None:
        return _lines(output) == _lines(expected)
    pairs = zip_longest(_lines(output), _lines(expected))
    return all(
        a is not None and b is not None and (a == b or _close(a.split(), b.split(), tolerance))
        for a, b in pairs
    )


def _close(output: list[str], expected: list[str], tolerance: float) -> bool:
    return len(output) == len(expected) and all(
        a == b or _near(a, b, tolerance) for a, b in zip(output, expected, strict=True)
    )


def _near(output: str, expected: str, tolerance: float) -> bool:
    if not (_NUMBER.fullmatch(output) and _NUMBER.fullmatch(expected)):
        return False
    if _WHOLE.fullmatch(output) and _WHOLE.fullmatch(expected):
        return int(output) == int(expected)
    number = float(expected)
    return abs(float(output) - number) <= tolerance * max(1.0, abs(number)) < float("inf")


def _lines(text: str) -> list[str]:
    """Lines without white space at their ends, without empty ones at the end of the text."""
    return [line.rstrip() for line in text.rstrip().split("\n")]
