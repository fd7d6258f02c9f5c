"""The program as its tests see it: functions, classes and objects that stay in its process."""

from __future__ import annotations

import builtins
import os
import select
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

from r1jax.rewards.sandbox import linux, program
from r1jax.rewards.sandbox.streams import POLL_SECONDS, cpu_seconds
from r1jax.rewards.sandbox.wire import Opaque, Strange, decode, encode, pack, receive


class Over(BaseException):
    """The program cannot go on; no test that expects an exception may catch this one."""


class Remote:
    """The program's process: forked here, asked through a pipe until its time is up."""

    def __init__(self, order: dict[str, Any], confine: Callable[[], None], isolated: bool) -> None:
        ask, self._to = os.pipe()
        self._back, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(self._to)
            os.close(self._back)
            if isolated:
                linux.end_with_parent()
            program.serve(ask, tell, order, confine)
        os.close(ask)
        os.close(tell)
        os.set_blocking(self._to, False)
        os.set_blocking(self._back, False)
        self._cpu, self._end = order["cpu_seconds"], time.monotonic() + order["wall_seconds"]
        self._functions: list[Callable[..., Any]] = []  # of the tests, which the program may call
        self.operations = 0  # that tests have asked for
        self.asserting = 0  # asserts that are being judged, one inside another
        self._changes: list[tuple[Any, Any]] = []
        self._exceptions: dict[str, type[Exception]] = {}  # that tests catch by name

    def ready(self) -> None:
        """Waits until the program's own statements have run."""
        if self._answer() != {"ready": True}:
            raise Over("wrong")

    def operate(self, handle: int | str, do: str, *arguments: Any, **keywords: Any) -> Any:
        """What an operation on a thing of the program gives, or raises."""
        self.operations += 1
        given = [encode(part, self._keep) for part in (list(arguments), keywords)]
        answer = self.ask({"on": handle, "do": do, "given": given})
        while "function" in answer:
            answer = self.ask(self._called(answer))
        if answer.keys() == {"raise"}:
            raise self._error(answer["raise"])
        if "value" not in answer:
            raise Over("output")
        value = self._decode(answer["value"])
        self._take_changes((arguments, keywords), answer.get("changed", ([], [])))
        if value is None or not self.asserting:
            self.show_changes()
        return value

    def show_changes(self) -> None:
        """Lets the tests see arguments as the program has changed them in place.

        In an `assert` they see them once it has been judged, unless nothing was returned: else a
        program that empties its argument would equal what is made of that.
        """
        for old, new in self._changes:
            _renew(old, new)
        self._changes.clear()

    def ask(self, message: Any) -> dict[str, Any]:
        """The answer to one request; Over where there is none."""
        view = memoryview(pack(message))
        while view:
            self._wait(self._to, select.POLLOUT)
            try:
                view = view[os.write(self._to, view) :]
            except BrokenPipeError:
                raise Over(self._death()) from None
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        try:
            answer = receive(self._back, self._read)
        except EOFError:
            raise Over(self._death()) from None
        except Strange:
            raise Over("output") from None
        if type(answer) is not dict:
            raise Over("output")
        return answer

    def _read(self, fd: int, size: int) -> bytes:
        self._wait(fd, select.POLLIN)
        return os.read(fd, size)

    def _wait(self, fd: int, event: int) -> None:
        poll = select.poll()
        poll.register(fd, event)
        while not poll.poll(1000 * POLL_SECONDS):
            if cpu_seconds(self.pid) > self._cpu:
                raise Over("cpu")
            if time.monotonic() > self._end:
                raise Over("wall")

    def _death(self) -> str:
        _, status, usage = os.wait4(self.pid, 0)
        return "cpu" if usage.ru_utime + usage.ru_stime > self._cpu else "died"

    def _decode(self, data: Any) -> Any:
        try:
            return decode(data, lambda handle: Thing(self, handle))
        except (Strange, RecursionError):
            raise Over("output") from None

    def _keep(self, value: Any) -> int:
        """A negative number for a function of a test; nothing else can leave its process."""
        if not callable(value):
            kind = type(value).__name__
            raise TypeError(f"a test hands over a {kind}, which cannot leave its process")
        self._functions.append(value)
        return -len(self._functions)

    def _called(self, answer: dict[str, Any]) -> dict[str, Any]:
        """What a function of the test makes of the program's call."""
        try:
            function = self._functions[-1 - answer["function"]]
            arguments, keywords = (self._decode(part) for part in answer["given"])
        except (KeyError, IndexError, TypeError, ValueError):
            raise Over("output") from None
        try:
            return {"value": encode(function(*arguments, **keywords), self._keep)}
        except Exception as error:
            return {"raise": [type(error).__name__, str(error)]}

    def exception(self, name: str) -> type[Exception]:
        """The class by which tests catch exceptions of the program's class of this name."""
        return self._exceptions.setdefault(name, type(name, (Exception,), {}))

    def _error(self, described: Any) -> BaseException:
        """An exception of the program: as the nearest builtin one, and as what tests catch."""
        try:
            names, message = described
            base = next(kind for name in names if (kind := _builtin(name)))
            known = [self._exceptions[name] for name in names if name in self._exceptions]
            kind = type(names[0], (*known, base), {}) if known else base
            return kind(str(message))
        except (TypeError, ValueError, StopIteration):  # those of Unicode want more arguments
            return ValueError("an exception that cannot leave its process")

    def _take_changes(self, given: tuple[Any, ...], changed: Any) -> None:
        try:
            for arguments, pairs in zip(given, changed, strict=True):
                for key, data in pairs:
                    self._changes.append((arguments[key], self._decode(data)))
        except (TypeError, ValueError, LookupError):
            raise Over("output") from None


