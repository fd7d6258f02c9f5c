"""Drawing tokens: keys that know nothing of slots, the kept support, log-probabilities."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.rollout.knobs import Sampling

SMALL = 512  # vocabularies up to this size are drawn from in one step
TILE = 128  # tokens of a tile of a larger one


def request_keys(seed: int, rollout: jax.Array, problem: jax.Array, sample: jax.Array) -> jax.Array:
    """u32[R, 2]: fold_in(seed, rollout, problem, sample) of each request.

    Slot, batch and host never enter, so neither refill order nor sharding changes a text.
    """

    def one(rollout: jax.Array, problem: jax.Array, sample: jax.Array) -> jax.Array:
        key = jax.random.key(seed)
        for number in (rollout, problem, sample):
            key = jax.random.fold_in(key, number)
        return jax.random.key_data(key)

    return jax.vmap(one)(rollout, problem, sample)


def kept(z: jax.Array, sampling: Sampling) -> jax.Array:
    """bool[S, V]: the support that top-k, then top-p, leave of logits f32[S, V].

    Tokens tied with the last one kept are kept too. No sort over the vocabulary.
    """
    keep = jnp.ones(z.shape, bool)
    if sampling.top_k:
        keep = _at_least(z, jnp.ones_like(z), jnp.full(z.shape[:1], float(sampling.top_k)))
    if sampling.top_p < 1.0:
        p = jax.nn.softmax(jnp.where(keep, z, -jnp.inf), axis=-1)
        keep &= _at_least(z, p, jnp.full(z.shape[:1], sampling.top_p))
    return keep


def _at_least(z: jax.Array, weight: jax.Array, target: jax.Array) -> jax.Array:
    """z ≥ t for the largest t with Σ weight[z ≥ t] ≥ target, by bisection over float bits."""
    # -0.0 ties with 0.0, but its bits do not.
    bits = jax.lax.bitcast_convert_type(jnp.where(z == 0, 0.0, z), jnp.int32)
    order = bits ^ ((bits >> 31) & 0x7FFFFFFF)  # integers in the order of the floats

    def halve(_: int, bounds: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        low, high = bounds
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        enough = jnp.sum(jnp.where(order >= middle[:, None], weight, 0.0), axis=-1) >= target
        return jnp.where(enough, middle, low), jnp.where(enough, high, middle)

    low, _ = jax.lax.fori_loop(0, 33, halve, (order.min(axis=-1), order.max(axis=-1) + 1))
    return order >= low[:, None]


def draw(
    logits: jax.Array, keys: jax.Array, index: jax.Array, sampling: Sampling
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None]:
    """One token per slot from f32 logits[S, V]; keys u32[S, 2], index i32[S] in the completion.

    Returns (token, logp, log_mass, support): logp = log softmax(logits / T)[token] over the full
    vocabulary, log_mass = log of the kept support's mass; the sampled log-probability is
    logp − log_mass. Greedy drawing reports logp at T = 1 and log_mass 0. `support` is i32[S, K] as
    in `Batch`, where K = `sampling.told` asks for it.
    """
    support = None
    z = logits / (sampling.temperature or 1.0)
    at = jax.vmap(_key)(keys, index)
    if sampling.temperature == 0:
        token, log_sum = jnp.argmax(z, axis=-1), jax.nn.logsumexp(z, axis=-1)
        log_mass = jnp.zeros_like(log_sum)
    elif sampling.top_k or sampling.top_p < 1.0:
        cut = jnp.where(kept(z, sampling), z, -jnp.inf)
        token, log_kept = _choose(cut, at)
        support = _numbered(cut, sampling.told) if sampling.told else None
        log_sum = jax.nn.logsumexp(z, axis=-1)
        log_mass = log_kept - log_sum
    else:
        token, log_sum = _choose(z, at)
        log_mass = jnp.zeros_like(log_sum)
    logp = jnp.take_along_axis(z, token[:, None], axis=-1)[:, 0] - log_sum
    return token.astype(jnp.int32), logp, log_mass, support


def _numbered(cut: jax.Array, most: int) -> jax.Array:
    """i32[S, most], 1 + the ids above -inf, likely ones first, then 0; 0 alone where they are more.

    Ids are told apart from nothing by the 1, so that what nobody wrote says nothing.
    """
    values, ids = jax.lax.top_k(cut, most)
    fits = jnp.sum(cut > -jnp.inf, axis=-1, keepdims=True) <= most
    return jnp.where((values > -jnp.inf) & fits, ids + 1, 0).astype(jnp.int32)


def _key(data: jax.Array, index: jax.Array) -> jax.Array:
    return jax.random.fold_in(jax.random.wrap_key_data(data), index)


def _choose(z: jax.Array, keys: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(argmax(z + Gumbel noise), log Σ eᶻ) over the vocabulary: one draw from softmax(z) per slot.

    A large vocabulary is drawn from in two steps, first a tile by log Σ eᶻ over it, then a token of
    that tile: the same distribution, p(tile)·p(token | tile), with a hundredth of the noise.
    """
    size = z.shape[-1]
    if size <= SMALL:
        return jnp.argmax(z + _gumbel(keys, size), axis=-1), jax.nn.logsumexp(z, axis=-1)
    tiles = -(-size // TILE)
    z = jnp.pad(z, ((0, 0), (0, tiles * TILE - size)), constant_values=-jnp.inf)
    z = z.reshape(-1, tiles, TILE)
    of_tile, noise = jax.nn.logsumexp(z, axis=-1), _gumbel(keys, tiles + TILE)
    tile = jnp.argmax(of_tile + noise[:, :tiles], axis=-1)
    inside = jnp.take_along_axis(z, tile[:, None, None], axis=1)[:, 0]
    token = tile * TILE + jnp.argmax(inside + noise[:, tiles:], axis=-1)
    return token, jax.nn.logsumexp(of_tile, axis=-1)


def _gumbel(keys: jax.Array, size: int) -> jax.Array:
    return jax.vmap(lambda key: jax.random.gumbel(key, (size,)))(keys)
