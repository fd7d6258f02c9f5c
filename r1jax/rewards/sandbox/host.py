"""Runs a program against tests: the side that asks, and what is guaranteed of the other side.

Four kinds of process stand in a row. The *host* (a reward worker) sends program and tests down a
pipe. The *box* is process 1 of new user, mount, process, network, IPC and host-name namespaces: its
root is an empty memory file system with Python's own libraries read-only (no installed packages, no
data), its network has no device. For each program it forks a *judge*, which mounts a fresh, empty
/tmp of limited size and forks the *program's process* into a further process namespace - before it
reads the tests. A filter of system calls refuses new processes, sockets and whatever reaches into
another process; root becomes nobody; every capability is gone; CPU, memory, files and threads are
limited, already when the program is compiled. The judge runs the tests, calling the program's
functions across a pipe; only values of the standard library's own types come back, and are compared
there. What else a program makes stays with it: a test may call it, ask for its attributes, items or
length, and compare those. A whole program runs once for each input, in a process that ends as
Python's own does: threads are waited for, exit functions called, files flushed. When a judge ends,
the box kills all that is left and waits for the last of it.

Guaranteed where it is isolated (Linux 5.12, x86_64 or aarch64, user namespaces allowed):
- a program reads and writes nothing but its own /tmp (reads: Python's and the system's libraries),
  has no network, starts no process, sees no other process, ends within the limits;
- neither expected results nor the verdict ever enter its process; exit codes, output, patched
  builtins, odd `__eq__`, frames, memory and files there decide nothing.
Not guaranteed:
- that it solves the problem: it sees the arguments of each call, and may have learnt the answers;
- that a test is strict: what a program has changed in place a test sees changed, as in one process
  (but not within the same `assert`, unless None was returned);
- more than the kernel does: a hole in Linux is a hole here; timing between processes can be felt;
- what leaves as plain values is compared as such: an int subclass counts as its int, any iterator
  as an iterator, a Counter as a dict; an object of the program's own classes equals itself alone;
- memory: `memory_mb` for the program (the stacks of its threads count as they are reserved), as
  much and 256 MiB more for the judge, `file_mb` for /tmp, 16 MiB for an input;
- processes and sockets, also for those who want them for good; file locks do nothing.
With `unsafe`, and only where isolation is impossible, limits and the filter (where there is one)
are all that remains: the program then has your files and, without the filter, the network; and one
that is out to reach the tests, which another process of the same user holds, can.

Programs see the standard library alone (-S): what is installed must not decide a reward. Python
runs as with -I, but hash seeds are fixed, so that a verdict is the same on every run.
"""

from __future__ import annotations

import atexit
import dataclasses
import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from r1jax.errors import UserError
from r1jax.rewards.sandbox.config import Calls, SandboxConfig, Streams, Tests, Verdict
from r1jax.rewards.sandbox.wire import Strange, receive, send

_START_SECONDS = 30.0
_GRACE_SECONDS = 5.0
_HERE = Path(__file__).parent
# The packages stand in without their contents: the box must not import the project.
_PACKAGES = {
    "r1jax": str(_HERE.parents[1]),
    "r1jax.rewards": str(_HERE.parent),
    "r1jax.rewards.sandbox": str(_HERE),
}
_COMMAND = f"""
import sys, types
for name, path in {_PACKAGES!r}.items():
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].__path__ = [path]
from r1jax.rewards.sandbox.box import main
main(sys.argv[1] == "isolated")
"""
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONUTF8": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_FLAGS = ("-s", "-S", "-P")


class _Refused(RuntimeError):
    """The box could not be built; the message says why."""


class _Ended(RuntimeError):
    """The box gave no verdict: it ended, or its time was up."""


