"""What a GGUF file says of itself: metadata and where each tensor lies; split files together."""

from __future__ import annotations

import functools
import math
import mmap
import re
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from r1jax.errors import UserError
from r1jax.models.hub.keys import shown

SPLIT = re.compile(r"(.+)-(\d{5})-of-(\d{5})\.gguf")
STRING, ARRAY, FLOAT32 = 8, 9, 6
SCALARS = dict(enumerate("BbHhIif?")) | dict(zip((10, 11, 12), "Qqd", strict=True))
"""Number of a type of metadata -> its letter for `struct`."""


@dataclass(frozen=True)
class Placed:
    """A tensor of a file: `shape` as numpy has it, the last dimension the one along its blocks."""

    name: str
    path: Path
    shape: tuple[int, ...]
    kind: Any  # gguf.GGMLQuantizationType
    start: int
    nbytes: int


@dataclass(frozen=True)
class Header:
    """Metadata and tensors by GGUF's names; those of every part where a model is split."""

    path: Path
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Placed]


def library() -> ModuleType:
    """The gguf package, which knows the quantisations; UserError where it is not installed."""
    try:
        import gguf
    except ImportError as error:
        raise UserError(
            "GGUF files are read and written with the gguf package, which is not installed: "
            "pip install gguf"
        ) from error
    return gguf


def read_header(path: str | Path) -> Header:
    """What a GGUF file, or all parts of a split one, says of itself.

    Raises UserError naming a file that is none, damaged, cut off, big-endian or missing.
    """
    path = Path(path)
    parts = _parts(path)
    found = [_read(part, *_stamp(part)) for part in parts]
    for number, each in enumerate(found):
        said = each.metadata.get("split.no", 0), each.metadata.get("split.count", 0) or 1
        if said != (number, len(parts)):
            raise UserError(
                f"{each.path}: says that it is part {shown(said[0])} of {shown(said[1])}, counted "
                f"from 0; it was read as part {number} of {len(parts)} by its name"
            )
    tensors = {name: tensor for each in found for name, tensor in each.tensors.items()}
    promised = found[0].metadata.get("split.tensors.count", len(tensors))
    if sum(len(each.tensors) for each in found) != len(tensors) or promised != len(tensors):
        raise UserError(f"{path}: its parts hold {len(tensors)} tensors, not {shown(promised)}")
    return Header(path, found[0].metadata, tensors)


def _parts(path: Path) -> list[Path]:
    """Every file of a model that is split, in order, whichever of them was named."""
    match = SPLIT.fullmatch(path.name)
    if not match:
        return [path]
    stem, count = match[1], int(match[3])
    parts = [path.with_name(f"{stem}-{i:05d}-of-{count:05d}.gguf") for i in range(1, count + 1)]
    missing = [part.name for part in parts if not part.is_file()]
    if missing or not parts:
        raise UserError(f"{path}: part {(missing or [path.name])[0]} of the split model is missing")
    return parts


def _stamp(path: Path) -> tuple[int, int]:
    try:
        stat = path.stat()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    return stat.st_mtime_ns, stat.st_size


@functools.lru_cache(maxsize=64)
def _read(path: Path, changed: int, size: int) -> Header:
    """One file; its lists of tokens are long, so it is read once while it stays as it is."""
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()
    except (OSError, ValueError, KeyError, struct.error, OverflowError, MemoryError) as error:
        reason = "it ends too early" if isinstance(error, struct.error) else error
        raise UserError(f"{path}: not a whole GGUF file ({reason})") from error


class _Reader:
    """Values one after the other; `gguf.GGUFReader` takes seconds for the tokens of a model."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.at = path, data, 0

    def header(self) -> Header:
        """Raises ValueError, KeyError or struct.error where the bytes make no sense."""
        if self.data[:4] != b"GGUF":
            raise ValueError("it does not begin with GGUF; of other layouts name the directory")
        self.at = 4
        version = self.take("I")
        if not version & 0xFFFF:
            raise ValueError("it is big-endian; gguf_convert_endian of llama.cpp turns it")
        if version not in (2, 3):
            raise ValueError(f"version {version}; 2 and 3 are read")
        tensors, pairs = self.take("Q"), self.take("Q")
        metadata: dict[str, Any] = {}
        for _ in range(pairs):
            key = self.text()
            if key in metadata:
                raise ValueError(f"{shown(key)} stands in it twice")
            metadata[key] = self.value(self.take("I"))
        found = [self.tensor() for _ in range(tensors)]
        alignment = metadata.get("general.alignment", 32)
        if type(alignment) is not int or alignment < 1:
            raise ValueError(f"general.alignment is {shown(alignment)}")
        start = -(-self.at // alignment) * alignment
        placed = {name: self.placed(name, *rest, start) for name, *rest in found}
        if len(placed) != tensors:
            raise ValueError("a tensor stands in it twice")
        return Header(self.path, metadata, placed)

    def take(self, letter: str) -> Any:
        (value,) = struct.unpack_from("<" + letter, self.data, self.at)
        self.at += struct.calcsize("<" + letter)
        return value

    def raw(self, nbytes: int) -> bytes:
        if nbytes > len(self.data) - self.at:
            raise struct.error
        self.at += nbytes
        return self.data[self.at - nbytes : self.at]

    def text(self) -> str:
        return self.raw(self.take("Q")).decode("utf-8")

    def value(self, kind: int) -> Any:
        if kind == STRING:
            return self.text()
        if kind == ARRAY:
            inner, count = self.take("I"), self.take("Q")
            if inner == STRING:
                return [self.text() for _ in range(count)]
            letter = SCALARS[inner]
            return np.frombuffer(self.raw(count * struct.calcsize("<" + letter)), "<" + letter)
        if kind not in SCALARS:
            raise ValueError(f"metadata of type {kind}")
        value = self.take(SCALARS[kind])
        # 1e-5 was meant, not 9.99999974e-06.
        return float(str(np.float32(value))) if kind == FLOAT32 else value

    def tensor(self) -> tuple[str, tuple[int, ...], int, int]:
        """(name, shape, number of its type, offset) as they stand in the file."""
        name, dimensions = self.text(), self.take("I")
        if dimensions > 4:
            raise ValueError(f"tensor {shown(name)} has {dimensions} dimensions")
        shape = tuple(self.take("Q") for _ in range(dimensions))[::-1]
        return name, shape, self.take("I"), self.take("Q")

    def placed(self, name: str, shape: tuple[int, ...], kind: int, at: int, start: int) -> Placed:
        gguf = library()
        try:
            known = gguf.GGMLQuantizationType(kind)
        except ValueError as error:
            raise ValueError(
                f"tensor {shown(name)} is quantised in a way (number {kind}) that this version of "
                "the gguf package does not know"
            ) from error
        numbers, nbytes = gguf.GGML_QUANT_SIZES[known]
        if shape and shape[-1] % numbers:
            raise ValueError(f"tensor {shown(name)}: rows of {shape[-1]} for blocks of {numbers}")
        nbytes = math.prod(shape) // numbers * nbytes
        if start + at + nbytes > len(self.data):
            raise ValueError(f"tensor {shown(name)} lies beyond its end")
        return Placed(name, self.path, shape, known, start + at, nbytes)
