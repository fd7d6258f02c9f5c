"""Judges of an extracted answer by kind of problem: right or wrong, nothing in between.

Heavy libraries (math-verify, reasoning-gym) are imported where they are first needed. A judge may
hang or explode on hostile text; `r1jax.rewards.workers.pool` bounds it.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from functools import lru_cache

from r1jax.errors import UserError
from r1jax.plugin import load_function
from r1jax.problem import Problem
from r1jax.rewards.answers import arithmetic, countdown, formula, gym, units
from r1jax.rewards.answers.algebra import parsed
from r1jax.rewards.answers.choice import beside_its_option, choice_letter, choice_letters
from r1jax.rewards.answers.compare import right
from r1jax.rewards.answers.dress import tidy
from r1jax.rewards.answers.instructions import check_instructions, instructions
from r1jax.rewards.answers.numeric import parse_number, plain
from r1jax.rewards.answers.qualifiers import abbreviated, bare_lines
from r1jax.rewards.answers.reading import expression
from r1jax.rewards.answers.respelled import point_lines, with_decimal_point
from r1jax.rewards.answers.sentence import NO_VALUE
from r1jax.rewards.answers.spans import is_name
from r1jax.rewards.answers.values import Value, is_words, read
from r1jax.rewards.answers.wording import unnamed
from r1jax.rewards.answers.words import marked, stands_first
from r1jax.rewards.code import code_answer, find_tests
from r1jax.rewards.sandbox import SandboxConfig

MAX_ANSWER_CHARACTERS = 4096
"""A longer final answer is wrong unless the gold answer is of that size too."""

GOLD_TIMEOUT_SECONDS = 5
"""What `check_gold` gives math-verify; only the main thread can keep it (SIGALRM)."""


def grade(problem: Problem, answer: str | None, sandbox: SandboxConfig | None = None) -> float:
    """1.0 where `answer` is right for `problem`, else 0.0; UserError for an unknown grader.

    `sandbox` are the limits of a program, where the answer is one.
    """
    if answer is None or not answer.strip():
        return 0.0
    if problem.grader == "code":
        return float(code_answer(problem, answer, sandbox))
    if problem.grader == "ifeval":
        return float(instructions(problem, answer))
    longest = max(len(problem.answer), MAX_ANSWER_CHARACTERS)
    return float(len(answer) <= longest and grader_of(problem)(problem, answer))


def number(problem: Problem, answer: str) -> bool:
    """Equal as exact rational numbers; units, currency and thousands commas ignored."""
    gold, given = _stated_number(problem.answer, only=True), _stated_number(answer)
    if given is None and (comma := with_decimal_point(expression(answer))):
        given = parse_number(comma)
    if gold is None or given is None:
        return False
    if given == gold or gold not in (100 * given, given / 100):
        return given == gold
    many, few = (problem.answer, answer) if gold == 100 * given else (answer, problem.answer)
    return _in_hundredths(many) and not _in_hundredths(few)


def _in_hundredths(answer: str) -> bool:
    """Whether a number counts percents or cents."""
    unit = read(expression(answer)).unit
    return units.is_percent(unit) or units.known(unit) == units.known("cent")


def math(problem: Problem, answer: str) -> bool:
    """The same as the gold (`compare.right`), where the answer alone is read out of a sentence."""
    gold = gold_text(problem.answer)
    words = is_words(gold)
    given = point_lines(gold, answer) or expression(answer, words)
    if not words and read(gold).kind != "relation":
        given = unnamed(given, problem.question)
    if right(gold, given) or (words and (stands_first(gold, given) or marked(gold, answer))):
        return True
    return beside_its_option(gold, given)


def choice(problem: Problem, answer: str) -> bool:
    """The same letter A-J, or the same letters where the gold has several."""
    gold = choice_letters(problem.answer)
    if gold is not None:
        return choice_letters(answer) == gold
    gold = choice_letter(problem.answer)
    return gold is not None and choice_letter(answer) == gold


def countdown_answer(problem: Problem, answer: str) -> bool:
    """An expression over metadata "numbers" that makes metadata "target" (countdown.solves)."""
    data = problem.metadata
    target = data.get("target", problem.answer)
    return countdown.solves(answer, data["numbers"], target, data.get("use", "all"))


def reasoning_gym(problem: Problem, answer: str) -> bool:
    """Full marks by the task's own scorer for the answer, or for the number it states."""
    return gym.judged(problem.metadata, answer)


UNRULED = "none"
"""Grader of problems without a right answer by rule (writing, requests to refuse): their accuracy
is None, and only reward models judge them."""

GRADERS: dict[str, Callable[[Problem, str], bool]] = {
    "number": number,
    "math": math,
    "choice": choice,
    "countdown": countdown_answer,
    "reasoning_gym": reasoning_gym,
    "code": code_answer,
    "ifeval": instructions,
}


def grader_of(problem: Problem) -> Callable[[Problem, str], bool]:
    """The judge that `problem.grader` names; UserError where there is none.

    Beside `GRADERS` it may be a user's own function, `package.module:function`, of (problem,
    answer).
    """
    if ":" in problem.grader:
        return load_function(problem.grader, "grader", ("problem", "answer"))
    if problem.grader not in GRADERS:
        known = ", ".join(GRADERS)
        raise UserError(
            f"problem {problem.id!r}: grader {problem.grader!r} is unknown; use one of {known}, or "
            "your own as package.module:function"
        )
    return GRADERS[problem.grader]


def check_gold(problem: Problem) -> str | None:
    """Why the gold answer of `problem` cannot be graded, or None where it can.

    A program needs tests, and is not run to find out; a user's own judge may take any, and a
    problem of grader none needs none. Raises UserError for an unknown grader and for a
    reasoning-gym task that is refused.
    """
    if problem.grader == UNRULED:
        return None
    grader_of(problem)
    return _GOLD_CHECKS[problem.grader](problem) if problem.grader in _GOLD_CHECKS else None


