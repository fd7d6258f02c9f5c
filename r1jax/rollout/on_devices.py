"""Generation on several devices: each runs the slots it holds, with the whole model."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import RULES, cuts_columns, on_own_rows, replicated, samples_whole, sharding
from r1jax.models import decoder, expert_parallel, table
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache import Cache
from r1jax.rollout import slots as alone
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.slots import Admission, Slots
from r1jax.types import Params

LOOK = 16  # steps that devices take on their own before they ask each other whether to go on


def whole(c: ModelConfig, mesh: Mesh) -> bool:
    """Whether each of several devices samples with a whole model of its own."""
    return samples_whole(mesh) and not expert_parallel.axes(c, mesh)


def _own_axes(c: ModelConfig, mesh: Mesh, rows: int) -> tuple[str, ...]:
    """The axes over which devices can each work on rows of their own, with a whole model each.

    None where they do not have that, or where the rows do not divide.
    """
    return RULES["slots"] if whole(c, mesh) and rows % mesh.size == 0 else ()


def layout(c: ModelConfig, mesh: Mesh, dtype: Any) -> Any:
    """Shardings of the weights that decoding runs on; None: as they come.

    They are gathered once for all steps, unless the mesh cuts the model itself. A device keeps its
    own of experts that are spread: tokens travel to them, as in training. Gathered they would be
    most of the model on every device, and a step would read as much of it with fewer tokens.
    """
    if whole(c, mesh):
        return replicated(mesh)
    if not expert_parallel.axes(c, mesh) or cuts_columns(mesh):
        return None

    def one(path: tuple[Any, ...], x: jax.ShapeDtypeStruct) -> Any:
        of_experts = any(getattr(key, "key", None) in expert_parallel.WEIGHTS for key in path)
        axes = ("experts" if of_experts else None, *(None,) * (x.ndim - 1))[: x.ndim]
        return sharding(mesh, axes, x.shape)

    prepare = functools.partial(decoder.unstack, c=c, dtype=dtype, mesh=mesh)
    return jax.tree_util.tree_map_with_path(one, jax.eval_shape(prepare, table.abstract(c)))


def prefill(
    weights: Params, prompts: jax.Array, lengths: jax.Array, *, c: ModelConfig, mesh: Mesh
) -> tuple[jax.Array, Cache]:
    """`slots.prefill`, where it can be with the prefixes shared out among the devices.

    Devices with a whole model each take equal parts, or all of them where they do not divide; every
    device then holds what was found for all.
    """
    if not whole(c, mesh):
        return alone.prefill(weights, prompts, lengths, c, mesh)
    axes = _own_axes(c, mesh, prompts.shape[0])

    def local(weights: Params, prefixes: tuple[jax.Array, jax.Array]) -> tuple[Any, None]:
        results = decoder.prefill(weights, c, *prefixes, mesh)
        if axes:
            results = jax.tree.map(lambda x: jax.lax.all_gather(x, axes, tiled=True), results)
        return results, None

    return on_own_rows(local, mesh, axes)(weights, (prompts, lengths))[0]


def fill(old: Cache, entering: Admission, new: Cache, *, c: ModelConfig, mesh: Mesh) -> Cache:
    """`slots.fill`, where it can be with each device on its own slots."""
    axes = _own_axes(c, mesh, old.slots)
    if not axes:
        return alone.fill(old, entering, new, c, mesh)

    def local(entering: Admission, old: Cache, new: Cache) -> tuple[None, Cache]:
        return None, alone.fill(old, _own(entering, old.slots, axes), new, c, mesh)

    return on_own_rows(local, mesh, axes)(entering, old, new)[1]


def enter(
    slots: Slots,
    entering: Admission,
    logits: jax.Array,
    *,
    c: ModelConfig,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> Slots:
    """`slots.enter`, where it can be with each device on its own slots."""
    axes = _own_axes(c, mesh, slots.active.shape[0])
    if not axes:
        return alone.enter(slots, entering, logits, sampling, stop_ids, mesh)

    def local(entering: Admission, slots: Slots, logits: jax.Array) -> tuple[None, Slots]:
        local_entries = _own(entering, slots.active.shape[0], axes)
        return None, alone.enter(slots, local_entries, logits, sampling, stop_ids, mesh)

    return on_own_rows(local, mesh, axes)(entering, slots, logits)[1]


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
    axes = _own_axes(c, mesh, size)
    if not axes:
        return alone.decode(weights, slots, steps, enough_free, c, sampling, stop_ids, mesh)

    def local(
        weights: Params, slots: Slots, steps: jax.Array, enough_free: jax.Array
    ) -> tuple[jax.Array, Slots]:
        never = jnp.int32(size + 1)

        def look(before: jax.Array, more: jax.Array, slots: Slots) -> Any:
            """(steps taken, whether to go on): one message each way, for its wait is what costs."""
            # i32[3] of each device, gathered to [devices, 3] on all.
            message = jnp.stack([more, jnp.sum(slots.active), alone.any_full(slots)])
            steps_of, active, full = jax.lax.all_gather(message, axes).T
            taken, active = before + jnp.max(steps_of), jnp.sum(active)
            goes_on = (active > 0) & (size - active < enough_free) & ~jnp.any(full)
            return taken, (taken < steps) & goes_on

        def stretch(carry: tuple[jax.Array, jax.Array, Slots]) -> Any:
            taken, _, slots = carry
            few = jnp.minimum(steps - taken, LOOK)
            more, slots = alone.decode(weights, slots, few, never, c, sampling, stop_ids, mesh)
            return *look(taken, more, slots), slots

        none = jnp.int32(0)
        begun = *look(none, none, slots), slots
        taken, _, slots = jax.lax.while_loop(lambda carry: carry[1], stretch, begun)
        return taken, slots

    return on_own_rows(local, mesh, axes)(weights, slots, steps, enough_free)


def _own(entering: Admission, size: int, axes: tuple[str, ...]) -> Admission:
    """Who enters a device's `size` slots, counted from the first of these."""
    slot = entering.slot - jax.lax.axis_index(axes) * size
    none = size + jnp.arange(slot.shape[0])
    return entering.replace(slot=jnp.where((slot >= 0) & (slot < size), slot, none))
