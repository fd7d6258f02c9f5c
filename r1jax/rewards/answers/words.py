"""Whether an answer in words begins or ends with the gold: "Yes, because ..."."""

from __future__ import annotations

import re

from r1jax.rewards.answers.compare import right
from r1jax.rewards.answers.reading import clause
from r1jax.rewards.answers.values import read

_IT_IS = re.compile(r"(?:it|they|he|she|there|this|that|we|you) [a-z]{2,5}(?:n['’]t| not)?")
_NOT_OTHER = re.compile(
    r"[,，]? ?(?:\bnot\b|rather than|而?不是)(?= an? |[^ ])[^.。\n]{1,60}(?=\W*$)"
)


def stands_first(gold: str, given: str) -> bool:
    """Whether the gold begins the answer, and a reason follows: "Yes, because ..."."""
    first = re.split(r"[,，:：;—–]", clause(given).strip(" *"))[0].strip(" *")
    given = _NOT_OTHER.sub("", given)
    sentence = re.split(r"[.!?](?=\s)|[。！？\n]", given.strip(" .。!*\n"))[-1]
    ends = re.search(
        rf"(?:\b(?:is|are|was|be)(?: an?| the| on)?|(?<!不)是) ?{re.escape(read(gold).text)}"
        r"(?: (?:function|number|integer|triangle|angle|sequence|series|one))?$",
        sentence,
        re.I,
    )
    if ends and not re.search(r"\bnot\b|n't|\bor\b|或", sentence):
        return True
    rest = given.strip(" *")[len(first) :].strip(" .,;!*—–-\n")
    return right(gold, first) and (
        not rest or len(rest.split()) > 2 or bool(_IT_IS.fullmatch(rest))
    )
