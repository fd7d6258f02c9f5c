"""Whether an answer is the gold: its form first, then what it holds.

A set has no order and a tuple has one; [1, 2] is no (1, 2); a chain of equations has to hold;
several different answers to a single gold are a guess. Numbers and formulas are `algebra.leaf`'s.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from r1jax.rewards.answers import arithmetic, formula, units
from r1jax.rewards.answers.algebra import algebra, leaf
from r1jax.rewards.answers.clock import same_time
from r1jax.rewards.answers.dress import tidy
from r1jax.rewards.answers.quantified import elsewhere, renamed
from r1jax.rewards.answers.respelled import lettered, with_decimal_point
from r1jax.rewards.answers.spans import (
    FLIPPED,
    as_integers,
    as_points,
    as_rays,
    as_span,
    asked_for,
    assigned,
    has_letters,
    is_curve,
    is_name,
    of_another,
    other_joiner,
    same_name,
    stands,
    subject,
)
from r1jax.rewards.answers.synonyms import same_words
from r1jax.rewards.answers.values import Value, grouped, read
from r1jax.rewards.answers.vectors import as_vector

_TWICE = re.compile(r"([^()（）]{1,60}?) ?[(（](?: ?= ?)?([^()（）]{1,60})[)）]")
_GOES_ON = re.compile(r"[+,] ?\\ldots$")
_EQUAL = frozenset({"=", "\\equiv"})


def right(gold: str, given: str) -> bool:
    """Whether the text `given`, an answer alone, states what `gold` does."""
    wanted, found = read(gold), read(given)
    tidied = tidy(gold), tidy(given)
    times = same_time(*tidied)
    if times is not None:
        return times
    if as_integers(wanted).kind != "set" and elsewhere(*tidied):
        return False
    if equal(wanted, found):
        return True
    comma = with_decimal_point(given)
    same = renamed(gold, given)
    forms = (read(form) for form in (comma, same) if form and form != given)
    for again in (grouped(given), *forms, *lettered(given)):
        if again is not None and equal(wanted, again):
            return True
    twice = _TWICE.fullmatch(given.replace("$", "").strip(" ."))  # 3/4 (0.75)
    if twice and all(equal(wanted, read(form)) for form in twice.groups()):
        return True
    other = grouped(gold)
    return other is not None and found.kind == "list" and equal(other, found)


def equal(gold: Value, given: Value) -> bool:
    """Whether `given` is right where `gold` is; the two are not alike (see the module)."""
    if gold.kind == given.kind and gold.text == given.text and gold.unit == given.unit:
        return True
    gold, given = as_integers(_one(gold)), as_integers(_one(given))
    if gold.kind == given.kind == "integers":
        return equal(gold.items[0], given.items[0])
    kinds = {gold.kind, given.kind}
    if kinds == {"span", "leaf"}:
        width = len(gold.items or given.items)
        gold, given = as_vector(gold, width), as_vector(given, width)
    elif kinds == {"list"} and other_joiner(gold, given):
        return False
    elif kinds & {"list", "span", "union"}:
        if "list" in kinds and kinds & {"span", "union"}:
            gold, given = as_rays(gold), as_rays(given)
        gold, given = as_points(gold), as_points(given)
    if gold.kind == "base" or given.kind == "base":
        return gold.kind == given.kind and _same_base(gold, given)
    if gold.kind == "words" or given.kind == "words":
        return same_words(gold, given)
    if given.kind == "relation" and gold.kind != "relation":
        return _from_relation(gold, given)
    if gold.kind == "relation":
        return _relation(gold, given)
    if gold.kind in ("list", "set", "span", "union") or given.kind in (
        "list", "set", "span", "union",
    ):  # fmt: skip
        return _collection(gold, given)
    return leaf(gold, given)


def _one(value: Value) -> Value:
    """Alternatives that say one answer several times, as that answer; "5, 5" are two."""
    if value.kind != "list" or value.signs != ("or",):
        return value
    kept: list[Value] = []
    for item in value.items:
        if not any(item.text == other.text and item.kind == other.kind for other in kept):
            kept.append(item)
    if len(kept) == 1:
        return kept[0]
    return Value("list", value.text, tuple(kept), value.signs, value.unit)


def _same_base(gold: Value, given: Value) -> bool:
    try:
        same = int(gold.text.partition("_")[0], int(gold.signs[0])) == int(
            given.text.partition("_")[0], int(given.signs[0])
        )
    except ValueError:
        return False
    return same and gold.signs == given.signs


def _collection(gold: Value, given: Value) -> bool:
    """Lists, sets, tuples, intervals and unions."""
    if gold.kind == "set" and given.kind == "leaf" or gold.kind == "leaf" and given.kind == "set":
        ones = [value.items if value.kind == "set" else (value,) for value in (gold, given)]
        return len(ones[0]) == len(ones[1]) == 1 and equal(ones[0][0], ones[1][0])
    if gold.kind == "leaf" and given.kind == "list":
        forms = {item.text for item in given.items}  # 1/2, 0.5 are two forms of one number
        return len(forms) == len(given.items) <= 8 and all(equal(gold, i) for i in given.items)
    if gold.kind == "leaf" or given.kind == "leaf":
        return gold.kind != "leaf" and algebra(gold.text, given.text)
    kinds = {gold.kind, given.kind}
    if kinds == {"span"}:
        brackets = gold.signs == given.signs or len(gold.items) != 2
        return brackets and _ordered(gold, given)
    if kinds == {"list", "span"}:
        span = gold if gold.kind == "span" else given
        point = span.signs == ("(", ")") or gold.kind == "list"
        return point and _ordered(_by_name(gold), _by_name(given))
    if "span" in kinds:
        return False
    if kinds == {"list", "union"} and len({subject(item) for item in given.items}) > 1:
        return False  # x < 0 or y > 1
    names = [assigned(item) for item in gold.items]
    if gold.kind == "list" and len(set(names)) == len(names) > 1 and "" not in names:
        roots = all(re.fullmatch(r"x_\{?[0-9]\}?", name) for name in names)
        if roots:  # which of them is called the first is nobody's answer
            gold, given = (_without_names(value) for value in (gold, given))
        elif not any(assigned(item) for item in given.items):
            return given.kind != "set" and _ordered(gold, given)
    return _unordered(gold, given)


def _without_names(value: Value) -> Value:
    items = (item.items[-1] if assigned(item) else item for item in value.items)
    return replace(value, items=tuple(items))


def _by_name(value: Value) -> Value:
    """`y = -1, x = 2` as `x = 2, y = -1`: named coordinates stand in the order of their names."""
    names = [assigned(item) for item in value.items]
    if value.kind != "list" or "" in names or len(set(names)) < len(names):
        return value
    items = [item for _, item in sorted(zip(names, value.items, strict=True), key=lambda p: p[0])]
    return Value("list", value.text, tuple(items), value.signs, value.unit)


def _ordered(gold: Value, given: Value) -> bool:
    return len(gold.items) == len(given.items) and all(
        equal(a, b) for a, b in zip(gold.items, given.items, strict=True)
    )


def _unordered(gold: Value, given: Value) -> bool:
    if len(gold.items) != len(given.items):
        return False
    left = list(given.items)
    named = len({subject(item) for item in gold.items} - {""}) > 1  # x > 1, y < 3
    for item in gold.items:
        alike = (
            i
            for i, other in enumerate(left)
            if not (named and of_another(item, other)) and equal(item, other)
        )
        found = next(alike, None)
        if found is None:
            return False
        del left[found]
    return True


def _from_relation(gold: Value, given: Value) -> bool:
    """A gold that is no relation: `x = 7`, `x = 3 + 4 = 7` and `2 + 3 = 5` state their value.

    Every member of a chain has to be the gold; `5 = 12` states nothing, nor does `x + y = 7`.
    """
    span, gold = as_span(given), as_rays(gold)
    if gold.kind in ("span", "union") and span is not None and equal(gold, span):
        return True
    named = stands(given.items[0])
    members = given.items[1:] if named else given.items
    if given.signs[0] == "\\in" and named:
        return len(members) == 1 and equal(gold, members[0])
    if any(sign not in ("=", "\\approx", "\\equiv") for sign in given.signs):
        return False
    if len(members) == 1 == len(given.signs) and not named:
        return False
    if named and len(members) > 1 and not has_letters(gold) and not has_letters(members[-1]):
        members = tuple(member for member in members if not has_letters(member))  # V = abc = 24
    if not _GOES_ON.search(members[-1].text):  # 1 + 4 + \\ldots = 35
        members = tuple(m for m in members if not _GOES_ON.search(m.text)) or members
    if "\\approx" in given.signs:
        return _approximated(gold, members, given.signs[len(given.items) - len(members) :])
    if len(given.items) == 2 and not named and is_name(given.items[1]):  # 7 = x
        return equal(gold, given.items[0])
    return all(equal(gold, member) for member in members)


def _approximated(gold: Value, members: tuple[Value, ...], signs: tuple[str, ...]) -> bool:
    """x = 1/3 \\approx 0.33: the exact value, or its rounding where the gold is that."""
    if len(members) == 1:
        return equal(gold, members[0])
    exact, rounded = members[0], members[-1]
    try:
        a, b = (arithmetic.value(formula.parse(member.text)) for member in (exact, rounded))
        believable = abs(a - b) <= abs(a) / 50
    except formula.Unreadable:
        return False
    return bool(believable) and (equal(gold, exact) or equal(gold, rounded))


def _relation(gold: Value, given: Value) -> bool:
    """An equation or inequality as the gold."""
    span = as_span(gold)
    if span is not None:
        stated = given.items[-1] if assigned(given) else None  # A = (1,3)
        if stated is None or stated.kind != "span":
            stated = as_span(given) if given.kind == "relation" else as_rays(given)
        return stated is not None and stated.kind == span.kind and _collection(span, stated)
    if given.kind != "relation":
        name = assigned(gold)
        if not set(gold.signs) <= {"=", "\\approx"}:
            return gold.signs == ("\\in",) and equal(gold.items[1], given)
        if not name and not asked_for(gold):
            return False
        return not is_curve(name, gold.items[-1]) and equal(gold.items[-1], given)
    mine, yours = assigned(gold), assigned(given)
    if mine and same_name(mine, yours):
        return all(equal(gold.items[-1], item) for item in given.items[1:])
    return _same_relation(gold, given)


def _same_relation(gold: Value, given: Value) -> bool:
    """Two relations of two members: left minus right is the same but for a constant factor."""
    if len(gold.items) != len(given.items):
        return False
    if units.factor(gold.items[-1].unit, given.items[-1].unit) is None:
        return False
    if all(map(equal, gold.items, given.items)) and gold.signs == given.signs:
        return True
    if len(gold.items) != 2:
        signs = tuple(FLIPPED.get(sign, "") for sign in reversed(given.signs))
        return gold.signs == signs and all(map(equal, gold.items, reversed(given.items)))
    flipped = FLIPPED.get(given.signs[0])
    try:
        ratio = _ratio(gold, given)
    except formula.Unreadable:
        return given.signs == gold.signs and algebra(gold.text, given.text)
    if not ratio:
        return False
    if gold.signs[0] in _EQUAL or gold.signs[0] == "\\ne":
        return gold.signs == given.signs
    positive = arithmetic.real(ratio) > 0
    return gold.signs[0] == (given.signs[0] if positive else flipped)


def _ratio(gold: Value, given: Value) -> Any:
    """(left - right) of the gold over that of the answer; 0 where it changes with the letters."""
    sides = [formula.parse(item.text) for item in (*gold.items, *given.items)]
    if not any(side.names for side in sides):
        raise formula.Unreadable("no letters")
    ratio = None
    for point in range(arithmetic.POINTS):
        values = [arithmetic.real_at(side, point) for side in sides]
        if None in values:  # a part is not real for such letters
            continue
        a, b, c, d = map(arithmetic.number, values)
        if a == b or c == d:
            raise formula.Unreadable("an identity")
        ratio = (a - b) / (c - d) if ratio is None else ratio
        if not arithmetic.near(ratio, (a - b) / (c - d)):
            return 0
    return ratio
