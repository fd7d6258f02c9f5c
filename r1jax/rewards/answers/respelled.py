"""The text of an answer in the spelling that its gold has: points, decimals, lines of values."""

from __future__ import annotations

import re

from r1jax.rewards.answers.qualifiers import assigned_lines
from r1jax.rewards.answers.values import Value, read


def point_lines(gold: str, text: str) -> str:
    """`x = 2` and `y = -1` on the last lines as one answer, where the gold has as many values."""
    wanted = read(gold)
    if wanted.kind not in ("span", "list") or "=" not in text:
        return ""
    lines = assigned_lines(text)
    return lines if len(read(lines).items) == len(wanted.items) else ""


def lettered(text: str) -> list[Value]:
    """`P(2, 3)` as the point, `C(10, 3)` as the binomial too."""
    found = re.fullmatch(r"[\s$]*([A-Z])'{0,2} ?\(([^(),]{1,40},[^()]{1,40})\)[\s$.]*", text)
    if found is None:
        return []
    counts = re.fullmatch(r"([0-9]{1,4}), ?([0-9]{1,4})", found.group(2))
    forms = [f"\\binom{{{counts[1]}}}{{{counts[2]}}}"] if counts and found.group(1) == "C" else []
    return [read(form) for form in (f"({found.group(2)})", *forms)]


def with_decimal_point(text: str) -> str:
    """`3,14` as 3.14; "" for what is no such number."""
    spelled = re.fullmatch(r"[\s$]*(-?[0-9]{1,20}),([0-9]{1,20})[\s$.]*", text)
    return f"{spelled.group(1)}.{spelled.group(2)}" if spelled else ""