def warm(graders: Iterable[str]) -> None:
    """Imports what these graders need and fills their caches, ahead of the first answer."""
    graders = set(graders)
    if "math" in graders:
        math(Problem(id="warm", question="", answer="\\frac{x}{2}"), "$x/3$")
    if "reasoning_gym" in graders:
        gym.unsafe_reasoning_gym_tasks()


@lru_cache(maxsize=4096)
def gold_text(gold: str) -> str:
    """A gold answer alone: what its boxes hold (a list, where there are several), or it itself."""
    return expression(gold, words=True)


def _stated_number(text: str, only: bool = False) -> Fraction | None:
    """The one number that an answer states, exactly; None where it states none or several."""
    if len(bare_lines(text)) > 1 or (only and units.measured(text) != text):
        return None
    text = expression(abbreviated(_NUMBER_IN_WORDS.sub(r" \1 ", text)))
    if text.startswith(NO_VALUE):
        return None
    value = read(text)
    if value.kind == "relation":
        if not set(value.signs) <= {"=", "\\approx"}:
            return None
        first, last = value.items[0], value.items[-1]
        value = first if len(value.items) == 2 and is_name(last) else last
    if value.kind == "leaf":
        try:
            parsed_formula = formula.parse(value.text)
            found = arithmetic.value(parsed_formula)
        except formula.Unreadable:
            found = None if _LITERAL.fullmatch(value.text) else parse_number(text, only=only)
            parsed_formula = None
        if parsed_formula is not None or found is None:
            literal = _LITERAL.fullmatch(value.text) and isinstance(found, Fraction)
            return found if literal else None
    # Several values, words that are no unit, and digits that go on.
    if value.kind == "list" or re.search(r"\\text|\\ldots", value.text):
        return None
    return None if _FORMULA.search(tidy(text)) else parse_number(text, only=only)


_NUMBER_IN_WORDS = re.compile(r"\\text ?\{([^{}]{0,60}\b[0-9][^{}]{0,60})\}")
_LITERAL = re.compile(
    r"[-+]? ?(?:10\^\{?[-+]?[0-9]{1,3}\}?"
    r"|[0-9]{1,3} ?!|[0-9.]{1,400}(?: ?/ ?[0-9.]{1,400}| ?\* ?10\^\{?[-+]?[0-9]{1,3}\}?)?"
    r"|[0-9]{0,400}\\frac ?\{?[0-9]{1,400}\}? ?\{?[0-9]{1,400}\}?)"
)
_FORMULA = re.compile(
    r"\\(?:sqrt|pi|log|ln|sin|cos|tan|binom|infty|exp)(?![A-Za-z])|[0-9)}] ?[\^!]"
)


def _math_gold(problem: Problem) -> str | None:
    gold = gold_text(problem.answer)
    in_main_thread = threading.current_thread() is threading.main_thread()
    timeout = GOLD_TIMEOUT_SECONDS if in_main_thread else None
    if gold and _readable(read(gold), gold, timeout):
        return None
    return f"math-verify cannot parse the gold answer {_short(problem.answer)}"


def _readable(value: Value, text: str, timeout: int | None) -> bool:
    """Whether every part of a gold is a formula, or words that are marked as text."""
    if value.kind == "base":
        return True
    if value.kind == "words":
        return "\\" in text or len(value.text.split()) == 1
    if value.items:
        return all(_readable(item, text, timeout) for item in value.items)
    try:
        return bool(formula.parse(value.text))
    except formula.Unreadable:
        return bool(parsed(value.text, timeout))


def _number_gold(problem: Problem) -> str | None:
    if _stated_number(problem.answer, only=True) is None:
        return f"the gold answer {_short(problem.answer)} is not a number"
    return None


def _choice_gold(problem: Problem) -> str | None:
    if choice_letter(problem.answer) is None and choice_letters(problem.answer) is None:
        return f"the gold answer {_short(problem.answer)} is not a letter A-J, nor several"
    return None


def _countdown_gold(problem: Problem) -> str | None:
    data = problem.metadata
    try:
        [countdown.exact(n) for n in data["numbers"]]
        countdown.exact(data.get("target", problem.answer))
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return 'metadata needs "numbers" (a list of numbers) and "target" (a number)'
    if data.get("use", "all") not in ("all", "subset"):
        return f'metadata["use"] is {data["use"]!r}; it is "all" or "subset"'
    return None


def _gym_gold(problem: Problem) -> str | None:
    entry = problem.metadata.get("entry")
    if "dataset" not in problem.metadata or not isinstance(entry, Mapping):
        return 'metadata needs "dataset" (the task name) and "entry" (what the dataset returned)'
    gym.check_task(problem.metadata["dataset"])
    junk = gym.paid_junk(problem.metadata)
    return None if junk is None else f"its scorer gives full marks to {junk!r}"


def _code_gold(problem: Problem) -> str | None:
    try:
        find_tests(problem)
    except (UserError, SyntaxError, KeyError, TypeError) as error:
        return " ".join(str(error).split())
    return None


def _ifeval_gold(problem: Problem) -> str | None:
    check_instructions(problem)
    return None


_GOLD_CHECKS: dict[str, Callable[[Problem], str | None]] = {
    "number": _number_gold,
    "math": _math_gold,
    "choice": _choice_gold,
    "countdown": _countdown_gold,
    "reasoning_gym": _gym_gold,
    "code": _code_gold,
    "ifeval": _ifeval_gold,
}


def _short(text: str) -> str:
    text = plain(text)
    return repr(text if len(text) <= 60 else text[:57] + "...")
