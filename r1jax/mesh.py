"""The device mesh and the logical-axis rules: the only file that names a device axis."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from r1jax.errors import UserError, check_ranges

AXES = ("data", "fsdp", "expert", "context", "tensor")

RULES: dict[str, tuple[str, ...]] = {
    "batch": ("data", "fsdp"),
    "slots": ("data", "fsdp"),
    "embed": ("fsdp",),
    "rank": ("fsdp",),
    "experts": (),
    "vocab": ("tensor",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "ffn": ("tensor",),
}
"""Logical axis -> mesh axes. An axis that does not divide by its devices is left whole."""


@dataclass(frozen=True)
class MeshConfig:
    """How many devices each axis of the mesh takes; their product is the number of devices."""

    data: int = -1
    """Replicas of the weights (data parallel); -1 takes all devices the other axes leave."""
    fsdp: int = 1
    """Shards of weights, gradients and optimizer state (fully sharded data parallel)."""
    tensor: int = 1
    """Shards of heads, feed-forward width and vocabulary (tensor parallel)."""


def available() -> list[Any]:
    """The devices of a mesh for which none are named: all, of every process."""
    return jax.devices()


def make_mesh(config: MeshConfig, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh over all devices (or those given), `AxisType.Auto` throughout.

    Raises UserError when the axes do not multiply to the number of devices.
    """
    devices = list(available() if devices is None else devices)
    fixed = config.fsdp * config.tensor
    data = len(devices) // max(fixed, 1) if config.data == -1 else config.data
    if fixed < 1 or data < 1 or data * fixed != len(devices):
        raise UserError(
            f"--mesh: data {config.data} x fsdp {config.fsdp} x tensor {config.tensor} does not "
            f"make {len(devices)} devices; the product must be {len(devices)} (data -1 = the rest)"
        )
    shape = (data, config.fsdp, 1, 1, config.tensor)
    return Mesh(np.asarray(devices).reshape(shape), AXES, axis_types=(AxisType.Auto,) * len(AXES))


def spec(mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int]) -> PartitionSpec:
    """PartitionSpec of an array of `shape` whose dimensions carry the logical `axes`."""
    parts = []
    for axis, size in zip(axes, shape, strict=True):
        names = RULES.get(axis, ()) if axis else ()
        count = math.prod(mesh.shape[name] for name in names)
        parts.append(names if count > 1 and size % count == 0 else None)
    return PartitionSpec(*parts)


def sharding(mesh: Mesh, axes: Sequence[str | None], shape: Sequence[int]) -> NamedSharding:
    """NamedSharding by the rules."""
    return NamedSharding(mesh, spec(mesh, axes, shape))


def replicated(mesh: Mesh) -> NamedSharding:
    """Every device holds the whole array."""
    return NamedSharding(mesh, PartitionSpec())


def cuts_columns(mesh: Mesh) -> bool:
    """Whether the mesh shards the columns of a layer's first matrices."""
    return any(mesh.shape[name] > 1 for name in RULES["heads"] + RULES["ffn"])


def constrain(x: jax.Array, mesh: Mesh | None, *axes: str | None) -> jax.Array:
    """Constrains an activation inside jit; without a mesh it is left alone.

    Without such a constraint after the embedding, XLA replicates the compute.
    """
    if mesh is None or _one_device(mesh):
        return x
    where = spec(mesh, axes, x.shape)
    inside_over_rows = bool(jax.sharding.get_abstract_mesh().manual_axes)
    return jax.lax.with_sharding_constraint(
        x, where if inside_over_rows else NamedSharding(mesh, where)
    )


def _one_device(mesh: Mesh) -> bool:
    """Whether what is traced is one device's program: inside `on_own_rows`, nothing is spread."""
    return len(jax.sharding.get_abstract_mesh().manual_axes) == len(mesh.axis_names)


def platform(mesh: Mesh | None) -> str:
    """What the mesh's devices are: cpu, gpu or tpu, whatever this machine has; cpu without one."""
    return "cpu" if mesh is None else mesh.devices.flat[0].platform


def row_devices(mesh: Mesh) -> int:
    """The devices that rows of a batch, and slots, are spread over."""
    return math.prod(mesh.shape[name] for name in RULES["batch"])


