"""The jitted update: shares of micro-batches add up to a gradient, the optimizer takes one step."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import struct
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.models import ahead, kinds, table
from r1jax.models.config import ModelConfig
from r1jax.models.kinds import cast
from r1jax.models.logp import score
from r1jax.models.lora import LoraConfig, attach
from r1jax.models.lora import rows as lora_rows
from r1jax.run.signals import boundary
from r1jax.training import auxiliary, loss_scale
from r1jax.training.batches import ComputeConfig, PerToken, Share, asked_of, place_batch
from r1jax.training.metrics import combine, finish, neutral
from r1jax.training.train_state import abstract_state
from r1jax.types import Batch, Loss, Mean, Metrics, Params, Stats, TrainState


@struct.dataclass
class Accumulator:
    """What micro-batches have added up to so far."""

    grads: Params  # in the shapes of what is trained
    share: jax.Array  # f32[], of the update's loss
    metrics: Metrics  # unfinished: sums with their counts, maxima, histograms
    scale: jax.Array | None = None  # f32[], of the loss whose gradients `grads` are; None: 1


class Functions(NamedTuple):
    """The jitted pieces of training for one model, mesh and loss."""

    start: Callable[..., Accumulator]  # (scale=None)
    accumulate: Callable[..., Accumulator]  # (params, so_far, batch, base=None)
    apply: Callable[[TrainState, Accumulator], tuple[TrainState, Metrics]]
    columns: Callable[[], tuple[str, ...]]  # `COLUMNS` and what else the loss reads of a batch


def make_score(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, temperature: float
) -> Callable[[Params, Batch], Stats]:
    """(params, batch) -> Stats at the rollout temperature, with all room that experts may need."""
    run = make_score_told(c, mesh, compute, temperature)
    return lambda params, batch: run(params, batch)[0]


def make_score_told(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, temperature: float
) -> Callable[[Params, Batch], tuple[Stats, tuple[kinds.Told, ...]]]:
    """(params, batch) -> (Stats, what the layers tell); the model side of every loss."""

    def run(params: Params, batch: Batch) -> tuple[Stats, tuple[kinds.Told, ...]]:
        return score(
            cast(params, compute.dtype), c, batch, temperature,
            chunk=compute.chunk, mesh=mesh, remat=compute.remat, unroll=compute.unroll,
            kernel=compute.kernel,
        )  # fmt: skip

    return run


@functools.lru_cache(maxsize=16)
def token_logp(c: ModelConfig, mesh: Mesh, compute: ComputeConfig, temperature: float) -> PerToken:
    """Jitted log-probabilities f32[B, T] of the tokens of a batch, at `temperature`."""
    c = compute.roomy(c)
    score = make_score_told(c, mesh, compute, temperature)
    where = meshes.replicated(mesh)

    def run(params: Params, batch: Batch) -> tuple[jax.Array, Metrics]:
        stats, told = score(params, batch)
        return stats.logp, auxiliary.of_room(ahead.with_auxiliary(c, told, batch, 0.0, {})[1])

    jitted = jax.jit(run, out_shardings=where)

    def checked(params: Params, batch: Batch) -> jax.Array:
        logp, metrics = jitted(params, batch)
        auxiliary.check_room(metrics)
        return logp

    return checked


@functools.lru_cache(maxsize=16)
def token_entropy(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, temperature: float
) -> PerToken:
    """Jitted entropies f32[B, T] of what predicted each token of a batch, at `temperature`."""
    score = make_score(c, mesh, compute, temperature)
    where = meshes.replicated(mesh)
    return jax.jit(lambda params, batch: score(params, batch).entropy, out_shardings=where)


def trained_rows(c: ModelConfig, lora: LoraConfig | None) -> table.Rows:
    """Weight table of what is trained: LoRA's factors, or all of the model."""
    return lora_rows(c, lora) if lora else table.table(c)


def join(params: Params, base: Params | None, lora: LoraConfig | None) -> Params:
    """The model's parameters: what is trained, on the frozen base where there is one."""
    return attach(base, params, lora) if lora else params


@functools.lru_cache(maxsize=16)
def make_functions(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    loss: Loss,
    optimizer: optax.GradientTransformation,
    temperature: float = 1.0,
    lora: LoraConfig | None = None,
) -> Functions:
    """Builds start, accumulate and apply; gradients and state are donated and stay sharded.

    The same for equal arguments, so that a later stage finds what an earlier one has compiled.

    The share is the loss's, which knows nothing of layers, and what layers add of their own.
    With `lora` the parameters are its factors alone, and accumulate takes the frozen `base`.
    """
    c = compute.roomy(compute.auxiliary.applied(c, bool(lora)))
    run_score = make_score_told(c, mesh, compute, temperature)

    def share(params: Params, base: Params | None, batch: Batch) -> tuple[jax.Array, Metrics]:
        # i32[B, T] tokens -> f32[B, T] log-probabilities -> f32[], divided by the update's totals.
        stats, told = run_score(join(params, base, lora), batch)
        return ahead.with_auxiliary(c, told, batch, *loss(stats, batch))

    base = table.abstract(c) if lora else None
    rows = trained_rows(c, lora)
    return functions_of(share, rows, mesh, compute, optimizer, base, kinds.routes(c))


