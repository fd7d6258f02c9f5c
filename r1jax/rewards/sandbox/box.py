"""The first process of a sandbox: builds the walls once, then forks a judge for each program.

It reads nothing that its host sends beyond the first byte's arrival, so that no process forked from
it later has seen a test. It is process 1 of its own process namespace: when it ends, all end.
"""

from __future__ import annotations

import builtins
import errno
import gc
import importlib
import os
import random
import select
import shutil
import signal
import socket
import sys
import tempfile
from _sitebuiltins import Quitter, _Helper
from functools import partial

from r1jax.rewards.sandbox import linux
from r1jax.rewards.sandbox.judge import judge
from r1jax.rewards.sandbox.wire import send

_SHARED = (
    "bisect", "cmath", "collections", "copy", "datetime", "decimal", "fractions", "functools",
    "hashlib", "heapq", "itertools", "json", "math", "operator", "re", "statistics", "string",
    "typing",
)  # fmt: skip
"""What programs import most: loaded once, ahead of all of them."""

_FRAMES = 64
"""Calls of the sandbox that a program's own stand upon."""


def main(isolated: bool) -> None:
    """Obeys orders on standard input until it is closed; verdicts go to standard output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    root = os.getuid() == 0
    if isolated:
        try:
            _build()
        except OSError as error:
            send(1, {"error": " ".join(str(error).split())})
            return
    elif sys.platform == "linux":
        linux.adopt_orphans()
    os.environ.clear()
    os.environ |= {"HOME": "/tmp", "TMPDIR": "/tmp", "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}
    for name in _SHARED:
        importlib.import_module(name)
    # What `site` would bring, without the packages that it opens.
    builtins.exit, builtins.quit = (Quitter(name, "Ctrl-D") for name in ("exit", "quit"))
    builtins.help = _Helper()
    socket.socketpair = _pipe  # what asyncio wakes itself with
    sys.set_int_max_str_digits(0)  # time is bounded anyway
    sys.setrecursionlimit(sys.getrecursionlimit() + _FRAMES)
    random.seed(0)  # the same for every program
    gc.freeze()
    send(1, {"ready": True})
    # Processes of the same user that count against a program's own.
    others = 1 if root else 3
    while _pending() and _serve(isolated, others):
        pass


class _End:
    """An end of a pipe that looks like a socket's."""

    def __init__(self, fd: int) -> None:
        self.fileno, self.recv, self.send = (partial(f, fd) for f in (int, os.read, os.write))
        self.setblocking, self.close = partial(os.set_blocking, fd), partial(os.close, fd)


def _pipe() -> tuple[_End, _End]:
    """In place of two sockets, which a program may not have: what is sent to one is read here."""
    reader, writer = os.pipe()
    return _End(reader), _End(writer)


def _build() -> None:
    """New namespaces, then a process 1 inside; this one stays outside and waits for its end."""
    flags = linux.NEWUSER | linux.NEWNS | linux.NEWPID | linux.NEWNET
    linux.unshare(flags | linux.NEWIPC | linux.NEWUTS)
    send(1, {"unshared": True})
    if os.read(0, 1) != b"m":
        raise OSError(errno.EPERM, "the map of users was refused")
    first = os.fork()
    if first:
        for fd in (0, 1):
            os.close(fd)
        os.waitpid(first, 0)
        os._exit(0)
    linux.end_with_parent()
    os.setsid()
    linux.make_root()


def _pending() -> bool:
    """Waits until the host has sent something; False where it is gone."""
    poll = select.poll()
    poll.register(0, select.POLLIN)
    return any(event & select.POLLIN for _, event in poll.poll())


def _serve(isolated: bool, others: int) -> bool:
    """One program from order to verdict; False where there was none and the stream is lost."""
    ours, theirs = os.pipe()
    directory = "" if isolated else tempfile.mkdtemp()
    pid = os.fork()
    if pid == 0:
        os.close(ours)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 1)  # not closed: the next file must not become standard output
        os.close(null)
        judge(0, theirs, isolated, others, directory)
    os.close(theirs)
    poll = select.poll()
    poll.register(ours, select.POLLIN)
    poll.register(0, 0)  # hung up: the host is gone
    parts: list[bytes] = []
    while not parts or parts[-1]:
        gone = 0 in dict(poll.poll())
        parts.append(b"" if gone else os.read(ours, 1 << 16))
    os.close(ours)
    _end_all(isolated)
    if directory:  # what a program has locked stays behind, in an unsafe sandbox alone
        shutil.rmtree(directory, ignore_errors=True)
    data = b"".join(parts)
    if data:
        os.write(1, data)
    return bool(data)


def _end_all(isolated: bool) -> None:
    """Kills and reaps whatever is left of a program; orphans have become children of this one."""
    while True:
        if isolated:
            try:
                os.kill(-1, signal.SIGKILL)  # as process 1: all others of the namespace
            except ProcessLookupError:
                pass  # none is left
        else:
            for pid in linux.children():
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return
