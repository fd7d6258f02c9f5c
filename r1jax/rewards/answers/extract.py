"""The final answer of a completion, by policy; never raises and runs in linear time.

"answer_tag" is the strict extractor of evaluation, "last" (which ignores tags) the lenient one.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.answers.numeric import bare_number, last_number, plain
from r1jax.rewards.fences import program

Policy = Literal["answer_tag", "boxed", "last", "auto"]
Kind = Literal["number", "expression", "choice", "text"]

# reasoning-gym tasks whose answer is an arithmetic expression over given numbers.
EXPRESSION_TASKS = frozenset({"countdown", "puzzle24"})

_TAGS = re.compile(r"</?(?:think|answer)>")
_BRACES = re.compile(r"\\[{}]|[{}]")
_BOXED = re.compile(r"\\f?boxed ?(?=\{)")
_RUN = re.compile(r"[0-9+\-*/().= \t]+")
_OPERATION = re.compile(r"[0-9)][ \t]{0,9}[-+*/][ \t]{0,9}[-(0-9.]")
_BULLET = re.compile(r"[-*+] +|[0-9]{1,3}[.)] +(?=[-(0-9])")
_LETTER = re.compile(r"(?<![A-Za-z])[A-J](?![A-Za-z])")


def check_policy(policy: str) -> None:
    """Raises UserError unless `policy` is one of answer_tag, boxed, last, auto."""
    if policy not in get_args(Policy):
        allowed = ", ".join(get_args(Policy))
        raise UserError(f"answer extraction policy {policy!r} is unknown; use one of {allowed}")


def extract(text: str, policy: Policy = "auto", problem: Problem | None = None) -> str | None:
    """The final answer in `text`, or None where the policy finds none.

    answer_tag: the last closed <answer> block. boxed: the last \\boxed{} with balanced braces.
    last: the last number of the text, tags ignored; for `problem`s answered by an expression, a
    letter or words: the last arithmetic expression, letter or line. auto: the first of the three
    that finds one. For grader "code", any policy but answer_tag takes `program`. Raises UserError
    for an unknown policy.
    """
    check_policy(policy)
    if policy == "answer_tag":
        return answer_tag(text)
    if problem is not None and problem.grader == "code":
        return program(text)
    if policy == "boxed":
        return boxed(text)
    if policy == "last":
        return last(text, kind(problem) if problem else "number")
    for answer in (answer_tag(text), boxed(text)):
        if answer is not None:
            return answer
    return last(text, kind(problem) if problem else "number")


def kind(problem: Problem) -> Kind:
    """What an answer to `problem` looks like, which decides what "last" looks for."""
    if problem.grader == "number":
        return "number"
    if problem.grader == "choice":
        return "choice"
    if problem.grader == "countdown" or problem.metadata.get("dataset") in EXPRESSION_TASKS:
        return "expression"
    return "text" if bare_number(problem.answer) is None else "number"


def answer_tag(text: str) -> str | None:
    """The stripped content of the last closed <answer> block."""
    closed = text.rfind("</answer>")
    start = text.rfind("<answer>", 0, closed) if closed >= 0 else -1
    return text[start + 8 : text.find("</answer>", start)].strip() if start >= 0 else None


def boxed(text: str) -> str | None:
    """The stripped content of the last (innermost) \\boxed{...} whose braces balance."""
    opened: list[int] = []
    closes: dict[int, int] = {}
    starts = [match.end() for match in _BOXED.finditer(text)]
    if not starts:
        return None
    for brace in _BRACES.finditer(text, starts[0]):
        if brace.group() == "{":
            opened.append(brace.start())
        elif brace.group() == "}" and opened:
            closes[opened.pop()] = brace.start()
    for start in reversed(starts):
        if start in closes:
            return text[start + 1 : closes[start]].strip()
    return None


def last(text: str, kind: Kind) -> str | None:
    """The last number, expression, choice letter or line of `text`, ignoring the tags."""
    text = _TAGS.sub("\n", text)
    if kind == "number":
        return last_number(text)
    if kind == "expression":
        return last_expression(text)
    if kind == "choice":
        return next(reversed(_LETTER.findall(plain(text))), None)
    inner = boxed(text)
    if inner is not None:
        return inner
    return next((line.strip() for line in reversed(text.splitlines()) if line.strip()), None)


def last_expression(text: str) -> str | None:
    """The last arithmetic expression with an operator; of `25+3*4=37`, the part before `=`."""
    for run in reversed(_RUN.findall(plain(text))):
        for part in run.split("="):
            part = _trim(part)
            if _OPERATION.search(part):
                return part
    return None


def unwrap(answer: str) -> str:
    """`answer` without what dresses a whole answer: \\boxed{}, dollar signs, \\( \\), \\[ \\]."""
    inner = boxed(answer)
    answer = answer.strip() if inner is None else inner
    for opening, closing in (("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")):
        long_enough = len(answer) >= len(opening) + len(closing)
        if long_enough and answer.startswith(opening) and answer.endswith(closing):
            return answer[len(opening) : -len(closing)].strip()
    return answer


def _trim(part: str) -> str:
    """`part` of a run without list bullets, dangling operators and unbalanced outer brackets."""
    part = _BULLET.sub("", part.lstrip(), count=1) if _BULLET.match(part.lstrip()) else part
    part = part.strip(" \t").lstrip("+*/) .").rstrip("+-*/( .\t")
    surplus = part.count("(") - part.count(")")
    opening = len(part) - len(part.lstrip("("))
    closing = len(part) - len(part.rstrip(")"))
    end = len(part) - min(max(-surplus, 0), closing)
    return part[min(max(surplus, 0), opening) : end].strip()
