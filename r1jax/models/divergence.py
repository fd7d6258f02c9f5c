"""Divergence of a student's next-token distribution from a teacher's, logits a piece at a time.

With p the teacher's and q the student's probabilities at a temperature:
forward KL(p‖q) = Σ p·(log p − log q) covers all that the teacher may say; reverse KL(q‖p) =
Σ q·(log q − log p) keeps to what it is likely to say. The generalised Jensen-Shannon divergence
β·KL(p‖m) + (1 − β)·KL(q‖m), m = β·p + (1 − β)·q, lies between (GKD, arXiv 2306.13649): near β = 0
it is β times the forward KL, near 1 it is 1 − β times the reverse one.
"""

from __future__ import annotations

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import over_rows
from r1jax.models.logp import add_products, cut_time, joined_time, vocabulary_logits

Direction = Literal["forward", "jsd", "reverse"]
"""Of KL: from the teacher to the student, of both to their mixture, or from student to teacher."""


Other = jax.Array | tuple[jax.Array, jax.Array]
"""What is known of the teacher at each position: hidden states, or ids and log-probabilities."""


class How(NamedTuple):
    """What is computed; static under jit."""

    kind: Direction
    temperature: float
    top_k: int
    beta: float
    mesh: Mesh | None


def divergence(
    hidden: jax.Array,
    head: jax.Array,
    teacher_hidden: jax.Array | tuple[jax.Array, jax.Array],
    teacher_head: jax.Array | None,
    *,
    kind: Direction = "forward",
    temperature: float = 1.0,
    top_k: int = 0,
    beta: float = 0.5,
    chunk: int = 128,
    mesh: Mesh | None = None,
) -> jax.Array:
    """The divergence in nats for every position, f32[B, T]; gradients flow to the student alone.

    hidden[B, T, d] and head[d, V] are the student's, those of the teacher may have another width.
    `top_k` above 0 tells the teacher's k likeliest tokens apart and all others only as one: never
    more than the whole divergence, and the whole where k is the vocabulary (tokens as likely as the
    k-th are told apart as well). `beta`, within 0 and 1, is jsd's. At most 2 x [B, chunk, V] logits
    live at a time.

    Of a teacher without a head k likeliest tokens are known, in place of its hidden states: ids
    i32[B, T, k] and their log-probabilities f32[B, T, k], at that temperature.
    """
    how = How(kind, temperature, top_k, beta, mesh)

    def all_pieces(
        weights: tuple[jax.Array, jax.Array | None], own: jax.Array, other: Other
    ) -> jax.Array:
        student, teacher = weights
        others = jax.tree.map(lambda x: cut_time(x, chunk), other)
        pieces = _pieces(how, student, cut_time(own, chunk), teacher, others)
        return joined_time(pieces, own.shape[1])

    run = over_rows(all_pieces, mesh, *hidden.shape[:2])
    other = None if teacher_head is None else teacher_head.astype(teacher_hidden.dtype)
    weights = head.astype(hidden.dtype), other
    return run(weights, hidden, jax.lax.stop_gradient(teacher_hidden))


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pieces(
    how: How, weight: jax.Array, hidden: jax.Array, other_weight: jax.Array | None, other: Other
) -> jax.Array:
    """f32[P, B, C] of hidden[P, B, C, d]; the gradient is written out as in `r1jax.models.logp`."""
    return _forward(how, weight, hidden, other_weight, other)[0]


def _forward(
    how: How, weight: jax.Array, hidden: jax.Array, other_weight: jax.Array | None, other: Other
) -> tuple[jax.Array, tuple[Any, ...]]:
    def step(_: None, xs: tuple[jax.Array, Other]) -> tuple[None, jax.Array]:
        _, p, q, ratio = _compare(how, weight, xs[0], other_weight, xs[1])
        # ratio = log q - log p
        if how.kind == "jsd":
            to_mixture = _to_mixture(how.beta, ratio)
            terms = how.beta * p * (to_mixture - ratio) + (1 - how.beta) * q * to_mixture
        else:
            terms = -p * ratio if how.kind == "forward" else q * ratio
        return None, jnp.sum(terms, axis=-1)

    _, kl = jax.lax.scan(step, None, (hidden, other))
    return kl, (weight, hidden, other_weight, other, kl)


