"""The names that stand for a value in an answer, and inequalities of one name as intervals."""

from __future__ import annotations

import re

from r1jax.rewards.answers import formula
from r1jax.rewards.answers.values import Value

_NAME = re.compile(
    r"[A-Z]\^\{?(?:-1|T)\}?|[A-Z] ?\\c[au]p ?[A-Z]"
    r"|\([A-Za-z\\_0-9]{1,9}(?:, ?[A-Za-z\\_0-9]{1,9}){1,3}\)"
    r"|[A-Za-z]'{0,2}(?:_(?:\w|\{[^{}]{1,30}\}))?|\\[a-z]+(?:_\{?\w{1,9}\}?)?"
    r"|(?:\\(?:angle|triangle|overline|text|vec|mathbb|mathrm|hat) ?\{?)+[\w ]{1,40}\}?"
    r"|\\[a-z]{2,6} ?(?:\\[a-z]+|[A-Za-z]{1,3})"
    r"|(?:m ?)?\\angle ?[A-Z]{1,3}|[A-Z]{2,4}|\|[A-Za-z]{1,3}\|"
    r"|[A-Za-z]{1,3}'{0,2}(?:_\{?\w{1,9}\}?)?"
    r"\([^()]{1,40}\)|[A-Za-z]{3,20}|\\frac\{d[a-z]?\}\{d[a-z]\}|[\u4e00-\u9fff]{1,10}"
)
_CONSTANTS = frozenset({"\\pi", "\\infty", "e", "i", "\\emptyset"})
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}
_INFINITY, _MINUS_INFINITY = Value("leaf", "\\infty"), Value("leaf", "-\\infty")


def is_name(value: Value) -> bool:
    """Whether a value is a name that may stand for another: x, AB, f(2), the area."""
    return value.kind == "words" or (
        value.text not in _CONSTANTS and _NAME.fullmatch(value.text) is not None
    )


def as_span(value: Value) -> Value | None:
    """The interval that an inequality of one letter says: 1 \\le x < 2 is [1, 2)."""
    if value.signs == ("\\in",) and is_name(value.items[0]) and value.items[1].kind == "span":
        return value.items[1]
    if value.kind != "relation" or not set(value.signs) <= {"<", ">", "\\le", "\\ge"}:
        return None
    items, signs = value.items, value.signs
    if len(items) == 2 and is_name(items[1]):
        items, signs = items[::-1], (FLIPPED[signs[0]],)
    if len(items) == 2 and is_name(items[0]) and not has_letters(items[1]):
        bound = items[1]
        low, high = (bound, _INFINITY) if signs[0] in (">", "\\ge") else (_MINUS_INFINITY, bound)
        opening = "[" if signs[0] == "\\ge" else "("
        return _span(low, high, opening, "]" if signs[0] == "\\le" else ")")
    if len(items) != 3 or not is_name(items[1]):
        return None
    if signs[0] in (">", "\\ge"):
        items, signs = items[::-1], (FLIPPED[signs[1]], FLIPPED[signs[0]])
    if not set(signs) <= {"<", "\\le"} or has_letters(items[0]) or has_letters(items[2]):
        return None
    opening = "[" if signs[0] == "\\le" else "("
    return _span(items[0], items[2], opening, "]" if signs[1] == "\\le" else ")")


def _span(low: Value, high: Value, opening: str, closing: str) -> Value:
    text = f"{opening}{low.text},{high.text}{closing}"
    return Value("span", text, (low, high), (opening, closing))


def has_letters(value: Value) -> bool:
    """Whether a value is a formula with letters, or no formula."""
    try:
        return value.kind != "leaf" or bool(formula.parse(value.text).names)
    except formula.Unreadable:
        return False
