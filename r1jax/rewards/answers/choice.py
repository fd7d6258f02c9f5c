"""Multiple choice: the one letter A-J that an answer names, in any usual dress."""

from __future__ import annotations

import re

from r1jax.rewards.answers.extract import unwrap
from r1jax.rewards.answers.numeric import plain

_DRESS = re.compile(r"\\(?:text|textbf|mathrm|mathbf|rm)\b|[{}*_`$\"']")
_ALONE = re.compile(r"[(\[]?([A-Ja-j])[)\].:;]?")
_LEADING = re.compile(r"\(([A-Ja-j])\)|([A-Ja-j])[.):]")
_NAMED = re.compile(
    r"(?:answer|option|choice|答案|选项|选择|选)[ :]{0,3}(?:is|are|为|是)?[ :]{0,3}"
    r"(?:option|choice|选项)? {0,2}[(\[]?([A-J])(?![A-Za-z])",
    re.IGNORECASE,
)
_BRACKETED = re.compile(r"[(\[]([A-J])[)\]]")
_STANDING = re.compile(r"(?<![A-Za-z])([B-HJ])(?![A-Za-z])")
_GUESSES = re.compile(r"[(\[]?[A-J][)\]]? {0,2}(?:[,;/&|]|or\b|and\b|或|和) {0,2}[(\[]?[A-J]\b")


def choice_letter(text: str) -> str | None:
    """The letter, upper case; None where the text names none, or several as guesses."""
    text = _DRESS.sub("", plain(unwrap(text))).strip()
    if alone := _ALONE.fullmatch(text):
        return alone.group(1).upper()
    if _GUESSES.search(text):
        return None
    if leading := _LEADING.match(text):
        return (leading.group(1) or leading.group(2)).upper()
    for pattern in (_NAMED, _BRACKETED, _STANDING):
        letters = {letter.upper() for letter in pattern.findall(text)}
        if letters:
            return letters.pop() if len(letters) == 1 else None
    return None
