"""Over what a letter runs: {x in Z : ...}, n in N behind a formula, "for all real x"."""

from __future__ import annotations

import re

_SET = r"(?:\\mathbb ?\{? ?)?([ZNRC]) ?\}?(?:\^? ?\{?[*+]\}?|_\{?[+0]\}?)?"
_BUILDER = re.compile(
    rf"\\?\{{ ?[A-Za-z](?: ?\\in ?{_SET})? ?[|:] ?"
    r"((?:[^{}\\]|\\text ?\{[^{}]{0,20}\}|\\mathbb ?\{[A-Z]\}|\\(?:[a-z]+|(?=\}$))){1,200}?)\\?\}"
)
_FOR_ALL = r"(?:for (?:all|every|each|any)|where|with|\\forall)"
_BEHIND = re.compile(
    rf"(?<=.)(?:,? ?\(? ?[nkm]|(?:,|,? ?\(| ?(?:\\text ?\{{ ?)?{_FOR_ALL} ?\}}?) ?[a-z])"
    rf" ?\\in ?{_SET} ?\)?$"
    rf"|(?<=.),? ?\\text ?\{{ ?,? ?{_FOR_ALL}[^{{}}]{{0,40}}\}} ?"
    r"(?:[a-zA-Z](?: ?(?:\\in|\\ge|\\le|\\ne|[<>]) ?[^{}=,]{1,20})?)?$"
)
_EXCEPT = re.compile(
    r"(?:\\mathbb ?\{? ?R ?\}?|R|(?:\\text ?\{ ?)?(?:[Aa]ll )?[Rr]eals?(?: numbers?)?) ?"
    r"(?:\\setminus|\\backslash|-|\\?(?= ?\\\{)|except(?: for)?|other than) ?\}?"
    r"(?: ?\\\{([^{}]{1,60})\\\}| ?([-0-9][^{}]{0,60}))"
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
    """A tidy formula without the letters' domain behind it: 2k\\pi, k \\in Z."""
    return _BEHIND.sub("", text)


def unspoken(text: str) -> str:
    """A sentence without "for all x" behind its formula."""
    return _IN_WORDS.sub("", text) if "for " in text else text


def without_points(text: str) -> str:
    """R \\setminus \\{1\\}, or all reals except 1, as x \\ne 1; "" for what is neither."""
    found = _EXCEPT.fullmatch(text)
    parts = (
        re.split(r" ?(?:,|and|\\text ?\{ ?and ?\}) ?", (found[1] or found[2]).strip())
        if found
        else []
    )
    return ", ".join(f"x \\ne {part}" for part in parts)


def built(text: str) -> tuple[str, bool] | None:
    """(what stands behind the bar of {x | x > 2}, whether x is an integer)."""
    found = _BUILDER.fullmatch(text)
    return (unquantified(found.group(2).strip()), found.group(1) in ("Z", "N")) if found else None
