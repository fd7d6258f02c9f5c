"""The one exception a user causes: printed as a single line, exit status 2."""

from __future__ import annotations

import math
import operator
from typing import Any

_ENDS = {
    "[": (operator.ge, "at least"),
    "(": (operator.gt, "above"),
    "]": (operator.le, "at most"),
    ")": (operator.lt, "below"),
}


class UserError(Exception):
    """A mistake in flags or files.

    The message is one line that names the flag or file, what is wrong and what would be right.
    Experiment modules print it without a traceback and exit with status 2.
    """


def check_ranges(config: Any, prefix: str, **ranges: str) -> None:
    """Raises UserError where a field of `config` lies outside its range, or is no finite number.

    A range is written as in mathematics, an open end left empty: "[0,1)", "(0,]", "(,)". `prefix`
    and the field's name make the flag: "--eval." and top_p are --eval.top-p. None is in every
    range.
    """
    for name, text in ranges.items():
        ends = zip((text[0], text[-1]), text[1:-1].split(","), strict=True)
        rules = [(*_ENDS[bracket], end) for bracket, end in ends if end]
        value = getattr(config, name)
        if value is None:
            continue
        if not (math.isfinite(value) and all(holds(value, float(end)) for holds, _, end in rules)):
            right = " and ".join(f"{words} {end}" for _, words, end in rules) or "a finite number"
            raise UserError(f"{prefix}{name.replace('_', '-')} {value}: must be {right}")
