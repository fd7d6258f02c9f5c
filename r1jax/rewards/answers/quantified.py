"""Over what a letter runs: {x in Z : ...}, n in N behind a formula, "for all real x"."""

from __future__ import annotations

import re
from collections.abc import Iterable

_SET = r"(?:\\mathbb ?\{? ?)?([ZNRC]) ?\}?(?:\^? ?\{?[*+]\}?|_\{?[+0]\}?)?"
_BUILDER = re.compile(
    rf"\\?\{{ ?[A-Za-z](?: ?\\in ?{_SET})? ?[|:] ?"
    r"((?:[^{}\\]|\{[^{}]{0,40}\}|\\(?:[a-z]+|(?=\}$))){1,200}?)\\?\}"
)
_FAMILY = re.compile(
    rf"\\?\{{((?:[^{{}}|<>]|\{{[^{{}}]{{0,40}}\}}){{1,100}}?)[|:,] ?[nkm] ?\\in ?{_SET} ?\\?\}}"
)
_DOMAIN = re.compile(rf"[A-Za-z] ?\\in ?{_SET}(?![A-Za-z])")
_FOR_ALL = r"(?:for (?:all|every|each|any|some)|where|with|\\forall)"
_BEHIND = re.compile(
    rf"(?<=.)(?:,? ?\(? ?[nkm]|(?:,|,? ?\(| ?(?:\\text ?\{{ ?)?{_FOR_ALL} ?\}}?) ?[a-z])"
    rf" ?\\in ?{_SET} ?\)?$"
    rf"|(?<=.),? ?\\text ?\{{ ?,? ?{_FOR_ALL}[^{{}}]{{0,40}}\}} ?"
    r"(?:[a-zA-Z](?: ?(?:\\in|\\ge|\\le|\\ne|[<>]) ?[^{}=,]{1,20})?)?$"
)
_WORDS = (
    r"(?<![A-Za-z])(?:(?:[Aa]ll|[Aa]ny) )?(?:the )?[Rr]eals?(?: (?:numbers?|values?))?"
    r"(?: (?:of )?\$?[a-z]\$?)?"
)
_BUT = r"(?:except(?: for)?|other than)"
_EXCEPT = re.compile(
    rf"(?:\\mathbb ?\{{? ?R ?\}}?|R|(?:\\text ?\{{ ?)?{_WORDS}) ?"
    rf"(?:\\setminus|\\backslash|-|\\?(?= ?\\\{{)|{_BUT}) ?\}}?"
    r"(?: ?\\\{([^{}]{1,60})\\\}| ?([-0-9][^{}]{0,60}))"
)
_POINT = r"\$?(?:[a-z] ?= ?)?(-?[0-9][0-9/.]{0,12}?)\$?"
_SPOKEN = re.compile(rf"{_WORDS} {_BUT} {_POINT}(?:,? and {_POINT})?(?=\W{{0,4}}$)")
_CONDITION = re.compile(
    r"(?<=[0-9)}]) ?\( ?[a-z] ?(?:\\(?:ne|le|ge|in)(?![A-Za-z])|[<>]) ?[^()=]{1,20}\)$"
)
_REAL = re.compile(r"^[a-z] ?\\in ?(?:\\mathbb ?\{? ?)?R ?\}?(?:,| and| 且) ?(?=.*[a-z])")
_LETTER = re.compile(r"(?<![A-Za-z\\])[A-Za-z](?![A-Za-z])")
_INTEGER = re.compile(
    r"([a-z])\$? ?(?:\\in|∈|是|为| is an?| an?) ?\$?(?:\\mathbb|Z|ℤ|integer|整数)"
)
_KINDS = (
    r"(?:(?:real|rational|complex|positive|negative|non-?negative|non-?zero|natural|whole|integers?"
    r"|reals?|values? of|numbers?) ?){0,4}"
)
_IN_WORDS = re.compile(
    r"(?<=[A-Za-z0-9)}$])[,;]? ?\bfor (?:all|every|each|any) "
    rf"{_KINDS}(?:\$[^$\n]{{1,40}}\$|\\\([^\n]{{1,40}}?\\\)|[a-z](?![a-z])[^.\n$]{{0,30}}|(?<=[a-z]))"
    r"(?=\W{0,4}$)"
)


def unquantified(text: str) -> str:
    """A tidy formula without the letters' domain behind it: 2k\\pi, k \\in Z.

    A number is left without a condition in brackets too: 6 (x > 0).
    """
    found = _CONDITION.search(text)
    number = found and not _LETTER.search(text, 0, found.start())
    text = _REAL.sub("", text[: found.start()] if found and number else text)
    return _BEHIND.sub("", text)


def elsewhere(gold: str, given: str) -> bool:
    """Whether letters run over other sets than the gold's, or a set stands against one formula.

    Both texts are tidy. A domain that only one of them names is no difference.
    """
    mine, theirs = (frozenset(map(_named, _DOMAIN.finditer(text))) for text in (gold, given))
    if mine and theirs:
        return not (mine <= theirs or theirs <= mine)
    return any(
        _FAMILY.fullmatch(one) is not None and not re.search("integer|整数", other)
        for one, other in ((gold, given), (given, gold))
    )


def _named(domain: re.Match[str]) -> str:
    """The set of a domain: Z^+ is N, as N^* and N_+ are; whether 0 is in N is not asked."""
    return "N" if domain[1] == "Z" and "+" in domain[0] else domain[1]


def renamed(gold: str, given: str) -> str:
    """`given` with the gold's letter for an integer, n\\pi, n \\in Z for k\\pi, k \\in Z; or ""."""
    mine, theirs = (_INTEGER.findall(text) for text in (gold, given))
    if len(mine) != 1 or len(theirs) != 1 or mine == theirs:
        return ""
    return re.sub(rf"(?<![A-Za-z\\]){theirs[0]}(?![A-Za-z])", mine[0], given)


def unspoken(text: str) -> str:
    """A sentence without "for all x" behind its formula; all reals except 1 as x \\ne 1."""
    if "eal" in text:
        text = _SPOKEN.sub(lambda m: _punctured(m.groups()), text)
    return _IN_WORDS.sub("", text) if "for " in text else text


def without_points(text: str) -> str:
    """R \\setminus \\{1\\}, or all reals except 1, as x \\ne 1; "" for what is neither."""
    found = _EXCEPT.fullmatch(text)
    parts = (
        re.split(r" ?(?:,|and|\\text ?\{ ?and ?\}) ?", (found[1] or found[2]).strip())
        if found
        else []
    )
    return _punctured(parts)


def _punctured(points: Iterable[str | None]) -> str:
    return ", ".join(f"x \\ne {point}" for point in points if point)


def built(text: str) -> tuple[str, bool] | None:
    """(what stands behind the bar of {x | x > 2}, whether x is an integer)."""
    if family := _FAMILY.fullmatch(text):
        return family[1].strip(), False
    found = _BUILDER.fullmatch(text)
    return (unquantified(found.group(2).strip()), found.group(1) in ("Z", "N")) if found else None
