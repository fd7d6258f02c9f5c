"""Matrices in 8-bit floating point, by the library qwix (an optional package).

Rollouts may be drawn from such a shadow of the policy. It is never trained, and never what is
judged: training corrects for the difference by importance weights.

Activations are brought to 8 bits as well, so that tensor cores work at twice the rate. Finding the
largest number of each row would cost what the products gain. A norm in front of a matrix bounds
what can enter it, and that bound, a number per channel, is moved into the matrix.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import struct

from r1jax.errors import UserError

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


def reaches(layer: dict[str, jax.Array]) -> dict[str, jax.Array]:
    """The largest size, f32[in], of what can enter each matrix of a layer with separate q, k, v.

    A row behind a norm with gains g has a root mean square of 1 at most before them, so that
    |x| <= √d·|g| and, by Cauchy and Schwarz, |x·w| <= √d·|g∘w|. Attention averages values, and
    |silu(a)·b| <= |a|·|b|.
    """
    root = math.sqrt(layer["attn_norm"].shape[0])

    def after(norm: str, matrix: str, bias: str = "") -> jax.Array:
        gained = layer[norm].astype(jnp.float32)[:, None] * layer[matrix].astype(jnp.float32)
        added = jnp.abs(layer[bias].astype(jnp.float32)) if bias in layer else 0.0
        return root * jnp.linalg.norm(gained, axis=0) + added

    attention, ffn = (
        root * jnp.abs(layer[n].astype(jnp.float32)) for n in ("attn_norm", "ffn_norm")
    )
    values = jnp.max(after("attn_norm", "wv", "bv"))
    return {
        **dict.fromkeys(("wq", "wk", "wv", "wqkv"), attention),
        "wo": jnp.full(layer["wo"].shape[0], values),
        **dict.fromkeys(("gate", "up", "gate_up"), ffn),
        "down": after("ffn_norm", "gate") * after("ffn_norm", "up"),
    }


def quantized(layer: dict[str, jax.Array], reach: dict[str, jax.Array]) -> dict[str, Any]:
    """A layer with its matrices in 8 bits; norms and biases as they are."""
    return {n: quantize(w, reach[n]) if n in reach else w for n, w in layer.items()}


def matrices(tree: Any) -> list[Any]:
    """What `quantized` brings to 8 bits, of a tree like the parameters: all [layers, in, out]."""
    return [x for stack in tree["stacks"] for x in stack.values() if len(x.shape) == 3]


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
