"""SIGTERM, SIGINT, SIGHUP: a run ends at its next safe boundary, or as its time of grace is over.

    with watched(grace=20):  # a run, or a pipeline around several
        ...                  # here a signal ends what is under way, as Ctrl-C always does
        with held(left):     # a loop that can be saved
            ...
            boundary()       # here it can: the end is a `Stopped`

The main thread may be in a compiler or wait for a device, where Python runs no handler. So a thread
listens as well; it ends the process where no boundary comes in time, and on a second signal.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from types import FrameType

import jax

from r1jax.errors import Stopped
from r1jax.run import processes

ASKED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@dataclass
class _Watch:
    """What is known of the signals of this process, while somebody listens."""

    grace: float
    asked: int = 0  # the signal that came
    holding: bool = False  # whether it is to wait for a boundary
    unbroken: bool = False  # whether boundaries do not count for the moment
    ending: bool = False  # whether a boundary has come: then there is time
    left: Callable[[], str] = lambda: "what was saved before is kept"
    farewells: list[Callable[[], None]] = field(default_factory=list)

    def heard(self, number: int, frame: FrameType | None) -> None:
        """In the main thread, as soon as Python runs there."""
        self.asked = number
        if not self.holding and not self.ending:
            raise self.stopped(number)

    def stopped(self, number: int) -> Stopped:
        """What ends the run, in its own time from now on."""
        self.ending = True
        return Stopped(number, f"{signal.Signals(number).name}: ended; {self.left()}")

    def listen(self, wakeups: socket.socket) -> None:
        """In a thread: gives the first signal its time of grace, the second none."""
        if not (number := _next(wakeups)):
            return
        self.asked, name = number, signal.Signals(number).name
        if self.holding:
            _say(f"{name}: ends at the next safe boundary, at most {self.grace:g} s from now; "
                 "a second signal ends at once")  # fmt: skip
        wakeups.settimeout(max(self.grace, 0.001))  # 0 would mean: do not wait, another error
        try:
            again = _next(wakeups)
        except TimeoutError:
            wakeups.settimeout(None)
            again = _next(wakeups) if self.ending else -1
        if not again:
            return
        why = "no safe boundary in time" if again < 0 else "a second signal"
        _say(f"{name}: ended at once ({why}); {self.left()}")
        for farewell in self.farewells:
            farewell()
        os._exit(128 + number)


_watch: _Watch | None = None  # handlers belong to the whole process, and so does who listens


@contextlib.contextmanager
def watched(grace: float) -> Iterator[None]:
    """Listens to `ASKED` inside; without a boundary the end comes after `grace` seconds.

    Inside another one, only the grace is its own. Outside the main thread nothing changes: Python
    tells no other thread.
    """
    global _watch
    if _watch is not None:
        before, _watch.grace = _watch.grace, grace
        try:
            yield
        finally:
            _watch.grace = before
        return
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    listening, waking = socket.socketpair()
    waking.setblocking(False)
    watch = _watch = _Watch(grace)
    descriptor = signal.set_wakeup_fd(waking.fileno(), warn_on_full_buffer=False)
    heard = [
        n for n in ASKED if n != signal.SIGHUP or signal.getsignal(n) != signal.SIG_IGN
    ]  # nohup
    handlers = {number: signal.signal(number, watch.heard) for number in heard}
    thread = threading.Thread(target=watch.listen, args=(listening,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(descriptor)
        waking.close()  # which ends the thread
        thread.join()
        listening.close()
        _watch = None


@contextlib.contextmanager
def keeping(left: Callable[[], str]) -> Iterator[None]:
    """Inside, where the end comes at once, `left` says what is kept."""
    if _watch is None:
        yield
        return
    watch, before = _watch, _watch.left
    watch.left = left
    try:
        yield
    finally:
        watch.left = before


@contextlib.contextmanager
def held(left: Callable[[], str]) -> Iterator[None]:
    """Inside, a signal waits for a `boundary`, of which the end is one; `left` says what is kept.

    Every process of the run enters it.
    """
    if _watch is None:
        yield
        return
    watch = _watch
    with keeping(left):
        watch.holding = True
        try:
            yield
            boundary()
        finally:
            watch.holding = False


@contextlib.contextmanager
def unbroken(wanted: bool = True) -> Iterator[None]:
    """Inside, if `wanted`, no `boundary` counts: what changes in several steps is saved as a whole.

    Every process of the run enters it.
    """
    if _watch is None or not wanted:
        yield
        return
    watch = _watch
    watch.unbroken = True
    try:
        yield
    finally:
        watch.unbroken = False


def boundary(often: bool = False) -> None:
    """A moment at which a run can end: raises Stopped where a signal asked one of its processes to.

    Every process of the run calls it. Where one comes so `often` that asking the others would hold
    up the devices, a process alone in its run counts alone.
    """
    if _watch is None or not _watch.holding or _watch.unbroken:
        return
    if often and jax.process_count() > 1:
        return
    if number := processes.most(_watch.asked):
        raise _watch.stopped(number)


def unread() -> bool:
    """Asks the run to end at its next boundary, since nobody takes its output; whether it does."""
    if _watch is None or not (_watch.holding or _watch.ending):
        return False
    _watch.asked = _watch.asked or signal.SIGPIPE
    return True


@contextlib.contextmanager
def farewell(last: Callable[[], None]) -> Iterator[None]:
    """Calls `last` where the process ends at once, inside."""
    farewells = _watch.farewells if _watch else []
    farewells.append(last)
    try:
        yield
    finally:
        farewells.remove(last)


def _next(wakeups: socket.socket) -> int:
    """The next of the signals that were asked for; 0 at the end."""
    while data := wakeups.recv(1):
        if data[0] in ASKED:
            return data[0]
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
