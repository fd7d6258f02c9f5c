"""Which request holds which slot, which wait, and when the shape changes; no device is asked."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from r1jax.rollout.ending import AllBut, Ending
from r1jax.rollout.ladder import EngineConfig, Shape, widths
from r1jax.rollout.requests import Drawn, Request


@dataclass
class Prefill:
    """What is prefilled in one call, padded to `width`, and who goes on from it in which slot."""

    width: int
    prefixes: list[np.ndarray] = field(default_factory=list)
    entering: list[tuple[int, int, Request]] = field(default_factory=list)  # (row, slot, request)


class Schedule:
    """The host's book of one `generate` call.

    Generation climbs the ladder and never descends. A request whose text fills its slot waits for
    the next shape: where that has as many slots, all go there at once; where it has fewer, the
    request gives up its slot (its tokens are kept, and prefilled when it is taken up again) until
    nothing else waits and what is left fits, so that short completions never pay for long ones.
    Once what is left fits the last and smallest shape, it is finished there. The `ending` says when
    requests need not be finished at all. One that comes with more text than the first shape holds
    waits from the beginning.

    A round of `Engine.advance` asks `target` (then `climb`) and `refill`; the device decodes up to
    `enough_free`, and ends texts at their stop tokens and limits without asking; then `see`,
    `release` and `park` book what it left, and `rest` says whether the call is over.
    """

    def __init__(
        self,
        config: EngineConfig,
        shapes: Sequence[Shape],
        groups: Iterable[list[Request]],
        ending: Ending | None = None,
    ) -> None:
        # The rung is the index of the shape in use.
        self._config, self._shapes, self._rung = config, tuple(shapes), 0
        self._widths = widths(config, self._shapes)
        groups = list(groups)
        self._widest = max(map(len, groups), default=1)  # requests of the largest group
        self._ending = ending or AllBut()
        # Groups share one prefix each: those that wait for free slots, first come first, and those
        # that are parked, since only the longer slots of a later shape hold them.
        self._waiting: deque[list[Request]] = deque()
        self._parked: list[list[Request]] = []
        self._line_up(groups)
        # Who holds each slot, by its row on the device; None: it is free.
        self._owner: list[Request | None] = [None] * self.shape.slots

    @property
    def shape(self) -> Shape:
        """The shape in use."""
        return self._shapes[self._rung]

    @property
    def unfinished(self) -> bool:
        """Whether any request holds a slot or waits."""
        return bool(self._waiting or self._parked or self.held())

    def held(self) -> list[tuple[int, Request]]:
        """(slot, request) of every occupied slot."""
        return [(slot, request) for slot, request in enumerate(self._owner) if request is not None]

    def full(self) -> list[tuple[int, Request]]:
        """(slot, request) where the text fills the slot."""
        return [(slot, r) for slot, r in self.held() if r.length >= self.shape.length]

    def enough_free(self) -> int:
        """Free slots at which decoding pauses: room for the next group, or for another shape."""
        # The device stops at this number by itself, so that the host need not look at every step.
        slots, parked = self.shape.slots, len(self._parked)
        until_end = self._owner.count(None) + self._missing()
        if self._waiting:
            # A prefill costs the same for few as for many, so it waits for a share of the slots.
            room = max(int(slots * self._config.refill), len(self._waiting[0]), 1)
            return min(room, until_end)
        # Nothing waits: the least at which `target` changes the shape; slots + 1 is never reached.
        last = slots - self._shapes[-1].slots + parked if self._spares() else slots + 1
        if parked:
            last = min(last, slots - self._shapes[self._rung + 1].slots)
        return min(last, until_end)

    def rows(self, width: int) -> int:
        """Prefixes per prefill of a width: `prefill`, fewer where they exceed the prompts' size."""
        # Rows x width, and so memory, stays that of a call of prompts, as far as one row allows.
        config = self._config
        return max(1, min(config.prefill, config.prefill * config.max_prompt // width))

    def entries(self, width: int) -> int:
        """Most requests that one prefill of a width lets in."""
        return min(self.shape.slots, self.rows(width) * self._widest)

    def refill(self) -> list[Prefill]:
        """Gives free slots to waiting groups while the first in line fits; what is to be prefilled.

        The first in line brings those of its width with it, since a prefill costs the same however
        many of its rows are filled.
        """
        free = deque(slot for slot, request in enumerate(self._owner) if request is None)
        calls = []
        while self._waiting and len(self._waiting[0]) <= len(free):
            calls.append(self._prefill(free))
        return calls

    def _prefill(self, free: deque[int]) -> Prefill:
        """The next prefill; takes its groups from the line and their slots from the `free` ones."""
        call, passed = Prefill(self._width(self._waiting[0])), []
        while self._waiting and free and len(call.prefixes) < self.rows(call.width):
            group = self._waiting.popleft()
            # A group enters whole, since its samples go on from one row; or it keeps its place.
            if len(group) > len(free) or self._width(group) != call.width:
                passed.append(group)
                continue
            for request in group:
                slot = free.popleft()
                self._owner[slot] = request
                call.entering.append((len(call.prefixes), slot, request))
            call.prefixes.append(group[0].prefix)
        self._waiting.extendleft(reversed(passed))
        return call

    def _width(self, group: list[Request]) -> int:
        return next(width for width in self._widths if width >= group[0].length)

    def see(self, count: np.ndarray) -> None:
        """Books the tokens drawn so far in each slot, `count` i32[slots]."""
        for slot, request in self.held():
            request.count = int(count[slot])

    def release(self, slot: int) -> None:
        """The slot's request has finished."""
        self._owner[slot] = None

    def park(self, slot: int, drawn: Drawn) -> None:
        """The slot's request gives it up until the next shape, keeping what was drawn."""
        request = self._owner[slot]
        request.kept = drawn
        # Alone, whatever group it came with: nothing else has its prefix any more.
        self._parked.append([request])
        self._owner[slot] = None

    def rest(self) -> list[tuple[int | None, Request]]:
        """(slot, request) of all that is unfinished once it may be left so; None without a slot."""
        if self._missing():
            return []
        outside = [*self._parked, *self._waiting]
        return [*self.held(), *((None, request) for group in outside for request in group)]

    def _missing(self) -> int:
        outside = [request for group in (*self._parked, *self._waiting) for request in group]
        held = [request for _, request in self.held()]
        return self._ending.missing([*held, *outside], bool(self._waiting))

    def target(self) -> int | None:
        """The number of the shape to go to now, None to stay."""
        held, after = len(self.held()), self._rung + 1
        left = held + len(self._parked)
        if self._spares() and not self._waiting and left <= self._shapes[-1].slots:
            return len(self._shapes) - 1
        if not (self._parked or self.full()):
            return None
        # There is a next shape, since the last one holds the longest text allowed.
        if self._shapes[after].slots == self.shape.slots:
            return after
        fits = not self._waiting and held <= self._shapes[after].slots
        return after if fits else None

    def climb(self, target: int) -> np.ndarray | None:
        """Goes to another shape; the slots it keeps, in their new order, or None for all.

        What was parked is first in line.
        """
        before, after = self.shape, self._shapes[target]
        parked, self._parked, self._rung = self._parked, [], target
        self._line_up(parked)
        if before.slots == after.slots:
            return None
        occupied = [slot for slot, _ in self.held()]
        free = [slot for slot, request in enumerate(self._owner) if request is None]
        # Old numbers of the slots that stay; `target` has seen that all occupied ones fit.
        rows = (occupied + free)[: after.slots]
        self._owner = [self._owner[slot] for slot in rows]
        return np.asarray(rows, np.int32)

    def _line_up(self, groups: Sequence[list[Request]]) -> None:
        """Puts groups in front of those that wait; what the shape cannot hold is parked."""
        fits = [group[0].length < self.shape.length for group in groups]
        pairs = list(zip(groups, fits, strict=True))
        # extendleft turns the order round, hence reversed.
        self._waiting.extendleft(group for group, fit in reversed(pairs) if fit)
        self._parked += [group for group, fit in pairs if not fit]

    def _spares(self) -> bool:
        """Whether the last shape has fewer slots and holds no more cache than the one in use."""
        now, last = self.shape, self._shapes[-1]
        return last.slots < now.slots and math.prod(last) <= math.prod(now)
