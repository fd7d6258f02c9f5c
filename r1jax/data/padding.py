"""Rows of unequal length in one array, prompts with their completions among them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from r1jax.data.packing import Sequences

Tokens = Sequence[int] | np.ndarray


def padded(rows: Iterable[Any], dtype: Any = np.int32, width: int = 0) -> np.ndarray:
    """[N, L, ...] of N rows [l, ...], zeros behind each; L is the longest, `width` at least."""
    rows = [np.asarray(row, dtype) for row in rows]
    longest = max((len(row) for row in rows), default=0)
    found = np.zeros((len(rows), max(longest, width), *(rows[0].shape[1:] if rows else ())), dtype)
    for into, row in zip(found, rows, strict=True):
        into[: len(row)] = row
    return found


def side_by_side(pairs: Iterable[tuple[Tokens, Tokens]]) -> Sequences:
    """Prompts, each with its completion behind it, without columns."""
    pairs = list(pairs)
    whole = ([np.asarray(part, np.int32) for part in pair] for pair in pairs)
    tokens = padded(map(np.concatenate, whole))
    before, lengths = (np.asarray([len(pair[k]) for pair in pairs], np.int64) for k in (0, 1))
    return Sequences(tokens, before, lengths)
