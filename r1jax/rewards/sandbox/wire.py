"""Frames between the sandbox's processes, and plain values in them: JSON with a tag for the rest.

Decoding makes values of Python's own types and nothing else, whatever the other side has written.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

MAX_FRAME = 16 << 20
"""Bytes of one frame at most."""

_LENGTH = struct.Struct("<I")
_MAX_ITEMS = 1_000_000  # of a generator, which may have no end
_SMALL = 1 << 53


class Strange(ValueError):
    """A frame or value that no honest other side sends."""


class Opaque:
    """A value that stays in the program: it can be handed back to it, and equals only itself."""

    def __init__(self, handle: int) -> None:
        self.handle = handle


def pack(message: Any) -> bytes:
    """The frame of a message; Strange where it is too long."""
    data = json.dumps(message).encode()
    if len(data) > MAX_FRAME:
        raise Strange(f"a message of {len(data)} bytes")
    return _LENGTH.pack(len(data)) + data


def send(fd: int, message: Any) -> None:
    """Writes one frame."""
    view = memoryview(pack(message))
    while view:
        view = view[os.write(fd, view) :]


def receive(fd: int, read: Callable[[int, int], bytes] = os.read) -> Any:
    """The next message; EOFError where the other side is gone, Strange where it is no frame."""
    (length,) = _LENGTH.unpack(_exactly(fd, _LENGTH.size, read))
    if length > MAX_FRAME:
        raise Strange(f"a message of {length} bytes")
    data = _exactly(fd, length, read)
    try:
        return json.loads(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise Strange("not a message") from error


def encode(value: Any, keep: Callable[[Any], int]) -> Any:
    """JSON of a plain value; `keep` gives a number to any other. Subclasses lose their class."""
    if value is None or isinstance(value, bool | float | str):
        return value
    if isinstance(value, int):  # json writes at most 4,300 digits
        return value if -_SMALL < value < _SMALL else {"int": format(int(value), "x")}
    if isinstance(value, list):
        return [encode(item, keep) for item in value]
    for name, kind in _SEQUENCES.items():
        if isinstance(value, kind):
            return {name: [encode(item, keep) for item in value]}
    if isinstance(value, dict):
        return {"dict": [[encode(k, keep), encode(v, keep)] for k, v in value.items()]}
    if isinstance(value, bytes | bytearray):
        return {type(b"" if isinstance(value, bytes) else value).__name__: value.hex()}
    if isinstance(value, complex):
        return {"complex": [value.real, value.imag]}
    if isinstance(value, range):
        return {"range": [encode(n, keep) for n in (value.start, value.stop, value.step)]}
    if isinstance(value, Opaque):
        return {"opaque": value.handle}
    if isinstance(value, Iterator):
        return {"iterator": [encode(item, keep) for item in islice(value, _MAX_ITEMS)]}
    return {"opaque": keep(value)}


def decode(data: Any, find: Callable[[int], Any] = Opaque) -> Any:
    """Inverse of `encode`; `find` turns a number into what was kept. Strange for anything else."""
    if data is None or type(data) in (bool, int, float, str):
        return data
    if type(data) is list:
        return [decode(item, find) for item in data]
    if type(data) is not dict or len(data) != 1:
        raise Strange("not a value")
    ((name, part),) = data.items()
    try:
        if name == "int":
            return int(part, 16)
        if name in _BUILDERS:
            return _BUILDERS[name](decode(part, find))
        if name == "dict":
            return {decode(k, find): decode(v, find) for k, v in part}
        if name in ("bytes", "bytearray"):
            made = bytes.fromhex(part)
            return made if name == "bytes" else bytearray(made)
        if name == "complex":
            return complex(*map(float, part))
        if name == "range":
            return range(*decode(part, find))
        if name == "opaque":
            return find(int(part))
    except (TypeError, ValueError, OverflowError) as error:
        raise Strange(f"not a {name}") from error
    raise Strange("not a value")


_SEQUENCES: dict[str, Any] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "keys": type({}.keys()),
    "values": type({}.values()),
    "items": type({}.items()),
}
_BUILDERS: dict[str, Callable[[list[Any]], Any]] = {
    "tuple": tuple,
    "set": set,
    "frozenset": frozenset,
    "keys": lambda items: dict.fromkeys(items).keys(),
    "values": lambda items: dict(enumerate(items)).values(),
    "items": lambda items: dict(items).items(),
    "iterator": iter,
}


def _exactly(fd: int, size: int, read: Callable[[int, int], bytes]) -> bytes:
    parts = []
    while size:
        part = read(fd, min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
