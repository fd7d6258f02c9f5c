"""Rewrites a solution of the embedded world so that it reads well; sees question and source only.

What DeepSeek-V3 and annotators did for the cold start (paper, section 2.3.1), by rule: one
language, the question's; the first person; every step, doubt and check that the source has, in its
order; and the answer in its tags. Nothing is calculated that the source does not say: each equation
is taken over letter by letter. What cannot be told well is refused.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from r1jax.data.world.problems import word_slots
from r1jax.data.world.stories import NAMES, OBJECTS, STORIES, THINGS, Story
from r1jax.data.world.words import COUNTDOWN_QUESTIONS, Bilingual
from r1jax.problem import split_envelope
from r1jax.rewards.answers.extract import last
from r1jax.rewards.answers.wrapped import answer_tag
from r1jax.rewards.language import language_of

Role = Literal["step", "repair", "forgotten", "check", "miss", "hit"]

FIRST: Bilingual = ("First I have %s.", "先算%s。")
THEN: Bilingual = ("Then I have %s.", "再算%s。")
TRY: Bilingual = ("I try %s no,", "我试试%s不对，")
MISS: Bilingual = ("%s no,", "%s不对，")
TRY_HIT: Bilingual = ("I try %s yes.", "我试试%s对了。")
HIT: Bilingual = ("%s yes.", "%s对了。")
REPAIR: Bilingual = ("Wait, I was wrong: %s.", "等等，我算错了：%s。")
FORGOTTEN: Bilingual = ("Wait, I forgot one step: %s.", "等等，我忘了一步：%s。")
CHECK: Bilingual = ("I check: %s, good.", "我检查：%s，没错。")
FALSE_HIT: Bilingual = ("Wait, %s no,", "等等，%s不对，")
CLOSING: Bilingual = ("So the answer is %s.", "所以我的答案是%s。")

_EQUATION = re.compile(
    r"(?<![0-9+*=.-])([0-9]{1,6}(?:[-+*][0-9]{1,6}){1,8})=(-?[0-9]{1,9})(?![0-9+*=-])"
)
_SLOT_EQUATION = re.compile(r"%\(\w\)d[-+*]%\(\w\)d=%\(\w\)d")
_SLOT = re.compile(r"%\((\w)\)([ds])")
_CUES: tuple[tuple[Role, re.Pattern[str]], ...] = (
    ("forgotten", re.compile(r"missing|forgot|还差|忘了")),
    ("check", re.compile(r"check|verify|检查|验证", re.IGNORECASE)),
    ("repair", re.compile(r"wait|wrong|mistake|等等|错了|有误", re.IGNORECASE)),
)
_MISSED, _FOUND = re.compile(r"\s*,?\s*(?:no\b|不对)"), re.compile(r"\s*,?\s*(?:yes\b|对了)")


@dataclass(frozen=True)
class Equation:
    """One equation of the source: its text, both sides, and what the words around make of it."""

    text: str
    left: str
    value: int
    role: Role
    doubted: bool = False  # a trial that the source takes back

    @property
    def true(self) -> bool:
        """Whether both sides are equal."""
        return value_of(self.left) == self.value


def rewrite(question: str, source: str) -> str | None:
    """The solution in `source`, readable; None where it holds none that follows from its steps.

    Refused are: no equation; an answer that the last step does not state; a wrong step of a chain
    that is not put right. Left out are wrong or repeated trials and checks that do not hold.
    """
    language = int(language_of(question) == "zh")
    target = countdown_target(question)
    answer = answer_tag(source) or last(source, "number" if target is None else "expression")
    if not answer:
        return None
    parsed = equations(split_envelope(source)[0] or source)
    steps = _chain(parsed) if target is None else _search(parsed, target)
    if not steps:
        return None
    conclusion = next(e for e in reversed(steps) if e.role != "check")
    if answer.replace(" ", "") != (str(conclusion.value) if target is None else conclusion.left):
        return None
    sentences = (
        tell_chain(question, steps, language) if target is None else tell_search(steps, language)
    )
    thought = ("" if language else " ").join([*sentences, CLOSING[language] % answer])
    return f"<think> {thought} </think> <answer> {answer} </answer>"


def equations(text: str) -> list[Equation]:
    """The equations of a text in their order, each with the role its surroundings give it."""
    matches = list(_EQUATION.finditer(text))
    ends = [0, *(match.end() for match in matches)]
    starts = [*(match.start() for match in matches), len(text)]
    result = []
    for i, match in enumerate(matches):
        before, after = text[ends[i] : match.start()], text[match.end() : starts[i + 1]]
        role: Role = next((name for name, cue in _CUES if cue.search(before)), "step")
        if role in ("step", "repair") and _MISSED.match(after):
            role = "miss"
        elif role in ("step", "repair") and _FOUND.match(after):
            role = "hit"
        result.append(Equation(match.group(), match[1], int(match[2]), role))
    return result


def value_of(expression: str) -> int:
    """Value of whole numbers joined by + - *, without brackets."""
    total = 0
    for sign, product in re.findall(r"([+-]?)([0-9*]+)", expression):
        value = 1
        for factor in product.split("*"):
            value *= int(factor)
        total += -value if sign == "-" else value
    return total


def countdown_target(question: str) -> int | None:
    """The target that a countdown's question names; None for any other question."""
    for pattern in _COUNTDOWNS:
        if match := pattern.fullmatch(question):
            return int(match["target"])
    return None


