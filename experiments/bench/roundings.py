"""A dense decoder in float32 that rounds where it is told to: what each rounding costs alone."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.errors import UserError
from r1jax.models.attention import NEGATIVE
from r1jax.models.config import ModelConfig
from r1jax.models.decoder import head
from r1jax.models.layers import Layer, Tables, rms_norm, rope, rope_tables
from r1jax.types import Params

POINTS = (
    "residual", "norm", "qkv", "heads", "softmax", "attention", "out", "gate_up", "act", "down",
    "final_norm", "logits",
)  # fmt: skip
"""Results that 16 bits may round: in a layer in this order, then behind the last one.

The residual stream is rounded at the embedding and after each of a layer's two sums; `heads` are
queries and keys rotated, and values; `act` is silu(gate)·up.
"""

OPERANDS = ("norm", "heads", "softmax", "attention", "act", "final_norm")
"""Those that enter a product: a 16-bit product rounds them, whatever is done to the others."""

TYPES = ("float32", "bfloat16", "float16")

At = Callable[[str, jax.Array], jax.Array]


def codes(dtype: str, points: Iterable[str]) -> np.ndarray:
    """i32[POINTS]: what `logp` takes to round these points to `dtype` and no others."""
    chosen = frozenset(points)
    return np.asarray([TYPES.index(dtype) if p in chosen else 0 for p in POINTS], np.int32)


@functools.partial(jax.jit, static_argnums=(1, 4))
def logp(
    params: Params, c: ModelConfig, tokens: jax.Array, roundings: jax.Array, pieces: int = 1
) -> jax.Array:
    """log p f32[B, T - 1] of tokens i32[B, T] given those before; rounded as `codes` say.

    The sums of products are cut into as many `pieces`, which are then added: another program for
    the same arithmetic, whose results differ in the last bits of float32.
    """
    kinds = {(stack.attention, stack.ffn) for stack in c.stacks}
    if kinds != {("grouped", "dense")}:
        raise UserError(f"layers of {kinds}: only of grouped, dense ones are roundings told apart")
    at = lambda point, x: _rounded(x, roundings[POINTS.index(point)])  # noqa: E731
    tables = rope_tables(c, jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape))

    def block(x: jax.Array, layer: Layer) -> tuple[jax.Array, None]:
        x = at("residual", x + _attention(c, layer, x, tables, at, pieces))
        return at("residual", x + _feed_forward(c, layer, x, at, pieces)), None

    x = at("residual", params["embed"][tokens])
    for stack in params["stacks"]:
        x = jax.lax.scan(block, x, stack)[0]
    x = at("final_norm", rms_norm(x, params["norm"], c.rms_eps))[:, :-1]

    def chosen(xs: tuple[jax.Array, jax.Array]) -> jax.Array:
        z = at("logits", product(xs[0], head(params), pieces))  # [T, vocab] of one row at a time
        return jnp.take_along_axis(jax.nn.log_softmax(z), xs[1][:, None], axis=-1)[:, 0]

    return jax.lax.map(chosen, (x, tokens[:, 1:]))


def product(x: jax.Array, w: jax.Array, pieces: int = 1) -> jax.Array:
    """x·W in f32, the sum over x[..., in] in so many parts as near equal as they can be."""
    precise = lambda a, b: jnp.matmul(a, b, precision="highest")  # noqa: E731
    if pieces == 1:
        return precise(x, w)
    edges = [w.shape[0] * i // pieces for i in range(1, pieces)]
    return sum(map(precise, jnp.split(x, edges, axis=-1), jnp.split(w, edges, axis=0)))


def _rounded(x: jax.Array, code: jax.Array) -> jax.Array:
    """x as that one of `TYPES` would hold it, by an instruction that XLA takes for no detour."""
    widths = [(info.nexp, info.nmant) for info in map(jnp.finfo, TYPES[1:])]
    return jax.lax.select_n(code, x, *(jax.lax.reduce_precision(x, *bits) for bits in widths))


def _attention(
    c: ModelConfig, layer: Layer, x: jax.Array, tables: Tables, at: At, pieces: int
) -> jax.Array:
    x = at("norm", rms_norm(x, layer["attn_norm"], c.rms_eps))
    b, t, _ = x.shape

    def heads(i: str) -> jax.Array:
        y = product(x, layer[f"w{i}"], pieces) + layer.get(f"b{i}", 0.0)
        return at("qkv", y).reshape(b, t, -1, c.head_dim)

    q, k, v = map(heads, "qkv")
    if c.qk_norm:
        q, k = (
            at("norm", rms_norm(y, layer[n], c.rms_eps)) for y, n in ((q, "q_norm"), (k, "k_norm"))
        )
    q, k, v = (at("heads", y) for y in (rope(q, tables), rope(k, tables), v))
    q = q.reshape(b, t, c.n_kv_heads, -1, c.head_dim)
    z = jnp.einsum("btkgh,bskh->bkgts", q, k, precision="highest") / math.sqrt(c.head_dim)
    z = jnp.where(jnp.arange(t)[:, None] >= jnp.arange(t), z, NEGATIVE)
    # The kernels round e^(z - max) and divide by the sum of what was not rounded.
    e = jnp.exp(z - jnp.max(z, axis=-1, keepdims=True))
    y = jnp.einsum("bkgts,bskh->bkgth", at("softmax", e), v, precision="highest")
    y = (y / jnp.sum(e, axis=-1, keepdims=True)).transpose(0, 3, 1, 2, 4).reshape(b, t, c.q_dim)
    y = product(at("attention", y), layer["wo"], pieces) + layer.get("bo", 0.0)
    return at("out", y)


def _feed_forward(c: ModelConfig, layer: Layer, x: jax.Array, at: At, pieces: int) -> jax.Array:
    x = at("norm", rms_norm(x, layer["ffn_norm"], c.rms_eps))
    gate, up = (
        at("gate_up", product(x, layer[n], pieces) + layer.get(f"b{n}", 0.0))
        for n in ("gate", "up")
    )
    y = product(at("act", jax.nn.silu(gate) * up), layer["down"], pieces)
    return at("down", y + layer.get("bdown", 0.0))
