"""The names that stand for a value in an answer, and inequalities of one name as intervals."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from r1jax.rewards.answers import arithmetic, formula
from r1jax.rewards.answers.values import MAX_ITEMS, Value

_NAME = re.compile(
    r"[A-Z]\^\{?(?:-1|T)\}?|[A-Z] ?\\c[au]p ?[A-Z]"
    r"|\([A-Za-z\\_0-9]{1,9}(?:, ?[A-Za-z\\_0-9]{1,9}){1,3}\)"
    r"|[A-Za-z]'{0,2}(?:_(?:\w|\{[^{}]{1,30}\}))?|\\[a-z]+(?:_\{?\w{1,9}\}?)?"
    r"|(?:\\(?:angle|triangle|overline|text|vec|mathbb|mathrm|hat) ?\{?)+[\w ]{1,40}\}?"
    r"|\\[a-z]{2,6} ?(?:\\[a-z]+|[A-Za-z]{1,3})"
    r"|[A-Za-z]\^\{?-1\}? ?\([^()]{1,20}\)|[A-Za-z]{1,3}\([A-Za-z]{1,3}\([^()]{1,20}\)\)"
    r"|\\(?:text|operatorname|mathrm) ?\{[A-Za-z]{2,5}\} ?\([^()]{1,40}\)"
    r"|\\Pr ?[\[(][^\[\]()]{1,40}[\])]"
    r"|\|[^|=<>0-9]{1,40}\||(?:P|\\mathbb\{?[PE]\}?) ?[\[(][^\[\]()]{1,40}[\])]"
    r"|\\l(?:floor|ceil)(?![A-Za-z])[^=<>]{1,40}\\r(?:floor|ceil)"
    r"|(?:m ?)?\\angle ?[A-Z]{1,3}|[A-Z]{2,4}|\|[A-Za-z]{1,3}\|"
    r"|[A-Za-z]{1,3}'{0,2}(?:_\{?\w{1,9}\}?)?"
    r"\([^()]{1,40}\)|[A-Za-z]{3,20}|\\frac\{d[a-z]?\}\{d[a-z]\}|[\u4e00-\u9fff]{1,10}"
)
_ABSOLUTE = re.compile(r"\| ?[A-Za-z] ?((?:[-+] ?[0-9./]{1,20} ?)?)\|")
_CONSTANTS = frozenset({"\\pi", "\\infty", "e", "i", "\\emptyset"})
FLIPPED = {"<": ">", ">": "<", "\\le": "\\ge", "\\ge": "\\le", "=": "=", "\\ne": "\\ne"}
_INFINITY, _MINUS_INFINITY = Value("leaf", "\\infty"), Value("leaf", "-\\infty")
_LINE = Value("span", "(-\\infty,\\infty)", (_MINUS_INFINITY, _INFINITY), ("(", ")"))


def is_name(value: Value) -> bool:
    """Whether a value is a name that may stand for another: x, AB, f(2), the area."""
    return value.kind == "words" or (
        value.text not in _CONSTANTS and _NAME.fullmatch(value.text) is not None
    )


def as_span(value: Value) -> Value | None:
    """What an inequality of one letter says: 1 \\le x < 2 is [1, 2), |x| > 2 a union of rays."""
    if value.kind == "relation" and len(value.items) == 2:
        sign, bound = value.signs[0], value.items[1]
        if sign == "\\ne" and is_name(value.items[0]) and not has_letters(bound):
            return _rays(bound, bound, False)
        if (inside := _ABSOLUTE.fullmatch(value.items[0].text)) and not has_letters(bound):
            return _around(inside.group(1), sign, bound)
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


def as_integers(value: Value) -> Value:
    """The set that {x in Z : 0 < x < 4} lists; the value as it is where nothing bounds it."""
    if value.kind != "integers":
        return value
    inner = value.items[0]
    span = as_span(inner)
    if span is None or span.kind != "span":
        return value if inner.kind == "relation" else inner
    try:
        low, high = map(_place, span.items)
    except formula.Unreadable:
        return value
    first = math.floor(low) + 1 if span.signs[0] == "(" else math.ceil(low)
    last = math.ceil(high) - 1 if span.signs[1] == ")" else math.floor(high)
    if last - first >= MAX_ITEMS or any(map(has_letters, span.items)):
        return value
    return Value("set", value.text, tuple(Value("leaf", str(n)) for n in range(first, last + 1)))


def as_rays(value: Value) -> Value:
    """`x < 1 or x > 2`, or `x \\ne 1, x \\ne 2`, as the union that it says."""
    if value.kind != "list" or len({subject(item) for item in value.items}) != 1:
        return value
    points = tuple(item for item in value.items if item.signs == ("\\ne",))
    if points and value.signs == ("or",):  # x > 0 or x \\ne 1 leaves nothing out
        return value
    if len(points) == len(value.items):
        return _between(value)
    spans = [as_span(item) for item in value.items if item not in points]
    if any(span is None or span.kind != "span" for span in spans) or len(value.items) < 2:
        return value
    pieces = tuple(span for span in spans if span is not None)
    if points:
        return _between(replace(value, items=points), pieces[0]) if len(pieces) == 1 else value
    both = _overlap(*pieces) if len(pieces) == 2 and value.signs != ("or",) else None
    return both or Value("union", value.text, pieces)


def subject(value: Value) -> str:
    """The x of x > 1, 0 < x < 4, |x - 1| < 2 and x \\in (0, 4); "" where there is none."""
    if value.kind != "relation":
        return ""
    if inside := _ABSOLUTE.fullmatch(value.items[0].text):
        return inside.group().strip("| ")[0]
    return next((item.text for item in value.items if is_name(item)), "")


def other_joiner(gold: Value, given: Value) -> bool:
    """Whether "or" stands against "and", and says another thing: x = 1 and x = 2 does not."""
    names = {subject(item) for item in (*gold.items, *given.items)}
    signs = {sign for item in (*gold.items, *given.items) for sign in item.signs}
    if "" in names or (len(names) == 1 and signs == {"="}):
        return False
    joiners = {gold.signs, given.signs}
    return joiners == {("or",), ("and",)} or (joiners == {("or",), ()} and "\\ne" in signs)


def of_another(gold: Value, given: Value) -> bool:
    """Whether the answer says of another name what the gold says of one."""
    name = subject(given)
    return name != "" and not same_name(subject(gold), name)


def _overlap(one: Value, other: Value) -> Value | None:
    """What x > 1 and x < 3 say together; None for rays that do not meet."""
    if _INFINITY in one.items:
        one, other = other, one
    if one.items[0] != _MINUS_INFINITY or other.items[1] != _INFINITY:
        return None
    try:
        high, low = _place(one.items[1]), _place(other.items[0])
    except formula.Unreadable:
        return None
    return _span(other.items[0], one.items[1], other.signs[0], one.signs[1]) if low < high else None


def _place(point: Value) -> Any:
    """Where a point lies on the real line; raises Unreadable for what is no number."""
    return arithmetic.real(arithmetic.value(formula.parse(point.text)))


def _between(value: Value, whole: Value | None = None) -> Value:
    """The rays and intervals between points that a name is not, within a ray or an interval."""
    points = [item.items[1] for item in value.items]
    if not all(is_name(item.items[0]) for item in value.items) or any(map(has_letters, points)):
        return value
    low, high = (whole or _LINE).items
    opening, closing = (whole or _LINE).signs
    try:
        points.sort(key=_place)
        if low != _MINUS_INFINITY:
            opening = "(" if any(_place(p) == _place(low) for p in points) else opening
            points = [p for p in points if _place(p) > _place(low)]
        if high != _INFINITY:
            closing = ")" if any(_place(p) == _place(high) for p in points) else closing
            points = [p for p in points if _place(p) < _place(high)]
    except formula.Unreadable:
        return value
    ends = [low, *points, high]
    spans = [
        _span(a, b, opening if a is low else "(", closing if b is high else ")")
        for a, b in zip(ends, ends[1:], strict=False)
    ]
    return spans[0] if len(spans) == 1 else Value("union", value.text, tuple(spans))


def as_points(value: Value) -> Value:
    """`x=1, y=2 or x=2, y=1` as two points in the order of the names; x=y=1 as x=1, y=1."""
    items = [one for item in value.items for one in _each(item)] if value.kind == "list" else []
    items = items or list(_each(value))
    names = [assigned(item) for item in items]
    width = len(set(names))
    if "" in names or width < 2 or len(names) % width:
        return value
    if len(names) == width:
        return Value("list", value.text, tuple(items))
    blocks = [items[at : at + width] for at in range(0, len(items), width)]
    if any(len({assigned(item) for item in block}) < width for block in blocks):
        return value
    points = []
    for block in blocks:
        point = tuple(item.items[-1] for item in sorted(block, key=assigned))
        points.append(Value("span", ",".join(p.text for p in point), point, ("(", ")")))
    return Value("list", value.text, tuple(points))


def _each(value: Value) -> tuple[Value, ...]:
    """The x = 1 and y = 1 of x = y = 1, else the value itself."""
    names, last = value.items[:-1], value.items[-1:]
    if len(names) < 2 or set(value.signs) != {"="} or not all(map(is_name, names)):
        return (value,)
    if any(map(has_letters, last)):
        return (value,)
    return tuple(Value("relation", value.text, (name, *last), ("=",)) for name in names)


def _around(centre: str, sign: str, bound: Value) -> Value | None:
    """|x - centre| beside a bound, as an interval or the rays outside it."""
    if sign not in ("<", "\\le", ">", "\\ge"):
        return None
    middle = re.sub(r"^([-+])", lambda m: "+" if m.group() == "-" else "-", centre.strip()) or "0"
    low, high = (
        Value("leaf", f"{middle.lstrip('+')}{s}({bound.text})".removeprefix("0")) for s in "-+"
    )
    if sign in ("<", "\\le"):
        return _span(low, high, *("()" if sign == "<" else "[]"))
    return _rays(low, high, sign == "\\ge")


def _rays(low: Value, high: Value, closed: bool) -> Value:
    left = _span(_MINUS_INFINITY, low, "(", "]" if closed else ")")
    right = _span(high, _INFINITY, "[" if closed else "(", ")")
    return Value("union", f"{left.text}\\cup {right.text}", (left, right))


def _span(low: Value, high: Value, opening: str, closing: str) -> Value:
    text = f"{opening}{low.text},{high.text}{closing}"
    return Value("span", text, (low, high), (opening, closing))


def has_letters(value: Value) -> bool:
    """Whether a value is a formula with letters, or no formula."""
    try:
        return value.kind != "leaf" or bool(formula.parse(value.text).names)
    except formula.Unreadable:
        return False


def stands(value: Value) -> bool:
    """Whether a left side is a name; an e or i there is an eccentricity or an index."""
    return is_name(value) or value.text in ("e", "i")


def assigned(value: Value) -> str:
    """The x of `x = 1`."""
    named = (
        value.kind == "relation" and value.signs[0] in ("=", "\\approx") and stands(value.items[0])
    )
    return value.items[0].text if named else ""


def same_name(gold: str, given: str) -> bool:
    """x is x, and x_1 too where the other has no index."""
    (a, _, i), (b, _, j) = gold.partition("_"), given.partition("_")
    return a == b and (not i or not j or i.strip("{}") == j.strip("{}"))


def is_curve(name: str, rest: Value) -> bool:
    """Whether y = ... x ... is the equation of a curve, not the value of a name."""
    try:
        return name == "y" and "x" in formula.parse(rest.text).names
    except formula.Unreadable:
        return False


def asked_for(gold: Value) -> bool:
    """Whether m/n = 3/56 gives a value that was asked for; x + y = 7 may be a line."""
    try:
        names = formula.parse(gold.items[0].text).names
    except formula.Unreadable:
        return False
    return len(gold.items) == 2 and not names <= set("xyz") and not has_letters(gold.items[1])
