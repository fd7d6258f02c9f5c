"""What a kind of layer says of itself: weights, matrices, what a token leaves in the cache."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import jax
import numpy as np


@dataclass(frozen=True)
class Row:
    """One weight: shape, logical axes, how it starts and its name at Hugging Face.

    Matrices are stored [in, out]; Hugging Face stores [out, in], so `transposed` says to flip the
    last two dimensions. A stacked row has a leading layer axis, counted from `first`. For each
    leading axis along which Hugging Face keeps separate tensors, the name has a `{}`. `std` None
    means ones, 0 means zeros.
    """

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    hf: str
    std: float | None = None
    transposed: bool = False
    stacked: bool = False
    first: int = 0
    wide: bool = False  # f32 in every arithmetic, and in files that are written

    def dtype(self, arithmetic: Any) -> Any:
        """The type it is held in where weights are of the type `arithmetic`."""
        return np.float32 if self.wide else arithmetic

    @property
    def lead(self) -> int:
        """How many leading axes Hugging Face numbers in the name."""
        return self.hf.count("{}")

    @property
    def stored(self) -> tuple[int, ...]:
        """Shape of one tensor as Hugging Face stores it."""
        return flipped(self.shape[self.lead :], self.transposed)

    def name(self, at: tuple[int, ...]) -> str:
        """Hugging Face's name of the tensor at a leading index."""
        return self.hf.format(self.first + at[0], *at[1:]) if at else self.hf

    def names(self) -> Iterator[tuple[tuple[int, ...], str]]:
        """(leading index, Hugging Face name) of every tensor the row is made of."""
        for at in np.ndindex(*self.shape[: self.lead]):
            yield at, self.name(at)


def flipped(sizes: Sequence[Any], transposed: bool) -> tuple[Any, ...]:
    """What is said of each dimension, its last two exchanged where `transposed`."""
    return (*sizes[:-2], sizes[-1], sizes[-2]) if transposed else tuple(sizes)


def matrix(n_in: int, n_out: int, axes: tuple[str, str], hf: str, std: float) -> Row:
    """The row of a matrix [in, out]."""
    return Row((n_in, n_out), axes, hf + ".weight", std, transposed=True)


def output_std(init_std: float, n_layers: int) -> float:
    """How matrices that write into the residual stream start: σ / √(2·layers), as GPT-2's did."""
    return init_std / math.sqrt(2 * n_layers)


class Kept(NamedTuple):
    """An array that one token leaves in a slot's cache: it lies there as [S, L, *shape]."""

    shape: tuple[int, ...]
    axes: tuple[str | None, ...]
    dtype: Any = None  # None: that of the arithmetic


class Matrices(NamedTuple):
    """A kind's matrices [in, out], by the names of its rows.

    `joined` says which stand side by side, under a new name, when decoding: they meet the same
    activations. `few_rows` says how a GPU wants a matrix for a product with few rows. `reach`
    bounds the size of what enters each of the `targets`: {name: f32[in]} of a layer that is not
    joined; None where no bound is known, and 8 bits are refused. `wide` weights are f32 in every
    arithmetic.
    """

    targets: tuple[str, ...]
    joined: Mapping[str, tuple[str, ...]]
    few_rows: Mapping[str, Literal["turned", "pieces"]]
    reach: Callable[[Mapping[str, jax.Array]], dict[str, jax.Array]] | None
    wide: tuple[str, ...] = ()
