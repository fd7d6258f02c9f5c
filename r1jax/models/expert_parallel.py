"""Expert parallelism: tokens travel to the devices that hold their experts, and back.

Each device sorts what its own tokens chose by expert and sends every other device what is for the
experts there; what comes back is summed by the gates. Shapes are static, so a device has room for
so many rows and no more: what finds none is counted, and whoever trains has to stop. A decode step
has room for whatever may come.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from r1jax import mesh as meshes
from r1jax.models import grouped_matmul
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.few_rows import Turned
from r1jax.models.layers import Layer
from r1jax.models.row_groups import (
    Weights,
    block_size,
    gathered,
    moved,
    swiglu_of,
    swiglu_of_sorted,
)

WEIGHTS = {
    "expert_gate": ("experts", "embed", "ffn"),
    "expert_up": ("experts", "embed", "ffn"),
    "expert_down": ("experts", "ffn", "embed"),
}
"""The weights of experts with the logical axes of their dimensions."""
FEW = 256  # tokens of a device up to which it has all its experts run over all of them


def axes(c: ModelConfig, mesh: Mesh | None) -> tuple[str, ...]:
    """The mesh axes that the model's experts are spread over; none where a device has them all."""
    if mesh is None or c.experts is None:
        return ()
    return meshes.cut(mesh, "experts", c.experts.count)


