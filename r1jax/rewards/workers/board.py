"""The memory that a reward worker shares with its parent: what runs, since when, what came out.

It outlives the worker, so a killed worker loses only the call that was running. Writing costs no
system call, which keeps thousands of cheap answers cheap.
"""

from __future__ import annotations

import mmap
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass

from r1jax.rewards.workers.unit import Outcome, Status

CAPACITY = 1 << 15
"""Completions of one chunk at most; a whole-list reward's group cannot be larger."""
NUMBERS = 1 << 22
"""Numbers for tokens of one chunk at most; of the file only what is written takes up memory."""

_RUNNING = struct.Struct("<q")
_SINCE = struct.Struct("<dd")
_ERROR = struct.Struct("<qq")
_OUTCOME = struct.Struct("<dq")
_SINCE_AT, _ERROR_AT, _TEXT_AT, _OUTCOMES_AT = 8, 24, 40, 1064
_TEXT_BYTES = _OUTCOMES_AT - _TEXT_AT
_NUMBERS_AT = _OUTCOMES_AT + CAPACITY * _OUTCOME.size
SIZE = _NUMBERS_AT + NUMBERS * 8


@dataclass(frozen=True)
class Running:
    """The call that runs: its first completion's slot, its CPU and wall clock at the start."""

    slot: int
    cpu: float
    wall: float


class Board:
    """A view of the shared file behind `fd`; the worker writes, the parent reads."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)

    def clear(self, n: int) -> None:
        """Parent: forget the last chunk; `n` slots are pending."""
        self._map[_OUTCOMES_AT : _OUTCOMES_AT + n * _OUTCOME.size] = bytes(n * _OUTCOME.size)
        _ERROR.pack_into(self._map, _ERROR_AT, -1, 0)
        _RUNNING.pack_into(self._map, 0, -1)

    def begin(self, slot: int) -> None:
        """Worker: the call that starts at `slot` runs from now on."""
        # The clocks first: a parent that reads in between sees too late a start, never too early.
        _SINCE.pack_into(self._map, _SINCE_AT, time.process_time(), time.monotonic())
        _RUNNING.pack_into(self._map, 0, slot)

    def finish(
        self, slot: int, outcomes: Sequence[Outcome], message: str, starts: Sequence[int] = ()
    ) -> None:
        """Worker: the running call is over; completion i's numbers for tokens go to starts[i]."""
        at, wrong = _OUTCOMES_AT + slot * _OUTCOME.size, False
        for i, (status, value) in enumerate(outcomes):
            if isinstance(value, tuple):
                place = _NUMBERS_AT + starts[i] * 8
                struct.pack_into(f"<{len(value)}d", self._map, place, *value)
                value = 0.0
            _OUTCOME.pack_into(self._map, at + i * _OUTCOME.size, value, status)
            wrong |= status == Status.LENGTH
        # What ends the whole call must be said, whatever was noted before.
        if message and (wrong or _ERROR.unpack_from(self._map, _ERROR_AT)[0] < 0):
            text = message.encode("utf-8", "replace")[:_TEXT_BYTES]
            self._map[_TEXT_AT : _TEXT_AT + len(text)] = text
            _ERROR.pack_into(self._map, _ERROR_AT, slot, len(text))
        _RUNNING.pack_into(self._map, 0, -1)

    def used_cpu(self) -> float:
        """Worker: CPU seconds of the running call."""
        return time.process_time() - _SINCE.unpack_from(self._map, _SINCE_AT)[0]

    def running(self) -> Running | None:
        """Parent: the call that runs, or None."""
        (slot,) = _RUNNING.unpack_from(self._map, 0)
        return None if slot < 0 else Running(slot, *_SINCE.unpack_from(self._map, _SINCE_AT))

    def outcomes(self, n: int, widths: Sequence[int] | None = None) -> list[Outcome]:
        """Parent: the first `n` slots; with `widths` numbers for each token of a completion."""
        end = _OUTCOMES_AT + n * _OUTCOME.size
        pairs = _OUTCOME.iter_unpack(self._map[_OUTCOMES_AT:end])
        outcomes: list[Outcome] = [(Status(status), value) for value, status in pairs]
        at = _NUMBERS_AT
        for i, width in enumerate(widths or ()):
            if outcomes[i][0] == Status.VALUE:
                outcomes[i] = Status.VALUE, struct.unpack_from(f"<{width}d", self._map, at)
            at += width * 8
        return outcomes

    def error(self) -> tuple[int, str] | None:
        """Parent: (slot, message) of the chunk's first error."""
        slot, length = _ERROR.unpack_from(self._map, _ERROR_AT)
        if slot < 0:
            return None
        return slot, self._map[_TEXT_AT : _TEXT_AT + length].decode("utf-8", "replace")

    def close(self) -> None:
        """Unmaps the memory."""
        self._map.close()
