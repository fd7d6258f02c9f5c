"""What wraps an answer: a thought before it, the <answer> block, boxes. Linear in the text."""

from __future__ import annotations

import re

_TAG = re.compile(r"</?think>", re.IGNORECASE)
_ANSWER = re.compile(r"</?answer>", re.IGNORECASE)
_BRACES = re.compile(r"\\[{}]|[{}]")
_BOX = re.compile(
    r"\\(?:f?boxed|fbox|framebox)(?![A-Za-z])\s{0,3}"
    r"(?:(?=\{)|([^\s$\\{}.,;]{1,40}|\\frac\d\d|\\[a-z]{1,9}))"
)


def after_thought(text: str) -> str:
    """`text` without its thoughts; an answer block ends a thought that is not closed.

    A thought that neither ends leaves nothing; a text without these tags is left as it is.
    """
    kept, start, depth = [], 0, 0
    for tag in _TAG.finditer(text):
        if tag.group().lower() == "<think>":
            if not depth:
                kept.append(text[start : tag.start()])
            depth, start = 1, tag.end()
        elif depth or not kept:
            kept = [] if not depth else kept
            depth, start = 0, tag.end()
    rest = text[start:]
    if depth:
        opened = _ANSWER.search(rest)
        rest = rest[opened.start() :] if opened and opened.group()[1] != "/" else ""
    return "".join(kept) + rest


def answer_tag(text: str) -> str | None:
    """The stripped content of the closed <answer> block; "" where several differ: a guess."""
    found = [block.strip() for block in _blocks(text)]
    different = {re.sub(r"[\s$]|\.$", "", block) for block in found if block}
    return None if not found else "" if len(different) > 1 else found[-1]


def _blocks(text: str) -> list[str]:
    """What stands in each closed <answer> block, of nested ones the inner."""
    found, start = [], -1
    for tag in _ANSWER.finditer(text):
        if tag.group().lower() == "<answer>":
            start = tag.end()
        elif start >= 0:
            found.append(text[start : tag.start()])
            start = -1
    return found


def boxes(text: str) -> list[tuple[int, int, str]]:
    """(start, end, content) of every innermost \\boxed or \\fbox whose braces balance."""
    starts = list(_BOX.finditer(text)) if "box" in text else []
    if not starts:
        return []
    opened: list[int] = []
    closes: dict[int, int] = {}
    for brace in _BRACES.finditer(text, starts[0].start()):
        if brace.group() == "{":
            opened.append(brace.start())
        elif brace.group() == "}" and opened:
            closes[opened.pop()] = brace.start()
    found: list[tuple[int, int, str]] = []
    inner = len(text) + 1
    for match in reversed(starts):
        if match.group(1):
            found.append((match.start(), match.end(), match.group(1)))
        elif match.end() in closes:
            end = closes[match.end()]
            if inner > end:
                found.append((match.start(), end + 1, text[match.end() + 1 : end].strip()))
        else:
            continue
        inner = match.start()
    return found[::-1]


def boxed(text: str) -> str | None:
    """The content of the last (innermost) box, or None."""
    found = boxes(text)
    return found[-1][2] if found else None
