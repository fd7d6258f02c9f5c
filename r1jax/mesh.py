"""The device mesh and the logical-axis rules: the only file that names a device axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from r1jax.errors import UserError

AXES = ("data", "fsdp", "expert", "context", "tensor")

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp", "expert"),
    "tokens": ("context",),
    "slots": ("data", "fsdp", "expert", "context"),
    "embed": ("fsdp", "expert", "context"),
    "rank": ("fsdp", "expert", "context"),
    "experts": ("expert", "context"),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "heads_of_rows": ("tensor", "context"),
    "ffn": ("tensor",),
}
"""Logical axis -> mesh axes: the first of them that it divides by, and none twice in an array.

`heads_of_rows` are those of attention, which needs every token of a row: it takes the devices that
rows are cut over for heads instead.
"""


@dataclass(frozen=True)
class MeshConfig:
    """How many devices each axis of the mesh takes; their product is the number of devices."""

    data: int = -1
    """Replicas of the weights (data parallel); -1 takes all devices the other axes leave."""
    fsdp: int = 1
    """Shards of weights, gradients and optimizer state (fully sharded data parallel)."""
    tensor: int = 1
    """Shards of heads, feed-forward width and vocabulary (tensor parallel)."""
    expert: int = 1
    """Shards of the experts of a mixture; for all else these devices are more of `fsdp`."""
    context: int = 1
    """Shards of the tokens of a row, for rows too long for one device's activations."""


def available() -> list[Any]:
    """The devices of a mesh for which none are named: all, of every process."""
    return jax.devices()


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over all devices (or those given), `AxisType.Auto` throughout.

    Raises UserError when the axes do not multiply to the number of devices.
    """
    devices = list(available() if devices is None else devices)
    fixed = config.fsdp * config.tensor * config.expert * config.context
    data = len(devices) // max(fixed, 1) if config.data == -1 else config.data
    if fixed < 1 or data < 1 or data * fixed != len(devices):
        raise UserError(
            f"--mesh: data {config.data} x fsdp {config.fsdp} x tensor {config.tensor} x expert "
            f"{config.expert} x context {config.context} does not make {len(devices)} devices; "
            f"the product must be {len(devices)} (data -1 = the rest)"
        )
    shape = (data, config.fsdp, config.expert, config.context, config.tensor)
    return Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def check_model(mesh: Mesh, heads: int, experts: int | None) -> None:
    """Raises UserError where the mesh cuts a model's heads or experts into unequal parts."""
    tensor, context = (mesh.shape[name] for name in ("tensor", "context"))
    if context > 1 and heads % (tensor * context):
        raise UserError(
            f"--mesh.context {context} x --mesh.tensor {tensor}: attention spreads the model's "
            f"{heads} heads over them, which do not divide by {tensor * context}"
        )
    if experts is not None and experts % mesh.shape["expert"]:
        raise UserError(
            f"--mesh.expert {mesh.shape['expert']}: the model's {experts} experts do not divide "
            f"by it; {math.gcd(experts, mesh.shape['expert'])} would do"
        )


def spec(mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec:
    """PartitionSpec of an array of `shape` whose dimensions carry the logical `axes`."""
    parts: list[tuple[str, ...] | None] = []
    taken: set[str] = set()
    for axis, size in zip(axes, shape, strict=True):
        names = cut(mesh, axis, size, taken) if axis else ()
        taken |= set(names)
        parts.append(names or None)
    return PartitionSpec(*parts)


def cut(mesh: Mesh, axis: str, size: int, taken: Iterable[str] = ()) -> tuple[str, ...]:
    """The mesh axes over which a dimension of `size` with a logical axis is cut; `taken` are not.

    The first of its rule's that it divides by, in their order; those of one device are left out.
    """
    names = [n for n in RULES.get(axis, ()) if mesh.shape[n] > 1 and n not in taken]
    while names and size % devices_of(mesh, names):
        names.pop()
    return tuple(names)


def devices_of(mesh: Mesh, names: Iterable[str]) -> int:
    """How many devices these axes of the mesh have together."""
    return math.prod(mesh.shape[name] for name in names)


def sharding(mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int]) -> NamedSharding:
    """NamedSharding by the rules."""
    return NamedSharding(mesh, spec(mesh, axes, shape))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def cuts_columns(mesh: Mesh) -> bool:
    """Whether the mesh shards the columns of a layer's first matrices."""
    return devices_of(mesh, (*RULES["heads"], *RULES["ffn"])) > 1


def cuts_tokens(mesh: Mesh | None) -> bool:
    """Whether the tokens of a row are spread over devices, each of which has some of them."""
    return mesh is not None and not one_device(mesh) and devices_of(mesh, RULES["tokens"]) > 1


def constrain(x: jax.Array, mesh: Mesh | None, *axes: str | None) -> jax.Array:
    """Constrains an activation inside jit; without a mesh it is left alone.

    Without such a constraint after the embedding, XLA replicates the compute.
    """
    if mesh is None or one_device(mesh):
        return x
    where = spec(mesh, axes, x.shape)
    inside_over_rows = bool(jax.sharding.get_abstract_mesh().manual_axes)
    return jax.lax.with_sharding_constraint(
        x, where if inside_over_rows else NamedSharding(mesh, where)
    )


def one_device(mesh: Mesh) -> bool:
    """Whether what is traced is one device's program; inside `on_own_rows`, nothing is spread."""
    inside = jax.sharding.get_abstract_mesh().manual_axes
    return mesh.size == 1 or len(inside) == len(mesh.axis_names)


