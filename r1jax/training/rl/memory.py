"""The memory plan of a run, made before its first rollout from the compiled programs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal

import jax
import jax.numpy as jnp
import psutil

from r1jax.errors import UserError
from r1jax.mesh import cuts_columns, slot_devices
from r1jax.models import kinds, table
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache import token_bytes
from r1jax.models.decoding.quantized import WeightFormat
from r1jax.training.batches import abstract_batch
from r1jax.training.loss_scale import scale_of
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.teaching import beneath
from r1jax.training.train_state import abstract_state
from r1jax.training.update import Functions, trained_rows
from r1jax.types import Params, TrainState

ADVICE = (
    "lower --train.rows, --train.chunk or --rollout.slots, use --train.remat full, --lora.rank, "
    "--optimizer.kind adafactor, or more devices (--mesh.fsdp)"
)

PASSING = ("gradients", "update", "rollout weights", "cache", "rollout logits", "kept sets", "peak")
"""Rows of a plan that are not there all the time."""


def nbytes(tree: Any) -> int:
    """Bytes of a tree of ShapeDtypeStructs on its fullest device."""

    def one(x: jax.ShapeDtypeStruct) -> int:
        shape = x.sharding.shard_shape(x.shape) if x.sharding is not None else x.shape
        return math.prod(shape) * x.dtype.itemsize

    return sum(map(one, jax.tree.leaves(tree)))


def held_bytes(rows: Mapping[str, int]) -> int:
    """What is there all the time: weights, optimizers, every model beside the policy."""
    return sum(size for name, size in rows.items() if name not in PASSING)


def decoding_weights(c: ModelConfig, whole: Params, width: int, weights: WeightFormat) -> int:
    """Bytes per device of the weights that decoding runs on, at `width` bytes a number.

    `whole` are the f32 parameters; the scales of matrices in 8 bits, a few per mille, do not count.
    """
    if weights == "same":
        return nbytes(whole) * width // 4
    narrow = nbytes(kinds.eight_bit(c, whole))
    return (nbytes(whole) - narrow) * width // 4 + narrow // 4


def plan(parts: Parts) -> dict[str, int]:
    """Bytes per device by what holds them, and the peak of learning, sampling and evaluation."""
    c, mesh, r = parts.policy.config, parts.mesh, parts.config.rollout
    state = abstract_state(parts.optimizer, trained_rows(c, parts.lora), mesh)
    params = state.params
    decoded = replace(c, ahead=None)  # as decoding has them
    # Decoding has whole weights unless the mesh cuts them, and its own of experts that are spread.
    whole = table.abstract(decoded, mesh, cut=None if cuts_columns(mesh) else ("experts",))
    base = table.abstract(c, mesh, parts.config.train.dtype) if parts.lora else None
    taught = parts.teacher and parts.teacher.abstract
    frozen = beneath(base, taught) if parts.config.teacher.whole else base
    held = nbytes(params)
    tower, tower_gradients, tower_update = tower_bytes(parts)
    width = jnp.dtype(r.dtype).itemsize
    shards = slot_devices(mesh)
    rows = {
        "weights": held,
        "frozen base": nbytes(base) if base else 0,
        "optimizer": nbytes(state.opt_state),
        "reference": held if parts.needs_reference else 0,
        "reward models": sum(nbytes(term.reward.abstract) for term in parts.terms),
        parts.tower.name if parts.tower else "tower": tower,
        "teacher": nbytes(parts.teacher.abstract) if parts.teacher else 0,
        "gradients": max(held, tower_gradients),
        "update": max(update_bytes(parts, parts.functions, state, frozen), tower_update),
        "rollout weights": decoding_weights(c, whole, width, r.weights),
        "cache": token_bytes(c, width) * -(-parts.engine.cache_tokens // shards),
        "rollout logits": 4 * 4 * c.vocab_size * -(-r.slots // shards),
        "kept sets": 4 * r.keep_set * r.max_tokens * -(-r.slots // shards),
    }
    always = held_bytes(rows)
    learning = always + rows["gradients"] + rows["update"]
    # Evaluation never runs on 8-bit weights.
    sampling = decoding_weights(c, whole, width, "same") + rows["cache"]
    sampling += rows["rollout logits"] + rows["kept sets"]
    return rows | {"peak": max(learning, always + sampling)}


def tower_bytes(parts: Parts) -> tuple[int, int, int]:
    """Bytes per device of a tower's state, its gradients and its update; zeros without one."""
    if parts.tower is None:
        return 0, 0, 0
    tower, state = parts.tower, parts.tower.abstract()
    c, mesh = parts.policy.config, parts.mesh
    base = table.abstract(c, mesh, parts.config.train.dtype) if parts.lora else None
    temporary = update_bytes(
        parts, tower.functions, state, tower.frozen(table.abstract(c, mesh), base)
    )
    return nbytes(state.params) + nbytes(state.opt_state), nbytes(state.params), temporary


def update_bytes(
    parts: Parts, functions: Functions, state: TrainState, frozen: Params | None
) -> int:
    """Bytes per device that a micro-batch takes for itself, of the program as it is compiled.

    It is the run's own program, down to the columns of its batches, so that it is compiled once.
    """
    total = jax.eval_shape(functions.start, scale_of(state.opt_state))
    routes = kinds.routes(parts.policy.config)
    told = parts.config.rollout.sampling.told
    filled = {"old_logp": parts.needs_old, "ref_logp": parts.scored_by_reference}
    columns = [name for name in functions.columns() if filled.get(name, True)]
    batch = abstract_batch(parts.config.train, parts.mesh, columns, routes, told)
    program = functions.accumulate.lower(state.params, total, batch, frozen).compile()
    return int(program.memory_analysis().temp_size_in_bytes)


def capacity() -> int:
    """Bytes one device may use: what its allocator says, or the machine's free memory."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return int(stats.get("bytes_limit", psutil.virtual_memory().available))


def measured() -> int | None:
    """Most bytes the fullest local device has held so far; None where it does not say (CPU)."""
    stats = [device.memory_stats() or {} for device in jax.local_devices()]
    peaks = [s["peak_bytes_in_use"] for s in stats if "peak_bytes_in_use" in s]
    return max(peaks) if peaks else None


def check(rows: dict[str, int], mode: Literal["error", "warn"]) -> str:
    """A plan in one line; UserError, or a warning in the line, when it exceeds the device."""
    limit = capacity()
    shown = ", ".join(f"{name} {size / 2**20:,.0f}" for name, size in rows.items() if size)
    line = f"memory plan per device (MiB): {shown}, of {limit / 2**20:,.0f}"
    if rows["peak"] <= limit:
        return line
    if mode == "error":
        raise UserError(f"--memory error: {line}; {ADVICE}")
    return f"warning: {line}; {ADVICE}"
