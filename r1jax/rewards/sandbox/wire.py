"""Frames between the sandbox's processes, and plain values in them: JSON with a tag for the rest.

Decoding makes values of Python's own types and nothing else, whatever the other side has written.
"""

from __future__ import annotations

import json
import os
import struct
from array import array
from collections import deque
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import islice
from typing import Any

MAX_FRAME = 16 << 20
"""Bytes of one frame at most."""

_LENGTH = struct.Struct("<I")
MAX_ITEMS = 1_000_000
"""Items that are taken from a generator, which may have no end."""
_SMALL = 1 << 53


class Strange(ValueError):
    """A frame or value that no honest other side sends."""


class Opaque:
    """A value that stays in its process: it can be handed back to it, and equals only itself."""

    def __init__(self, handle: int | str) -> None:
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
    if isinstance(value, int) and -_SMALL < value < _SMALL:
        return value
    if isinstance(value, list):
        return [encode(item, keep) for item in value]
    if isinstance(value, Opaque):
        return {"opaque": value.handle}
    for name, (kind, take_apart, _) in _KINDS.items():
        if isinstance(value, kind):
            return {name: encode(take_apart(value), keep)}
    if isinstance(value, type) and _TYPES.get(value.__name__) is value:
        return {"type": value.__name__}
    return {"opaque": keep(value)}


def decode(data: Any, find: Callable[[Any], Any] = Opaque) -> Any:
    """Inverse of `encode`; `find` turns a handle into what was kept. Strange for anything else."""
    if data is None or type(data) in (bool, int, float, str):
        return data
    if type(data) is list:
        return [decode(item, find) for item in data]
    if type(data) is not dict or len(data) != 1:
        raise Strange("not a value")
    ((name, part),) = data.items()
    try:
        if name == "opaque" and type(part) in (int, str):
            return find(part)
        if name == "type":
            return _TYPES[part]
        if name in _KINDS:
            return _KINDS[name][2](decode(part, find))
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        raise Strange(f"not a {name}") from error
    raise Strange("not a value")


_Kind = tuple[type, Callable[[Any], Any], Callable[[Any], Any]]
_KINDS: dict[str, _Kind] = {  # type, its parts, a value from its parts
    # In base 16: json writes at most 4,300 decimal digits.
    "int": (int, lambda n: format(int(n), "x"), lambda digits: int(digits, 16)),
    "tuple": (tuple, list, tuple),
    "set": (set, list, set),
    "frozenset": (frozenset, list, frozenset),
    "keys": (type({}.keys()), list, lambda items: dict.fromkeys(items).keys()),
    "values": (type({}.values()), list, lambda items: dict(enumerate(items)).values()),
    "items": (type({}.items()), list, lambda items: dict(items).items()),
    "dict": (dict, lambda value: [list(pair) for pair in value.items()], dict),
    "bytes": (bytes, bytes.hex, bytes.fromhex),
    "bytearray": (bytearray, bytearray.hex, bytearray.fromhex),
    "complex": (complex, lambda z: [z.real, z.imag], lambda parts: complex(*parts)),
    "range": (range, lambda r: [r.start, r.stop, r.step], lambda parts: range(*parts)),
    "deque": (deque, lambda d: [list(d), d.maxlen], lambda parts: deque(*parts)),
    "fraction": (Fraction, lambda f: [f.numerator, f.denominator], lambda parts: Fraction(*parts)),
    "decimal": (Decimal, str, Decimal),
    "array": (array, lambda a: [a.typecode, a.tolist()], lambda parts: array(*parts)),
    # A datetime is a date, and comes first.
    "datetime": (datetime, datetime.isoformat, datetime.fromisoformat),
    "date": (date, date.isoformat, date.fromisoformat),
    "time": (time, time.isoformat, time.fromisoformat),
    "timedelta": (
        timedelta,
        lambda span: [span.days, span.seconds, span.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "iterator": (Iterator, lambda value: list(islice(value, MAX_ITEMS)), iter),
}

_TYPES = {
    kind.__name__: kind
    for kind in (
        bool, int, float, complex, str, bytes, bytearray, list, tuple, dict, set, frozenset,
        range, type(None), Decimal, Fraction, deque, date, datetime,
    )
}  # fmt: skip


def _exactly(fd: int, size: int, read: Callable[[int, int], bytes]) -> bytes:
    parts = []
    while size:
        part = read(fd, min(size, 1 << 16))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