class Thing(Opaque):
    """What stays in the program: a function or class by its name, another value by its number.

    It is equal to itself alone, and `in` compares here: a program is never told what is expected.
    """

    def __init__(self, remote: Remote, handle: int | str) -> None:
        self.__dict__.update(handle=handle, _remote=remote, __name__=str(handle))

    def _do(self, name: str, *arguments: Any, **keywords: Any) -> Any:
        return self._remote.operate(self.handle, name, *arguments, **keywords)

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        return self._do("call", *arguments, **keywords)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self._do("attribute", name)

    def __setattr__(self, name: str, value: Any) -> None:
        self._do("assign", name, value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Thing) and self.handle == other.handle

    def __hash__(self) -> int:
        return hash(self.handle)

    def __len__(self) -> int:
        return self._do("length")

    def __bool__(self) -> bool:
        return self._do("truth") is True

    def __str__(self) -> str:
        return self._do("text")

    def __repr__(self) -> str:
        return self._do("representation")

    def __getitem__(self, key: Any) -> Any:
        return self._do("item", key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._do("put", key, value)

    def __iter__(self) -> Iterator[Any]:
        return iter(self._do("items"))


def _builtin(name: Any) -> type[BaseException] | None:
    """The builtin exception of this name that a test may catch."""
    kind = getattr(builtins, name, None) if type(name) is str else None
    fits = isinstance(kind, type) and issubclass(kind, (Exception, SystemExit))
    return kind if fits else None


def _renew(old: Any, new: Any) -> None:
    """Makes a changeable value equal to `new`, and so what is in the same place of it."""
    if type(old) is not type(new):
        return
    if isinstance(old, list):
        old[:] = [_same(*pair) for pair in zip(old, new, strict=False)] + new[len(old) :]
    elif isinstance(old, dict):
        kept = {key: _same(old.get(key), value) for key, value in new.items()}
        old.clear()
        old.update(kept)
    elif isinstance(old, set):
        old.clear()
        old.update(new)
    elif isinstance(old, deque):
        old.clear()
        old.extend(new)
    elif isinstance(old, bytearray):
        old[:] = new


def _same(old: Any, new: Any) -> Any:
    """`old` with the contents of `new` where both are of one changeable kind, else `new`."""
    if type(old) is type(new) and isinstance(old, list | dict | set | bytearray):
        _renew(old, new)
        return old
    return new
