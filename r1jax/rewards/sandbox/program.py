"""The process of the generated program: it knows the program, and never a test or a result.

It is forked before its parent reads the tests, so that nothing in its memory tells them. What it
sends back is judged elsewhere; a program that takes this process over has gained nothing.
"""

from __future__ import annotations

import io
import os
import select
import signal
import sys
import time
import types
from collections.abc import Callable
from functools import partial
from typing import Any

from r1jax.rewards.sandbox.linux import set_limits
from r1jax.rewards.sandbox.wire import decode, encode, receive, send

POLL_SECONDS = 0.05
MAX_OUTPUT = 2 << 20
"""Bytes that a program may print for one test."""

_MESSAGE = 500
Limit = Callable[[float], None]
"""Takes a process's last rights away and bounds it, its CPU seconds among the rest."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, its threads included; 0.0 where it has ended."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) makes of a pid
    except OSError:
        return 0.0


def serve(ask: int, tell: int, order: dict[str, Any], confine: Callable[[], None]) -> None:
    """Runs the program of `order` and answers requests from `ask` on `tell`; never returns.

    `confine` takes the last rights away; it is called just before any of the program's code runs.
    """
    try:
        _only(ask, tell)
        code, limit = _compiled(order["programs"]), partial(_limit, order, confine)
        serve = _serve_streams if order["streams"] else _serve_calls
        serve(ask, tell, code, order["cpu_seconds"], limit)
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


def _limit(order: dict[str, Any], confine: Callable[[], None], cpu: float) -> None:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    confine()
    set_limits(cpu, order["memory_mb"], order["file_mb"], order["processes"])


def _compiled(programs: list[str]) -> types.CodeType:
    """The first of the readings of a text that is Python; SyntaxError where none is."""
    for program in programs:
        try:
            return compile(program, "<program>", "exec")
        except (SyntaxError, ValueError) as error:
            last = error
    raise last


def _module(name: str) -> dict[str, Any]:
    module = types.ModuleType(name)
    sys.modules[name] = module
    sys.argv = ["program.py"]
    return module.__dict__


# --- functions of the program, called one by one ----------------------------------------------


def _serve_calls(ask: int, tell: int, code: types.CodeType, cpu: float, limit: Limit) -> None:
    limit(cpu)
    kept: list[Any] = []

    def keep(value: Any) -> int:
        kept.append(value)
        return len(kept) - 1

    space = _module("program")  # not __main__: what a program shows off there is not run
    exec(code, space)
    send(tell, {"ready": True})
    while True:
        request = receive(ask)
        try:
            arguments, keywords = (decode(part, kept.__getitem__) for part in request["given"])
            value = space[request["name"]](*arguments, **keywords)
            answer = {"value": encode(value, keep)}
        except Exception as error:
            answer = {"raise": _named(error)}
        send(tell, answer)


def _named(error: BaseException) -> list[str]:
    try:
        message = str(error)[:_MESSAGE]
    except Exception:
        message = ""
    return [type(error).__name__, message]


# --- the whole program, once for each input ---------------------------------------------------


def _serve_streams(ask: int, tell: int, code: types.CodeType, left: float, limit: Limit) -> None:
    send(tell, {"ready": True})
    while True:
        text = receive(ask)["input"]
        child_in, ours_in = os.pipe()
        ours_out, child_out = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.dup2(child_in, 0)
            os.dup2(child_out, 1)
            os.closerange(3, 1 << 10)
            _run(code, left, limit)
        os.close(child_in)
        os.close(child_out)
        data = text.encode("utf-8", "replace")
        output, reason = _talk(pid, ours_in, ours_out, data, left)
        os.close(ours_out)
        if reason:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)  # one that hangs now is ended with this process
        left -= usage.ru_utime + usage.ru_stime
        if left <= 0:
            reason = "cpu"
        elif not reason and status:
            reason = "wrong"
        send(tell, {"output": output.decode("utf-8", "replace"), "reason": reason})


def _run(code: types.CodeType, cpu: float, limit: Limit) -> None:
    status = 1
    try:
        limit(cpu)
        sys.stdin = sys.__stdin__ = io.TextIOWrapper(
            io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "replace"
        )
        sys.stdout = sys.__stdout__ = io.TextIOWrapper(
            io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "replace"
        )
        exec(code, _module("__main__"))
        status = 0
    except SystemExit as end:
        status = 0 if end.code in (None, 0) else 1
    finally:
        try:
            sys.stdout.flush()
        finally:
            os._exit(status)


def _talk(pid: int, to: int, back: int, given: bytes, cpu: float) -> tuple[bytes, str]:
    """(what the child printed, why it was stopped or ""): feeds it and reads until it closes."""
    os.set_blocking(to, False)
    poll = select.poll()
    poll.register(back, select.POLLIN)
    poll.register(to, select.POLLOUT)
    view, output = memoryview(given), bytearray()
    with open(to, "wb", buffering=0) as feed:
        while cpu_seconds(pid) <= cpu:
            for fd, _ in poll.poll(1000 * POLL_SECONDS):
                if fd == back:
                    part = os.read(back, 1 << 16)
                    output += part
                    if not part or len(output) > MAX_OUTPUT:
                        return bytes(output), "output" if part else ""
                    continue
                try:
                    view = view[os.write(to, view[: 1 << 16]) :]
                except BrokenPipeError:
                    view = view[:0]
                if not view:  # the program then sees the end of its input
                    poll.unregister(to)
                    feed.close()
    return bytes(output), "cpu"
