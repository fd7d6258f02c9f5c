"""Whether the arithmetic that a sentence states is true: 2+4=7 is not."""

from __future__ import annotations

import re

from r1jax.rewards.answers import arithmetic, formula
from r1jax.rewards.answers.dress import without_thousands

_EQUALITY = re.compile(r"(?<![0-9.,+\-*/^()=<>])([0-9.,+\-*/^() ]{1,60})=([0-9.,+\-*/^() ]{1,40})")
_OTHER_ARITHMETIC = re.compile(r"mod|≡|equiv|base|clock|进制|approx|≈")


def miscounted(text: str) -> bool:
    """Whether the last sentence holds an equality of numbers that is false: 2+4=7, so 6."""
    last = re.split(r"[.!?](?=\s)|[。！？\n]", text.rstrip(" .!?。\n"))[-1]
    if "=" not in last or _OTHER_ARITHMETIC.search(last):
        return False
    last = re.sub(r"×|\\times(?![a-z])|\\cdot(?![a-z])", "*", last.replace("$", " ")).lstrip()
    return any(_is_false(*m.groups(), last, m) for m in _EQUALITY.finditer(last))


def _is_false(left: str, right: str, text: str, match: re.Match[str]) -> bool:
    before, after = text[: match.start()].rstrip()[-1:], text[match.end() :].lstrip()[:1]
    sides = [without_thousands(side.strip(" ,.")) for side in (left, right)]
    calculated = re.search(r"\d ?[-+*/]", sides[0]) or not match.start()
    if any("," in side or not side for side in sides) or not calculated:
        return False
    if re.match(r"[+*/^)]", sides[0]) or before in tuple("}\\%$") or after in tuple("\\%^!$({"):
        return False
    if before and match.group()[0] != " " and before.isalnum():
        return False
    if match.group()[-1] != " " and after.isalpha() and after.isascii():
        return False  # 2 + 3 = 5x
    try:
        a, b = (arithmetic.number(arithmetic.value(formula.parse(side))) for side in sides)
    except formula.Unreadable:
        return False
    return bool(abs(a - b) > 0.02 * max(abs(a), abs(b)))
