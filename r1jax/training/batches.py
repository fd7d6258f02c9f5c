"""Micro-batches on their way to the devices, and passes over them that need no gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.data.packing import ONE_BY_ONE, Denominators, Packing, Sequences
from r1jax.errors import UserError, check_ranges
from r1jax.models.config import ModelConfig
from r1jax.models.decoder import Remat
from r1jax.run.signals import boundary
from r1jax.training.auxiliary import AuxiliaryConfig
from r1jax.types import COLUMNS, ROUTES, SUPPORT, Batch, Metrics, MissingColumn, Params

PerToken = Callable[[Params, Batch], Any]  # f32[B, T], or several of these
"""(parameters of a model, batch) -> f32[B, T], replicated."""
Share = Callable[[Params, Params | None, Batch], tuple[jax.Array, Metrics]]
"""(what is trained, what is frozen, batch) -> (additive share of an update's loss, metrics)."""


@dataclass(frozen=True)
class ComputeConfig:
    """How a batch is cut and computed; but for `auxiliary`, none of it changes what is computed."""

    rows: int = 8
    """Packed rows per micro-batch."""
    width: int = 512
    """Tokens per row; no sequence (prompt and completion) may be longer."""
    max_segments: int = 16
    """Sequences a row may hold."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of forward and backward; weights and optimizer stay float32. float16, with a loss
    scale that adapts itself, brings sampler and trainer several times nearer than bfloat16."""
    remat: Remat = "full"
    """What a layer keeps for the backward pass: nothing (full), products (dots), all (none)."""
    unroll: int = 1
    """Layers compiled side by side in the scan over layers; 0: all of them, which on a GPU spares
    the copies of what the backward pass needs, at some seconds of compilation."""
    chunk: int = 128
    """Tokens of a row whose vocabulary logits exist at a time."""
    kernel: Literal["auto", "xla", "cudnn", "splash"] = "auto"
    """Attention kernel. auto takes cuDNN on H100, H200 and later in 16 bits, splash on a TPU for
    rows of a multiple of 128 tokens (elsewhere that is interpreted), XLA's otherwise."""
    room: float = 2.0
    """Room for the tokens that devices send each other's experts (`--mesh.expert`), over an even
    share. Tokens that find none end the run, in a line that says how much they needed."""
    auxiliary: AuxiliaryConfig = AuxiliaryConfig()
    """Losses of the model's own parts."""

    least_chunk: ClassVar[int] = 1

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(
            self, "--train.", rows="[1,]", width="[1,]", max_segments="[1,]", unroll="[0,]",
            chunk=f"[{self.least_chunk},]", room="(0,]",
        )  # fmt: skip

    def roomy(self, c: ModelConfig) -> ModelConfig:
        """The model's config with this room at its experts; UserError where it has none of them."""
        if c.experts is None and self.room != ComputeConfig.room:
            raise UserError(f"--train.room {self.room}: the model has no experts")
        return replace(c, experts=replace(c.experts, room=self.room)) if c.experts else c

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, width and most segments of a row of a micro-batch, as packing takes them."""
        return self.rows, self.width, self.max_segments


def fit_rows(config: Any, mesh: Mesh, note: Callable[[str], Any]) -> Any:
    """The flags of a run with rows and width of a micro-batch rounded up to what devices divide.

    XLA would otherwise hold all on every device. Both change no result, only its cutting.
    """
    units = {
        "rows": ("data x fsdp x expert", meshes.row_devices(mesh)),
        "width": ("context", meshes.devices_of(mesh, meshes.RULES["tokens"])),
    }
    for name, (axes, devices) in units.items():
        asked = getattr(config.train, name)
        fits = -(-asked // devices) * devices
        if fits != asked:
            note(f"--train.{name} {asked} -> {fits}: a multiple of {axes} = {devices}")
            config = replace(config, train=replace(config.train, **{name: fits}))
    return config


def over_completions(
    score: PerToken,
    params: Params,
    sequences: Sequences,
    compute: ComputeConfig,
    mesh: Mesh,
    packing: Packing = ONE_BY_ONE,
) -> Any:
    """f32[N, C], per-token values of every completion, 0 beyond its end: a pass without gradient.

    C is the longest completion; of a batch, `score` gives f32[B, T], or several: then so many.
    """
    # Denominators are a loss's, and no loss is computed here.
    batches = packing.pack(sequences, *compute.shape, Denominators.of(sequences, 1))
    packed = []
    for batch in batches:
        boundary(often=True)
        packed.append(jax.tree.map(np.asarray, score(params, place_batch(batch, mesh))))
    if packed and isinstance(packed[0], tuple):
        each = zip(*packed, strict=True)
        return tuple(packing.unpack(values, sequences, *compute.shape) for values in each)
    return packing.unpack(packed, sequences, *compute.shape)


def place_batch(batch: Batch, mesh: Mesh) -> Batch:
    """A host batch on the mesh, rows spread over its data axes."""

    def put(x: np.ndarray) -> jax.Array:
        x = np.asarray(x)
        axes = ("batch", *(None,) * (x.ndim - 1)) if x.ndim else ()
        return meshes.place(x, meshes.sharding(mesh, axes, x.shape))

    return jax.tree.map(put, batch)


def abstract_batch(
    compute: ComputeConfig,
    mesh: Mesh | None = None,
    columns: Iterable[str] = COLUMNS,
    routes: jax.ShapeDtypeStruct | None = None,
    told: int = 0,
) -> Batch:
    """ShapeDtypeStructs of one micro-batch with these columns; `routes` says what theirs holds.

    With `told` (`Sampling`) there is that of the kept sets as well.
    """

    def array(dtype: Any, *shape: int) -> jax.ShapeDtypeStruct:
        where = None
        if mesh is not None:
            axes = ("batch", *(None,) * (len(shape) - 1)) if shape else ()
            where = meshes.sharding(mesh, axes, shape)
        return jax.ShapeDtypeStruct(shape, dtype, sharding=where)

    b, t, m = compute.shape
    whole = dict.fromkeys(("tokens", "positions", "segment_ids"), array(jnp.int32, b, t))
    per_token = array(jnp.float32, b, t)
    named = dict.fromkeys(columns, per_token)
    if ROUTES in named:
        named[ROUTES] = array(routes.dtype, b, t, *routes.shape)
    if told:
        named[SUPPORT] = array(jnp.int32, b, t, told)
    totals = dict.fromkeys(("n_tokens", "n_sequences", "max_tokens"), array(jnp.float32))
    return Batch(
        **whole,
        mask=per_token,
        columns=named,
        lengths=array(jnp.float32, b, m),
        **totals,
    )


def asked_of(
    share: Share,
    params: Params,
    frozen: Params | None,
    compute: ComputeConfig,
    routes: jax.ShapeDtypeStruct | None = None,
) -> tuple[tuple[str, ...], Metrics]:
    """The columns that `share` reads of a batch, found by tracing it, and its metrics' shapes.

    A loss of the user's tells which columns it reads only by reading them.
    """
    names = COLUMNS
    while True:
        batch = abstract_batch(compute, columns=names, routes=routes)
        try:
            return names, jax.eval_shape(share, params, frozen, batch)[1]
        except MissingColumn as missing:
            names = (*names, missing.name)
