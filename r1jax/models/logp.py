"""Token log-probability and entropy without full-vocabulary logits of the batch ever existing."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import constrain, cuts_tokens, over_rows
from r1jax.models import attention as attn
from r1jax.models import decoder, kinds, multi_token
from r1jax.models.config import ModelConfig
from r1jax.types import Batch, Params, Stats

OUTSIDE = -1e30  # a logit whose p is 0, and 0 times it as well


def score(
    params: Params,
    c: ModelConfig,
    batch: Batch,
    temperature: float,
    *,
    chunk: int,
    mesh: Mesh | None = None,
    remat: decoder.Remat = "none",
    unroll: int = 1,
    kernel: str = "auto",
    of: Callable[..., Any] | None = None,
) -> tuple[Any, tuple[kinds.Told, ...]]:
    """log p and entropy of every token of a packed batch given the earlier ones of its segment.

    Where the batch says from which set a token was drawn (`Batch.support`), those over that set.
    Both f32[B, T] at `temperature`, aligned with the token itself; column 0 of a segment is
    predicted by nothing and holds 0 (it is never in the mask). Compute runs in params' dtype.
    Layers whose experts are to be those of the sampler (`Experts.sampled`) get its choices from
    the batch. Beside the two what the layers tell, for `kinds.with_auxiliary`, and where the module
    ahead is to learn, what its layer tells with its log p of every token given all but the one
    before: {"ahead": f32[B, T]}. `of` takes the place of `score_hidden`, and what it says that of
    the two.
    """
    segments = attn.Segments(batch.segment_ids, batch.lengths.shape[1])
    seen = params
    if c.experts is not None and c.experts.sampled:
        seen = params | {"stacks": kinds.with_routes(c, params["stacks"], batch.routes)}
    # i32[B, T] tokens -> [B, T, d], in which no token sees another segment than its own.
    hidden, told = decoder.forward_told(
        seen, c, batch.tokens, batch.positions, segments,
        mesh=mesh, remat=remat, unroll=unroll, kernel=kernel,
    )  # fmt: skip
    of = of or score_hidden
    stats = of(params, hidden, batch, temperature, chunk=chunk, mesh=mesh)
    if c.ahead is None or not c.ahead.weight:
        return stats, told
    if c.ahead.alone:
        params, hidden = multi_token.alone(params, hidden)
    further, told_ahead = multi_token.forward_told(
        params, c, hidden, batch.tokens, batch.positions, segments,
        mesh=mesh, remat=remat, kernel=kernel,
    )  # fmt: skip
    predicted = following(further, batch.tokens, 2, mesh)
    logp = token_stats(*predicted, decoder.head(params), temperature, chunk, mesh).logp
    return stats, (*told, told_ahead | {"ahead": aligned(logp, batch, 2)})


def score_hidden(
    params: Params,
    hidden: jax.Array,
    batch: Batch,
    temperature: float,
    *,
    chunk: int,
    mesh: Mesh | None = None,
) -> Stats:
    """As `score`, from the hidden states [B, T, d] of `decoder.forward`."""
    hidden, tokens, support = _predicted(hidden, batch, mesh)
    stats = token_stats(hidden, tokens, decoder.head(params), temperature, chunk, mesh, support)
    return Stats(logp=aligned(stats.logp, batch), entropy=aligned(stats.entropy, batch))


def sharp_hidden(
    params: Params,
    hidden: jax.Array,
    batch: Batch,
    temperature: float,
    *,
    chunk: int,
    mesh: Mesh | None = None,
) -> tuple[jax.Array, jax.Array]:
    """log p at `temperature` and at half of it, f32[B, T] each, from the same logits.

    At half of it p is π² / Σ π². Without a gradient of its own: for passes that have none.
    """
    hidden, tokens, support = _predicted(hidden, batch, mesh)

    def all_pieces(weight: jax.Array, *of_rows: jax.Array | None) -> tuple[jax.Array, ...]:
        def step(_: None, xs: tuple[jax.Array | None, ...]) -> tuple[None, tuple[jax.Array, ...]]:
            h, y, ids = xs
            z = within(mesh, vocabulary_logits(mesh, temperature, weight, h), ids)
            logp, _, log_sum = logp_and_entropy(z, y)
            log_squares = jax.nn.logsumexp(2 * z, axis=-1) - 2 * log_sum
            return None, (logp, 2 * logp - log_squares)

        found = jax.lax.scan(step, None, jax.tree.map(lambda x: cut_time(x, chunk), of_rows))[1]
        return tuple(joined_time(x, of_rows[0].shape[1]) for x in found)

    head = decoder.head(params).astype(hidden.dtype)
    found = over_rows(all_pieces, mesh, *tokens.shape)(head, hidden, tokens, support)
    return tuple(aligned(x, batch) for x in found)


def _predicted(
    hidden: jax.Array, batch: Batch, mesh: Mesh | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    """Hidden states, the tokens that they predict, and the sets that these were drawn from."""
    support = batch.support
    if support is not None:
        support = following(hidden, support, 1, mesh)[1]
    return *following(hidden, batch.tokens, 1, mesh), support


def following(
    hidden: jax.Array, tokens: jax.Array, steps: int, mesh: Mesh | None
) -> tuple[jax.Array, jax.Array]:
    """Hidden states with the tokens that they predict, `steps` further: T - steps of each.

    All T of them where the tokens of a row are spread, which so many would not divide by.
    """
    if cuts_tokens(mesh):
        return hidden, jnp.roll(tokens, -steps, axis=1)
    return hidden[:, :-steps], tokens[:, steps:]


def aligned(x: jax.Array, batch: Batch, steps: int = 1) -> jax.Array:
    """f32[B, T] of the tokens predicted, of what `following` and `token_stats` say: theirs."""
    # A segment's first tokens are predicted by the segment before it, or by padding: 0 there.
    inside = (batch.positions >= steps) & (batch.segment_ids > 0)
    whole = jnp.pad(x, ((0, 0), (steps, 0)))[:, : batch.tokens.shape[1]]
    return jnp.where(inside, whole, 0.0)


def token_stats(
    hidden: jax.Array,
    targets: jax.Array,
    head: jax.Array,
    temperature: float,
    chunk: int,
    mesh: Mesh | None = None,
    support: jax.Array | None = None,
) -> Stats:
    """log p(target) and entropy from hidden[B, T, d], targets i32[B, T], head[d, V].

    Of softmax over the whole vocabulary, or over the sets of `support` i32[B, T, K] (`Batch`).
    The time axis is cut into chunks of `chunk` tokens, whose logits are recomputed in the backward
    pass: at most [B, chunk, V] lives at a time. Batch and vocabulary stay sharded.
    """
    b, t, d = hidden.shape
    assert head.shape[0] == d and targets.shape == (b, t), (hidden.shape, head.shape, targets.shape)

    def all_pieces(weight: jax.Array, *of_rows: jax.Array | None) -> Stats:
        cut = jax.tree.map(lambda x: cut_time(x, chunk), of_rows)
        stats = _pieces(mesh, temperature, weight, *cut)
        return Stats(*(joined_time(x, of_rows[0].shape[1]) for x in stats))

    # Each device on its own rows: the head is collected once, not once per piece.
    run = over_rows(all_pieces, mesh, b, t)
    return run(head.astype(hidden.dtype), hidden, targets, support)


def cut_time(x: jax.Array, chunk: int) -> jax.Array:
    """[B, T, ...] -> [pieces, B, chunk, ...], the last piece filled up with zeros."""
    pieces = -(-x.shape[1] // chunk)
    room = ((0, 0), (0, pieces * chunk - x.shape[1]), *((0, 0),) * (x.ndim - 2))
    return jnp.pad(x, room).reshape(x.shape[0], pieces, chunk, *x.shape[2:]).swapaxes(0, 1)


def joined_time(x: jax.Array, t: int) -> jax.Array:
    """[pieces, B, chunk] -> [B, t]: what `cut_time` has cut."""
    return x.swapaxes(0, 1).reshape(x.shape[1], -1)[:, :t]


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pieces(
    mesh: Mesh | None,
    temperature: jax.Array,
    weight: jax.Array,
    hidden: jax.Array,
    targets: jax.Array,
    support: jax.Array | None,
) -> tuple[jax.Array, jax.Array]:
    """(log p, entropy) f32[P, B, C] of hidden[P, B, C, d], one piece of logits after the other.

    The gradient is written out, so that the products of the backward pass run in the type of the
    activations (left to JAX they take f32 operands) and the head's is summed in f32.
    """
    return _forward(mesh, temperature, weight, hidden, targets, support)[0]


def _forward(
    mesh: Mesh | None,
    temperature: jax.Array,
    weight: jax.Array,
    hidden: jax.Array,
    targets: jax.Array,
    support: jax.Array | None,
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array | None, ...]]:
    def step(_: None, xs: tuple[jax.Array | None, ...]) -> tuple[None, tuple[jax.Array, ...]]:
        h, y, ids = xs  # [B, C, d], i32[B, C]; the logits [B, C, V] die within the step
        z = within(mesh, vocabulary_logits(mesh, temperature, weight, h), ids)
        return None, logp_and_entropy(z, y)

    _, (logp, entropy, log_sum) = jax.lax.scan(step, None, (hidden, targets, support))
    # Of the logits only log Σ eᶻ and the entropy are kept, f32[P, B, C]: p = exp(z − log Σ eᶻ).
    return (logp, entropy), (temperature, weight, hidden, targets, support, entropy, log_sum)


def _backward(
    mesh: Mesh | None, saved: tuple[jax.Array | None, ...], gradients: tuple[jax.Array, jax.Array]
) -> tuple[jax.Array, jax.Array, jax.Array, None, None]:
    """∂log p_y/∂z = 1_y − p and ∂H/∂z = −p·(log p + H), through z = h·W / T; T is a constant.

    Outside a token's set p is 0, and so are both.
    """
    temperature, weight, hidden, targets, support, entropy, log_sum = saved

    def step(total: jax.Array, xs: tuple[jax.Array | None, ...]) -> tuple[jax.Array, jax.Array]:
        h, y, ids, entropy, log_sum, of_logp, of_entropy = xs
        z = within(mesh, vocabulary_logits(mesh, temperature, weight, h), ids)
        logp = z - log_sum[..., None]
        p = jnp.exp(logp)
        dz = of_logp[..., None] * (_one_hot(y, p.shape[-1]) - p)
        dz -= of_entropy[..., None] * p * (logp + entropy[..., None])
        return add_products(mesh, total, dz / temperature, weight, h)

    nothing = jnp.zeros_like(weight, jnp.float32)
    saved = hidden, targets, support, entropy, log_sum
    total, of_hidden = jax.lax.scan(step, nothing, (*saved, *gradients))
    return jnp.zeros_like(temperature), total.astype(weight.dtype), of_hidden, None, None


_pieces.defvjp(_forward, _backward)


def vocabulary_logits(
    mesh: Mesh | None, temperature: jax.Array | float, weight: jax.Array, h: jax.Array
) -> jax.Array:
    """z = h·W / T in f32, [B, chunk, V] of one piece; the vocabulary stays sharded."""
    z = jnp.dot(h, weight, preferred_element_type=jnp.float32) / temperature
    return constrain(z, mesh, None, None, "vocab")


def within(mesh: Mesh | None, z: jax.Array, ids: jax.Array | None) -> jax.Array:
    """z[B, chunk, V] far down but for the tokens of `ids` i32[B, chunk, K] (`Batch.support`).

    Not -inf, which has no product with p = 0. Whole where `ids` name no token, or there are none.
    """
    if ids is None:
        return z
    # The mask lies like z and dies with it; what is no id points behind the vocabulary.
    b, t = jnp.indices(z.shape[:2], sparse=True)
    at = jnp.where(ids > 0, ids - 1, z.shape[-1])
    inside = jnp.zeros(z.shape, bool).at[b[..., None], t[..., None], at].set(True, mode="drop")
    inside = constrain(inside, mesh, None, None, "vocab")
    return jnp.where(inside | ~jnp.any(ids > 0, axis=-1, keepdims=True), z, OUTSIDE)


def add_products(
    mesh: Mesh | None, total: jax.Array, dz: jax.Array, weight: jax.Array, h: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """(f32 `total` and the head's gradient of one piece, the gradient of h), from that of h·W."""
    dz = constrain(dz.astype(h.dtype), mesh, None, None, "vocab")
    total += jnp.einsum("bcd,bcv->dv", h, dz, preferred_element_type=jnp.float32)
    return total, jnp.einsum("bcv,dv->bcd", dz, weight)


def _one_hot(y: jax.Array, size: int) -> jax.Array:
    """A comparison, not a scatter or gather: with a sharded vocabulary those would collect it."""
    return jnp.arange(size) == y[..., None]


def logp_and_entropy(z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """log p_y = z_y − log Σ eᶻ, H = log Σ eᶻ − Σ p·z, and log Σ eᶻ, over the last axis of f32 z.

    Two passes over z: its maximum, then every sum at once.
    """
    top = jnp.max(z, axis=-1, keepdims=True)
    e = jnp.exp(z - top)
    total, weighted = jnp.sum(e, axis=-1), jnp.sum(e * (z - top), axis=-1)
    chosen = jnp.sum(jnp.where(_one_hot(y, z.shape[-1]), z - top, 0.0), axis=-1)
    log_total = jnp.log(total)
    return chosen - log_total, log_total - weighted / total, log_total + top[..., 0]
