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
from r1jax.models.decoding import cache as caches
from r1jax.models.decoding.cache import Cache
from r1jax.models.decoding.cache_attention import Prefix
from r1jax.rollout.sampling import Sampling, draw
from r1jax.types import Params


@struct.dataclass
class Slots:
    """S completions being written, side by side, in caches of length L; C = min(L, max_tokens)."""

    cache: Cache
    key: jax.Array  # u32[S, 2]
    token: jax.Array  # i32[S], last token drawn, not yet in the cache
    position: jax.Array  # i32[S], where it goes
    count: jax.Array  # i32[S], tokens drawn so far
    limit: jax.Array  # i32[S], tokens allowed
    prefix: Prefix  # what a slot's prompt has in common with the other samples of it
    active: jax.Array  # bool[S], still writing
    stopped: jax.Array  # bool[S], a stop token was drawn
    tokens: jax.Array  # i32[S, C]
    logp: jax.Array  # f32[S, C]
    log_mass: jax.Array  # f32[S, C]
    support: jax.Array | None = None  # i32[S, C, K] as in `Batch`, where sampling tells of it


TOLD = ("tokens", "logp", "log_mass", "support")
"""What is booked of each token, in columns: the fields of `r1jax.rollout.requests.Drawn`."""


@struct.dataclass
class Admission:
    """Requests entering slots; R entries, of which those with a slot of S or above are padding."""

    lengths: jax.Array  # i32[P], of the prefixes; 1 for padding rows
    slot: jax.Array  # i32[R], no number twice
    source: jax.Array  # i32[R], row of the prefixes
    key: jax.Array  # u32[R, 2]
    limit: jax.Array  # i32[R]
    count: jax.Array | int = 0  # i32[R], tokens of the prefix that are the completion's own


def empty(
    c: ModelConfig, slots: int, length: int, max_tokens: int, dtype: Any, mesh: Mesh, told: int = 0
) -> Slots:
    """All slots free; `told` is that of `Sampling`."""
    cache = caches.empty(c, slots, length, dtype)
    columns = min(length, max_tokens)
    zeros = lambda *shape, dtype=jnp.int32: _spread(jnp.zeros((slots, *shape), dtype), mesh)  # noqa: E731
    return Slots(
        cache=caches.constrained(cache, c, mesh, "slots"),
        key=zeros(2, dtype=jnp.uint32),
        token=zeros(),
        position=zeros(),
        count=zeros(),
        limit=zeros(),
        prefix=Prefix(zeros(), zeros()),
        active=zeros(dtype=bool),
        stopped=zeros(dtype=bool),
        tokens=zeros(columns),
        logp=zeros(columns, dtype=jnp.float32),
        log_mass=zeros(columns, dtype=jnp.float32),
        support=zeros(columns, told) if told else None,
    )


def prefill(
    weights: Params, prompts: jax.Array, lengths: jax.Array, c: ModelConfig, mesh: Mesh
) -> tuple[jax.Array, Cache]:
    """Runs prefixes i32[P, T], right-padded to `lengths`, each once for all its samples.

    Returns the logits f32[P, vocab] of their next tokens and their cache of length T, all rows on
    every device, since any slot may read any of them.
    """
    logits, cache = decoder.prefill(weights, c, prompts, lengths, mesh)
    return constrain(logits, mesh, None, "vocab"), caches.constrained(cache, c, mesh, None)


def fill(old: Cache, entering: Admission, new: Cache, c: ModelConfig, mesh: Mesh) -> Cache:
    """The slots' cache with what `prefill` found at the beginning of the slots that are entered."""
    slot, source, width = entering.slot, entering.source, new.length

    def one(old: jax.Array, new: jax.Array) -> jax.Array:
        new = new[source].astype(old.dtype)
        # Unless it knows that no slot comes twice, XLA writes atomically, one number at a time.
        return old.at[slot, :width].set(new, mode="drop", unique_indices=True)

    return caches.constrained(jax.tree.map(one, old, new), c, mesh, "slots")