# --- chains: sums and worded problems --------------------------------------------------------


def _chain(parsed: Sequence[Equation]) -> list[Equation]:
    """The steps of a chain that can be told; empty where a wrong one is never put right."""
    kept: list[Equation] = []
    for i, equation in enumerate(parsed):
        later = parsed[i + 1] if i + 1 < len(parsed) else None
        repaired = later is not None and later.role == "repair" and later.left == equation.left
        if equation.role == "check":
            if equation.true and kept:
                kept.append(equation)
        elif equation.true:
            again = kept and kept[-1].text == equation.text
            # Putting right what was not wrong is a second look at it.
            role: Role = "check" if again else "step" if equation.role in ("miss", "hit") else (
                equation.role
            )  # fmt: skip
            kept.append(replace(equation, role=role))
        elif repaired and later.true:
            kept.append(equation)
        else:
            return []
    return kept if any(e.role != "check" for e in kept) else []


def tell_chain(question: str, steps: Sequence[Equation], language: int) -> list[str]:
    """One sentence for each step: in the words of the question's story where it is one."""
    story = read_story(question, language)
    sentences = [_first_person(story.goal, language)] if story else []
    done = 0
    for i, equation in enumerate(steps):
        slip = i > 0 and not steps[i - 1].true
        if equation.role == "step" or (equation.role == "repair" and not slip):
            sentence = story.say(done, equation) if story else None
            sentences.append(sentence or (THEN if done else FIRST)[language] % equation.text)
            done += 1
        else:
            wording = {"repair": REPAIR, "forgotten": FORGOTTEN, "check": CHECK}[equation.role]
            sentences.append(wording[language] % equation.text)
    return sentences


def _first_person(goal: str, language: int) -> str:
    return f"我{goal}" if language else goal.replace("We want", "I want", 1)


@dataclass(frozen=True)
class Told:
    """A worded problem's story with its names put in: the goal, and a sentence for each step."""

    goal: str
    says: tuple[str, ...]  # with %s where the equation stands
    operators: tuple[str, ...]

    def say(self, place: int, equation: Equation) -> str | None:
        """The sentence of step `place`, None where the story has none with this operator."""
        if place >= len(self.says) or re.sub("[0-9]", "", equation.left) != self.operators[place]:
            return None
        return self.says[place].replace("%s", equation.text)


