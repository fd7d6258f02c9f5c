"""Generation on several devices: each runs the slots it holds, with the whole model."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import on_own_rows, own_rows
from r1jax.models import decoder
from r1jax.models.cache_attention import Prefix
from r1jax.models.config import ModelConfig
from r1jax.rollout import slots as alone
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.slots import Admission, Slots
from r1jax.types import Params

LOOK = 16  # steps that devices take on their own before they ask each other whether to go on


def admit(
    weights: Params,
    slots: Slots,
    entering: Admission,
    *,
    c: ModelConfig,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> Slots:
    """`slots.admit`, where it can be with each device on its own slots.

    The prefixes are shared out among the devices where they divide.
    """
    axes = own_rows(mesh, slots.active.shape[0])
    if not axes:
        return alone.admit(weights, slots, entering, c, sampling, stop_ids, mesh)

    def local(weights: Params, slots: Slots, entering: Admission) -> tuple[None, Slots]:
        size = slots.active.shape[0]
        begin = jax.lax.axis_index(axes) * size
        slot = entering.slot - begin
        entering = entering.replace(slot=jnp.where((slot >= 0) & (slot < size), slot, size))
        found = _prefill(weights, c, entering.prompts, entering.lengths, axes)
        slots = _renumbered(slots, -begin)
        slots = alone.enter(slots, entering, *found, sampling, stop_ids, None)
        return None, _renumbered(slots, begin)

    return on_own_rows(local, mesh, axes)(weights, slots, entering)[1]


def decode(
    weights: Params,
    slots: Slots,
    steps: jax.Array,
    enough_free: jax.Array,
    *,
    c: ModelConfig,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> tuple[jax.Array, Slots]:
    """`slots.decode`, where it can be with each device on its own slots.

    Devices look at each other every `LOOK` steps alone, so that so many more may be taken.
    """
    size = slots.active.shape[0]
    axes = own_rows(mesh, size)
    if not axes:
        return alone.decode(weights, slots, steps, enough_free, c, sampling, stop_ids, mesh)

    def local(
        weights: Params, slots: Slots, steps: jax.Array, enough_free: jax.Array
    ) -> tuple[jax.Array, Slots]:
        never = jnp.int32(size + 1)

        def look(before: jax.Array, more: jax.Array, slots: Slots) -> Any:
            """(steps taken, whether to go on): one message each way, for its wait is what costs."""
            own = jnp.stack([more, jnp.sum(slots.active), alone.any_full(slots)])
            steps_of, active, full = jax.lax.all_gather(own, axes).T
            taken, active = before + jnp.max(steps_of), jnp.sum(active)
            goes_on = (active > 0) & (size - active < enough_free) & ~jnp.any(full)
            return taken, (taken < steps) & goes_on

        def stretch(carry: tuple[jax.Array, jax.Array, Slots]) -> Any:
            taken, _, slots = carry
            few = jnp.minimum(steps - taken, LOOK)
            more, slots = alone.decode(weights, slots, few, never, c, sampling, stop_ids, None)
            return *look(taken, more, slots), slots

        begin = jax.lax.axis_index(axes) * slots.active.shape[0]
        slots, none = _renumbered(slots, -begin), jnp.int32(0)
        begun = *look(none, none, slots), slots
        taken, _, slots = jax.lax.while_loop(lambda carry: carry[1], stretch, begun)
        return taken, _renumbered(slots, begin)

    return on_own_rows(local, mesh, axes)(weights, slots, steps, enough_free)


def _prefill(
    weights: Params, c: ModelConfig, prompts: jax.Array, lengths: jax.Array, axes: tuple[str, ...]
) -> tuple[jax.Array, decoder.Cache]:
    """Logits and caches of all prefixes on every device."""
    rows, devices = prompts.shape[0], jax.lax.axis_size(axes)
    if rows % devices:
        return decoder.prefill(weights, c, prompts, lengths)
    each = rows // devices
    begin = jax.lax.axis_index(axes) * each
    own = functools.partial(jax.lax.dynamic_slice_in_dim, start_index=begin, slice_size=each)
    found = decoder.prefill(weights, c, own(prompts), own(lengths))
    return jax.tree.map(lambda x: jax.lax.all_gather(x, axes, tiled=True), found)


def _renumbered(slots: Slots, by: jax.Array) -> Slots:
    """The slots with their leaders' numbers moved: a device counts its own from 0."""
    return slots.replace(prefix=Prefix(slots.prefix.leader + by, slots.prefix.length))
