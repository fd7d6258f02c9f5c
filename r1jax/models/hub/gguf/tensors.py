"""Tensors of a GGUF file: dequantised and in Hugging Face's order where they are asked for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from r1jax.models.hub.gguf.file import Placed, library
from r1jax.models.hub.shards import DTYPES

PIECE = 1 << 16  # numbers that are dequantised, or quantised, at a time


@dataclass(frozen=True)
class View:
    """A tensor's numbers as Hugging Face orders them, dequantised where they are asked for.

    It has what `Stored` asks of a slice of safetensors. `heads` says of how many heads a query's or
    key's rows are: llama.cpp has each head's two halves in turns, in Llama's files alone.
    """

    placed: Placed
    heads: int = 0

    def get_shape(self) -> tuple[int, ...]:
        """As numpy has it."""
        return self.placed.shape

    def get_dtype(self) -> str:
        """The type `__getitem__` gives, by safetensors' names; the quantisation's if it cannot."""
        kind = self.placed.kind
        if kind.name in DTYPES:
            return kind.name
        return "F32" if kind in library().quants._type_traits else kind.name

    def __getitem__(self, spans: tuple[slice, ...]) -> np.ndarray:
        """The part between the spans of every dimension."""
        shape = self.placed.shape
        order = halves_in_turns(shape[0], self.heads)[spans[0]]
        data = self._mapped()
        if len(shape) == 1:
            return self._numbers(data)[order]
        out = np.empty((len(order), len(range(*spans[1].indices(shape[1])))), self._dtype)
        step = max(1, PIECE // max(shape[1], 1))
        for start in range(0, len(order), step):
            rows = self._numbers(data[order[start : start + step]])
            out[start : start + step] = rows[:, spans[1]]
        return out

    @property
    def _dtype(self) -> np.dtype:
        return np.dtype(DTYPES[self.get_dtype()])

    def _mapped(self) -> np.ndarray:
        """u8[..., bytes of a row] on the disk."""
        placed = self.placed
        data = np.memmap(placed.path, np.uint8, "r", placed.start, (placed.nbytes,))
        return data.reshape(*placed.shape[:-1], -1)

    def _numbers(self, rows: np.ndarray) -> np.ndarray:
        if self.placed.kind.name in DTYPES:
            return np.ascontiguousarray(rows).view(self._dtype)
        return library().dequantize(rows, self.placed.kind)


def halves_in_turns(rows: int, heads: int) -> np.ndarray:
    """Where each of Hugging Face's rows lies in a file that has heads' halves in turns.

    Row j·(size / 2) + i of a head is its row 2i + j there; all rows in order for no heads.
    """
    order = np.arange(rows)
    return order.reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1) if heads else order


def turned_heads(family: str, queries: int, keys: int) -> dict[str, int]:
    """Tensors of a layer whose rows are so, and how many heads they have: Llama's alone."""
    return {"attn_q": queries, "attn_k": keys} if family == "llama" else {}
