"""Drawing tokens: keys that know nothing of slots, the kept support, log-probabilities."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from r1jax.errors import UserError


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn; static under jit."""

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the most likely token."""
    top_p: float = 1.0
    """Keep the fewest likely tokens whose mass reaches it; 1 keeps all."""
    top_k: int = 0
    """Keep the k most likely tokens (before top-p); 0 keeps all."""

    def __post_init__(self) -> None:
        """Raises UserError on values outside their range."""
        if self.temperature < 0:
            raise UserError(f"temperature {self.temperature} is negative; use 0 (greedy) or more")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p {self.top_p} is outside (0, 1]; 1 keeps the whole vocabulary")
        if self.top_k < 0:
            raise UserError(f"top_k {self.top_k} is negative; 0 keeps the whole vocabulary")


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
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """One token per slot from f32 logits[S, V]; keys u32[S, 2], index i32[S] in the completion.

    Returns (token, logp, log_mass): logp = log softmax(logits / T)[token] over the full
    vocabulary, log_mass = log of the kept support's mass; the sampled log-probability is
    logp − log_mass. Greedy drawing reports logp at T = 1 and log_mass 0.
    """
    z = logits / (sampling.temperature or 1.0)
    log_sum = jax.nn.logsumexp(z, axis=-1)
    log_mass = jnp.zeros_like(log_sum)
    if sampling.temperature == 0:
        token = jnp.argmax(z, axis=-1)
    else:
        perturbed = z + jax.vmap(_gumbel, (0, 0, None))(keys, index, z.shape[-1])
        if sampling.top_k or sampling.top_p < 1.0:
            keep = kept(z, sampling)
            log_mass = jax.nn.logsumexp(jnp.where(keep, z, -jnp.inf), axis=-1) - log_sum
            perturbed = jnp.where(keep, perturbed, -jnp.inf)
        token = jnp.argmax(perturbed, axis=-1)
    logp = jnp.take_along_axis(z, token[:, None], axis=-1)[:, 0] - log_sum
    return token.astype(jnp.int32), logp, log_mass


def _gumbel(key: jax.Array, index: jax.Array, size: int) -> jax.Array:
    return jax.random.gumbel(jax.random.fold_in(jax.random.wrap_key_data(key), index), (size,))