def read_story(question: str, language: int) -> Told | None:
    """The story that a question tells, None where it is no worded problem of the world."""
    matches = ((p.fullmatch(question), story) for p, story in _STORIES[language])
    match, story = next(((m, s) for m, s in matches if m), (None, None))
    if match is None or story is None:
        return None
    values = {name: int(match[name]) for name in match.groupdict() if name in "abcd"}
    people = [pair[language] for pair in NAMES]
    place = dict.fromkeys("nmoq", 0)
    for name, text in match.groupdict().items():
        if name in "nm":
            place[name] = people.index(text)
        elif name in "oqOQ":
            place[name.lower()] = next(i for i, thing in enumerate(OBJECTS) if text in thing)
    slots = tuple(place[name] for name in "nmoq")
    filling = word_slots({"slots": slots, "values": values})[language]
    says = [_SLOT_EQUATION.sub("%%s", pair[language]) % filling for pair in story.says]
    operators = tuple(operator for _, operator, _ in story.steps)
    return Told(story.goal[language] % filling, tuple(says), operators)


# --- countdowns ------------------------------------------------------------------------------


def _search(parsed: Sequence[Equation], target: int) -> list[Equation]:
    """The trials of a search that can be told, up to the hit; empty where there is none."""
    hits = [
        i
        for i, e in enumerate(parsed)
        if e.true and e.value == target and e.role not in ("check", "miss")
    ]
    if not hits:
        return []
    kept: list[Equation] = []
    for equation, later in zip(parsed[: hits[-1]], parsed[1:], strict=False):
        taken_back = later.role == "miss" and later.true and later.left == equation.left
        new = equation.text not in {e.text for e in kept}
        if equation.role == "hit" and taken_back:
            kept.append(replace(equation, doubted=True))
        elif equation.role == "miss" and equation.true and new and equation.value != target:
            kept.append(equation)
    checks = [e for e in parsed[hits[-1] + 1 :] if e.role == "check" and e.true]
    return [*kept, replace(parsed[hits[-1]], role="hit"), *checks[:1]]


def tell_search(steps: Sequence[Equation], language: int) -> list[str]:
    """One sentence for each trial and check."""
    sentences = []
    for i, equation in enumerate(steps):
        if equation.role == "check":
            pair = CHECK
        elif i and steps[i - 1].doubted:
            pair = FALSE_HIT
        elif equation.role == "hit":
            pair = HIT if i else TRY_HIT
        else:
            pair = MISS if i else TRY
        sentences.append(pair[language] % equation.text)
    return sentences


# --- questions, read backwards ---------------------------------------------------------------


def _pattern(text: str, groups: dict[str, str]) -> re.Pattern[str]:
    """A wording with slots as a pattern with groups; a slot that comes again must read the same."""
    parts, seen, at = [], set(), 0
    for slot in _SLOT.finditer(text):
        name = slot[1]
        parts.append(re.escape(text[at : slot.start()]))
        parts.append(f"(?P={name})" if name in seen else f"(?P<{name}>{groups[name]})")
        seen.add(name)
        at = slot.end()
    return re.compile("".join(parts) + re.escape(text[at:]))


def _story_patterns(language: int) -> list[tuple[re.Pattern[str], Story]]:
    either = lambda items: "|".join(map(re.escape, items))  # noqa: E731
    name = either(pair[language] for pair in NAMES)
    plain = either(thing[language] for thing in THINGS)
    counted = either(thing[1] for thing in OBJECTS)
    groups: dict[str, Any] = dict.fromkeys("abcdxyz", "[0-9]+")
    groups |= {"n": name, "m": name, "o": plain, "q": plain, "O": counted, "Q": counted}
    return [(_pattern(story.question[language], groups), story) for story in STORIES]


_STORIES = tuple(_story_patterns(language) for language in (0, 1))
_COUNTDOWNS = tuple(
    re.compile(
        re.escape(wording)
        .replace(re.escape("%(numbers)s"), "[0-9、, ]+")
        .replace(re.escape("%(target)d"), "(?P<target>[0-9]+)")
    )
    for pair in COUNTDOWN_QUESTIONS
    for wording in pair
)
