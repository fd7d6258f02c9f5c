"""Problems of the embedded world: random access by index, split by a canonical key."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Any, Literal

from r1jax.data.corpora import any_of
from r1jax.data.problems.generated import held_out
from r1jax.data.world.countdown import Step, apply, draw_countdown
from r1jax.data.world.keys import sum_key, word_key
from r1jax.data.world.stories import NAMES, OBJECTS, STORIES, Story
from r1jax.data.world.words import COUNTDOWN_QUESTIONS, LANGUAGES, SUM_QUESTIONS
from r1jax.errors import UserError
from r1jax.problem import Problem

FAMILIES = ("sum", "countdown", "word")
Split = Literal["train", "eval"]
Language = Literal["en", "zh", "both"]
SUM_LIMIT = 199  # every partial sum lies in 0..SUM_LIMIT: steps a tiny model can carry out


# --- sums ------------------------------------------------------------------------------------


def sum_steps(terms: Sequence[int]) -> list[Step]:
    """Left-to-right steps of a sum of signed terms."""
    steps, total = [], terms[0]
    for term in terms[1:]:
        operator = "-" if term < 0 else "+"
        steps.append((total, operator, abs(term), total + term))
        total += term
    return steps


def _draw_sum(rng: random.Random, harder: bool) -> tuple[str, dict[str, Any]]:
    u = rng.random()
    count = 6 if harder else 3 if u < 0.45 else 4 if u < 0.8 else 5
    terms = [10 + int(rng.random() * 90)]
    total = terms[0]
    for _ in range(count - 1):
        term = 10 + int(rng.random() * 90)
        down = rng.random() < 0.4
        if total + (-term if down else term) not in range(SUM_LIMIT + 1):
            down = not down
        terms.append(-term if down else term)
        total += terms[-1]
    return sum_key(terms, total), {"numbers": tuple(terms), "target": total, "steps": count - 1}


def _sum_question(numbers: Sequence[int]) -> str:
    return str(numbers[0]) + "".join(f"{n:+d}" for n in numbers[1:])


# --- worded problems -------------------------------------------------------------------------


def word_steps(story: Story, values: dict[str, int]) -> list[Step]:
    """The solution of a worded problem with its numbers put in."""
    return [
        (values[left], operator, values[right], values["xyz"[i]])
        for i, (left, operator, right) in enumerate(story.steps)
    ]


def _draw_word(rng: random.Random, harder: bool) -> tuple[str, dict[str, Any]]:
    number = int(rng.random() * len(STORIES))
    story = STORIES[number]
    while True:
        values = {
            name: low + int(rng.random() * (high - low + 1))
            for name, (low, high) in zip("abcd", story.ranges, strict=False)
        }
        if harder:
            values[story.big] = 100 + int(rng.random() * 200)
        for name, (left, operator, right) in zip("xyz", story.steps, strict=False):
            values[name] = apply(values[left], operator, values[right])
        if min(values.values()) > 0:
            break
    target = values["xyz"[len(story.steps) - 1]]
    n, o = int(rng.random() * len(NAMES)), int(rng.random() * len(OBJECTS))
    m = (n + 1 + int(rng.random() * (len(NAMES) - 1))) % len(NAMES)
    q = (o + 1 + int(rng.random() * (len(OBJECTS) - 1))) % len(OBJECTS)
    return word_key(story, values), {
        "numbers": tuple(values[name] for name in "abcd" if name in values),
        "target": target,
        "steps": len(story.steps),
        "story": story.name,
        "story_number": number,
        "slots": (n, m, o, q),
        "values": values,
    }


def word_slots(metadata: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What fills a story's texts, for (English, Chinese)."""
    n, m, o, q = metadata["slots"]
    (plural, counted, bare), (plural_q, counted_q, bare_q) = OBJECTS[o], OBJECTS[q]
    english = {"n": NAMES[n][0], "m": NAMES[m][0], "o": plural, "q": plural_q}
    chinese = {"n": NAMES[n][1], "m": NAMES[m][1], "o": bare, "q": bare_q}
    chinese |= {"O": counted, "Q": counted_q}
    return english | metadata["values"], chinese | metadata["values"]


# --- random access ---------------------------------------------------------------------------

