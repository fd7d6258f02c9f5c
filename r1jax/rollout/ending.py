"""When a call of the engine may end although completions are unfinished."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from r1jax.rollout.requests import Request


class Ending(Protocol):
    """How far a call still is from its end, from what is unfinished."""

    def missing(self, left: Sequence[Request], waiting: bool) -> int:
        """Fewest of the completions `left` that must finish before the call may end; 0: now.

        `waiting` says whether some of them have not begun.
        """
        ...


@dataclass(frozen=True)
class AllBut:
    """All completions have begun, and all but `leave` are finished."""

    leave: int = 0

    def missing(self, left: Sequence[Request], waiting: bool) -> int:
        """As `Ending` says."""
        return len(left) if waiting else max(len(left) - self.leave, 0)


@dataclass(frozen=True)
class WholeGroups:
    """`wanted` groups are finished as a whole, those that are `due` among them."""

    owner: Sequence[int]  # the group of each prompt; a group may have several
    wanted: int
    due: frozenset[int] = frozenset()

    def missing(self, left: Sequence[Request], waiting: bool) -> int:
        """As `Ending` says: what the due groups lack, and the least that fills up the number."""
        lacking = Counter(self.owner[request.prompt] for request in left)
        whole = len(set(self.owner)) - len(lacking)
        due = [lacking.pop(group) for group in self.due if group in lacking]
        more = max(self.wanted - whole - len(due), 0)
        return sum(due) + sum(sorted(lacking.values())[:more])