def _backward(
    how: How, saved: tuple[Any, ...], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, None, None]:
    """∂KL(p‖q)/∂z = q − p' and ∂KL(q‖p)/∂z = q·(log q/p − KL), z the student's logits / T.

    Of the divergence to the mixture m it is (1 − β)·q·(log q/m − KL(q‖m)).
    p' is p where tokens are told apart, and q times the ratio of both sides' rest elsewhere.
    """
    weight, hidden, other_weight, other, kl = saved

    def step(total: jax.Array, xs: tuple[Any, ...]) -> tuple[jax.Array, jax.Array]:
        h, g, kl, of_kl = xs
        apart, p, q, ratio = _compare(how, weight, h, other_weight, g)
        if how.kind == "forward":
            dz = q - jnp.where(apart, p, q * jnp.exp(-ratio))
        elif how.kind == "jsd":
            ratio = _to_mixture(how.beta, ratio)
            dz = (1 - how.beta) * q * (ratio - jnp.sum(q * ratio, axis=-1, keepdims=True))
        else:
            dz = q * (ratio - kl[..., None])
        dz *= of_kl[..., None] / how.temperature
        return add_products(how.mesh, total, dz, weight, h)

    nothing = jnp.zeros_like(weight, jnp.float32)
    total, of_hidden = jax.lax.scan(step, nothing, (hidden, other, kl, gradient))
    return total.astype(weight.dtype), of_hidden, None, None


_pieces.defvjp(_forward, _backward)


def _to_mixture(beta: float, ratio: jax.Array) -> jax.Array:
    """log q/m from log q/p: −log(β·p/q + 1 − β), without overflow."""
    return -jnp.logaddexp(jnp.log(beta) - ratio, jnp.log1p(-beta))


def _compare(
    how: How, weight: jax.Array, h: jax.Array, other_weight: jax.Array | None, g: Other
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array]:
    """(tokens told apart, p, q, log q − log p), each [B, C, V]; the rest shares one ratio."""
    log_q = jax.nn.log_softmax(vocabulary_logits(how.mesh, how.temperature, weight, h))
    if other_weight is None:
        log_p, apart = _spread(*g, log_q.shape[-1])
    else:
        z = vocabulary_logits(how.mesh, how.temperature, other_weight, g)
        log_p, apart = jax.nn.log_softmax(z), None
        if 0 < how.top_k < z.shape[-1]:
            apart = z >= jax.lax.top_k(z, how.top_k)[0][..., -1:]
    p, q, ratio = jnp.exp(log_p), jnp.exp(log_q), log_q - log_p
    if apart is None:
        return jnp.ones_like(q, bool), p, q, ratio
    rest = lambda x: jnp.sum(jnp.where(apart, 0.0, x), axis=-1, keepdims=True)  # noqa: E731
    tiny = jnp.finfo(jnp.float32).tiny  # of a rest that has rounded to nothing
    shared = jnp.log(jnp.maximum(rest(q), tiny)) - jnp.log(jnp.maximum(rest(p), tiny))
    return apart, p, q, jnp.where(apart, ratio, shared)


def _spread(ids: jax.Array, logp: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """(log p, tokens told apart) [B, C, V] of k known tokens; the others share what is left."""
    # A comparison, not a scatter: that would collect a vocabulary that is sharded.
    known = jnp.arange(size) == ids[..., None]  # [B, C, k, V]
    apart = jnp.any(known, axis=-2)
    left = jnp.maximum(1 - jnp.sum(jnp.exp(logp), axis=-1), jnp.finfo(jnp.float32).tiny)
    others = jnp.log(left) - jnp.log(max(size - ids.shape[-1], 1))
    given = jnp.sum(jnp.where(known, logp[..., None], 0.0), axis=-2)
    return jnp.where(apart, given, others[..., None]), apart