_DRAW = {"sum": _draw_sum, "countdown": draw_countdown, "word": _draw_word}


def draw(
    rng: random.Random, family: str, language: int, split: Split = "train", harder: bool = False
) -> Problem:
    """Draws problems of `family` from `rng` until one falls into `split`."""
    evaluation = split == "eval"
    while True:
        key, fields = _DRAW[family](rng, harder)
        if held_out(key) == evaluation:
            break
    question = _ask(rng, family, language, fields)
    name = LANGUAGES[language]
    digest = hashlib.sha256(question.encode()).hexdigest()[:8]
    fields |= {"family": family, "language": name, "key": key, "harder": harder}
    return Problem(
        id=f"{key}|{name}|{digest}{'|harder' if harder else ''}",
        question=question,
        answer=fields["expression"] if family == "countdown" else str(fields["target"]),
        grader="countdown" if family == "countdown" else "number",
        metadata=fields,
    )


def _ask(rng: random.Random, family: str, language: int, fields: dict[str, Any]) -> str:
    if family == "word":
        return STORIES[fields["story_number"]].question[language] % word_slots(fields)[language]
    if family == "sum":
        return any_of(SUM_QUESTIONS, rng)[language] % _sum_question(fields["numbers"])
    pair = any_of(COUNTDOWN_QUESTIONS, rng)
    numbers = (", ", "、")[language].join(map(str, fields["numbers"]))
    return pair[language] % {"numbers": numbers, "target": fields["target"]}


def generate(
    families: Sequence[str] = FAMILIES,
    *,
    split: Split = "train",
    language: Language = "both",
    seed: int = 0,
    index: int = 0,
    harder: bool = False,
) -> Problem:
    """Problem `index` of stream `seed`: a pure function, so an iterator's state is one integer.

    Families take turns by index, and so do the languages of `both`: any run of
    `2 * len(families)` indices is balanced. `harder` problems have one more operand (sum,
    countdown) or digit (word) than anything in the corpus. Raises UserError for an unknown name.
    """
    require("family", families, FAMILIES)
    require("split", (split,), ("train", "eval"))
    family, spoken = turn(index, families, language)
    rng = random.Random(((seed * 2 + (split == "eval")) * 2 + harder) << 48 | index)
    return draw(rng, family, spoken, split, harder)


def distinct(
    count: int,
    families: Sequence[str] = FAMILIES,
    *,
    split: Split = "eval",
    language: Language = "both",
    seed: int = 0,
    harder: bool = False,
) -> list[Problem]:
    """The first `count` problems of a stream with no canonical key twice: an evaluation set.

    Each position keeps its family and language, so the set is balanced like the stream.
    """
    options = {"split": split, "language": language, "seed": seed, "harder": harder}
    make = lambda index: generate(families, index=index, **options)  # noqa: E731
    problems = keys_once(count, len(families), make)
    if len(problems) < count:
        raise UserError(
            f"count: fewer than {len(problems) + 1} distinct {split} problems; ask for fewer"
        )
    return problems


def turn(index: int, names: Sequence[str], language: Language) -> tuple[str, int]:
    """(name, language as 0 or 1) of place `index`: names take turns, and the languages of both."""
    require("language", (language,), (*LANGUAGES, "both"))
    turns, place = divmod(index, len(names))
    return names[place], turns % 2 if language == "both" else LANGUAGES.index(language)


def keys_once(count: int, names: int, make: Callable[[int], Problem]) -> list[Problem]:
    """`make(index)` for `count` places, no canonical key twice; ends where none is found.

    Where a key was there before, a place asks on at far indices of its own name and language, of
    `names` names.
    """
    problems: dict[str, Problem] = {}
    for place in range(count):
        candidates = (make(place + attempt * 2 * names * 1_000_000) for attempt in range(1000))
        fresh = next((p for p in candidates if p.metadata["key"] not in problems), None)
        if fresh is None:
            break
        problems[fresh.metadata["key"]] = fresh
    return list(problems.values())


def require(what: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raises UserError for a name that is not known, and for none at all."""
    for name in names or ("",):
        if name not in known:
            raise UserError(f"{what} {name!r} does not exist; choose from {', '.join(known)}")
