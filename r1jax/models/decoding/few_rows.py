"""Matrices laid out for products with few rows, as a decode step on a GPU makes them.

A few rows give cuBLAS too few tiles of output to fill the chip, so what is stored how matters.
"""

from __future__ import annotations

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax.mesh import cut, platform
from r1jax.models.layers import Layer

FEW = 256  # rows of a product up to which a matrix is taken in pieces
TILE = 128  # rows and columns of a tile of output
MULTIPROCESSORS = 132  # of an H100 or H200; each works on a tile


@struct.dataclass
class Turned:
    """A matrix held as [out, in], or one for each expert, [experts, out, in].

    `models.layers.linear` takes it as a leaf.
    """

    matrix: jax.Array

    def apply(self, x: jax.Array) -> jax.Array:
        """x·W for x[..., in]: [..., out], or [..., experts, out]."""
        inner = self.matrix.ndim - 1
        return jax.lax.dot_general(x, self.matrix, (((x.ndim - 1,), (inner,)), ((), ())))


@struct.dataclass
class Pieces:
    """A matrix in pieces of its rows, [pieces, in / pieces, out]; `linear` takes it as a leaf."""

    matrix: jax.Array

    def apply(self, x: jax.Array) -> jax.Array:
        """x·W = Σₛ xₛ·Wₛ for x[..., in], summed in f32; many rows take the pieces as one."""
        pieces, _, n_out = self.matrix.shape
        if x.size // x.shape[-1] > FEW:
            return x @ self.matrix.reshape(-1, n_out)
        parts = jnp.einsum(
            "...sk,skn->s...n",
            x.reshape(*x.shape[:-1], pieces, -1),
            self.matrix,
            preferred_element_type=jnp.float32,
        )
        return jnp.sum(parts, axis=0).astype(x.dtype)


def wanted(mesh: Mesh | None) -> bool:
    """Whether decoding gains by `laid_out`: on GPUs."""
    return platform(mesh) == "gpu"


def joined(layer: Layer, parts: Mapping[str, tuple[str, ...]]) -> Layer:
    """The layer with matrices and biases side by side, {new name: names}, as far as it has them."""
    present = {n: p for n, p in parts.items() if all(weight in layer for weight in p)}
    gone = {weight for names in present.values() for weight in names}
    new = {n: jnp.concatenate([layer[weight] for weight in p], axis=-1) for n, p in present.items()}
    return {name: w for name, w in layer.items() if name not in gone} | new


def laid_out(layer: Layer, forms: Mapping[str, str], mesh: Mesh | None) -> Layer:
    """A `joined` layer as the GPU wants it: {name: turned, or in pieces where that helps}.

    Experts that are spread over devices stay as they are: tokens go to them.
    """
    new: Layer = {}
    for name, form in forms.items():
        *experts, n_in, n_out = layer[name].shape
        if mesh is not None and experts and cut(mesh, "experts", *experts):
            continue
        if form == "turned":
            new[name] = Turned(layer[name].mT)
        elif (pieces := _pieces(n_in, n_out)) > 1:
            new[name] = Pieces(layer[name].reshape(pieces, -1, n_out))
    return {**layer, **new}


def _pieces(n_in: int, n_out: int) -> int:
    """The most equal pieces, of whole multiples of 64 rows, whose tiles all run at once."""
    tiles = -(-FEW // TILE) * -(-n_out // TILE)
    fit = range(1, max(1, MULTIPROCESSORS // tiles) + 1)
    return max((p for p in fit if n_in % (64 * p) == 0), default=1)
