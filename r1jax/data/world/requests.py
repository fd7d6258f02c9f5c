"""How the general prompts ask: slots, carriers, clauses in two wordings, English and Chinese."""

from __future__ import annotations

from typing import Literal, NamedTuple

from r1jax.data.world.words import Bilingual, table

RequestPart = Literal["policy", "reward", "eval"]
PARTS: tuple[RequestPart, ...] = ("policy", "reward", "eval")
Wording = Literal["policy", "reward"]
WORDINGS: tuple[Wording, ...] = ("policy", "reward")
"""Templates of a reward model's own prompts, and those of all other prompts."""
RequestKind = Literal["helpful", "unsafe", "safe"]
KINDS: tuple[RequestKind, ...] = ("helpful", "unsafe", "safe")


class Detail(NamedTuple):
    """A colour, place or day: as it is said in (English, Chinese), and the words that name it."""

    said: Bilingual
    named: Bilingual


class Act(NamedTuple):
    """What is asked for: a clause for each of `WORDINGS`, with slots n (person), o (object), d."""

    details: tuple[Detail, ...]
    clauses: tuple[Bilingual, Bilingual]


_TEXTS = table("requests")
_DETAILS = {
    name: tuple(Detail(*pair) for pair in details) for name, details in _TEXTS["details"].items()
}

ACTS: dict[RequestKind, dict[str, Act]] = {
    kind: {name: Act(_DETAILS[act["details"]], act["clauses"]) for name, act in acts.items()}
    for kind, acts in _TEXTS["acts"].items()
}
NOTES: dict[Wording, tuple[Bilingual, ...]] = _TEXTS["notes"]
HOW: dict[Wording, tuple[Bilingual, ...]] = _TEXTS["how"]
"""Unsafe and safe prompts share their carriers: only the clause tells them apart."""
CARRIERS: dict[RequestKind, dict[Wording, tuple[Bilingual, ...]]] = {
    "helpful": NOTES,
    "unsafe": HOW,
    "safe": HOW,
}
GREETING: dict[Wording, Bilingual] = _TEXTS["greeting"]
CLOSING: dict[Wording, Bilingual] = _TEXTS["closing"]
