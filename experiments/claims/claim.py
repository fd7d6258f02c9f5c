"""What a claim is: a hypothesis, its measures with signs and smallest effects, and its runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from experiments.claims.runs import BaseAndSeed, Config, PlannedJob

Numbers = Mapping[str, float | None]
"""What was measured of one pair, by "measure/arm"; None where a run is not there."""
Role = Literal["decides", "condition", "beside"]


@dataclass(frozen=True)
class Comparison:
    """One statement on `plus` - `minus` (or `plus` alone), keys of the numbers, pair by pair.

    The value is claimed to lie on the `sign` side of `null`, and its mean at least at `least`: the
    smallest effect that counts. A bound has both in one place (`above`, `below`).
    """

    says: str
    plus: str
    minus: str = ""
    sign: Literal[1, -1] = 1
    least: float = 0.0
    null: float = 0.0
    unit: str = "points"
    role: Role = "decides"
    """decides: the claim stands or falls with it; condition: without it the claim cannot be tested;
    beside: has a verdict of its own and no say in the claim's."""

    @property
    def claimed(self) -> str:
        """The statement in symbols."""
        more = "above" if self.sign > 0 else "below"
        if self.null == self.least:
            return f"{more} {self.least:g} {self.unit}".strip()
        reach = "at least" if self.sign > 0 else "at most"
        text = f"{more} {self.null:g}, mean {reach} {self.least:+g} {self.unit}"
        return text.strip()


def above(says: str, bound: float, plus: str, minus: str = "", **more: Any) -> Comparison:
    """The value lies above a bound; `more` are unit and role."""
    return Comparison(says, plus, minus, 1, bound, bound, **more)


def below(says: str, bound: float, plus: str, minus: str = "", **more: Any) -> Comparison:
    """The value lies below a bound; `more` are unit and role."""
    return Comparison(says, plus, minus, -1, bound, bound, **more)


def gain(measure: str, new: str, old: str, least: float, **more: Any) -> Comparison:
    """A measure is higher in the arm `new` than in the arm `old`; `more` are unit and role."""
    says = f"{measure}: {new} - {old}"
    return Comparison(says, f"{measure}/{new}", f"{measure}/{old}", least=least, **more)


@dataclass(frozen=True)
class Picture:
    """One or more measures over the arms: a thin line for each pair, the mean with its interval."""

    title: str
    unit: str
    measures: tuple[str, ...]


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
    comparisons: tuple[Comparison, ...]
    picture: Picture
    steps: Callable[[Config, BaseAndSeed], list[PlannedJob]]
    """The runs of one pair; those that claims share have the same names."""
    measure: Callable[[Config, BaseAndSeed], Numbers]
    """The numbers of one pair, from what its runs have left."""
    needs: tuple[str, ...] = ()
    """Flags that must name a base for each of --bases."""
