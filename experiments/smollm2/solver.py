"""Worked solutions of small sums and products, from the question's text alone.

A rule-based teacher: it reads two whole numbers and the sign between them, and writes the way of
school arithmetic in plain English: partial products, columns with carries and loans. It never sees
the gold answer, so that what it teaches is a way, checked against the answers by tests only.
"""

from __future__ import annotations

import re
from typing import NamedTuple

_NUMBER = r"(?<![\d.])(-?\d+)"
_TWO = re.compile(rf"{_NUMBER}\s*([*+-])\s*(-?\d+)(?!\d|\.\d)")
_MORE = re.compile(r"\s*[-+*/]\s*-?[\d(]")
_PLACES = ("ones", "tens", "hundreds", "thousands", "ten-thousands")


class Solution(NamedTuple):
    """What is thought, and what is answered."""

    thought: str
    answer: str

    @property
    def worked(self) -> str:
        """Thought and answer in their envelope."""
        return f"<think>\n{self.thought}\n</think>\n<answer>{self.answer}</answer>"

    @property
    def bare(self) -> str:
        """The answer alone."""
        return f"<answer>{self.answer}</answer>"


def solve(question: str) -> Solution | None:
    """The worked solution of the one sum, difference or product of two numbers in `question`.

    None where there is none, several, more than two terms, or a number below 0 or above 999.
    """
    found = list(_TWO.finditer(question))
    if len(found) != 1 or _MORE.match(question, found[0].end()):
        return None
    a, sign, b = found[0].groups()
    first, second = int(a), int(b)
    if not (0 <= first <= 999 and 0 <= second <= 999):
        return None
    opening = f"The numbers are {first} and {second}."
    if sign == "*":
        return Solution(
            f"{opening} I multiply them. {_product(first, second)}", str(first * second)
        )
    if sign == "+":
        return Solution(f"{opening} I add them. {_sum(first, second)}", str(first + second))
    return Solution(f"{opening} I subtract. {_difference(first, second)}", str(first - second))


def _product(a: int, b: int) -> str:
    """Partial products by the parts of b, each of them by the parts of a."""
    parts = _parts(b)
    if len(parts) < 2:
        return f"{_row(a, b)} So {a} times {b} is {a * b}."
    rows = " ".join(_row(a, part) for part in parts)
    terms = " plus ".join(str(a * part) for part in parts)
    return f"{b} is {' plus '.join(map(str, parts))}. {rows} {terms} is {a * b}."


def _row(a: int, part: int) -> str:
    """a times a number of one digit and zeros."""
    parts = _parts(a)
    if len(parts) < 2 or not part:
        return f"{a} times {part} is {a * part}."
    pieces = ", ".join(f"{p} times {part} is {p * part}" for p in parts)
    return f"{a} times {part}: {pieces}, together {a * part}."


def _sum(a: int, b: int) -> str:
    """Columns from the right, with carries."""
    said, carry = [], 0
    for place, x, y in _columns(a, b):
        total = x + y + carry
        plus = f" plus {carry}" if carry else ""
        carried = f", write {total % 10} and carry 1" if total > 9 else ""
        said.append(f"{place.capitalize()}: {x} plus {y}{plus} is {total}{carried}.")
        carry = total // 10
    return " ".join([*said, f"So {a} plus {b} is {a + b}."])


def _difference(a: int, b: int) -> str:
    """Columns from the right, with loans; the smaller from the larger."""
    if a < b:
        turned = f"{a} is less than {b}, so I take {a} from {b} and put a minus in front."
        return f"{turned} {_borrowed(b, a)} So {a} minus {b} is {a - b}."
    return f"{_borrowed(a, b)} So {a} minus {b} is {a - b}."


def _borrowed(a: int, b: int) -> str:
    said, loan = [], 0
    for place, x, y in _columns(a, b):
        top = x - loan
        loaned = f"{x} minus the loan is {top}, " if loan else ""
        loan = int(top < y)
        if loan:
            loaned += f"{top} is less than {y}, with a loan {top + 10}, "
            top += 10
        said.append(f"{place.capitalize()}: {loaned}{top} minus {y} is {top - y}.")
    return " ".join(said)


def _columns(a: int, b: int) -> list[tuple[str, int, int]]:
    """(name, digit of a, digit of b) of every place, from the right."""
    count = max(len(str(a)), len(str(b)))
    return [(_PLACES[i], a // 10**i % 10, b // 10**i % 10) for i in range(count)]


def _parts(number: int) -> list[int]:
    """The number's digits with their zeros, those of 0 left out: 304 is 300 and 4."""
    text = str(number)
    values = [int(digit) * 10 ** (len(text) - 1 - i) for i, digit in enumerate(text)]
    return [value for value in values if value] or [0]