def functions_of(
    share: Share,
    rows: table.Rows,
    mesh: Mesh,
    compute: ComputeConfig,
    optimizer: optax.GradientTransformation,
    frozen: Params | None = None,
    routes: jax.ShapeDtypeStruct | None = None,
) -> Functions:
    """Functions for any share of a loss: (params, frozen parameters, batch) -> (share, metrics).

    `rows` is the weight table of what is trained, `frozen` shapes what is not; `routes` what the
    column of that name holds, where the share reads it.
    """

    def accumulate(
        params: Params, so_far: Accumulator, batch: Batch, base: Params | None = None
    ) -> Accumulator:
        def scaled(params: Params) -> tuple[jax.Array, tuple[jax.Array, Metrics]]:
            value, metrics = share(params, base, batch)
            return value if so_far.scale is None else value * so_far.scale, (value, metrics)

        # Added, not averaged: a share is divided by totals of the whole update already.
        (_, (value, metrics)), grads = jax.value_and_grad(scaled, has_aux=True)(params)
        return Accumulator(
            grads=jax.tree.map(jnp.add, so_far.grads, grads),
            share=so_far.share + value,
            metrics=combine(so_far.metrics, metrics),
            scale=so_far.scale,
        )

    @functools.cache
    def asked() -> tuple[tuple[str, ...], Metrics]:
        return asked_of(share, table.abstract(rows), frozen, compute, routes)

    def start(scale: jax.Array | None = None) -> Accumulator:
        return Accumulator(
            grads=jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), table.abstract(rows)),
            share=jnp.zeros(()),
            metrics=neutral(asked()[1]),
            scale=scale,
        )

    whole = meshes.replicated(mesh)
    state = jax.tree.map(lambda x: x.sharding, abstract_state(optimizer, rows, mesh))
    # Gradients lie where their weights lie, so that the optimizer's step moves none of them.
    where = Accumulator(
        grads=table.shardings(rows, mesh),
        share=whole,
        metrics=jax.tree.map(lambda _: whole, jax.eval_shape(start).metrics),
        scale=whole if loss_scale.scale_of(state.opt_state) is not None else None,
    )
    step = functools.partial(apply, optimizer, router_step=compute.auxiliary.router_step)
    return Functions(
        start=jax.jit(start, out_shardings=where),
        accumulate=jax.jit(accumulate, donate_argnums=1, out_shardings=where),
        apply=jax.jit(step, donate_argnums=0, out_shardings=(state, None)),
        columns=lambda: asked()[0],
    )


def apply(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    total: Accumulator,
    router_step: float = 0.0,
) -> tuple[TrainState, Metrics]:
    """One optimizer step, and `auxiliary.balanced`'s.

    A non-finite loss or gradient leaves weights and moments as they were. Where a loss scale was
    too high for float16, the update is skipped as well, but the scale is to blame and falls: these
    do not count towards `TrainState.skipped`, which ends a run.
    """
    grads, scale = total.grads, total.scale
    if scale is not None:
        grads = jax.tree.map(lambda g: g / scale, grads)
    norm = optax.global_norm(grads)  # f32[], before the optimizer clips it
    finite = jnp.isfinite(total.share) & jnp.isfinite(norm)
    overflow = loss_scale.overflowed(state.opt_state, total.share, finite)
    changes, opt_state = optimizer.update(grads, state.opt_state, state.params)
    params = optax.apply_updates(state.params, changes)
    params = auxiliary.balanced(params, total.metrics, router_step)
    # Chosen on the devices: a branch on the host would have to wait for them.
    keep = lambda new, old: jnp.where(finite, new, old)  # noqa: E731
    one = jnp.ones(())
    metrics = total.metrics | {
        "loss": Mean(total.share, one),
        "grad_norm": Mean(norm, one),
        "param_norm": Mean(optax.global_norm(state.params), one),
        "skipped": Mean(1.0 - finite, one),
    }
    if scale is not None:
        metrics |= {
            "loss_scale/scale": Mean(scale, one),
            "loss_scale/overflows": Mean(state.opt_state.overflows + overflow.astype(float), one),
        }
    kept = jax.tree.map(keep, opt_state, state.opt_state)
    state = TrainState(
        params=jax.tree.map(keep, params, state.params),
        opt_state=loss_scale.moved(kept, finite, overflow),
        update=state.update + 1,
        skipped=jnp.where(finite, 0, state.skipped + ~overflow),
    )
    return state, metrics


def empty_total(functions: Functions, state: TrainState) -> Accumulator:
    """The sums of an update before its first micro-batch: zeros like what is trained."""
    return functions.start(loss_scale.scale_of(state.opt_state))


def update(
    functions: Functions,
    state: TrainState,
    batches: Sequence[Batch],
    mesh: Mesh,
    base: Params | None = None,
) -> tuple[TrainState, dict[str, float]]:
    """One optimizer update from all its micro-batches (host arrays); returns state and metrics.

    All have one shape and the same columns: another would be another program to compile. Raises
    UserError, the state as it was, where tokens found no room at their experts' devices.
    """
    kinds = {(*b.tokens.shape, b.lengths.shape[1], *sorted(b.columns)) for b in batches}
    assert len(kinds) == 1, f"micro-batches of one update differ: {kinds}"
    total = empty_total(functions, state)
    for batch in batches:  # i32[B, T] tokens, f32[B, T] columns, all at the same weights
        boundary(often=True)
        total = functions.accumulate(state.params, total, place_batch(batch, mesh), base)
    auxiliary.check_room(total.metrics)
    state, metrics = functions.apply(state, total)
    return state, finish(jax.device_get(metrics))
