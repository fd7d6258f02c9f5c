"""Numbers in running text: one spelling for signs and digits, then exact rational values.

Every regular expression here runs in linear time: texts come from a model and are hostile.
"""

from __future__ import annotations

import re
from fractions import Fraction

_FULL_WIDTH = {chr(0xFF01 + i): chr(0x21 + i) for i in range(94)}
_SIGNS = {
    "−": "-", "–": "-", "—": "-", "‐": "-", "×": "*", "✕": "*", "⋅": "*", "·": "*", "∙": "*",
    "∗": "*", "÷": "/", "∕": "/", "≈": "=", "≡": "=", "\u3000": " ", "\u00a0": " ",
    "\u202f": " ", "\u2009": " ", "\u200b": " ", "￥": "$", "¥": "$", "£": "$", "€": "$",
    # Chinese punctuation separates: a full stop or comma between two numbers never joins them.
    "。": "\n", "，": ";", "、": ";", "；": ";", "｡": "\n",
}  # fmt: skip
_TABLE = str.maketrans(_FULL_WIDTH | _SIGNS)
_LATEX = [
    ("\\times", "*"), ("\\cdot", "*"), ("\\div", "/"), ("\\approx", "="), ("\\left", ""),
    ("\\right", ""), ("\\dfrac", "\\frac"), ("\\tfrac", "\\frac"), ("{,}", ","), ("\\$", "$"),
    ("\\%", "%"), ("\\,", " "), ("\\!", ""), ("\\;", " "), ("\\ ", " "),
]  # fmt: skip
_FRAC = re.compile(r"\\frac\{([^{}\\]*)\}\{([^{}\\]*)\}")
_TIMES = re.compile(r"(?<=[0-9)]) {0,3}[xX] {0,3}(?=[0-9(])")

_PLAIN = r"(?:[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_VALUE = rf"(?:{_PLAIN}|\.[0-9]+)"
# A digit glued to a letter is a unit or a name (m2, m^2, x_1), not a number of its own.
_NUMBER = re.compile(
    rf"(?<![A-Za-z_0-9])(?<![A-Za-z]\^)(?<![0-9]\.)({_VALUE})(?: {{0,2}}/ {{0,2}}({_VALUE}))?"
)
_JOINERS = re.compile(r"[-+*/^:~()\[\]{}\s]+")
_HEDGES = frozenset({",", ";", "or", "and", "或", "或者", "和"})
_MAX_DIGITS = 400


def plain(text: str) -> str:
    """One spelling: full-width and typographic signs to ASCII, LaTeX operators to + - * /."""
    text = text.translate(_TABLE)
    if "\\" in text or "{" in text:
        for latex, ascii_ in _LATEX:
            text = text.replace(latex, ascii_)
        text = _FRAC.sub(r"(\1)/(\2)", text)
    return _TIMES.sub("*", text)


def last_number(text: str) -> str | None:
    """The last number of `text` without thousands commas ("-1234.5", "3/4"), or None."""
    text = _bare_fractions(plain(text))
    last = None
    for match in _NUMBER.finditer(text):
        last = match
    return None if last is None else _spelled(text, last)


def parse_number(text: str, only: bool = False) -> Fraction | None:
    """The one number that `text` states, exactly; None where it states none or hedges.

    Units, currency and percent signs are ignored; after an equals sign only what follows it
    counts. An unevaluated expression ("5+3") and a list of guesses ("3, 4", "3 or 4") state none.
    Of several numbers in prose the last one counts, or none where `only` one is allowed.
    """
    text = _bare_fractions(plain(text)).rpartition("=")[2]
    previous = last = None
    for match in _NUMBER.finditer(text):
        previous, last = last, match
    if last is None or _calculated(text, last):
        return None
    if previous is not None and (only or _joined(text[previous.end() : last.start()])):
        return None
    return to_fraction(_spelled(text, last))


def to_fraction(spelled: str) -> Fraction | None:
    """Exact value of "12", "-1234.5", "2e3" or "3/4"; None when too large or undefined."""
    numerator, _, denominator = spelled.partition("/")
    if len(spelled) > _MAX_DIGITS or _exponent(numerator) > 400 or _exponent(denominator) > 400:
        return None
    try:
        value = Fraction(numerator)
        return value / Fraction(denominator) if denominator else value
    except (ValueError, ZeroDivisionError):
        return None


def _bare_fractions(text: str) -> str:
    """(3)/(4), as LaTeX fractions come out of `plain`, to 3/4."""
    return re.sub(r"\(([0-9.,]{1,40})\)/\(([0-9.,]{1,40})\)", r"\1/\2", text)


def _spelled(text: str, match: re.Match[str]) -> str:
    sign = "-" if _negative(text, match.start()) else ""
    numerator, denominator = match.group(1), match.group(2)
    spelled = sign + numerator.replace(",", "")
    return f"{spelled}/{denominator.replace(',', '')}" if denominator else spelled


def _negative(text: str, start: int) -> bool:
    """Whether a minus before `start` is a sign: nothing that it could subtract from precedes."""
    at = start - 2 if text[start - 1 : start] == "$" else start - 1
    if at < 0 or text[at] != "-":
        return False
    before = text[max(0, at - 3) : at]
    operand = before.rstrip(" ")[-1:]
    if before.endswith(" "):
        return operand not in tuple("0123456789)]}")
    return not (operand.isascii() and operand.isalnum()) and operand not in tuple(")]}")


def _calculated(text: str, match: re.Match[str]) -> bool:
    """Whether the number is an operand ("x + 3", "5!") rather than a result."""
    if text[match.end() : match.end() + 2].lstrip(" ")[:1] in tuple("+*^!"):
        return True
    before = text[max(0, match.start() - 40) : match.start()].rstrip(" ($")
    if before.endswith("-"):
        return bool(before.strip("- ")) and not _negative(text, match.start())
    return before.endswith(("+", "*", "/", "^")) and bool(before.strip("+*/^ "))


def _joined(gap: str) -> bool:
    """Whether what lies between two numbers makes them one expression or a list of guesses."""
    gap = gap.strip()
    if _JOINERS.fullmatch(gap) or not gap:
        return True
    return gap.rstrip("-").strip("$% ").lower() in _HEDGES


def _exponent(spelled: str) -> int:
    digits = re.search(r"[eE][+-]?([0-9]+)$", spelled[-_MAX_DIGITS:])
    return int(digits.group(1)) if digits else 0