def wanted(c: ModelConfig, x: jax.Array, mesh: Mesh | None) -> bool:
    """Whether tokens x[..., d] go to their experts; otherwise all experts run over all of them.

    They do where experts are spread, and where one device has a kernel for it and tokens enough:
    of few, all experts are read anyway, and the memory is what there is to wait for.
    """
    if mesh is None or axes(c, mesh):
        return mesh is not None
    devices = 1 if meshes.one_device(mesh) else meshes.slot_devices(mesh)
    tokens = math.prod(x.shape[:-1]) // devices
    shape = (c.d_model, c.experts.width // meshes.devices_of(mesh, meshes.RULES["ffn"]))
    return tokens > FEW and grouped_matmul.choose(mesh, x.dtype, shape) == "triton"


class RoomNeeded(NamedTuple):
    """How much room rows needed."""

    lost: jax.Array  # f32[], those that found none
    fullest: jax.Array  # f32[], most that a device sent another, over an even share


def mixed(
    c: ModelConfig,
    layer: Layer,
    x: jax.Array,
    chosen: tuple[jax.Array, jax.Array],
    real: jax.Array,
    mesh: Mesh,
) -> tuple[jax.Array, RoomNeeded]:
    """Σᵢ gᵢ·expertᵢ(x) of x[B, T, d], `chosen` are i32 ids and f32 gates [B, T, k].

    Of tokens that are not `real`, bool[B, T], 0 is returned.
    """
    (b, t), arrays = x.shape[:2], (x, *chosen, real)
    weights = tuple(layer[name] for name in WEIGHTS)
    weights = tuple(w if isinstance(w, Turned) else w.astype(x.dtype) for w in weights)
    if meshes.one_device(mesh):
        whole = (PartitionSpec(None, None, None),) * len(weights)
        return _own_tokens(c, mesh, (), whole, weights, *arrays)
    rows, columns = meshes.RULES["batch"], meshes.RULES["tokens"]
    names, where = rows + columns, PartitionSpec(rows, columns)
    room = 0
    if b % meshes.devices_of(mesh, rows) or t % meshes.devices_of(mesh, columns):
        # Tokens in a row, with some that are not real behind.
        where, room = PartitionSpec(names, None), -(b * t) % meshes.devices_of(mesh, names)
        flat = (a.reshape(b * t, 1, *a.shape[2:]) for a in arrays)
        arrays = tuple(jnp.pad(a, ((0, room), *((0, 0),) * (a.ndim - 1))) for a in flat)
    # Decoding has each expert whole on its device; in training it is cut like other weights.
    laid = tuple(
        PartitionSpec(None, None, None) if isinstance(w, Turned) else
        meshes.spec(mesh, [a if c.experts.room or a != "embed" else None for a in logical], w.shape)
        for logical, w in zip(WEIGHTS.values(), weights, strict=True)
    )  # fmt: skip
    y, needed = jax.shard_map(
        functools.partial(_own_tokens, c, mesh, names, laid),
        mesh=mesh, in_specs=(laid, where, where, where, where), out_specs=(where, PartitionSpec()),
    )(weights, *arrays)  # fmt: skip
    return y.reshape(-1, x.shape[-1])[: b * t].reshape(x.shape), needed


def _own_tokens(
    c: ModelConfig,
    mesh: Mesh,
    names: tuple[str, ...],
    laid: tuple[PartitionSpec, ...],
    weights: Weights,
    x: jax.Array,
    ids: jax.Array,
    gates: jax.Array,
    real: jax.Array,
) -> tuple[jax.Array, RoomNeeded]:
    """One device's part of `mixed`: tokens over the axes `names`, weights as `laid`."""
    (b, t, d), (n, k) = x.shape, (x.shape[0] * x.shape[1], ids.shape[-1])
    weights = tuple(
        _whole(w, logical, spec, names)
        for w, logical, spec in zip(weights, WEIGHTS.values(), laid, strict=True)
    )
    keys = jnp.where(real[..., None], ids, c.experts.count).reshape(-1)
    width = meshes.cut(mesh, "ffn", c.experts.width)
    route = route_of(c, mesh, keys, n, names + width)
    x, gates = x.reshape(n, d), gates.reshape(n, k)
    if width:  # each device has a part of every expert's width, and so a part of every sum
        x, gates = meshes.spread(width, x), meshes.spread(width, gates)
    received = route.there(moved(x, route.source // k, route.place.reshape(n, k)))
    back = route.back(_through_experts(mesh, route, received, weights, n))
    back = moved(back, route.place, route.source[:, None]).reshape(n, k, d)
    y = jnp.einsum("nkd,nk->nd", back, gates.astype(x.dtype), preferred_element_type=jnp.float32)
    y = jax.lax.psum(y, width) if width else y
    needed = route.needed
    if names:
        lost = jax.lax.psum(needed.lost, names)
        needed = RoomNeeded(lost, jax.lax.pmax(needed.fullest, names))
    return y.astype(x.dtype).reshape(b, t, d), needed


def _through_experts(
    mesh: Mesh, route: Route, received: jax.Array, weights: Weights, n: int
) -> jax.Array:
    """What a device received of others, each with `n` tokens, through its own experts."""
    (devices, own), rows = route.ends.shape, received.shape[0]
    kernel = grouped_matmul.choose(mesh, received.dtype, weights[-1].shape)
    if devices == 1 and kernel == "triton":
        sizes = jnp.diff(route.ends[0], prepend=0)
        return swiglu_of_sorted(sizes, received, weights, kernel)
    tokens = devices * n  # each chooses an expert once at most
    bare = kernel == "triton" or meshes.platform(mesh) == "tpu"
    size = 1 if bare else block_size(rows, own, tokens)
    groups = gathered(route.begins, route.ends, rows, size, tokens)
    return swiglu_of(groups, received, weights, kernel)


def _whole(
    w: jax.Array, logical: tuple[str, ...], spec: PartitionSpec, names: tuple[str, ...]
) -> jax.Array:
    """A device's experts, each whole but for its width, of what it holds of them."""
    laid = dict(zip(logical, spec, strict=True))
    held = laid["embed"] or ()
    others = tuple(n for n in names if n not in held and n not in (laid["experts"] or ()))
    return meshes.collected(held, logical.index("embed"), others, w)


class Route(NamedTuple):
    """How rows, one for each choice of a device's tokens, reach the devices of their experts."""

    source: jax.Array  # i32[P], the choice at each place of what is sent; below 0: none
    place: jax.Array  # i32[n · k], the inverse
    begins: jax.Array  # i32[devices], where rows of each device begin in what is received
    ends: jax.Array  # i32[devices, own experts], behind which of these rows each expert's end
    there: Callable[[jax.Array], jax.Array]
    back: Callable[[jax.Array], jax.Array]
    needed: RoomNeeded


class Sorted(NamedTuple):
    """A device's choices by the expert that is chosen."""

    order: jax.Array  # i32[n · k], choices in the order of their experts, at the end those of none
    rank: jax.Array  # i32[n · k], where in this order a choice stands
    device: jax.Array  # i32[n · k], that has its expert
    real: jax.Array  # bool[n · k]
    first: jax.Array  # i32[devices + 1], where in the order each device's begin
    ends: jax.Array  # i32[devices, own experts], where within these each expert's end


def _sorted(keys: jax.Array, experts: int, devices: int) -> Sorted:
    """Of i32[n · k] `keys`, ids of experts or, for what goes nowhere, their number."""
    own, places = experts // devices, jnp.arange(keys.shape[0])
    order = jnp.argsort(keys)
    starts = jnp.searchsorted(keys[order], jnp.arange(experts + 1)).astype(jnp.int32)
    first = starts[::own]
    ends = starts[1:].reshape(devices, own) - first[:-1, None]
    # A gather that computes its own indices computes them for every number of a row.
    device = jnp.minimum(keys // own, devices - 1) if devices > 1 else jnp.zeros_like(keys)
    rank = jnp.zeros_like(order).at[order].set(places)
    return Sorted(order, rank, device, keys < experts, first, ends)


def route_of(c: ModelConfig, mesh: Mesh, keys: jax.Array, n: int, names: tuple[str, ...]) -> Route:
    """The way of a device's n tokens, cut over `names`, to the experts of `_sorted`'s keys.

    On TPUs rows travel as many as there are, and a device has room for all it is sent together; XLA
    has that nowhere else (on GPUs it fails above 32 ranks), and there each device has equal room
    for the rows of each other.
    """
    over = axes(c, mesh)
    devices, k = meshes.devices_of(mesh, over), c.experts.chosen
    by_expert = _sorted(keys, c.experts.count, devices)
    most = n * min(k, c.experts.count // devices)
    even = n * k / devices
    room = min(math.ceil(c.experts.room * even), most) if c.experts.room and over else most
    if meshes.platform(mesh) == "tpu":
        return _ragged(by_expert, over, room, even, names)
    return _padded(by_expert, over, room, even)


def _padded(by: Sorted, over: tuple[str, ...], room: int, even: float) -> Route:
    rows, devices = jnp.diff(by.first), by.ends.shape[0]
    # Place r of those for device i gets row first[i] + r of the order.
    at = by.first[:-1, None] + jnp.arange(room)
    there = at < by.first[1:, None]
    source = jnp.where(there, by.order[jnp.minimum(at, by.order.shape[0] - 1)], -1)
    within = by.rank - by.first[by.device]
    place = jnp.where(by.real & (within < room), by.device * room + within, -1)
    to_others = functools.partial(
        jax.lax.all_to_all, axis_name=over, split_axis=0, concat_axis=0, tiled=True
    )
    exchange = to_others if over else lambda x: x
    lost = jnp.sum(jnp.maximum(rows - room, 0))
    return Route(
        source.reshape(-1), place, jnp.arange(devices) * room,
        exchange(jnp.minimum(by.ends, room)), exchange, exchange,
        _needed(lost, jnp.max(rows), even),
    )  # fmt: skip


def _ragged(
    by: Sorted, over: tuple[str, ...], room: int, even: float, names: tuple[str, ...]
) -> Route:
    devices, size = by.ends.shape[0], by.order.shape[0]
    capacity, me = devices * room, jax.lax.axis_index(over)
    firsts = jax.lax.all_gather(by.first, over)  # [from, to + 1]
    rows = jnp.diff(firsts)  # [from, to]
    offsets = jnp.minimum(jnp.cumsum(rows, axis=0) - rows, capacity)
    taken = jnp.minimum(rows, capacity - offsets)
    move = functools.partial(jax.lax.ragged_all_to_all, axis_name=over)

    def empty(rows: int, x: jax.Array) -> jax.Array:
        return jax.lax.pcast(jnp.zeros((rows, x.shape[1]), x.dtype), names, to="varying")

    def there(x: jax.Array) -> jax.Array:
        into = empty(capacity, x)
        return move(x, into, by.first[:-1], taken[me], offsets[me], taken[:, me])

    def back(y: jax.Array) -> jax.Array:
        into = empty(size, y)
        return move(y, into, offsets[:, me], taken[:, me], firsts[:, me], taken[me])

    ends = jax.lax.all_to_all(by.ends, over, 0, 0, tiled=True)
    source = jnp.where(jnp.arange(size) < by.first[-1], by.order, -1)
    lost, fullest = jnp.sum(rows[me] - taken[me]), jnp.max(jnp.sum(rows, axis=0))
    return Route(
        source, jnp.where(by.real, by.rank, -1), offsets[:, me],
        jnp.minimum(ends, taken[:, me, None]), there, back, _needed(lost, fullest, even * devices),
    )  # fmt: skip


def _needed(lost: jax.Array, fullest: jax.Array, even: float) -> RoomNeeded:
    return RoomNeeded(lost.astype(jnp.float32), fullest.astype(jnp.float32) / even)
