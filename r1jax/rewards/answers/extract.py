"""The final answer of a completion, by policy; never raises and runs in linear time.

"answer_tag" is the strict extractor of evaluation, "last" the lenient one, which needs no tags.
"""

from __future__ import annotations

import re
from typing import Literal, get_args

from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards.answers.choice import choice_letters, final_letter
from r1jax.rewards.answers.numeric import last_number, plain
from r1jax.rewards.answers.qualifiers import word_lines
from r1jax.rewards.answers.reading import explicit, expression
from r1jax.rewards.answers.respelled import point_lines
from r1jax.rewards.answers.retracted import settled
from r1jax.rewards.answers.sentence import MATHY, NO_VALUE
from r1jax.rewards.answers.spelled import spelled
from r1jax.rewards.answers.values import is_words
from r1jax.rewards.answers.wrapped import after_thought, answer_tag, boxed
from r1jax.rewards.fences import program

AnswerPolicy = Literal["answer_tag", "boxed", "last", "auto"]
AnswerKind = Literal["number", "expression", "choice", "math", "text"]

# reasoning-gym tasks whose answer is an arithmetic expression over given numbers.
EXPRESSION_TASKS = frozenset({"countdown", "puzzle24"})

_TAGS = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_RUN = re.compile(r"[0-9+\-*/().= \t]+")
_OPERATION = re.compile(r"[0-9)][ \t]{0,9}[-+*/][ \t]{0,9}[-(0-9.]")
_BULLET = re.compile(r"[-*+] +|[0-9]{1,3}[.)] +(?=[-(0-9])")
_SAYS = re.compile(r"\w")
_LETTER = re.compile(r"(?<![A-Za-z])[A-J](?![A-Za-z])")


def check_policy(policy: str) -> None:
    """Raises UserError unless `policy` is one of answer_tag, boxed, last, auto."""
    if policy not in get_args(AnswerPolicy):
        allowed = ", ".join(get_args(AnswerPolicy))
        raise UserError(f"answer extraction policy {policy!r} is unknown; use one of {allowed}")


def extract(text: str, policy: AnswerPolicy = "auto", problem: Problem | None = None) -> str | None:
    """The final answer in `text`, or None where the policy finds none.

    answer_tag: the closed <answer> block, "" where several differ. boxed: the last box with
    balanced braces. auto: what `reading.explicit` finds, else what the last sentence states; these
    three read what follows the thought. last: an answer block that holds a number, else the last
    number of the whole text; for `problem`s answered by a formula, an expression, a letter or
    words: such a one. For grader "code", any policy but answer_tag takes `program`, for "ifeval"
    all that follows the thought. Raises UserError for an unknown policy.
    """
    check_policy(policy)
    if policy == "answer_tag":
        return answer_tag(after_thought(text))
    if problem is not None and problem.grader == "code":
        return program(text)
    if problem is not None and problem.grader == "ifeval":
        return after_thought(text).strip()
    if policy == "boxed":
        return boxed(after_thought(text))
    looks = kind(problem) if problem else "number"
    return last(text, looks) if policy == "last" else _auto(after_thought(text), looks, problem)


def _auto(text: str, kind: AnswerKind, problem: Problem | None) -> str | None:
    """The explicit final answer of a text without thoughts, else its last one."""
    tagged = answer_tag(text)
    if tagged is not None:
        return tagged
    if kind == "choice":
        several = problem is not None and choice_letters(problem.answer) is not None
        return choice_letters(text) if several else final_letter(text)
    text = settled(text)
    if kind == "math" and problem is not None and (lines := point_lines(problem.answer, text)):
        return lines
    stated = explicit(text, words=kind == "text")
    if stated is not None and (kind != "expression" or last_expression(stated)):
        return stated
    if kind == "number":
        value = expression(text)
        if value.startswith(NO_VALUE) or not MATHY.search(value):
            return None  # what is said last is no value: none that stands before it counts
        return value
    if kind == "text" and len(words := word_lines(text)) > 1:
        return ", ".join(words)
    return last(text, kind)


def kind(problem: Problem) -> AnswerKind:
    """What an answer to `problem` looks like, which decides what "last" looks for."""
    if problem.grader == "number":
        return "number"
    if problem.grader == "choice":
        return "choice"
    if problem.grader == "countdown" or problem.metadata.get("dataset") in EXPRESSION_TASKS:
        return "expression"
    return "text" if is_words(problem.answer) else "math"


def last(text: str, kind: AnswerKind) -> str | None:
    """The last number, expression, choice letter or line of `text`, ignoring the tags.

    Never stricter than the strict extractor: a closed <answer> block that holds such a thing is it.
    """
    rest = after_thought(text)
    inside = answer_tag(rest)
    if inside and _holds(inside, kind):
        return last_expression(inside) if kind == "expression" else inside
    if kind in ("math", "text") and _TAGS.sub("", rest).strip():
        text = rest  # what the thought says last is no line of the answer
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
    if kind == "math":
        return expression(text) or None
    return next((line.strip() for line in reversed(text.splitlines()) if _SAYS.search(line)), None)


def _holds(inside: str, kind: AnswerKind) -> bool:
    """Whether an answer block holds what is looked for."""
    if kind == "expression":
        return last_expression(inside) is not None
    return kind != "number" or MATHY.search(spelled(inside)) is not None


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
        inner = answer[len(opening) : len(answer) - len(closing)]
        whole = answer == opening + inner + closing and closing not in inner
        if whole and inner:
            return inner.strip()
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
