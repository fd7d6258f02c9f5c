"""Whether two answers in words say the same thing."""

from __future__ import annotations

import re

from r1jax.rewards.answers.spelled import roman
from r1jax.rewards.answers.values import Value, plain_words

_THERE_IS = re.compile(
    r"\b(?:there (?:is|are)|it is|it's|this is|they are|the|an?(?= [a-z]{2})|quadrant) "
)
_ABSENT = re.compile(
    r"(?:limit|inverse|value|derivative|integral|maximum|minimum) (?=does not exist$)"
)
_JOINED = re.compile(" and |和|及")
_PLACED = frozenset(
    "yes no true false agree disagree not then always never 是 否 对 错 真 假 正确 错误".split()
)
"""Words that say something else when what stands around "and" is exchanged."""
_SIGN = re.compile(r"[|=<>^!:,;/]|\S\.\S")
"""What makes letters another thing than their product: |xy|, (x, y), x^y."""
_NUMERAL = re.compile("[ivx]{1,4}")
_SYNONYMS = {
    "dne": "does not exist", "doesn't exist": "does not exist", "undefined": "does not exist",
    "infinite": "infinitely many", "infinite solutions": "infinitely many",
    "infinitely many solutions": "infinitely many",
    "infinite number of solutions": "infinitely many",
    "无穷多": "无数", "无穷多个": "无数", "无数个": "无数", "t": "true", "f": "false",
}  # fmt: skip


def same_words(gold: Value, given: Value) -> bool:
    """Equal words, names or numerals; two or three letters may be a product, in any order."""
    if "list" in (gold.kind, given.kind):
        return _names(gold) == _names(given)
    a, b = (_THERE_IS.sub("", plain_words(value.text)) for value in (gold, given))
    a, b = a.removesuffix(" only"), b.removesuffix(" only")
    b = b.removeprefix("option ").removeprefix("choice ") if len(a) == 1 else b
    names = [sorted(set(side.split()) - {"and", "only"}) for side in (a, b)]
    if all(len(s) > 1 and all(map(_NUMERAL.fullmatch, s)) for s in names):
        return names[0] == names[1]  # I, II and III
    if len(mine := _names_beside(a, b)) > 1 and len(yours := _names_beside(b, a)) > 1:
        return mine == yours
    if (numeral := roman(a)) is not None or (numeral := roman(b)) is not None:
        return all(str(numeral) in (side, str(roman(side))) for side in (a, b))
    a, b = (_SYNONYMS.get(side, side.removesuffix("条件")) for side in (a, b))
    if "does not exist" in (a, b):
        a, b = (_ABSENT.sub("", side) for side in (a, b))
    product = all(re.fullmatch("[a-z](?: ?[a-z]){1,2}", side) for side in (a, b))
    if product and any(_SIGN.search(v.text.strip(" .!?,;:*()[]{}")) for v in (gold, given)):
        return False
    letters = [sorted(side.replace(" ", "")) for side in (a, b)]
    return a == b or (product and letters[0] == letters[1] and {a, b} != {"no", "on"})


def _names_beside(side: str, other: str) -> list[str]:
    """The single words that "and" joins in `side`, or a comma where `other` has the "and"."""
    parts = _JOINED.split(side) if _JOINED.search(side) else side.split()
    alone = all(part and " " not in part and part not in _PLACED for part in parts)
    return sorted(parts) if alone and _JOINED.search(f"{side}|{other}") else []


def _names(value: Value) -> list[str]:
    """What `A and B` and the list A, B name, in no order."""
    items = value.items if value.kind == "list" else ()
    return sorted([plain_words(item.text) for item in items] or value.text.split(" and "))
