"""Where the brackets of a tidy formula open and close, and its parts outside all of them."""

from __future__ import annotations

import re

OPEN, CLOSE = ("(", "[", "{", "\\{", "\\langle"), (")", "]", "}", "\\}", "\\rangle")
BRACKET = re.compile(r"\\[{}]|\\[lr]angle(?![A-Za-z])|\\(?:begin|end)\{[a-z*]+\}|[()\[\]{}]")


def split(text: str, separator: str | re.Pattern[str]) -> list[str]:
    """Parts of `text` between separators that stand outside every bracket."""
    pattern = re.compile(re.escape(separator)) if isinstance(separator, str) else separator
    cuts = list(pattern.finditer(text))
    if not cuts:
        return [text]
    inside = insides(text)
    parts, start = [], 0
    for cut in cuts:
        if not any(a < cut.start() < b for a, b in inside):
            parts.append(text[start : cut.start()].strip())
            start = cut.end()
    return [*parts, text[start:].strip()]


def insides(text: str) -> list[tuple[int, int]]:
    """Outermost bracketed stretches of `text`; the kinds may differ, as in [1,2)."""
    stretches, depth, start = [], 0, 0
    for bracket in BRACKET.finditer(text):
        sign = bracket.group()
        if sign in OPEN or sign.startswith("\\begin"):
            start = bracket.start() if depth == 0 else start
            depth += 1
        elif depth:
            depth -= 1
            if depth == 0:
                stretches.append((start, bracket.end()))
    return stretches
