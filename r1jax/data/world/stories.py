"""Stories of the worded problems: question, goal and steps, English beside Chinese."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.data.world.words import Bilingual, table

_TEXTS = table("stories")
NAMES: tuple[Bilingual, ...] = _TEXTS["names"]
OBJECTS: tuple[tuple[str, str, str], ...] = _TEXTS["objects"]
"""English plural; Chinese with its measure word; Chinese alone."""
THINGS: tuple[Bilingual, ...] = tuple((english, bare) for english, _, bare in OBJECTS)
"""The same without the measure word."""


@dataclass(frozen=True)
class Story:
    """One kind of worded problem.

    `ranges` gives each number a, b, c, d its bounds, `steps` the solution as (left, operator,
    right) whose results are called x, y, z in turn, `big` the number that gains a digit in the
    harder set. Texts may name any of these, n and m (people), o and q (objects; in Chinese O and Q
    with the measure word).
    """

    name: str
    ranges: tuple[tuple[int, int], ...]
    steps: tuple[tuple[str, str, str], ...]
    big: str
    question: Bilingual
    goal: Bilingual
    says: tuple[Bilingual, ...]


STORIES = tuple(Story(**row) for row in _TEXTS["stories"])
