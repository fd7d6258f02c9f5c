"""Which part of a completion is its program."""

from __future__ import annotations

import re

_FENCE = re.compile(r"^[ \t]{0,3}```[^\n`]*(?:\n|$)", re.MULTILINE)


def program(text: str) -> str:
    """The program in `text`: the last fenced block of the answer, else the answer itself.

    The answer is what follows the thought, and of that the last closed <answer> block if there is
    one. A block that is not closed reaches to the end.
    """
    answer = _answer(text)
    fences = [match.end() for match in _FENCE.finditer(answer)]
    if not fences:
        return answer
    start = fences[-2] if len(fences) % 2 == 0 else fences[-1]
    end = answer.find("\n```", start - 1)
    return answer[start:] if end < 0 else answer[start : end + 1]


def _answer(text: str) -> str:
    """What `text` answers, thoughts aside."""
    said = text.rpartition("</think>")[2]
    closed = said.rfind("</answer>")
    start = said.rfind("<answer>", 0, closed) if closed >= 0 else -1
    return said[start + 8 : said.find("</answer>", start)].strip() if start >= 0 else said
