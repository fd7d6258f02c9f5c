"""The kinds of layer: the only file that knows which there are.

A layer is an attention and a feed-forward, each a record of pure functions over the layer's own
weights. Both take the residual stream, in f32, and give what is added to it, so that norms (behind
which numbers have the weights' type), projections and the names of weights stay inside a kind. All
others ask the records.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from r1jax.errors import UserError
from r1jax.models import dense, experts, grouped_query, latent, windowed
from r1jax.models.config import ModelConfig
from r1jax.models.row import Kept, Matrices, Row
from r1jax.types import ROUTES, Batch, Metrics

Told = dict[str, jax.Array]
"""What layers tell beside their result, each array with the layers in front."""


class Attention(NamedTuple):
    """A kind of attention; `r1jax.models.grouped_query` has the shapes."""

    rows: Callable[[ModelConfig], dict[str, Row]]
    kept: Callable[[ModelConfig], dict[str, Kept]]  # what a token leaves in the cache
    full: Callable[..., Any]  # (c, layer, x[B, T, d], tables, segments, mesh, kernel) -> (y, kept)
    step: Callable[..., Any]  # (c, layer, x[S, d], tables, cache, positions, prefix, mesh) -> ...
    pairs: Callable[[ModelConfig], int]  # products per pair of tokens: heads x (q·k + weight·v)
    matrices: Matrices
    window: Callable[[ModelConfig], int] | None = None  # tokens that a token sees; None: all


class FeedForward(NamedTuple):
    """A kind of feed-forward; `r1jax.models.dense` has the shapes.

    `run` also tells, of whole rows, what its loss needs: arrays of which `share(c, told, batch)`
    makes a share of the update's loss, additive like a loss's own, and metrics. None: it has none.
    What a token leaves in the cache, here its choices, is told under its name.
    """

    rows: Callable[[ModelConfig], dict[str, Row]]
    run: Callable[..., Any]  # (c, layer, x[..., d], segments, mesh) -> (y, told)
    matrices: Matrices
    share: Callable[[ModelConfig, Told, Batch], tuple[jax.Array, Metrics]] | None = None
    kept: Callable[[ModelConfig], dict[str, Kept]] = lambda c: {}


ATTENTION = {
    "grouped": Attention(
        grouped_query.rows,
        grouped_query.kept,
        grouped_query.full,
        grouped_query.step,
        grouped_query.pairs,
        grouped_query.MATRICES,
    ),
    "latent": Attention(
        latent.rows, latent.kept, latent.full, latent.step, latent.pairs, latent.MATRICES
    ),
}
ATTENTION["windowed"] = ATTENTION["grouped"]._replace(
    full=windowed.full, step=windowed.step, window=windowed.window
)
FEED_FORWARD = {
    "dense": FeedForward(dense.rows, dense.run, dense.MATRICES),
    "experts": FeedForward(
        experts.rows, experts.run, experts.MATRICES, experts.share, experts.kept
    ),
}


def of_stacks(c: ModelConfig) -> list[tuple[Attention, FeedForward]]:
    """The records of each stack of layers."""
    return [(ATTENTION[stack.attention], FEED_FORWARD[stack.ffn]) for stack in c.stacks]


def of_layers(c: ModelConfig) -> list[tuple[Attention, FeedForward]]:
    """The records of each layer."""
    stacks = zip(of_stacks(c), c.stacks, strict=True)
    return [records for records, stack in stacks for _ in range(stack.layers)]


def routes(c: ModelConfig) -> jax.ShapeDtypeStruct | None:
    """What the column `routes` holds of a token: all layers' choices, one behind the other."""
    records = [ffn.kept(c)[ROUTES] for _, ffn in of_layers(c) if ROUTES in ffn.kept(c)]
    if not records:
        return None
    return jax.ShapeDtypeStruct((sum(r.shape[0] for r in records),), records[0].dtype)


def with_routes(c: ModelConfig, stacks: Sequence[Any], routes: jax.Array) -> tuple[Any, ...]:
    """The stacks with the sampler's choices u8[B, T, W] beside the layers that made them."""
    given, at = [], 0
    for weights, stack, (_, ffn) in zip(stacks, c.stacks, of_stacks(c), strict=True):
        if record := ffn.kept(c).get(ROUTES):
            end = at + stack.layers * record.shape[0]
            own = routes[..., at:end].reshape(*routes.shape[:-1], stack.layers, *record.shape)
            weights, at = weights | {ROUTES: jnp.moveaxis(own, -2, 0)}, end
        given.append(weights)
    return tuple(given)


def targets() -> tuple[str, ...]:
    """Names of all matrices of all kinds: what LoRA may be asked for."""
    all_kinds = (*ATTENTION.values(), *FEED_FORWARD.values())
    return tuple(dict.fromkeys(name for kind in all_kinds for name in kind.matrices.targets))


def cast(params: Any, dtype: Any) -> Any:
    """Parameters in the type of the arithmetic, but for a kind's `wide` weights."""
    all_kinds = (*ATTENTION.values(), *FEED_FORWARD.values())
    wide = {name for kind in all_kinds for name in kind.matrices.wide}

    def one(path: tuple[Any, ...], w: jax.Array) -> jax.Array:
        return w if any(getattr(key, "key", None) in wide for key in path) else w.astype(dtype)

    return jax.tree_util.tree_map_with_path(one, params)


def eight_bit(c: ModelConfig, tree: Any) -> list[Any]:
    """What may be held in 8 bits, of a tree like the parameters.

    Raises UserError where what enters a kind's matrices has no known bound.
    """
    matrices = []
    for stack, records, layers in zip(c.stacks, of_stacks(c), tree["stacks"], strict=True):
        for name, kind in zip((stack.attention, stack.ffn), records, strict=True):
            if kind.matrices.reach is None:
                raise UserError(
                    f"--rollout.weights float8: no bound is known for what enters the matrices of "
                    f"{name} layers; use same"
                )
            matrices += [layers[matrix] for matrix in kind.matrices.targets]
    return matrices


def with_auxiliary(
    c: ModelConfig, told: tuple[Told, ...], batch: Batch, share: jax.Array, metrics: Metrics
) -> tuple[jax.Array, Metrics]:
    """A loss's additive share and metrics, with those that kinds make of what their layers told.

    A kind's stacks are taken together, as one of all their layers.
    """
    for name, kind in FEED_FORWARD.items():
        of_kind = [t for t, stack in zip(told, c.stacks, strict=True) if stack.ffn == name]
        if kind.share is not None and of_kind:
            all_layers = jax.tree.map(lambda *x: jnp.concatenate(x), *of_kind)
            added, shown = kind.share(c, all_layers, batch)
            share, metrics = share + added, metrics | jax.lax.stop_gradient(shown)
    return share, metrics
