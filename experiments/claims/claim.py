"""What a claim is: its primary lines with signs and least effects, its conditions, its runs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from experiments.claims.trial import BaseAndSeed, Study
    from experiments.gates.study import PlannedJob

Number = float | Sequence[float] | None
"""A number; or one for each held-out problem, in their order; None where it is not there."""
Numbers = Mapping[str, Number]
"""What was measured of one base with one seed, by "measure/arm"."""
Over = Literal["mean", "median"]


@dataclass(frozen=True)
class ClaimLine:
    """One statement on `plus` - `minus` (or `plus` alone), keys of the numbers, pair by pair.

    The value is claimed to lie on the `sign` side of `null`, and its mean at least at `least`: the
    smallest effect that counts. A bound has both in one place (`above`, `below`); with `within` it
    is claimed to be no further from 0 than that, either way: such lines stand for their claim
    together, which is supported where all are.
    """

    says: str
    plus: str
    minus: str = ""
    sign: Literal[1, -1] = 1
    least: float = 0.0
    null: float = 0.0
    within: float = 0.0
    unit: str = "points"

    @property
    def claimed(self) -> str:
        """The statement in symbols."""
        if self.within:
            return f"within +-{self.within:g} {self.unit}".strip()
        more = "above" if self.sign > 0 else "below"
        if self.null == self.least:
            return f"{more} {self.least:g} {self.unit}".strip()
        reach = "at least" if self.sign > 0 else "at most"
        return f"{more} {self.null:g}, {reach} {self.least:+g} {self.unit}".strip()

    @property
    def arms(self) -> tuple[str, ...]:
        """The arms that it speaks of."""
        return tuple(key.rpartition("/")[2] for key in (self.plus, self.minus) if key)


def above(says: str, bound: float, plus: str, minus: str = "", unit: str = "points") -> ClaimLine:
    """The value lies above a bound."""
    return ClaimLine(says, plus, minus, 1, bound, bound, unit=unit)


def below(says: str, bound: float, plus: str, minus: str = "", unit: str = "points") -> ClaimLine:
    """The value lies below a bound."""
    return ClaimLine(says, plus, minus, -1, bound, bound, unit=unit)


def gain(measure: str, new: str, old: str, least: float, unit: str = "points") -> ClaimLine:
    """A measure is higher in the arm `new` than in the arm `old`."""
    says = f"{measure}: {new} - {old}"
    return ClaimLine(says, f"{measure}/{new}", f"{measure}/{old}", least=least, unit=unit)


@dataclass(frozen=True)
class Condition:
    """A number (`plus`, or `plus` - `minus`) whose mean has to lie between two bounds.

    With `each` that of every base has to. `lines` says of which lines it is one; empty: of all.
    """

    says: str
    plus: str
    minus: str = ""
    low: float = -math.inf
    high: float = math.inf
    each: bool = False
    lines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """One or more measures over the arms: a thin line for each base, the mean with its interval."""

    title: str
    unit: str
    measures: tuple[str, ...]


Steps = list["PlannedJob"]


@dataclass(frozen=True)
class Arm:
    """What is done to a base, at a rate that is chosen for it on the selection set."""

    name: str
    steps: Callable[[Any], Steps]
    """The runs of a trial; none where something of it is not known yet."""


@dataclass(frozen=True)
class Claim:
    """A claim of the paper, or of those who doubt it, as it is tested here."""

    letter: str
    title: str
    source: str
    """Where it is said, and what was found there."""
    hypothesis: str
    """One sentence."""
    protocol: str
    """What is run and how it is measured."""
    lines: tuple[ClaimLine, ...]
    """What is judged, under Holm where there are several (of lines `within` a margin, what lies
    beyond it); empty: only reported."""
    picture: Picture
    steps: Callable[[Study], Steps]
    """Its runs, as far as what is known says which they are."""
    measure: Callable[[Study, BaseAndSeed], Numbers]
    """The numbers of a base with a seed, from the lines of its runs."""
    beside: tuple[ClaimLine, ...] = ()
    """What is estimated without a verdict."""
    conditions: tuple[Condition, ...] = ()
    """Without which the claim cannot be tested."""
    minutes: int = 0
    """Of one H200, reckoned, where all runs of its command are to be made."""
    jobs: int = 14
    """Runs that share the device."""
    seeds: int = 0
    """Seeds on each base; 0: as many as the study has."""
    over: Over = "mean"
    """What of a base's seeds stands for the base."""
    one_base: bool = False
    """All runs are on one base: the units are seeds."""
