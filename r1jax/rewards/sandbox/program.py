"""The process of the generated program: it knows the program, and never a test or a result.

It is forked before its parent reads the tests, so that nothing in its memory tells them. What it
sends back is judged elsewhere; a program that takes this process over has gained nothing.
"""

from __future__ import annotations

import builtins
import operator
import os
import signal
import sys
import types
from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Any

from r1jax.rewards.sandbox.linux import set_limits
from r1jax.rewards.sandbox.streams import ProgramRuns
from r1jax.rewards.sandbox.wire import MAX_FRAME, MAX_ITEMS, decode, encode, receive, send

_FILE = "program.py"
_MESSAGE, _CLASSES = 500, 20
_CHANGEABLE = (list, dict, set, deque, bytearray)
_OPERATIONS: dict[str, Callable[..., Any]] = {
    "call": lambda thing, *arguments, **keywords: thing(*arguments, **keywords),
    "attribute": getattr, "assign": setattr, "length": len, "truth": bool, "text": str,
    "representation": repr, "item": operator.getitem, "put": operator.setitem,
    "items": lambda thing: list(islice(thing, MAX_ITEMS)),
}  # fmt: skip
"""What a test may do with a thing of the program; comparing is done where the test is."""


def serve(ask: int, tell: int, order: dict[str, Any], confine: Callable[[], None]) -> None:
    """Runs the program of `order` and answers requests from `ask` on `tell`; never returns.

    `confine` takes the last rights away; it is called just before any of the program's code runs.
    Before it is compiled, which may take any time and memory, this process is bounded.
    """
    try:
        _only(ask, tell)

        def limit(cpu: float) -> None:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            confine()
            set_limits(cpu, order["memory_mb"], order["file_mb"], order["processes"])

        if order["streams"]:
            # Inputs lie in files that are none of the program's, and each run is a process.
            input_mb = max(MAX_FRAME >> 20, order["file_mb"])
            set_limits(order["cpu_seconds"], order["memory_mb"], input_mb, 1 << 12)
            streams = ProgramRuns(_compiled(order["programs"]), order, limit)
            send(tell, {"ready": True})
            while True:
                send(tell, streams.run(receive(ask)["input"], _module))
        limit(order["cpu_seconds"])
        _Calls(ask, tell, _compiled(order["programs"])).serve()
    except BaseException as error:
        send(tell, {"raise": _named(error)})
    finally:
        os._exit(0)


def _only(ask: int, tell: int) -> None:
    """Closes every file but the two given: no way leads to the tests or to the verdict."""
    null = os.open(os.devnull, os.O_RDWR)
    for fd in (0, 1, 2):
        os.dup2(null, fd)
    start = 3
    for fd in sorted((ask, tell)):
        os.closerange(start, fd)
        start = fd + 1
    os.closerange(start, os.sysconf("SC_OPEN_MAX") if sys.platform != "linux" else 1 << 16)


def _compiled(programs: list[str]) -> types.CodeType:
    """The first of the readings of a text that is Python; SyntaxError where none is."""
    path = os.path.abspath(_FILE)
    for program in programs:
        program = program.removeprefix("\ufeff")
        try:
            code = compile(program, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as error:
            last = error
            continue
        with open(path, "w", encoding="utf-8") as file:  # for those that read themselves
            file.write(program)
        return code
    raise last


def _module(name: str) -> dict[str, Any]:
    module = types.ModuleType(name)
    sys.modules[name] = module
    path = os.path.abspath(_FILE)
    sys.argv = [path]
    sys.path.insert(0, os.path.dirname(path))
    module.__dict__.update(__file__=path, __builtins__=builtins, __annotations__={})
    return module.__dict__


class _Calls:
    """Functions of the program, called one by one; what they return and is not plain stays here."""

    def __init__(self, ask: int, tell: int, code: types.CodeType) -> None:
        self._ask, self._tell = ask, tell
        self._kept: list[Any] = []
        self._numbers: dict[int, int] = {}
        self._space = _module("program")  # not __main__: what a program shows off there is not run
        try:
            exec(code, self._space)
        except SystemExit:
            pass  # what it has defined until then can be called
        send(tell, {"ready": True})

    def serve(self) -> None:
        """Answers requests until the other side is gone."""
        while True:
            request = receive(self._ask)
            send(self._tell, self._answer(request))

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        answer: dict[str, Any] = {}
        try:
            arguments, keywords = (self._decode(part) for part in request["given"])
            operation = _OPERATIONS[request["do"]]
            value = operation(self._find(request["on"]), *arguments, **keywords)
            answer["value"] = encode(value, self._keep)
            places, names = request["given"]
            changed = [
                self._changed(places, enumerate(arguments)),
                self._changed(dict(names["dict"]), keywords.items()),
            ]
            if any(changed):
                answer["changed"] = changed
        except (Exception, SystemExit) as error:
            return {"raise": _named(error)}
        return answer

    def _changed(self, given: Any, arguments: Iterable[tuple[Any, Any]]) -> list[list[Any]]:
        """[place or name, value] of the arguments that are not as they were given."""
        now = ((k, encode(v, self._keep)) for k, v in arguments if isinstance(v, _CHANGEABLE))
        return [[key, data] for key, data in now if data != given[key]]

    def _decode(self, data: Any) -> Any:
        return decode(data, self._find)

    def _keep(self, value: Any) -> int:
        """The number of a value: the same whenever it is the same one."""
        number = self._numbers.setdefault(id(value), len(self._kept))
        if number == len(self._kept):
            self._kept.append(value)
        return number

    def _find(self, handle: int | str) -> Any:
        """What was kept under a number, a name of the program, or a function of the test's (-1)."""
        if isinstance(handle, str):
            return self._space[handle]
        return self._kept[handle] if handle >= 0 else self._function(handle)

    def _function(self, handle: int) -> Callable[..., Any]:
        """A function that stays with the test."""

        def call(*arguments: Any, **keywords: Any) -> Any:
            given = [encode(part, self._keep) for part in (list(arguments), keywords)]
            send(self._tell, {"function": handle, "given": given})
            answer = receive(self._ask)
            while "do" in answer:  # the function asks the program again, before it answers
                send(self._tell, self._answer(answer))
                answer = receive(self._ask)
            if "raise" in answer:
                name, message = answer["raise"]
                raise getattr(builtins, name, RuntimeError)(message)
            return self._decode(answer["value"])

        return call


def _named(error: BaseException) -> list[Any]:
    """[names of the exception's classes, its own first, message]."""
    try:
        message = str(error)[:_MESSAGE]
    except Exception:
        message = ""
    return [[kind.__name__ for kind in type(error).__mro__[:_CLASSES]], message]
