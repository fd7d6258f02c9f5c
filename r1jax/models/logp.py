"""Token log-probability and entropy without full-vocabulary logits of the batch ever existing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from r1jax.mesh import constrain, over_rows
from r1jax.models import attention as attn
from r1jax.models import decoder
from r1jax.models.config import ModelConfig
from r1jax.types import Batch, Params, Stats


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
) -> Stats:
    """log p and entropy of every token of a packed batch given the earlier ones of its segment.

    Both f32[B, T] at `temperature`, aligned with the token itself; column 0 of a segment is
    predicted by nothing and holds 0 (it is never in the mask). Compute runs in params' dtype.
    """
    segments = attn.Segments(batch.segment_ids, batch.lengths.shape[1])
    hidden = decoder.forward(
        params, c, batch.tokens, batch.positions, segments,
        mesh=mesh, remat=remat, unroll=unroll, kernel=kernel,
    )  # fmt: skip
    stats = token_stats(
        hidden[:, :-1], decoder.head(params), batch.tokens[:, 1:], temperature, chunk, mesh
    )
    inside = (batch.positions > 0) & (batch.segment_ids > 0)
    shift = lambda x: jnp.where(inside, jnp.pad(x, ((0, 0), (1, 0))), 0.0)  # noqa: E731
    return Stats(logp=shift(stats.logp), entropy=shift(stats.entropy))


def token_stats(
    hidden: jax.Array,
    head: jax.Array,
    targets: jax.Array,
    temperature: float,
    chunk: int,
    mesh: Mesh | None = None,
) -> Stats:
    """log p(target) and entropy from hidden[B, T, d], head[d, V], targets i32[B, T].

    The time axis is cut into chunks of `chunk` tokens, whose logits are recomputed in the backward
    pass: at most [B, chunk, V] lives at a time. Batch and vocabulary stay sharded.
    """
    t = hidden.shape[1]
    pieces = -(-t // chunk)

    def cut(x: jax.Array) -> jax.Array:
        room = ((0, 0), (0, pieces * chunk - t), *((0, 0),) * (x.ndim - 2))
        return jnp.pad(x, room).reshape(x.shape[0], pieces, chunk, *x.shape[2:]).swapaxes(0, 1)

    @jax.checkpoint
    def piece(weight: jax.Array, h: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
        z = jnp.dot(h, weight, preferred_element_type=jnp.float32) / temperature
        return logp_and_entropy(constrain(z, mesh, None, None, "vocab"), y)

    def all_pieces(weight: jax.Array, hidden: jax.Array, targets: jax.Array) -> Stats:
        def step(_: None, xs: tuple[jax.Array, jax.Array]) -> tuple[None, tuple]:
            return None, piece(weight, *xs)

        _, stats = jax.lax.scan(step, None, (cut(hidden), cut(targets)))
        return Stats(*(x.swapaxes(0, 1).reshape(x.shape[1], -1)[:, :t] for x in stats))

    run = over_rows(all_pieces, mesh, hidden.shape[0])
    return run(head.astype(hidden.dtype), hidden, targets)


def logp_and_entropy(z: jax.Array, y: jax.Array) -> tuple[jax.Array, jax.Array]:
    """log softmax(z)[y] = z_y − log Σ eᶻ, and H = log Σ eᶻ − Σ p·z, over the last axis of f32 z."""
    log_sum = jax.nn.logsumexp(z, axis=-1)
    # A one-hot product, not a gather: with a sharded vocabulary a gather would collect it.
    chosen = jnp.sum(jnp.where(jnp.arange(z.shape[-1]) == y[..., None], z, 0.0), axis=-1)
    entropy = log_sum - jnp.sum(jnp.exp(z - log_sum[..., None]) * z, axis=-1)
    return chosen - log_sum, entropy
