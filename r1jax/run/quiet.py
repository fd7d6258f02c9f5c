"""Keeps off the terminal what threads of libraries say of a failure that somebody else tells."""

from __future__ import annotations

import functools
import logging
import sys


@functools.cache
def quiet_writers() -> None:
    """From now on Orbax's and tensorstore's threads print no tracebacks: who waits is told.

    They may do so long after a write failed, so that there is no moment to end this.
    """
    before = sys.unraisablehook

    def hook(said: sys.UnraisableHookArgs) -> None:
        if not (said.exc_type is RuntimeError and str(said.exc_value) == "Event loop is closed"):
            before(said)

    for name in ("absl", "asyncio"):
        logging.getLogger(name).addFilter(_wanted)
    sys.unraisablehook = hook


def _wanted(record: logging.LogRecord) -> bool:
    theirs = "orbax" in record.pathname or record.name == "asyncio"
    return record.levelno < logging.ERROR or not theirs
