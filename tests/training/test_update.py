"""One optimizer update: however its batch is cut, and whatever is not finite in it."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import (
    gradient_difference,
    identical,
    largest_difference,
    mesh_of,
    packed,
    placed,
    random_sequences,
    tiny_config,
    tiny_params,
)

from r1jax.errors import Collapsed, UserError
from r1jax.losses import GRPO, grpo
from r1jax.models import table
from r1jax.training import train_state, update
from r1jax.training.batches import abstract_batch
from r1jax.training.metrics import combine, finish
from r1jax.training.optimizer import OptimizerConfig, make_optimizer, schedule
from r1jax.types import Max, Mean

CONFIG = tiny_config("qwen2", n_layers=2)
COMPUTE = update.ComputeConfig(rows=2, width=26, max_segments=4, remat="none", chunk=9)
# Adam divides a gradient by its size, so the last bits of the smallest ones would show.
ADAM = make_optimizer(OptimizerConfig(lr=1e-4, eps=1e-6), 100, table.decay_mask(CONFIG))
SEQUENCES = random_sequences([4, 1, 3, 6, 2, 5, 2], [5, 9, 2, 7, 8, 4, 9])
MESH = mesh_of()


@pytest.fixture(scope="module")
def functions():
    return update.make_functions(CONFIG, MESH, COMPUTE, grpo(GRPO(beta=0.01)), ADAM)


def fresh():
    return train_state.init_state(ADAM, placed(tiny_params(CONFIG), CONFIG, MESH), MESH)


def step(functions, batches, state=None):
    return update.update(functions, fresh() if state is None else state, batches, MESH)


@pytest.fixture(scope="module")
def updated(functions):
    return step(functions, packed(SEQUENCES, 2, 26, 4))


@pytest.mark.parametrize(
    "layout", [(7, 16, 1), (1, 17, 4), pytest.param((3, 33, 3), marks=pytest.mark.slow)]
)
def test_the_cut_into_micro_batches_does_not_change_the_update(functions, updated, layout):
    state, metrics = updated
    other, other_metrics = step(functions, packed(SEQUENCES, *layout))
    moved = largest_difference(state.params, tiny_params(CONFIG))
    assert 5e-5 < moved < 1e-3
    assert largest_difference(other.params, state.params) < 1e-6
    for name in ("loss", "grad_norm", "policy/entropy", "policy/kl_ref", "policy/logp_diff_max"):
        assert other_metrics[name] == pytest.approx(metrics[name], rel=1e-5), name


def test_packed_and_unpacked_gradients_agree(functions):
    def gradient(*layout):
        params, total = fresh().params, functions.start()
        for batch in packed(SEQUENCES, *layout):
            total = functions.accumulate(params, total, update.place_batch(batch, MESH))
        return total.grads

    assert gradient_difference(gradient(2, 26, 4), gradient(7, 16, 1)) < 1e-5


def test_later_micro_batches_run_what_the_first_compiled(functions):
    """What comes out of an accumulation is of the very type that went in, weak types included."""
    empty = functions.start.eval_shape()
    batch = abstract_batch(COMPUTE, MESH)
    full = functions.accumulate.eval_shape(table.abstract(CONFIG, MESH), empty, batch)
    types = lambda total: [(x.shape, x.dtype, x.weak_type) for x in jax.tree.leaves(total)]  # noqa: E731
    assert types(full) == types(empty)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_a_non_finite_update_is_skipped_and_the_next_one_proceeds(functions, updated, wrong):
    advantages = SEQUENCES.columns["advantages"].copy()
    advantages[3] = wrong
    bad = packed(SEQUENCES.with_columns(advantages=advantages), 2, 26, 4)
    state = fresh()
    moments = jax.device_get(state.opt_state)
    for times in (1, 2):
        state, metrics = step(functions, bad, state)
        assert metrics["skipped"] == 1 and int(state.skipped) == times
        assert int(state.update) == times
        assert identical(state.params, tiny_params(CONFIG))
        assert identical(state.opt_state, moments)
    state, metrics = step(functions, packed(SEQUENCES, 2, 26, 4), state)
    assert metrics["skipped"] == 0 and int(state.skipped) == 0 and int(state.update) == 3
    assert identical(state.params, updated[0].params)


def test_one_pass_tells_log_p_at_half_the_temperature_as_well():
    (batch,) = packed(SEQUENCES, 3, 26, 4)
    mesh, weights = mesh_of(fsdp=2, tensor=2), tiny_params(CONFIG)
    spread, alone = (placed(weights, CONFIG, m) for m in (mesh, MESH))
    together = update.sharp_logp(CONFIG, mesh, COMPUTE, 0.7)
    found = together(spread, update.place_batch(batch, mesh))
    for values, temperature in zip(found, (0.7, 0.35), strict=True):
        wanted = update.token_logp(CONFIG, MESH, COMPUTE, temperature)(alone, batch)
        np.testing.assert_allclose(values, wanted, atol=1e-5)
        assert np.min(wanted) < -1


def test_a_step_that_spoils_the_weights_ends_the_run(updated):
    """Whatever is finite in it: the rate may be the fault."""
    loss = grpo(GRPO(beta=0.01))
    large = make_optimizer(OptimizerConfig(lr=3e38), 100, table.decay_mask(CONFIG))
    functions = update.make_functions(CONFIG, MESH, COMPUTE, loss, large)
    state = train_state.init_state(large, placed(tiny_params(CONFIG), CONFIG, MESH), MESH)
    with pytest.raises(Collapsed, match=r"\Aupdate 1: has made weights that are not finite"):
        step(functions, packed(SEQUENCES, 2, 26, 4), state)
    params, metrics = updated[0].params, updated[1]  # those after it, in float64
    squares = sum(np.sum(np.asarray(x, np.float64) ** 2) for x in jax.tree.leaves(params))
    assert metrics["param_norm"] == pytest.approx(np.sqrt(squares), rel=1e-6)


def test_bfloat16_compute_keeps_float32_weights_moments_and_gradients(updated):
    compute = replace(COMPUTE, dtype="bfloat16")
    functions = update.make_functions(CONFIG, MESH, compute, grpo(GRPO(beta=0.01)), ADAM)
    state, metrics = step(functions, packed(SEQUENCES, 2, 26, 4))
    floats = [x for x in jax.tree.leaves((state.params, state.opt_state)) if x.ndim]
    assert {x.dtype for x in floats} == {jnp.dtype("float32")}
    assert {x.dtype for x in jax.tree.leaves(functions.start().grads)} == {jnp.dtype("float32")}
    assert metrics["loss"] == pytest.approx(updated[1]["loss"], rel=0.1)
    assert metrics["loss"] != updated[1]["loss"]
    assert metrics["grad_norm"] == pytest.approx(updated[1]["grad_norm"], rel=0.1)


def test_metrics_of_parts_add_up_by_hand():
    one = {"a": Mean(jnp.float32(3), jnp.float32(2)), "b": Max(jnp.float32(-4))}
    two = {"a": Mean(jnp.float32(6), jnp.float32(4)), "b": Max(jnp.float32(-7))}
    assert finish(combine(one, two)) == {"a": 1.5, "b": -4.0}
    assert finish({"none": Mean(jnp.float32(0), jnp.float32(0))}) == {"none": 0.0}


@pytest.mark.parametrize(
    ("config", "updates", "rates"),
    [
        (dict(), 10, {0: 2.0, 9: 2.0, 50: 2.0}),
        (dict(warmup=4), 10, {0: 0.5, 1: 1.0, 2: 1.5, 3: 2.0, 4: 2.0, 9: 2.0}),
        (dict(schedule="linear"), 10, {0: 2.0, 5: 1.1, 10: 0.2, 12: 0.2}),
        (dict(schedule="linear", warmup=2), 12, {0: 1.0, 1: 2.0, 2: 2.0, 7: 1.1, 12: 0.2}),
        # Half-way the cosine is at (1 + 0.1) / 2, a quarter in at 0.1 + 0.9 (1 + cos 45°) / 2.
        (dict(schedule="cosine"), 8, {0: 2.0, 2: 1.7364, 4: 1.1, 8: 0.2}),
        (dict(schedule="cosine", final=0.0), 8, {4: 1.0, 8: 0.0}),
    ],
)
def test_learning_rates_by_hand(config, updates, rates):
    rate = schedule(OptimizerConfig(lr=2.0, **config), updates)
    assert {step: round(float(rate(step)), 4) for step in rates} == rates


def test_what_does_not_differ_is_compiled_once():
    mask, loss = table.decay_mask(CONFIG), grpo(GRPO(beta=0.01))
    slow, fast, falling = (
        OptimizerConfig(lr=1e-4),
        OptimizerConfig(lr=1e-3),
        OptimizerConfig(lr=1e-4, schedule="cosine"),
    )
    assert make_optimizer(slow, 10, mask) is make_optimizer(slow, 20, mask)
    assert make_optimizer(falling, 10, mask) is not make_optimizer(falling, 20, mask)
    one, other = (
        update.make_functions(CONFIG, MESH, COMPUTE, loss, make_optimizer(optimizer, 10, mask))
        for optimizer in (slow, fast)
    )
    assert one.accumulate is other.accumulate and one.apply is not other.apply


def test_weight_decay_shrinks_matrices_alone():
    params = tiny_params(CONFIG)
    config = OptimizerConfig(lr=0.5, weight_decay=0.1)
    optimizer = make_optimizer(config, 10, table.decay_mask(CONFIG))
    still = jax.tree.map(lambda w: np.zeros(w.shape, w.dtype), params)
    changes, _ = jax.jit(optimizer.update)(still, jax.jit(optimizer.init)(params), params)
    shrunk = jax.tree.map(
        lambda x, yes: -0.05 * np.asarray(x) * yes, params, table.decay_mask(CONFIG)
    )
    assert largest_difference(changes, shrunk) < 1e-7
    assert not np.any(changes["norm"]) and not np.any(changes["stacks"][0]["bq"])
    assert np.any(changes["embed"]) and np.any(changes["stacks"][0]["wq"])


@pytest.mark.parametrize(("norm", "kept"), [(10.0, 2.0), (0.5, 0.5)])
def test_gradients_are_clipped_by_their_global_norm(norm, kept):
    params = {"a": np.zeros(3, np.float32), "b": np.zeros((2, 2), np.float32)}
    optimizer = make_optimizer(OptimizerConfig(clip=2.0, b1=0.9), 10, {"a": False, "b": True})
    grads = jax.tree.map(lambda x: np.full_like(x, norm / np.sqrt(7)), params)
    _, state = jax.jit(optimizer.update)(grads, jax.jit(optimizer.init)(params), params)
    first_moment = optax.tree_utils.tree_get(state, "mu")
    assert float(jax.jit(optax.global_norm)(first_moment)) == pytest.approx(0.1 * kept, rel=1e-5)


@pytest.mark.parametrize("wrong", [dict(lr=-1.0), dict(clip=0.0)])
def test_rates_that_cannot_train_are_refused(wrong):
    with pytest.raises(UserError, match="--optimizer"):
        OptimizerConfig(**wrong)
