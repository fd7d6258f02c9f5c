"""Weights in FP8 with a scale for each block, as DeepSeek publishes them: read span by span.

safetensors cannot slice such tensors for numpy, so that their bytes are mapped here.
"""

from __future__ import annotations

import functools
import json
from pathlib import Path

import jax.numpy as jnp
import numpy as np

BLOCK = 128
"""Rows and columns that share a scale; blocks at the far edges may be smaller."""
SCALES = "_scale_inv"
"""Ending of the name of a tensor's scales, behind its own."""
WEIGHTS = "F8_E4M3"
DTYPES = {WEIGHTS: jnp.float8_e4m3fn, "F8_E8M0": jnp.float8_e8m0fnu}
"""What is mapped, by safetensors' names: weights, and scales that are powers of two."""


@functools.lru_cache(maxsize=4)
def _header(path: Path, changed: int) -> tuple[int, dict[str, dict]]:
    """(where the tensors of a file begin, what its header says of each)."""
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        return 8 + size, json.loads(file.read(size))


def mapped(path: Path, name: str) -> np.ndarray:
    """A tensor of a whole safetensors file, whose bytes are read when they are asked for."""
    begin, header = _header(path, path.stat().st_mtime_ns)
    said = header[name]
    where, shape = begin + said["data_offsets"][0], tuple(said["shape"])
    return np.memmap(path, DTYPES[said["dtype"]], "r", where, shape)


def scales_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many blocks a tensor has along each dimension."""
    return tuple(-(-n // BLOCK) for n in shape)


def covering(spans: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
    """The spans of the blocks that spans of a tensor lie in."""
    return tuple((start // BLOCK, -(-stop // BLOCK)) for start, stop in spans)


def scaled(x: np.ndarray, spans: tuple[tuple[int, int], ...], scales: np.ndarray) -> np.ndarray:
    """f32: the part of a matrix at `spans`, times the scales of the blocks that cover them.

    Row of blocks by row of blocks, so that no second array of its size is held.
    """
    (top, bottom), (left, right) = spans
    columns = np.arange(left, right) // BLOCK - left // BLOCK
    wide = x.astype(np.float32)
    for i, row in enumerate(scales.astype(np.float32), top // BLOCK):
        start, stop = max(i * BLOCK, top), min((i + 1) * BLOCK, bottom)
        wide[start - top : stop - top] *= row[columns]
    return wide
