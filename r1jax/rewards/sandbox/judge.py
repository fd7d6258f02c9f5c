"""The process that runs the tests: the program's functions are called across a pipe.

It holds the tests and decides; the program's process holds neither tests nor verdict, and all that
comes from it are plain values (`wire.decode`).
"""

from __future__ import annotations

import ast
import builtins
import os
import random
import select
import signal
import time
import traceback
from typing import Any

from r1jax.rewards.sandbox import calls, linux, program
from r1jax.rewards.sandbox.wire import Strange, decode, encode, pack, receive, send

_GRACE_SECONDS = 0.5
_CASE = "__case__"


class Over(BaseException):
    """The program cannot go on; no test that expects an exception may catch this one."""


def judge(source: int, verdict: int, isolated: bool, others: int, directory: str) -> None:
    """Reads an order and its tests from `source`, writes the verdict; never returns.

    The program's process is forked between the two, before the tests are known here. `others` are
    processes that count against its number; `directory` is where it runs if nothing is isolated.
    """
    try:
        order = receive(source)
        order["processes"] += others
        if not isolated:
            order["processes"] = 1 << 15  # all of the user's processes would count
            os.chdir(directory)
            os.environ |= {"HOME": directory, "TMPDIR": directory}
        else:
            linux.make_directory(order["file_mb"])
            linux.unshare(linux.NEWPID)
            linux.drop_rights()
            linux.end_with_parent()
        remote = Remote(order, isolated)
        tests = receive(source)
        signal.setitimer(signal.ITIMER_REAL, order["wall_seconds"] + _GRACE_SECONDS)
        _confine(isolated)
        linux.set_limits(
            order["cpu_seconds"] + 1, order["memory_mb"] + 256, order["file_mb"], 1 << 12
        )
        send(verdict, run(remote, tests, order["streams"], order["share"]))
        if not isolated:
            os.killpg(remote.pid, signal.SIGKILL)
    except BaseException:  # without a verdict the host starts a new sandbox
        traceback.print_exc()
    finally:
        os._exit(0)


def _confine(isolated: bool) -> None:
    try:
        calls.filter_calls()
    except OSError:
        if isolated:
            raise


class Remote:
    """The program's process: forked here, asked through a pipe until its time is up."""

    def __init__(self, order: dict[str, Any], isolated: bool) -> None:
        ask, self._to = os.pipe()
        self._back, tell = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            os.setsid()
            os.close(self._to)
            os.close(self._back)
            if isolated:
                linux.end_with_parent()
            program.serve(ask, tell, order, lambda: _confine(isolated))
        os.close(ask)
        os.close(tell)
        os.set_blocking(self._to, False)
        os.set_blocking(self._back, False)
        self._cpu, self._end = order["cpu_seconds"], time.monotonic() + order["wall_seconds"]

    def ready(self) -> None:
        """Waits until the program's own statements have run."""
        if self._answer() != {"ready": True}:
            raise Over("wrong")

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
        while not poll.poll(1000 * program.POLL_SECONDS):
            if program.cpu_seconds(self.pid) > self._cpu:
                raise Over("cpu")
            if time.monotonic() > self._end:
                raise Over("wall")

    def _death(self) -> str:
        _, status, usage = os.wait4(self.pid, 0)
        return "cpu" if usage.ru_utime + usage.ru_stime > self._cpu else "died"


class Function:
    """A function of the program as the tests see it."""

    def __init__(self, remote: Remote, name: str) -> None:
        self._remote, self.__name__ = remote, name

    def __call__(self, *arguments: Any, **keywords: Any) -> Any:
        encoded = [encode(part, _refuse) for part in (list(arguments), keywords)]
        answer = self._remote.ask({"name": self.__name__, "given": encoded})
        if answer.keys() == {"raise"}:
            raise _error(answer["raise"])
        if answer.keys() != {"value"}:
            raise Over("output")
        try:
            return decode(answer["value"])
        except (Strange, RecursionError):
            raise Over("output") from None


def _refuse(value: Any) -> int:
    raise TypeError(f"a test hands over a {type(value).__name__}, which cannot leave its process")


def _error(described: Any) -> Exception:
    """An exception of the program: a builtin one by its name, else a RuntimeError."""
    name, message = described if type(described) is list and len(described) == 2 else ("", "")
    kind = getattr(builtins, name, None) if type(name) is str else None
    if isinstance(kind, type) and issubclass(kind, Exception):
        try:
            return kind(message)
        except TypeError:  # those of Unicode want more arguments
            return ValueError(message)
    return RuntimeError(f"{name}: {message}")


class Cases:
    """Counts the tests: a context around each; a failed one ends them all unless `share`."""

    def __init__(self, share: bool) -> None:
        self.passed, self.run, self.share = 0, 0, share

    def __enter__(self) -> None:
        self.run += 1

    def __exit__(self, kind: type[BaseException] | None, error: Any, where: Any) -> bool:
        self.passed += kind is None
        return self.share and kind is not None and issubclass(kind, Exception)


def run(remote: Remote, tests: dict[str, Any], streams: bool, share: bool) -> dict[str, Any]:
    """The verdict: {"passed", "total", "reason"}."""
    cases, reason, least = Cases(share), "", 0
    try:
        if streams:
            least = len(tests["pairs"])
            remote.ready()
            _streams(remote, tests["pairs"], cases)
        else:
            parts = [ast.parse(text) for text in tests["tests"]]
            least = sum(isinstance(n, ast.Assert) for part in parts for n in ast.walk(part))
            remote.ready()
            _calls(remote, tests, parts, cases)
    except Over as over:
        reason = str(over)
    except Exception:
        reason = "wrong"
    total = max(least, cases.run)
    if not reason and (cases.passed < total or total == 0):
        reason = "wrong"
    return {"passed": cases.passed, "total": total, "reason": reason}


def _calls(remote: Remote, tests: dict[str, Any], parts: list[ast.Module], cases: Cases) -> None:
    # A test may draw at random: alike in every run, but not as the program could foresee.
    random.seed(repr(tests))
    space: dict[str, Any] = {"__name__": "tests"}
    exec(tests["setup"], space)
    space |= {name: Function(remote, name) for name in tests["names"]} | {_CASE: cases}
    for part in parts:
        tree = ast.fix_missing_locations(_Counted().visit(part))
        exec(compile(tree, "<tests>", "exec"), space)
    if tests["entry"]:
        space["check"](space[tests["entry"]])


class _Counted(ast.NodeTransformer):
    """Puts each `assert` into a context of its own."""

    def visit_Assert(self, node: ast.Assert) -> ast.With:
        return ast.With([ast.withitem(ast.Name(_CASE, ast.Load()))], [node])


def _streams(remote: Remote, pairs: list[list[str]], cases: Cases) -> None:
    for given, expected in pairs:
        with cases:
            answer = remote.ask({"input": given})
            output, reason = answer.get("output"), answer.get("reason")
            if type(output) is not str or reason not in ("", "wrong", "cpu", "output"):
                raise Over("output")
            if reason in ("cpu", "output"):
                raise Over(reason)
            if reason or _lines(output) != _lines(expected):
                raise AssertionError


def _lines(text: str) -> list[str]:
    """Lines without white space at their ends, without empty ones at the end of the text."""
    return [line.rstrip() for line in text.rstrip().split("\n")]
