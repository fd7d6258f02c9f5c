"""The jitted update: shares of micro-batches add up to a gradient, the optimizer takes one step."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.errors import Collapsed
from r1jax.models import kinds, multi_token, table
from r1jax.models.config import ModelConfig
from r1jax.models.kinds import cast
from r1jax.models.logp import score, score_hidden, sharp_hidden
from r1jax.models.lora import LoraConfig, attach
from r1jax.models.lora import rows as lora_rows
from r1jax.run.signals import boundary
from r1jax.training import auxiliary, loss_scale
from r1jax.training.batches import ComputeConfig, PerToken, Share, place_batch
from r1jax.training.gradients import Accumulator, Sums, sums_of
from r1jax.training.metrics import finish
from r1jax.training.train_state import abstract_state
from r1jax.types import Batch, Loss, Mean, Metrics, Params, Stats, TrainState


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
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    temperature: float,
    of: Callable[..., Any] | None = None,
) -> Callable[[Params, Batch], tuple[Any, tuple[kinds.Told, ...]]]:
    """(params, batch) -> (Stats, what the layers tell); the model side of every loss.

    `of` says something else than Stats, as in `r1jax.models.logp.score`.
    """

    def run(params: Params, batch: Batch) -> tuple[Any, tuple[kinds.Told, ...]]:
        return score(
            cast(params, compute.dtype), c, batch, temperature,
            chunk=compute.chunk, mesh=mesh, remat=compute.remat, unroll=compute.unroll,
            kernel=compute.kernel, of=of,
        )  # fmt: skip

    return run


@functools.lru_cache(maxsize=64)
def token_logp(c: ModelConfig, mesh: Mesh, compute: ComputeConfig, temperature: float) -> PerToken:
    """Jitted log-probabilities f32[B, T] of the tokens of a batch, at `temperature`."""
    return _scorer(c, mesh, compute, temperature, lambda *a, **k: score_hidden(*a, **k).logp)


@functools.lru_cache(maxsize=64)
def sharp_logp(c: ModelConfig, mesh: Mesh, compute: ComputeConfig, temperature: float) -> PerToken:
    """The same with those at half the temperature, of the same pass."""
    return _scorer(c, mesh, compute, temperature, sharp_hidden)


def _scorer(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    temperature: float,
    of: Callable[..., Any],
) -> PerToken:
    c = compute.roomy(c)
    score = make_score_told(c, mesh, compute, temperature, of)
    where = meshes.replicated(mesh)

    def run(params: Params, batch: Batch) -> tuple[Any, Metrics]:
        found, told = score(params, batch)
        return found, auxiliary.of_room(multi_token.with_auxiliary(c, told, batch, 0.0, {})[1])

    jitted = jax.jit(run, out_shardings=where)

    def checked(params: Params, batch: Batch) -> Any:
        found, metrics = jitted(params, batch)
        auxiliary.check_room(metrics)
        return found

    return checked


@functools.lru_cache(maxsize=64)
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


@functools.lru_cache(maxsize=64)
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

    The same for equal arguments, so that a later stage finds what an earlier one has compiled;
    gradients are, whatever the optimizer.

    The share is the loss's, which knows nothing of layers, and what layers add of their own.
    With `lora` the parameters are its factors alone, and accumulate takes the frozen `base`.
    """
    c = compute.roomy(compute.auxiliary.applied(c, bool(lora)))
    make = functools.partial(make_sums, c, mesh, compute, loss, temperature, lora)
    return _with_step(make, trained_rows(c, lora), mesh, compute, optimizer)


@functools.lru_cache(maxsize=64)
def make_sums(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    loss: Loss,
    temperature: float,
    lora: LoraConfig | None,
    scaled: bool,
) -> Sums:
    """What of `make_functions` goes before the optimizer's step."""
    run_score = make_score_told(c, mesh, compute, temperature)

    def share(params: Params, base: Params | None, batch: Batch) -> tuple[jax.Array, Metrics]:
        # i32[B, T] tokens -> f32[B, T] log-probabilities -> f32[], divided by the update's totals.
        stats, told = run_score(join(params, base, lora), batch)
        return multi_token.with_auxiliary(c, told, batch, *loss(stats, batch))

    base = table.abstract(c) if lora else None
    return sums_of(share, trained_rows(c, lora), mesh, compute, base, kinds.routes(c), scaled)


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
    make = functools.partial(sums_of, share, rows, mesh, compute, frozen, routes)
    return _with_step(make, rows, mesh, compute, optimizer)


def _with_step(
    make: Callable[[bool], Sums],
    rows: table.Rows,
    mesh: Mesh,
    compute: ComputeConfig,
    optimizer: optax.GradientTransformation,
) -> Functions:
    state = jax.tree.map(lambda x: x.sharding, abstract_state(optimizer, rows, mesh))
    sums = make(loss_scale.scale_of(state.opt_state) is not None)
    step = functools.partial(apply, optimizer, router_step=compute.auxiliary.router_step)
    taken = jax.jit(step, donate_argnums=0, out_shardings=(state, None))
    return Functions(sums.start, sums.accumulate, taken, sums.columns)


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
        "skipped": Mean(1.0 - finite, one),
    }
    if scale is not None:
        metrics |= {
            "loss_scale/scale": Mean(scale, one),
            "loss_scale/overflows": Mean(state.opt_state.overflows + overflow.astype(float), one),
        }
    kept = jax.tree.map(keep, opt_state, state.opt_state)
    params = jax.tree.map(keep, params, state.params)
    metrics["param_norm"] = Mean(optax.global_norm(params), one)
    state = TrainState(
        params=params,
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
    UserError, the state as it was, where tokens found no room at their experts' devices, and
    Collapsed where the step has spoilt the weights: none of these are ever saved.
    """
    kinds = {(*b.tokens.shape, b.lengths.shape[1], *sorted(b.columns)) for b in batches}
    assert len(kinds) == 1, f"micro-batches of one update differ: {kinds}"
    total = empty_total(functions, state)
    for batch in batches:  # i32[B, T] tokens, f32[B, T] columns, all at the same weights
        boundary(often=True)
        total = functions.accumulate(state.params, total, place_batch(batch, mesh), base)
    auxiliary.check_room(total.metrics)
    state, metrics = functions.apply(state, total)
    found = finish(jax.device_get(metrics))
    if not math.isfinite(norm := found["param_norm"]):
        raise Collapsed(
            f"update {int(state.update)}: has made weights that are not finite, or not small "
            f"enough to have a norm (it is {norm}); lower the learning rate"
        )
    return state, found
