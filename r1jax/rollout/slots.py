"""The device side of generation: slots with caches, admission of prompts, the decode loop."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct
from jax.sharding import Mesh

from r1jax.mesh import constrain
from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.rollout.sampling import Sampling, draw
from r1jax.types import Params


@struct.dataclass
class Slots:
    """S completions being written, side by side; C tokens at most each."""

    cache: decoder.Cache
    key: jax.Array  # u32[S, 2]
    token: jax.Array  # i32[S], last token drawn, not yet in the cache
    position: jax.Array  # i32[S], where it goes
    count: jax.Array  # i32[S], tokens drawn so far
    limit: jax.Array  # i32[S], tokens allowed
    active: jax.Array  # bool[S]
    stopped: jax.Array  # bool[S], a stop token was drawn
    tokens: jax.Array  # i32[S, C]
    logp: jax.Array  # f32[S, C]
    log_mass: jax.Array  # f32[S, C]


@struct.dataclass
class Admission:
    """Requests entering slots; R entries, of which those with slot = S are padding."""

    prompts: jax.Array  # i32[P, T], right-padded
    lengths: jax.Array  # i32[P], 1 for padding rows
    slot: jax.Array  # i32[R]
    source: jax.Array  # i32[R], row of `prompts`
    key: jax.Array  # u32[R, 2]
    limit: jax.Array  # i32[R]


def empty(
    c: ModelConfig, slots: int, prompt_length: int, max_tokens: int, dtype: Any, mesh: Mesh
) -> Slots:
    """All slots free."""
    cache = decoder.empty_cache(c, slots, prompt_length + max_tokens, dtype)
    spread = lambda x: constrain(x, mesh, "slots", *(None,) * (x.ndim - 1))  # noqa: E731
    zeros = lambda *shape, dtype=jnp.int32: spread(jnp.zeros((slots, *shape), dtype))  # noqa: E731
    return Slots(
        cache=jax.tree.map(lambda x: constrain(x, mesh, "slots", None, "kv_heads", None), cache),
        key=zeros(2, dtype=jnp.uint32),
        token=zeros(),
        position=zeros(),
        count=zeros(),
        limit=zeros(),
        active=zeros(dtype=bool),
        stopped=zeros(dtype=bool),
        tokens=zeros(max_tokens),
        logp=zeros(max_tokens, dtype=jnp.float32),
        log_mass=zeros(max_tokens, dtype=jnp.float32),
    )


def admit(
    weights: Params,
    slots: Slots,
    entering: Admission,
    c: ModelConfig,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> Slots:
    """Prefills each prompt once, copies its cache to the slots of its group, draws first tokens."""
    logits, cache = decoder.prefill(weights, c, entering.prompts, entering.lengths, mesh)
    slot, source, width = entering.slot, entering.source, entering.prompts.shape[1]

    def fill(old: jax.Array, new: jax.Array) -> jax.Array:
        filled = old.at[slot, :width].set(new[source].astype(old.dtype), mode="drop")
        return constrain(filled, mesh, "slots", None, "kv_heads", None)

    put = lambda old, new: old.at[slot].set(new, mode="drop")  # noqa: E731
    slots = slots.replace(
        cache=jax.tree.map(fill, slots.cache, cache),
        key=put(slots.key, entering.key),
        position=put(slots.position, entering.lengths[source] - 1),
        count=put(slots.count, 0),
        limit=put(slots.limit, entering.limit),
        active=put(slots.active, True),
        stopped=put(slots.stopped, False),
    )
    fresh = jnp.zeros_like(slots.active).at[slot].set(True, mode="drop")
    chosen = jnp.zeros((slots.count.shape[0],), jnp.int32).at[slot].set(source, mode="drop")
    return _append(slots, logits[chosen], fresh, sampling, stop_ids)


def decode(
    weights: Params,
    slots: Slots,
    steps: jax.Array,
    enough_free: jax.Array,
    c: ModelConfig,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> Slots:
    """Up to `steps` tokens for every active slot; returns early once `enough_free` are free."""

    def going(carry: tuple[jax.Array, Slots]) -> jax.Array:
        step, slots = carry
        active = jnp.sum(slots.active)
        return (step < steps) & (active > 0) & (slots.active.size - active < enough_free)

    def step(carry: tuple[jax.Array, Slots]) -> tuple[jax.Array, Slots]:
        step, slots = carry
        logits, cache = decoder.decode_step(
            weights, c, slots.token, slots.position, slots.cache, mesh
        )
        slots = slots.replace(cache=cache)
        return step + 1, _append(slots, logits, slots.active, sampling, stop_ids)

    return jax.lax.while_loop(going, step, (jnp.int32(0), slots))[1]


def _append(
    slots: Slots,
    logits: jax.Array,
    where: jax.Array,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
) -> Slots:
    """Draws one token in the slots of `where` and books it."""
    token, logp, log_mass = draw(logits, slots.key, slots.count, sampling)
    rows = jnp.arange(token.shape[0])
    column = jnp.where(where, slots.count, slots.tokens.shape[1])
    book = lambda old, new: old.at[rows, column].set(new, mode="drop")  # noqa: E731
    count = slots.count + where
    stop = where & jnp.isin(token, jnp.asarray(stop_ids, jnp.int32))
    return slots.replace(
        token=jnp.where(where, token, slots.token),
        position=slots.position + where,
        count=count,
        active=slots.active & ~stop & (count < slots.limit),
        stopped=slots.stopped | stop,
        tokens=book(slots.tokens, token),
        logp=book(slots.logp, logp),
        log_mass=book(slots.log_mass, log_mass),
    )


def halt(slots: Slots, which: jax.Array) -> Slots:
    """Ends the slots of bool[S] `which`, from the host (a stop string was found)."""
    return slots.replace(active=slots.active & ~which)