def over_rows(f: Callable[..., Any], mesh: Mesh | None, rows: int) -> Callable[..., Any]:
    """`f(weight, *arrays)` with each device on its own rows (first dimension) of the arrays.

    The weight (an array or a tree of them) is collected, and its gradient summed over devices,
    once, outside any loop of f; left to XLA, both happen in every turn. Where f constrains, rows
    are None. Rows that do not divide by the devices leave f as it is.
    """
    names = RULES["batch"]
    devices = row_devices(mesh) if mesh is not None else 1
    if devices == 1 or rows % devices:
        return f

    def local(weight: Any, *arrays: jax.Array) -> Any:
        return f(jax.tree.map(functools.partial(_spread, names), weight), *arrays)

    def run(weight: Any, *arrays: jax.Array) -> Any:
        sharded = PartitionSpec(names)
        specs = (PartitionSpec(), *(sharded for _ in arrays))
        mapped = jax.shard_map(
            local, mesh=mesh, in_specs=specs, out_specs=sharded, axis_names=set(names)
        )
        return mapped(weight, *arrays)

    return run


def samples_whole(mesh: Mesh) -> bool:
    """Whether each of several devices samples with the whole model: none of the axes cuts it."""
    return mesh.size == row_devices(mesh) > 1


def own_rows(mesh: Mesh, rows: int) -> tuple[str, ...]:
    """The axes over which devices can each work on rows of their own, with a whole model each.

    None where they do not have that, or where the rows do not divide.
    """
    return RULES["slots"] if samples_whole(mesh) and rows % mesh.size == 0 else ()


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
    if mesh is None or mesh.size == 1 or _one_device(mesh):
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
def _spread(names: tuple[str, ...], weight: jax.Array) -> jax.Array:
    """A weight that every device holds, about to meet each device's own rows.

    Its gradient is summed over devices in f32 whatever its type: exacter, and XLA's CPU compiler
    aborts on such a sum in bfloat16.
    """
    return jax.lax.pcast(weight, names, to="varying")


_spread.defvjp(
    lambda names, weight: (_spread(names, weight), None),
    lambda names, _, g: (jax.lax.psum(g.astype(jnp.float32), names).astype(g.dtype),),
)


def place(x: np.ndarray | jax.Array, target: NamedSharding) -> jax.Array:
    """A host array, equal on every process, as a global array with the given sharding."""
    if jax.process_count() == 1:
        return jax.device_put(x, target)
    host = np.asarray(x)
    return jax.make_array_from_callback(host.shape, target, lambda index: host[index])


@dataclass(frozen=True)
class ProcessConfig:
    """How the processes of a run on several hosts find each other; by default there is one."""

    coordinator: str = ""
    """HOST:PORT of process 0; auto: ask the cluster (Slurm, GKE, a TPU pod); empty: one process."""
    count: int | None = None
    """Number of processes; None where the cluster says."""
    id: int | None = None
    """Number of this process, from 0; None where the cluster says."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--process.", count="[1,]", id="[0,]")


def start_processes(config: ProcessConfig) -> None:
    """Joins the other processes of the run; before any other use of JAX devices.

    Does nothing for a single process, and where the processes have been joined already. Raises
    UserError when the flags do not fit together.
    """
    given = config.count is not None and config.id is not None
    if config.coordinator in ("", "auto"):
        if config.count is not None or config.id is not None:
            raise UserError(
                "--process.count and --process.id need --process.coordinator HOST:PORT; "
                "with auto the cluster says both"
            )
        if config.coordinator and not jax.distributed.is_initialized():
            jax.distributed.initialize()
        return
    if not given or not 0 <= config.id < config.count:
        raise UserError(
            f"--process.coordinator {config.coordinator}: needs --process.count N and --process.id "
            f"from 0 to N - 1; got {config.count} and {config.id}"
        )
    if not jax.distributed.is_initialized():
        jax.distributed.initialize(config.coordinator, config.count, config.id)


def most(value: int) -> int:
    """The largest `value` of all processes of the run; every one calls it."""
    if jax.process_count() == 1:
        return int(value)
    return int(multihost_utils.process_allgather(np.int32(value)).max())


def barrier(name: str) -> None:
    """Waits until every process of the run is here."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