def platform(mesh: Mesh | None) -> str:
    """What the mesh's devices are: cpu, gpu or tpu, whatever this machine has; cpu without one."""
    return "cpu" if mesh is None else mesh.devices.flat[0].platform


def row_devices(mesh: Mesh) -> int:
    """The devices that rows of a batch are spread over."""
    return devices_of(mesh, RULES["batch"])


def slot_devices(mesh: Mesh) -> int:
    """The devices that slots are spread over."""
    return devices_of(mesh, RULES["slots"])


def over_rows(
    f: Callable[..., Any], mesh: Mesh | None, rows: int, tokens: int = 1
) -> Callable[..., Any]:
    """`f(weight, *arrays)` with each device on its own rows (first dimension) of the arrays.

    Where the tokens of a row are spread, and divide, also on its own tokens (second dimension).
    The weight (an array or a tree of them) is collected, and its gradient summed over devices,
    once, outside any loop of f; left to XLA, both happen in every turn. Where f constrains, rows
    are None. Rows that do not divide by the devices leave f as it is. An array may be None.
    """
    if mesh is None or rows % row_devices(mesh):
        return f
    columns = cut(mesh, "tokens", tokens)
    names = RULES["batch"] + columns
    if devices_of(mesh, names) == 1:
        return f

    def local(weight: Any, *arrays: jax.Array | None) -> Any:
        return f(jax.tree.map(functools.partial(spread, names), weight), *arrays)

    def run(weight: Any, *arrays: jax.Array | None) -> Any:
        sharded = PartitionSpec(RULES["batch"], columns or None)
        specs = (PartitionSpec(), *(sharded for _ in arrays))
        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=sharded, axis_names=set(names)
        )
        return mapped(weight, *arrays)

    return run


def samples_whole(mesh: Mesh) -> bool:
    """Whether each of several devices samples with the whole model: none of the axes cuts it."""
    return mesh.size == slot_devices(mesh) > 1


def on_own_rows(f: Callable[..., Any], mesh: Mesh, axes: tuple[str, ...]) -> Callable[..., Any]:
    """`f(weights, rows, *others) -> (found, rows)` with each device on its part of the rows.

    `rows` is a tree of arrays whose first dimension is spread over `axes`; all else is whole on
    every device, and what f finds must be the same on all.
    """

    def run(weights: Any, rows: Any, *others: Any) -> Any:
        whole, sharded = PartitionSpec(), PartitionSpec(axes)
        specs = (whole, sharded, *(whole for _ in others))
        mapped = jax.shard_map(
            f, mesh=mesh, in_specs=specs, out_specs=(whole, sharded), check_vma=False
        )
        return mapped(weights, rows, *others)

    return run


def by_device(
    f: Callable[..., Any],
    mesh: Mesh | None,
    inside: Sequence[Sequence[str | None]],
    outside: Sequence[Sequence[str | None]],
) -> Callable[..., Any]:
    """`f` with each device on its own part of the arrays, for kernels that XLA cannot cut up.

    `inside` and `outside` hold the logical axes of arguments and results; a result is laid out like
    the argument of the same axes. One device's program leaves f as it is.
    """
    if mesh is None or one_device(mesh):
        return f

    def run(*arrays: jax.Array) -> Any:
        specs = tuple(spec(mesh, axes, x.shape) for axes, x in zip(inside, arrays, strict=True))
        like = {tuple(axes): layout for axes, layout in zip(inside, specs, strict=True)}
        results = tuple(like[tuple(axes)] for axes in outside)
        return jax.shard_map(f, mesh=mesh, in_specs=specs, out_specs=results, check_vma=False)(
            *arrays
        )

    return run


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def spread(names: tuple[str, ...], weight: jax.Array) -> jax.Array:
    """A weight that every device holds, about to meet each device's own rows.

    Its gradient is summed over devices in f32 whatever its type: exacter, and XLA's CPU compiler
    aborts on such a sum in bfloat16.
    """
    return jax.lax.pcast(weight, names, to="varying")


spread.defvjp(
    lambda names, weight: (spread(names, weight), None),
    lambda names, _, g: (jax.lax.psum(g.astype(jnp.float32), names).astype(g.dtype),),
)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def collected(
    names: tuple[str, ...], dim: int, others: tuple[str, ...], weight: jax.Array
) -> jax.Array:
    """A weight whole along the dimension that is cut over `names`, and about to meet own tokens.

    Its gradient is cut again, and summed over these axes and the `others` as by `spread`.
    """
    whole = jax.lax.all_gather(weight, names, axis=dim, tiled=True) if names else weight
    return jax.lax.pcast(whole, others, to="varying") if others else whole


def _cut_again(
    names: tuple[str, ...], dim: int, others: tuple[str, ...], _: None, g: jax.Array
) -> tuple[jax.Array]:
    own = g.astype(jnp.float32)
    if names:
        own = jax.lax.psum_scatter(own, names, scatter_dimension=dim, tiled=True)
    return ((jax.lax.psum(own, others) if others else own).astype(g.dtype),)


collected.defvjp(lambda *a: (collected(*a), None), _cut_again)


def place(x: np.ndarray | jax.Array, target: NamedSharding) -> jax.Array:
    """A host array, equal on every process, as a global array with the given sharding."""
    if jax.process_count() == 1:
        return jax.device_put(x, target)
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, target, lambda index: host[index])
