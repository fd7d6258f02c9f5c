"""Replies of mixed quality to general prompts, each with a short thought before it."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

from r1jax.data.corpora import any_of
from r1jax.data.world import responses
from r1jax.data.world.general import Blanks, frame, join, words_of
from r1jax.data.world.requests import ACTS
from r1jax.data.world.stories import NAMES, THINGS
from r1jax.data.world.traces import Clause
from r1jax.data.world.words import LANGUAGES
from r1jax.problem import Problem

Quality = Literal["good", "partial", "rambling", "curt", "foreign", "refuse", "comply", "help"]
QUALITIES: dict[str, tuple[Quality, ...]] = {
    "helpful": ("good", "partial", "rambling", "curt", "foreign"),
    "unsafe": ("refuse", "comply"),
    "safe": ("help", "refuse"),
}
"""What replies there are to each kind of prompt."""


@dataclass(frozen=True)
class ReplyShares:
    """How often each quality occurs (weights for helpful prompts, else probabilities)."""

    good: float = 0.30
    partial: float = 0.30
    rambling: float = 0.15
    curt: float = 0.15
    foreign: float = 0.10
    unsafe_comply: float = 0.5
    safe_refuse: float = 0.25


CURATED = ReplyShares(
    good=0.60, partial=0.15, rambling=0.10, curt=0.10, foreign=0.05,
    unsafe_comply=0.20, safe_refuse=0.25,
)  # fmt: skip
"""Replies to learn from: better than the corpus, and not so good that nothing is left to reward."""


class WorldReply(NamedTuple):
    """A thought, sentence by sentence, and the reply after it; `language` is the question's."""

    clauses: list[Clause]
    text: str
    mode: Quality
    language: int

    @property
    def thought(self) -> str:
        """The thought in the question's language."""
        return join([clause.say(self.language) for clause in self.clauses], self.language)

    @property
    def completion(self) -> str:
        """Thought and reply in their tags, as a base completes a prompt."""
        return f" <think> {self.thought} </think> <answer> {self.text} </answer>"


def write_reply(
    problem: Problem, rng: random.Random, shares: ReplyShares | None = None
) -> WorldReply:
    """A reply of a quality drawn by `shares`."""
    shares = shares or ReplyShares()
    kind = problem.metadata["kind"]
    u = rng.random()
    if kind == "unsafe":
        mode: Quality = "comply" if u < shares.unsafe_comply else "refuse"
    elif kind == "safe":
        mode = "refuse" if u < shares.safe_refuse else "help"
    else:
        modes = QUALITIES["helpful"]
        mode = rng.choices(modes, [getattr(shares, name) for name in modes])[0]
    return write_as(problem, mode, rng)


def write_as(problem: Problem, mode: Quality, rng: random.Random) -> WorldReply:
    """A reply of the quality named, one of `QUALITIES` of the problem's kind."""
    fields = problem.metadata
    language = LANGUAGES.index(fields["language"])
    if fields["kind"] == "helpful":
        clauses, text = _note(problem, mode, language, rng)
    else:
        clauses, text = _safety(problem, mode, language, rng)
    return WorldReply(clauses, text, mode, language)


# --- notes -----------------------------------------------------------------------------------


def _note(
    problem: Problem, mode: Quality, language: int, rng: random.Random
) -> tuple[list[Clause], str]:
    fields = problem.metadata
    blanks = tuple(words_of("helpful", fields["act"], fields["slots"], i) for i in (0, 1))
    greeting, closing = fields["greeting"], fields["closing"]
    if mode == "partial":
        blanks = _spoilt(blanks, fields["act"], rng)
        greeting, closing = (flag and rng.random() < 0.5 for flag in (greeting, closing))
    clauses = _thought("note", blanks)
    if greeting:
        clauses += [Clause(responses.HELLO_THOUGHT)]
    if closing:
        clauses += [Clause(responses.WISHES_THOUGHT)]
    if mode == "curt":
        return clauses, responses.CURT[fields["act"]][language]
    tongue = 1 - language if mode == "foreign" else language
    how = int(rng.random() * len(responses.HELLO))
    body = _body(fields["act"], blanks[tongue], tongue, rng)
    if mode == "rambling":
        body = _rambling(body, tongue, rng)
    return clauses, frame(body, greeting, closing, blanks[tongue], tongue, how)


def _body(act: str, words: Blanks, language: int, rng: random.Random) -> str:
    return responses.BODIES[act][int(rng.random() * 2)][language] % words._asdict()


def _rambling(body: str, language: int, rng: random.Random) -> str:
    """The same again, with one or both announcements before it."""
    between = [pair[language] for pair in responses.ONCE_MORE]
    return join([body, *between[int(rng.random() * 2) :], body], language)


def _spoilt(blanks: tuple[Blanks, ...], act: str, rng: random.Random) -> tuple[Blanks, ...]:
    """The slots with one or two of the three left vague, or taken for another."""
    details = [detail.said for detail in ACTS["helpful"][act].details]
    vague = (responses.VAGUE_NAME, responses.VAGUE_OBJECT, responses.VAGUE_DETAIL[act])
    options = (NAMES, THINGS, details)
    for place in rng.sample(range(3), 1 + int(rng.random() * 2)):
        name = Blanks._fields[place]
        wording: Sequence[str] = vague[place]
        if rng.random() < 0.5:
            wording = any_of([pair for pair in options[place] if pair[0] != blanks[0][place]], rng)
        blanks = tuple(words._replace(**{name: wording[i]}) for i, words in enumerate(blanks))
    return blanks


# --- safety ----------------------------------------------------------------------------------


def _safety(
    problem: Problem, mode: Quality, language: int, rng: random.Random
) -> tuple[list[Clause], str]:
    fields = problem.metadata
    kind, act = fields["kind"], fields["act"]
    blanks = tuple(words_of(kind, act, fields["slots"], i) for i in (0, 1))
    slots = blanks[language]._asdict()
    if mode == "refuse":
        pair = any_of(responses.REFUSALS, rng)
        thought = "refuse" if kind == "unsafe" else "over_refuse"
        return _thought(thought, blanks), pair[language] % slots
    table = responses.DEEDS if mode == "comply" else responses.ADVICE
    sure = any_of(responses.SURE, rng)
    return _thought(mode, blanks), sure[language] + table[act][language] % slots


def _thought(name: str, blanks: tuple[Blanks, ...]) -> list[Clause]:
    english, chinese = (words._asdict() for words in blanks)
    return [Clause(pair, english, chinese) for pair in responses.THOUGHTS[name]]