def enter(
    slots: Slots,
    entering: Admission,
    logits: jax.Array,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> Slots:
    """Books who enters and draws next tokens from the prefixes' logits; the cache is `fill`'s.

    A completion taken up again goes on at its `count`, whose number the random key takes; the
    columns of what it drew before stay unwritten.
    """
    slot, source, size = entering.slot, entering.source, slots.count.shape[0]
    put = lambda old, new: old.at[slot].set(new, mode="drop")  # noqa: E731
    fresh = jnp.zeros_like(slots.active).at[slot].set(True, mode="drop")
    # A slot whose leader is taken by another prompt reads its own copy from now on.
    leader = jnp.where(fresh[jnp.arange(size) + slots.prefix.leader], 0, slots.prefix.leader)
    first = jnp.full(entering.lengths.shape, size).at[source].min(slot)
    slots = slots.replace(
        key=put(slots.key, entering.key),
        position=put(slots.position, entering.lengths[source] - 1),
        count=put(slots.count, entering.count),
        limit=put(slots.limit, entering.limit),
        prefix=Prefix(
            put(leader, first[source] - slot), put(slots.prefix.length, entering.lengths[source])
        ),
        active=put(slots.active, True),
        stopped=put(slots.stopped, False),
    )
    chosen = jnp.zeros((size,), jnp.int32).at[slot].set(source, mode="drop")
    of_slot = constrain(logits[chosen], mesh, "slots", "vocab")
    slots = _append(slots, of_slot, fresh, sampling, stop_ids)
    return jax.tree.map(lambda x: _spread(x, mesh), slots)


def decode(
    weights: Params,
    slots: Slots,
    steps: jax.Array,
    enough_free: jax.Array,
    c: ModelConfig,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
    mesh: Mesh,
) -> tuple[jax.Array, Slots]:
    """Up to `steps` tokens for every active slot; returns (steps taken, slots).

    Returns early once `enough_free` slots are free or an active one's text fills its cache.
    """
    length = slots.cache.length

    def going(carry: tuple[jax.Array, Slots]) -> jax.Array:
        step, slots = carry
        active = jnp.sum(slots.active)
        free = slots.active.size - active
        return (step < steps) & (active > 0) & (free < enough_free) & ~any_full(slots)

    def step(carry: tuple[jax.Array, Slots]) -> tuple[jax.Array, Slots]:
        step, slots = carry
        # Past the end, a free slot reads nothing, nor does it write into what others read of it.
        position = jnp.where(slots.active, slots.position, length)
        logits, cache = decoder.decode_step(
            weights, c, slots.token, position, slots.cache, mesh, slots.prefix
        )
        slots = slots.replace(cache=cache)
        return step + 1, _append(slots, logits, slots.active, sampling, stop_ids)

    return jax.lax.while_loop(going, step, (jnp.int32(0), slots))


def any_full(slots: Slots) -> jax.Array:
    """Whether the text of an active slot fills its cache."""
    return jnp.any(slots.active & (slots.position + 1 >= slots.cache.length))


def _append(
    slots: Slots,
    logits: jax.Array,
    where: jax.Array,
    sampling: Sampling,
    stop_ids: tuple[int, ...],
) -> Slots:
    """Draws one token in the slots of `where` and books it."""
    token, logp, log_mass, support = draw(logits, slots.key, slots.count, sampling)
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
        support=slots.support if support is None else book(slots.support, support),
    )


def halt(slots: Slots, which: jax.Array) -> Slots:
    """Ends the slots of bool[S] `which`, from the host (a stop string was found)."""
    return slots.replace(active=slots.active & ~which)


def resize(
    x: jax.Array, rows: jax.Array | None, length: int, axes: tuple[str | None, ...], mesh: Mesh
) -> jax.Array:
    """x[S, L, *axes] reduced to `rows` (None: all), padded with zeros to `length`."""
    x = caches.lengthened(x if rows is None else x[rows], length)
    return constrain(x, mesh, "slots", None, *axes)


def resize_books(slots: Slots, rows: jax.Array | None, columns: int, mesh: Mesh) -> Slots:
    """All but the cache, reduced to `rows` (None: all), with room for `columns` tokens."""

    pick = lambda x: _spread(x if rows is None else x[rows], mesh)  # noqa: E731
    wide = lambda x: resize(x, rows, columns, (None,) * (x.ndim - 2), mesh)  # noqa: E731
    told = {name: getattr(slots, name) for name in TOLD}
    kept = jax.tree.map(pick, slots.replace(cache=None, **dict.fromkeys(TOLD)))
    if rows is not None:  # the leaders have moved, or gone
        kept = kept.replace(prefix=kept.prefix._replace(leader=jnp.zeros_like(kept.count)))
    return kept.replace(**jax.tree.map(wide, told))


def _spread(x: jax.Array, mesh: Mesh) -> jax.Array:
    """One of the books x[S, ...], with the slots spread over their devices."""
    return constrain(x, mesh, "slots", *(None,) * (x.ndim - 1))
