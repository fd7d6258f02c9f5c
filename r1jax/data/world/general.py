"""General and safety prompts of the embedded world: random access by index, three disjoint parts.

`helpful` asks for a short note that must hold certain elements, `unsafe` for a misdeed that is to
be refused, `safe` shares the words of an unsafe one and is fine. The part of a problem (policy,
reward, eval) follows from person and object alone, so that no pair of these in one part occurs in
another. A reward model's own prompts are worded in templates that occur nowhere else.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from r1jax.data.corpora import any_of
from r1jax.data.world.problems import Language, keys_once, require, turn
from r1jax.data.world.requests import (
    ACTS,
    CARRIERS,
    CLOSING,
    GREETING,
    KINDS,
    PARTS,
    WORDINGS,
    RequestKind,
    RequestPart,
    Wording,
)
from r1jax.data.world.responses import ADVICE, BODIES, HELLO, REFUSALS, WISHES
from r1jax.data.world.stories import NAMES, OBJECTS, THINGS
from r1jax.data.world.words import LANGUAGES
from r1jax.errors import UserError
from r1jax.problem import Problem

_PARTS_OF_TEN: tuple[RequestPart, ...] = ("eval", *["reward"] * 3, *["policy"] * 6)


class Blanks(NamedTuple):
    """What fills a text in one language: person, object, detail."""

    n: str
    o: str
    d: str


def part_of(name: int, item: int) -> RequestPart:
    """The part that a person and an object belong to, by their numbers; nothing else decides it."""
    key = f"people|{NAMES[name][0]}|{OBJECTS[item][0]}"
    return _PARTS_OF_TEN[int(hashlib.sha256(key.encode()).hexdigest(), 16) % 10]


@cache
def pairs_of(part: RequestPart) -> tuple[tuple[int, int], ...]:
    """Numbers of the persons and objects of a part, in order."""
    every = ((n, o) for n in range(len(NAMES)) for o in range(len(OBJECTS)))
    return tuple(pair for pair in every if part_of(*pair) == part)


def words_of(kind: RequestKind, act: str, slots: tuple[int, int, int], language: int) -> Blanks:
    """The words for slot numbers (person, object, detail) in language 0 (en) or 1 (zh)."""
    n, o, d = slots
    detail = ACTS[kind][act].details[d].said[language]
    return Blanks(NAMES[n][language], THINGS[o][language], detail)


def join(parts: Sequence[str], language: int) -> str:
    """Sentences in a row: with spaces in English, without in Chinese."""
    return ("" if language else " ").join(parts)


def draw_general(
    rng: random.Random, kind: RequestKind, language: int, part: RequestPart
) -> Problem:
    """One prompt from a fresh generator."""
    acts = ACTS[kind]
    act = any_of(list(acts), rng)
    n, o = any_of(pairs_of(part), rng)
    slots = n, o, int(rng.random() * len(acts[act].details))
    wording: Wording = "reward" if part == "reward" else "policy"
    carrier = any_of(CARRIERS[kind][wording], rng)[language]
    greeting, closing = (kind == "helpful" and rng.random() < 0.5 for _ in range(2))
    words = words_of(kind, act, slots, language)
    clause = acts[act].clauses[WORDINGS.index(wording)][language] % words._asdict()
    question = carrier % clause
    question += GREETING[wording][language] if greeting else ""
    question += CLOSING[wording][language] if closing else ""
    key = f"{kind}|{act}|{'|'.join(words_of(kind, act, slots, 0))}"
    fields = {
        "kind": kind,
        "family": kind,
        "language": LANGUAGES[language],
        "key": key,
        "part": part,
        "judge": "helpfulness" if kind == "helpful" else "safety",
        "act": act,
        "slots": slots,
        "greeting": greeting,
        "closing": closing,
    }
    digest = hashlib.sha256(question.encode()).hexdigest()[:8]
    return Problem(
        id=f"{key}|{LANGUAGES[language]}|{digest}",
        question=question,
        answer=_reference(fields, words, language),
        grader="none",
        metadata=fields,
    )


def _reference(fields: dict[str, Any], words: Blanks, language: int) -> str:
    """A reply that does all that is asked."""
    slots = words._asdict()
    if fields["kind"] != "helpful":
        texts = REFUSALS[0] if fields["kind"] == "unsafe" else ADVICE[fields["act"]]
        return texts[language] % slots
    body = BODIES[fields["act"]][0][language] % slots
    return frame(body, fields["greeting"], fields["closing"], words, language)


def frame(
    body: str, greeting: bool, closing: bool, words: Blanks, language: int, how: int = 0
) -> str:
    """A note with a greeting before it and wishes after it, where they are wanted."""
    hello = [HELLO[how][language] % words._asdict()] if greeting else []
    return join([*hello, body, *([WISHES[language]] if closing else [])], language)


def generate_general(
    kinds: Sequence[RequestKind] = KINDS,
    *,
    part: RequestPart = "policy",
    language: Language = "both",
    seed: int = 0,
    index: int = 0,
) -> Problem:
    """Prompt `index` of stream `seed`: a pure function, as `problems.generate` is.

    Kinds take turns by index, and so do the languages of `both`. Raises UserError for an unknown
    name.
    """
    require("kind", kinds, KINDS)
    require("part", (part,), PARTS)
    kind, spoken = turn(index, kinds, language)
    return draw_general(random.Random(f"general {part} {seed} {index}"), kind, spoken, part)


def distinct_general(
    count: int,
    kinds: Sequence[RequestKind] = KINDS,
    *,
    part: RequestPart = "eval",
    language: Language = "both",
    seed: int = 0,
) -> list[Problem]:
    """The first `count` prompts of a stream with no canonical key twice, balanced like the stream.

    Raises UserError where there are not so many.
    """
    options = {"part": part, "language": language, "seed": seed}
    make = lambda index: generate_general(kinds, index=index, **options)  # noqa: E731
    problems = keys_once(count, len(kinds), make)
    if len(problems) < count:
        raise UserError(
            f"count {count}: {len(problems)} distinct {part} prompts were found; ask for fewer"
        )
    return problems
