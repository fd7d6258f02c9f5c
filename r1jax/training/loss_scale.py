"""The dynamic loss scale of float16 training, kept as part of the optimizer's state.

float16 holds nothing below 6e-8, and gradients of activations lie there: the loss is multiplied by
a scale before they are computed and the sums of the gradients divided by it (Micikevicius et al.,
2018). The scale is a power of two, so that neither rounds.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct

from r1jax.types import Params

FIRST, LARGEST = 2.0**15, 2.0**24
GROWTH = 100  # updates without an overflow after which the scale doubles


@struct.dataclass
class Scaled:
    """An optimizer's state with the scale of the next update's loss."""

    inner: Any
    scale: jax.Array  # f32[]
    streak: jax.Array  # i32[], finite updates since the scale last moved
    overflows: jax.Array  # i32[], updates that were skipped because the scale was too high


def scaled(optimizer: optax.GradientTransformation) -> optax.GradientTransformation:
    """The optimizer, for gradients that were divided by the scale; `moved` changes it."""

    def init(params: Params) -> Scaled:
        zero = jnp.zeros((), jnp.int32)
        return Scaled(optimizer.init(params), jnp.float32(FIRST), zero, zero)

    def update(grads: Params, state: Scaled, params: Params | None = None) -> tuple[Params, Scaled]:
        changes, inner = optimizer.update(grads, state.inner, params)
        return changes, state.replace(inner=inner)

    return optax.GradientTransformation(init, update)


def scale_of(opt_state: Any) -> jax.Array | None:
    """f32[], what the loss is multiplied by; None for an optimizer that is not `scaled`."""
    return opt_state.scale if isinstance(opt_state, Scaled) else None


def overflowed(opt_state: Any, share: jax.Array, finite: jax.Array) -> jax.Array:
    """Whether an update is not `finite` for its scale's sake: its loss is, and 1 is not reached."""
    if not isinstance(opt_state, Scaled):
        return jnp.zeros((), bool)
    return ~finite & jnp.isfinite(share) & (opt_state.scale > 1.0)


def moved(opt_state: Any, finite: jax.Array, overflow: jax.Array) -> Any:
    """The state with its scale halved by an overflow, doubled after `GROWTH` finite updates."""
    if not isinstance(opt_state, Scaled):
        return opt_state
    streak = jnp.where(finite, opt_state.streak + 1, 0)
    grows = streak == GROWTH
    factor = jnp.where(overflow, 0.5, jnp.where(grows, 2.0, 1.0))
    return opt_state.replace(
        scale=jnp.clip(opt_state.scale * factor, 1.0, LARGEST),
        streak=jnp.where(grows, 0, streak),
        overflows=opt_state.overflows + overflow.astype(jnp.int32),
    )
