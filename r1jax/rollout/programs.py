"""What is compiled for generation: one set of programs for a model, a mesh and a first shape."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from r1jax.mesh import platform, replicated
from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.models.decoding import cache as caches
from r1jax.rollout import on_devices
from r1jax.rollout import slots as device
from r1jax.rollout.ladder import Shape
from r1jax.rollout.sampling import request_keys


class Programs(NamedTuple):
    """The device functions of an engine, each compiled when it first meets a shape.

    Those with the model's layers in them take long: `prefill`, once per width of prompts, and
    `decode`, once per shape of the ladder. `fill`, which only copies, is compiled for both
    together, and `enter`, the first draw, again for a shape and its number of prompts.
    """

    prefill: Callable[..., Any]
    fill: Callable[..., Any]
    enter: Callable[..., Any]
    decode: Callable[..., Any]
    halt: Callable[..., Any]
    look: Callable[..., Any]
    read: Callable[..., Any]
    routes: Callable[..., Any]
    keys: Callable[..., Any]
    resize: Callable[..., Any]
    resize_books: Callable[..., Any]
    prepare: Callable[..., Any]
    empty: Callable[..., Any]


@functools.lru_cache(maxsize=64)
def programs(
    c: ModelConfig, mesh: Mesh, shape: Shape, tokens: int, stop_ids: tuple[int, ...], dtype: Any
) -> Programs:
    """Those of engines that begin with `shape` and write up to `tokens` of them.

    The same for every engine that asks for the same: a stage of a pipeline finds what the one
    before has traced and compiled.
    """
    draws, options = dict(static_argnames="sampling"), dict(compiler_options=_options(mesh))
    everywhere = dict(out_shardings=replicated(mesh))
    bind = functools.partial
    # Of one device's first slots XLA forgets the mesh, and `fill` would be compiled once more.
    alone = everywhere if mesh.size == 1 else {}
    # Slots are given away (donated) wherever new ones come back: there is one cache at a time.
    return Programs(
        prefill=jax.jit(bind(on_devices.prefill, c=c, mesh=mesh), **options),
        fill=jax.jit(bind(on_devices.fill, c=c, mesh=mesh), donate_argnums=0),
        enter=jax.jit(
            bind(on_devices.enter, c=c, stop_ids=stop_ids, mesh=mesh), **draws, donate_argnums=0
        ),
        decode=jax.jit(
            bind(on_devices.decode, c=c, stop_ids=stop_ids, mesh=mesh),
            **draws, **options, donate_argnums=1,
        ),
        halt=jax.jit(bind(device.halt), donate_argnums=0),
        look=jax.jit(lambda s, steps: (s.active, s.count, s.stopped, steps), **everywhere),
        read=jax.jit(lambda s: {name: getattr(s, name) for name in device.TOLD}, **everywhere),
        routes=jax.jit(bind(caches.routes), **everywhere),
        keys=jax.jit(bind(request_keys), static_argnums=0),
        resize=jax.jit(bind(device.resize, mesh=mesh), static_argnums=(2, 3)),
        resize_books=jax.jit(bind(device.resize_books, mesh=mesh), static_argnums=2),
        prepare=jax.jit(
            bind(decoder.unstack, c=c, dtype=dtype, mesh=mesh),
            static_argnames="weights", out_shardings=on_devices.layout(c, mesh, dtype),
        ),
        empty=jax.jit(
            lambda told=0: device.empty(c, *shape, tokens, dtype, mesh, told),
            static_argnums=0, **alone,
        ),
    )  # fmt: skip


def _options(mesh: Mesh) -> dict[str, Any]:
    """XLA's for the decode loop: on a GPU cuBLAS, whose kernels for a few rows are the faster."""
    return {"xla_gpu_enable_triton_gemm": False} if platform(mesh) == "gpu" else {}
