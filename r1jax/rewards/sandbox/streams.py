"""A whole program, run once for each input in a process of its own, and ended as Python ends."""

from __future__ import annotations

import atexit
import gc
import io
import os
import select
import shutil
import signal
import sys
import threading
import time
import types
from collections.abc import Callable
from typing import Any

POLL_SECONDS = 0.05
MAX_OUTPUT = 2 << 20
"""Bytes that a program may print for one test."""

Limit = Callable[[float], None]
"""Takes a process's last rights away and bounds it, its CPU seconds among the rest."""


def cpu_seconds(pid: int) -> float:
    """CPU time of a process so far, its threads included; 0.0 where it has ended."""
    try:
        return time.clock_gettime((~pid << 3) | 2)  # what clock_getcpuclockid(3) makes of a pid
    except OSError:
        return 0.0


class ProgramRuns:
    """Runs of one program; together they have the CPU seconds of `order`, less those until now."""

    def __init__(self, code: types.CodeType, order: dict[str, Any], limit: Limit) -> None:
        self._code, self._limit, self._place = code, limit, order["devices"]
        self._left = order["cpu_seconds"] - time.process_time()

    def run(self, text: str, module: Callable[[str], dict[str, Any]]) -> dict[str, str]:
        """{"output", "reason"} of a run with `text` as its input; its names live in `module`'s.

        What the run before has left in the directory is gone.
        """
        _clear(os.getcwd(), keep=os.path.basename(self._code.co_filename))
        given, taken, back = self._files(text.encode("utf-8", "replace"))
        pid = os.fork()
        if pid == 0:
            os.dup2(given, 0)
            os.dup2(taken, 1)
            os.closerange(3, 1 << 10)
            self._child(module)
        os.close(given)
        os.close(taken)
        output, reason = _read(pid, back, self._left)
        os.close(back)
        if reason:
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)  # one that hangs now is ended with this process
        self._left -= usage.ru_utime + usage.ru_stime
        if self._left <= 0:
            reason = "cpu"
        elif not reason and status:
            reason = "wrong"
        return {"output": output.decode("utf-8", "replace"), "reason": reason}

    def _files(self, text: bytes) -> tuple[int, int, int]:
        """(standard input, standard output, its other end).

        They have names, /dev/stdin and /dev/stdout: the input is a file, which every opening reads
        from its start, the output a pipe.
        """
        source, pipe = f"{self._place}/0", f"{self._place}/1"
        for path in (source, pipe):
            if os.path.lexists(path):
                os.remove(path)
        with open(source, "xb") as file:
            file.write(text)
        os.mkfifo(pipe)
        back = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        return os.open(source, os.O_RDONLY), os.open(pipe, os.O_WRONLY), back

    def _child(self, module: Callable[[str], dict[str, Any]]) -> None:
        space: dict[str, Any] = {}
        try:
            self._limit(self._left)
            sys.stdin = sys.__stdin__ = io.TextIOWrapper(
                io.BufferedReader(io.FileIO(0, closefd=False)), "utf-8", "replace"
            )
            sys.stdout = sys.__stdout__ = io.TextIOWrapper(
                io.BufferedWriter(io.FileIO(1, "w", closefd=False)), "utf-8", "replace"
            )
            space = module("__main__")
            exec(self._code, space)
            status = 0
        except SystemExit as end:
            status = _status(end.code)
        except BaseException:
            status = 1
        try:
            status = _finish(space) or status
        except BaseException:
            status = 1
        finally:
            os._exit(status)


def _clear(directory: str, keep: str) -> None:
    for entry in os.scandir(directory):
        if entry.is_dir(follow_symlinks=False):
            shutil.rmtree(entry.path, ignore_errors=True)
        elif entry.name != keep:
            os.remove(entry.path)


def _status(code: Any) -> int:
    """The exit status that `sys.exit(code)` has."""
    return 0 if code is None else code & 0xFF if isinstance(code, int) else 1


def _finish(space: dict[str, Any]) -> int:
    """What Python does at its end, in its order: the status where that fails, else 0.

    Py_Exit would take apart every module of the sandbox too, which costs more than most programs.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    failed = _flush()
    for name in list(space):  # files and objects of the program end with their last name
        if name != "__builtins__":
            space[name] = None
    gc.collect()
    return _flush() or failed


def _flush() -> int:
    try:
        for file in (sys.stdout, sys.__stdout__):
            if file is not None and not file.closed:
                file.flush()
    except Exception:
        return 120
    return 0


def _read(pid: int, back: int, cpu: float) -> tuple[bytes, str]:
    """(what the child printed, why it is to be stopped or ""): reads until it closes."""
    poll = select.poll()
    poll.register(back, select.POLLIN)
    output = bytearray()
    while cpu_seconds(pid) <= cpu:
        if not poll.poll(1000 * POLL_SECONDS):
            continue
        part = os.read(back, 1 << 16)
        output += part
        if not part or len(output) > MAX_OUTPUT:
            return bytes(output), "output" if part else ""
    return bytes(output), "cpu"