class _Box:
    """One box process and the pipes to it; not for several threads at once."""

    def __init__(self, isolated: bool) -> None:
        mode = "isolated" if isolated else "open"
        self._process = subprocess.Popen(
            [sys.executable, *_FLAGS, "-c", _COMMAND, mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_ENVIRONMENT,
            bufsize=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to, self._back = self._process.stdin.fileno(), self._process.stdout.fileno()
        try:
            answer = self._answer(_START_SECONDS)
            if "unshared" in answer:
                _map_users(self._process.pid)
                os.write(self._to, b"m")
                answer = self._answer(_START_SECONDS)
            if "error" in answer:
                raise _Ended(answer["error"])
        except (OSError, _Ended) as error:
            self.close()
            raise _Refused(str(error)) from error

    def run(self, order: dict[str, Any], tests: dict[str, Any]) -> dict[str, Any]:
        """The verdict on one program; _Ended where there is none."""
        try:
            send(self._to, order)
            send(self._to, tests)
        except BrokenPipeError:
            raise _Ended("the sandbox has ended") from None
        return self._answer(order["wall_seconds"] + _GRACE_SECONDS)

    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.poll() is not None

    def close(self) -> None:
        """Ends the box and with it all that is inside."""
        with self._process:  # its pipes are closed, its end is waited for
            self._process.kill()

    def _answer(self, seconds: float) -> dict[str, Any]:
        end = time.monotonic() + seconds

        def read(fd: int, size: int) -> bytes:
            if not select.select([fd], [], [], max(0.0, end - time.monotonic()))[0]:
                raise _Ended("the sandbox did not answer in time")
            return os.read(fd, size)

        try:
            answer: dict[str, Any] = receive(self._back, read)
            return answer
        except (EOFError, Strange):
            raise _Ended("the sandbox has ended") from None


_boxes: dict[tuple[int, bool], _Box] = {}  # by process and kind: a forked copy is not ours
_lock = threading.Lock()


def run_program(
    program: str | Sequence[str],
    tests: Tests,
    config: SandboxConfig | None = None,
    share: bool = False,
) -> Verdict:
    """Runs `program` (the first of several readings that is Python) against `tests`.

    The first failed test ends it, unless `share` asks for the number of passed ones. Raises
    UserError where programs cannot be isolated and `config.unsafe` is off.
    """
    config = config or SandboxConfig()
    require_isolation(config)
    return _run(isolation_error() is None, program, tests, config, share)


def require_isolation(config: SandboxConfig) -> None:
    """Raises UserError where programs cannot be isolated and `config.unsafe` is off."""
    if not config.unsafe and (why := isolation_error()):
        raise UserError(
            f"programs cannot be isolated here ({why}); use Linux 5.12 or later with user "
            "namespaces, or accept the risk with --sandbox.unsafe"
        )


def isolation_error() -> str | None:
    """Why programs cannot be isolated here, or None where they can; found out once by trying."""
    return _isolation_error(os.getpid())


@lru_cache(maxsize=8)
def _isolation_error(pid: int) -> str | None:
    if sys.platform != "linux":
        return f"{sys.platform} has no namespaces"
    trial = Calls(("assert one() == 1",), ("one",))
    try:
        right = _run(True, "def one(): return 1", trial, SandboxConfig(), False).right
    except _Refused as error:
        return str(error)
    return None if right else "a trial program got no verdict"


def _run(
    isolated: bool,
    program: str | Sequence[str],
    tests: Tests,
    config: SandboxConfig,
    share: bool,
) -> Verdict:
    # Apart from each other: the judge reads the tests after the program's process has begun.
    order = dataclasses.asdict(config) | {
        "programs": [program] if isinstance(program, str) else list(program),
        "streams": isinstance(tests, Streams),
        "share": share,
    }
    with _lock:
        key = (os.getpid(), isolated)
        if key in _boxes and _boxes[key].ended():  # killed from outside meanwhile
            _boxes.pop(key).close()
        if key not in _boxes:
            if not _boxes:
                atexit.register(_close_all)
            _boxes[key] = _Box(isolated)
        try:
            return Verdict(**_boxes[key].run(order, dataclasses.asdict(tests)))
        except _Ended:
            _boxes.pop(key).close()
            least = len(tests.pairs if isinstance(tests, Streams) else tests.tests)
            return Verdict(0, least, "wall")
        except BaseException:  # Ctrl-C meanwhile: the next answer would be this one
            _boxes.pop(key).close()
            raise


def _map_users(pid: int) -> None:
    """Gives the box's namespace its users: root outside becomes nobody, anyone else stays."""
    user, group = os.geteuid(), os.getegid()
    if user == 0:
        users = groups = "0 0 1\n1000 65534 1\n"
    else:
        users, groups = f"1000 {user} 1\n", f"1000 {group} 1\n"
        Path(f"/proc/{pid}/setgroups").write_text("deny")
    Path(f"/proc/{pid}/gid_map").write_text(groups)
    Path(f"/proc/{pid}/uid_map").write_text(users)


def _close_all() -> None:
    for (pid, _), box in _boxes.items():
        if pid == os.getpid():
            box.close()
