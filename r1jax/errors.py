"""The one exception a user causes: printed as a single line, exit status 2."""

from __future__ import annotations

import contextlib
import errno
import math
import operator
import os
from collections.abc import Callable, Iterator
from typing import Any

_ENDS = {
    "[": (operator.ge, "at least"),
    "(": (operator.gt, "above"),
    "]": (operator.le, "at most"),
    ")": (operator.lt, "below"),
}
_HELD, _WHOLE = (1e-37, 3e38), 2**31 - 1
"""Numbers that float32 and int32 hold: with others what is computed is 0, endless or wrong."""
_SYSTEM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.ENOENT,
           errno.EIO, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)  # fmt: skip


SEEDS = "[0,4294967295]"
"""Keys have 32 bits: what is beyond would draw what another seed draws."""


class UserError(Exception):
    """A mistake in flags or files.

    The message is one line that names the flag or file, what is wrong and what would be right.
    Experiment modules print it without a traceback and exit with status 2.
    """


class Collapsed(UserError):
    """What learns is spoilt, and further updates would only cost time."""


class Stopped(KeyboardInterrupt):
    """A signal ended the run: its message is one line, the exit status 128 and the `number`."""

    def __init__(self, number: int, said: str) -> None:
        super().__init__(said)
        self.number = number


@contextlib.contextmanager
def told(what: str, then: str | Callable[[], str] = "") -> Iterator[None]:
    """Whatever goes wrong inside, in a library and its threads, becomes one line: a UserError.

    It says `what` failed, why, and what comes of it: `then`, a function where only a look
    afterwards tells. For files that somebody or something else may have spoilt: there the errors
    of the libraries that write and read them have no end.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        comes = then if isinstance(then, str) else then()
        raise UserError(f"{what} ({reason(error)}){comes}") from error


def reason(error: BaseException) -> str:
    """Why something could not be read or written, in a few words: the system's, where it says."""
    text = str(error)
    known = (os.strerror(code) for code in _SYSTEM if os.strerror(code) in text)
    line = text.strip().split("\n")[0][:200]
    return next(known, line if isinstance(error, OSError) else f"{type(error).__name__}: {line}")


def once_each(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object, for `json.loads`; ValueError where a key is there twice: which one counts?"""
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"has the key {ascii(twice[:60])} twice in one object; take one out")
    return found


def check_ranges(config: Any, prefix: str, **ranges: str) -> None:
    """Raises UserError where a field of `config` lies outside its range, or is no finite number.

    A range is written as in mathematics, an open end left empty: "[0,1)", "(0,]", "(,)". `prefix`
    and the field's name make the flag: "--eval." and top_p are --eval.top-p. None is in every
    range.
    """
    for name, text in ranges.items():
        value = getattr(config, name)
        if value is not None and (right := _right(value, text)):
            raise UserError(f"{prefix}{name.replace('_', '-')} {value}: must be {right}")


def _right(value: float, text: str) -> str:
    """What would be right in place of a number outside a range, or that nothing holds; or ""."""
    ends = zip((text[0], text[-1]), text[1:-1].split(","), strict=True)
    rules = [(*_ENDS[bracket], end) for bracket, end in ends if end]
    inside, zero = (all(holds(x, float(end)) for holds, _, end in rules) for x in (value, 0))
    whole = isinstance(value, int)
    if whole:
        held = abs(value) <= _WHOLE or text[-2].isdigit()
    else:
        held = value == 0 or _HELD[0] <= abs(value) <= _HELD[1]
    if inside and held:
        return ""
    if whole and inside:
        return f"at most {_WHOLE}" if value > 0 else f"at least -{_WHOLE}"
    if not whole and not held and math.isfinite(value):
        first = "0, or " if zero else ""
        return f"{first}from {_HELD[0]} to {_HELD[1]}, as float32 holds no other"
    return " and ".join(f"{words} {end}" for _, words, end in rules) or "a finite number"
