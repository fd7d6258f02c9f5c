"""Matrices in 8-bit floating point, by the library qwix (an optional package).

Rollouts may be drawn from such a shadow of the policy. It is never trained, and never what is
judged: training corrects for the difference by importance weights.

Activations are brought to 8 bits as well, so that tensor cores work at twice the rate. Finding the
largest number of each row would cost what the products gain. A norm in front of a matrix bounds
what can enter it, and that bound, a number per channel, is moved into the matrix.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.errors import UserError
from r1jax.models.layers import Layer

WeightFormat = Literal["same", "float8"]
"""How matrices are held: in the type of the arithmetic, or in 8 bits (e4m3)."""

LARGEST = 448.0
"""The largest number of that type."""


@struct.dataclass
class Quantized:
    """A matrix in 8 bits, [out, in]. `models.layers.linear` takes it as a leaf.

    The summed axis comes last, as the 8-bit tensor cores want it of both factors: a matrix stored
    [in, out] would be transposed at every product.
    """

    matrix: Any  # qwix.QArray: values [out, in], f32 scales [out, 1]
    shrink: jax.Array  # f32[in], by which activations are multiplied to stay within LARGEST

    def apply(self, x: jax.Array) -> jax.Array:
        """x·W for x[..., in]."""
        import qwix

        small = x.astype(jnp.float32) * self.shrink
        rows = qwix.quantize(small, self.matrix.qtype, calibration_method=f"fixed,{LARGEST}")
        summed = (((x.ndim - 1,), (1,)), ((), ()))
        product = qwix.dot_general(rows, self.matrix, summed, preferred_element_type=x.dtype)
        return product.astype(x.dtype)


def quantize(w: jax.Array, reach: jax.Array) -> Quantized:
    """A matrix [in, out] in 8 bits; `reach` f32[in] is how large its activations can be in size."""
    import qwix

    shrink = jnp.where(reach > 0, LARGEST / reach, 0.0)
    grown = w.T.astype(jnp.float32) * (reach / LARGEST)
    return Quantized(qwix.quantize(grown, jnp.float8_e4m3fn, channelwise_axes=(0,)), shrink)


def behind_norm(gain: jax.Array) -> jax.Array:
    """f32[in] that no row behind a norm with gains g exceeds in size.

    Its root mean square is 1 at most before them, so that |x| <= √d·|g|.
    """
    return math.sqrt(gain.shape[0]) * jnp.abs(gain.astype(jnp.float32))


def behind_matrix(gain: jax.Array, matrix: jax.Array, bias: jax.Array | None = None) -> jax.Array:
    """f32[out] that such a row does not exceed after a matrix (and a bias) either.

    By Cauchy and Schwarz, |x·w| <= √d·|g∘w|.
    """
    gained = gain.astype(jnp.float32)[:, None] * matrix.astype(jnp.float32)
    added = 0.0 if bias is None else jnp.abs(bias.astype(jnp.float32))
    return math.sqrt(gain.shape[0]) * jnp.linalg.norm(gained, axis=0) + added


def quantized(layer: Layer, reach: Mapping[str, jax.Array]) -> Layer:
    """A layer with its matrices in 8 bits; norms and biases as they are."""
    return {n: quantize(w, reach[n]) if n in reach else w for n, w in layer.items()}


def require(how: WeightFormat, flag: str) -> None:
    """Raises UserError, naming the flag, where 8 bits are asked for and qwix is not installed."""
    if how == "same":
        return
    try:
        import qwix  # noqa: F401
    except ImportError as error:
        raise UserError(
            f"{flag} {how}: needs the package qwix; pip install 'r1jax[quantized]', or use same"
        ) from error
