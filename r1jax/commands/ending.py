"""How a command ends: one line of what there is to say, and a status that a shell understands.

Standard output may break under it: nobody reads it any longer (`| head`; `| tee`, which Ctrl-C
reaches as well), or it is a file on a full disk. A run that can be saved is, at its next boundary;
anything else ends there and then.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from r1jax.errors import Stopped, UserError

FILES = {
    errno.ENAMETOOLONG, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC,
    errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.EMFILE,
    errno.ENFILE,
}  # fmt: skip
"""What a system says of files and disks that nobody here can help."""
UNREAD = 128 + signal.SIGPIPE
"""A shell's status for what wrote to nobody."""


def ended(work: Callable[[], int | None]) -> int:
    """The status of `work()`; mistakes and signals end it in one line on stderr.

    2 for a `UserError` and for files, standard output among them, that the system refuses; 130 for
    Ctrl-C, 143 for SIGTERM, 141 where nobody reads the output any longer.
    """
    try:
        return _ended(work)
    except KeyboardInterrupt:  # a second one, as the first was being told
        return 130


def _ended(work: Callable[[], int | None]) -> int:
    with _guarded() as lost:
        said = ""
        try:
            status = work() or 0
            if sys.stdout:
                sys.stdout.flush()
        except (UserError, OSError) as mistake:
            from r1jax.run.visible import line

            if isinstance(mistake, OSError) and mistake.errno not in FILES:
                raise
            said, status = f"error: {line(_told(mistake))}", 2
        except Stopped as stopped:
            said, status = str(stopped), 128 + stopped.number
        except KeyboardInterrupt:
            said, status = "interrupted", 130
        if lost and status in (0, UNREAD):
            status = UNREAD if isinstance(lost[0], BrokenPipeError) else 2
            if status == 2:
                said = f"error: standard output: cannot be written ({lost[0].strerror}); {said}"
        if said:
            print(said.removesuffix("; "), file=sys.stderr, flush=True)
    return status


def leaving(status: int, argv: Sequence[str] | None) -> int:
    """`status`; where `argv` is None the process ends with it, whatever signal comes on the way.

    Python waits for threads and clears up for seconds; a signal then would kill the process, as if
    what it has saved and said were lost.
    """
    if argv is None and threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: os._exit(status))
        atexit.register(_deaf)
    return status


def _deaf() -> None:
    # Behind this Python resets every handler but this one.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)


def _told(mistake: UserError | OSError) -> str:
    """What is wrong, with the file that a system would not open or write."""
    if isinstance(mistake, UserError) or mistake.filename is None:
        return str(mistake)
    return f"{mistake.filename}: {mistake.strerror}"


@contextlib.contextmanager
def at_once() -> Iterator[None]:
    """Inside, where libraries are imported and nothing can be lost, Ctrl-C ends it silently."""
    if threading.current_thread() is not threading.main_thread():  # Python lets no other one listen
        yield
        return
    before = signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@contextlib.contextmanager
def _guarded() -> Iterator[list[OSError]]:
    """Inside, output that cannot be written raises no OSError; the first of standard output's."""
    out, err, lost = sys.stdout, sys.stderr, []
    for descriptor in range(3):  # a closed one would be given to the next file that is opened
        with contextlib.suppress(OSError):
            os.fstat(descriptor)
            continue
        os.open(os.devnull, os.O_RDWR)
    sys.stdout = out and _Output(out, lost, whole=True)
    sys.stderr = err and _Output(err, [], whole=False)
    try:
        yield lost
    finally:
        sys.stdout, sys.stderr = out, err


class _Output:
    """A stream that can be written to whatever happens; where it breaks the rest is dropped."""

    def __init__(self, stream: TextIO, lost: list[OSError], whole: bool) -> None:
        """`lost` gets what happened; where it is the `whole` of a command's output, it ends."""
        self._stream, self._lost, self._ends = stream, lost, whole

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Writes as the stream would; all of it as far as anybody can tell."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flushes as the stream would."""
        self._try(self._stream.flush)

    def _try(self, action: Callable[[], Any]) -> None:
        if not self._lost:
            try:
                action()
            except OSError as error:
                self._lost.append(error)
                # What is left in its buffer is dropped as the process ends.
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())
        if self._lost and self._ends and threading.current_thread() is threading.main_thread():
            self._ends = False
            runs = sys.modules.get("r1jax.run.signals")  # else there is none that could be saved
            if not (runs and runs.unread()):
                raise Stopped(signal.SIGPIPE, "")
