"""One process owns a run directory: a lock that dies with its owner and a file that names it."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import jax

from r1jax.errors import UserError
from r1jax.run import processes
from r1jax.run.names import OWNER
from r1jax.run.signals import farewell

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
"""What a system answers that has no room, or lets nobody write; it may not say to which file."""
UNKEPT = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}
"""What a filesystem answers that knows no locks."""


@contextlib.contextmanager
def owned(path: Path, take_over: bool, note: Callable[[str], Any] = print) -> Iterator[None]:
    """Owns the run directory `path` inside; it is made where there is none.

    Where it cannot be written, at first or later on, that is a UserError.

    The kernel keeps the lock (flock), so that an owner that was killed leaves none behind. It may
    not reach to other hosts: an owner there that did not say goodbye counts as alive until
    `take_over`. The first of several processes owns for all; every one calls it. Raises UserError
    naming the owner where there is one.
    """
    with contextlib.ExitStack() as held:
        refused = None
        if jax.process_index() == 0:
            try:
                held.enter_context(_owned(path, take_over, note))
            except UserError as mistake:
                refused = mistake
        if processes.most(refused is not None):
            raise refused or UserError(f"{path}: process 0 could not take it")
        with _writable(path):
            yield


@contextlib.contextmanager
def _owned(path: Path, take_over: bool, note: Callable[[str], Any]) -> Iterator[None]:
    with contextlib.ExitStack() as held:
        new = not path.exists()
        try:
            path.mkdir(parents=True, exist_ok=True)
            file, kept = _open(path / OWNER)
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); name another") from None
        held.enter_context(file)
        owner, here = _read(file), socket.gethostname()
        if kept is False or (owner.get("host", here) != here and not take_over):
            advice = "wait for it or name another directory"
            if kept is not False:
                advice = "if it is gone, --take-over"
            raise UserError(f"{path}: {_named(owner)} writes there; {advice}")
        if kept is None:
            if owner and not take_over and _alive(owner["pid"]):
                raise UserError(f"{path}: {_named(owner)} writes there; if not, --take-over")
            note(f"{path}: its filesystem keeps no locks; only {OWNER} tells others to stay away")
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        said = json.dumps({"pid": os.getpid(), "host": here, "since": since}) + "\n"
        try:  # without a buffer, which would be written once more as the file is closed
            file.truncate(0)
            if os.write(file.fileno(), said.encode()) < len(said):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        except OSError as error:
            raise UserError(f"{path}: cannot be written ({error.strerror}); name another") from None
        gone = functools.partial((path / OWNER).unlink, missing_ok=True)
        try:
            with farewell(gone):
                yield
        finally:
            with contextlib.suppress(OSError):  # read-only by now; the lock itself goes anyway
                gone()
            if new:
                with contextlib.suppress(OSError):  # something was written there, as it should be
                    path.rmdir()


@contextlib.contextmanager
def _writable(path: Path) -> Iterator[None]:
    """Says in one line that the run directory cannot be written: full, read-only, gone."""
    try:
        yield
    except OSError as error:
        name = error.filename
        inside = isinstance(name, str) and Path(name).absolute().is_relative_to(path.absolute())
        if not inside and error.errno not in FULL:
            raise
        left = "what was saved before is whole, and the same command goes on from it once that is "
        left = f"{left}mended" if path.exists() else "it was removed while the run wrote there"
        shown = name if inside and path.exists() else path
        raise UserError(f"{shown}: cannot be written ({error.strerror}); {left}") from error


def _open(path: Path) -> tuple[IO[str], bool | None]:
    """The file, and whether it was locked: False where another has it, None where no lock is kept.

    The last owner may remove a file that is being opened: then there is another one to lock.
    """
    while True:
        file = path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return file, False
        except OSError as error:
            if error.errno in UNKEPT:
                return file, None
            file.close()
            raise
        if path.exists() and os.path.samestat(os.fstat(file.fileno()), path.stat()):
            return file, True
        file.close()


def _read(file: IO[str]) -> dict[str, Any]:
    """What the owner says of itself; nothing where it was cut short or is about to."""
    file.seek(0)
    try:
        owner = json.loads(file.read())
    except (ValueError, RecursionError):
        return {}
    known = {"pid": int, "host": str, "since": str}
    whole = isinstance(owner, dict) and all(isinstance(owner.get(k), t) for k, t in known.items())
    return owner if whole else {}


def _named(owner: dict[str, Any]) -> str:
    if not owner:
        return "another process"
    return f"process {owner['pid']} on {owner['host']} (since {owner['since']})"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
