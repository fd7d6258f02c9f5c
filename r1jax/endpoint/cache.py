"""Replies on disk by the hash of their request, so that nothing is paid for twice."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1jax.errors import UserError


class ReplyCache:
    """An append-only JSONL file of {"key", "value"}; an empty path keeps everything in memory.

    Each entry is one write of one line. A line that a kill left half-written is no entry: its
    request is asked again.
    """

    def __init__(self, path: str | Path = "") -> None:
        """Raises UserError where the file cannot be opened."""
        self._entries: dict[str, dict[str, Any]] = {}
        self._file: int | None = None
        if not path:
            return
        self._path = path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.exists() and not path.is_file():  # a device may have no end
                raise UserError(f"--endpoint.cache {path}: is no file; name a file to write")
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
            text = path.read_bytes()
        except OSError as error:
            raise UserError(
                f"--endpoint.cache {path}: {error.strerror}; name a file to write"
            ) from error
        for line in text.split(b"\n"):
            if entry := _entry(line):
                self._entries[entry["key"]] = entry["value"]
        if text and not text.endswith(b"\n"):
            os.write(self._file, b"\n")  # what is appended must not join the half line

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> dict[str, Any] | None:
        """The value kept for `key`."""
        return self._entries.get(key)

    def put(self, key: str, value: Mapping[str, Any]) -> None:
        """Keeps `value` for `key`, on disk before the call returns. UserError where it cannot."""
        self._entries[key] = dict(value)
        if self._file is None:
            return
        line = json.dumps({"key": key, "value": dict(value)}, ensure_ascii=False) + "\n"
        left = memoryview(line.encode("utf-8", "surrogatepass"))
        try:
            while left:
                left = left[os.write(self._file, left) :]
        except OSError as error:
            raise UserError(
                f"--endpoint.cache {self._path}: {error.strerror}; what stands there is kept, "
                "make room and repeat the command"
            ) from error

    def close(self) -> None:
        """Closes the file."""
        if self._file is not None:
            os.close(self._file)
            self._file = None


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a whole line, None for one that is none."""
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not isinstance(entry.get("value"), dict):
        return None
    return entry if isinstance(entry.get("key"), str) else None
