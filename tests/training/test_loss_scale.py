"""float16 training: its gradient, the loss scale that keeps it, and what an overflow costs."""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import (
    drawn,
    gradient_difference,
    identical,
    mesh_of,
    packed,
    placed,
    random_sequences,
    tiny_config,
    tiny_params,
)

from r1jax.checkpoint import Checkpoints
from r1jax.losses import GRPO, grpo
from r1jax.models import table
from r1jax.models.lora import LoraConfig
from r1jax.run.saved import Saved
from r1jax.training import loss_scale, train_state, update
from r1jax.training.optimizer import OptimizerConfig, make_optimizer

CONFIG = tiny_config("qwen2", n_layers=2)
HALF = update.ComputeConfig(
    rows=2, width=26, max_segments=4, remat="none", chunk=9, dtype="float16"
)
LORA = LoraConfig(rank=2, alpha=4.0)
SEQUENCES = random_sequences([4, 1, 3, 6, 2, 5, 2], [5, 9, 2, 7, 8, 4, 9])
BATCHES = packed(SEQUENCES, 2, 26, 4)
MESH = mesh_of()


def optimizer_of(rows, dtype="float16"):
    return make_optimizer(OptimizerConfig(lr=1e-4), 100, table.decay_mask(rows), dtype)


ADAM = optimizer_of(CONFIG)


@pytest.fixture(scope="module")
def functions():
    return update.make_functions(CONFIG, MESH, HALF, grpo(GRPO()), ADAM)


def fresh(scale=loss_scale.FIRST):
    state = train_state.init_state(ADAM, placed(tiny_params(CONFIG), CONFIG, MESH), MESH)
    assert float(loss_scale.scale_of(state.opt_state)) == loss_scale.FIRST
    return state.replace(opt_state=state.opt_state.replace(scale=jnp.float32(scale)))


def gradient(functions, scale=None, times=1.0):
    """The gradient of an update whose advantages are so many times as large."""
    advantages = SEQUENCES.columns["advantages"] * np.float32(times)
    total = functions.start(None if scale is None else jnp.float32(scale))
    for batch in packed(SEQUENCES.with_columns(advantages=advantages), 2, 26, 4):
        total = functions.accumulate(fresh().params, total, update.place_batch(batch, MESH))
    return jax.tree.map(lambda g: g / np.float32(scale or 1.0), jax.device_get(total.grads))


@pytest.fixture(scope="module")
def unscaled():
    """The gradient of the same update in another type, made when it is first asked for."""

    @functools.cache
    def of(dtype):
        compute, adam = replace(HALF, dtype=dtype), optimizer_of(CONFIG, dtype)
        return gradient(update.make_functions(CONFIG, MESH, compute, grpo(GRPO()), adam))

    return of


def test_the_gradient_is_float32s(functions, unscaled):
    found = gradient(functions, loss_scale.FIRST)
    assert gradient_difference(found, unscaled("float32")) < 0.01


@pytest.mark.slow
def test_it_is_nearer_to_it_than_bfloat16s(unscaled):
    assert gradient_difference(unscaled("bfloat16"), unscaled("float32")) > 0.01


def test_the_scale_keeps_gradients_that_float16_would_lose(functions):
    large = gradient(functions, loss_scale.FIRST)
    small = gradient(functions, loss_scale.FIRST, times=2.0**-15)
    back = jax.tree.map(lambda g: g * np.float32(2.0**15), small)
    assert gradient_difference(back, large) < 0.02
    lost = jax.tree.map(lambda g: g * np.float32(2.0**15), gradient(functions, times=2.0**-15))
    assert gradient_difference(lost, large) > 0.05


def test_an_overflow_skips_the_update_halves_the_scale_and_is_counted(functions, tmp_path):
    """And it is no cause to end the run; what is saved of it goes on as if never stopped."""
    whole = fresh(2.0**40)
    moments = jax.device_get(whole.opt_state.inner)
    for times in (1, 2):
        before = float(whole.opt_state.scale)
        whole, metrics = update.update(functions, whole, BATCHES, MESH)
        assert (metrics["skipped"], metrics["loss_scale/overflows"]) == (1.0, times)
        assert metrics["loss_scale/scale"] == before > float(whole.opt_state.scale)
        assert int(whole.skipped) == 0 and int(whole.update) == times
        assert identical(whole.params, tiny_params(CONFIG))
        assert identical(whole.opt_state.inner, moments)

    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(Saved(whole, None, {}, {"model": {}, "tokenizer": {}}))
    resumed = checkpoints.restore(2, fresh(), {"model": {}, "tokenizer": {}}).state
    checkpoints.close()
    while metrics["skipped"]:
        whole, metrics = update.update(functions, whole, BATCHES, MESH)
        resumed, again = update.update(functions, resumed, BATCHES, MESH)
        np.testing.assert_equal(again, metrics)
    assert identical(resumed, whole) and metrics["grad_norm"] > 0
    assert metrics["loss_scale/scale"] == float(whole.opt_state.scale) < 2.0**24
    started, _ = update.update(functions, fresh(), BATCHES, MESH)
    assert gradient_difference(whole.params, started.params) < 1e-4


def test_a_loss_that_is_not_finite_is_not_the_scales_fault(functions):
    advantages = SEQUENCES.columns["advantages"].copy()
    advantages[3] = np.nan
    state, metrics = update.update(
        functions, fresh(), packed(SEQUENCES.with_columns(advantages=advantages), 2, 26, 4), MESH
    )
    assert metrics["skipped"] == 1 and metrics["loss_scale/overflows"] == 0
    assert int(state.skipped) == 1 and float(state.opt_state.scale) == loss_scale.FIRST


def test_the_scale_grows_after_a_while_and_falls_no_further_than_1():
    yes, no = jnp.array(True), jnp.array(False)
    state = fresh(2.0).opt_state
    for _ in range(loss_scale.GROWTH - 1):
        state = loss_scale.moved(state, yes, no)
    assert float(state.scale) == 2.0
    state = loss_scale.moved(state, yes, no)
    assert float(state.scale) == 4.0 and int(state.streak) == 0
    for want in (2.0, 1.0):
        assert loss_scale.overflowed(state, jnp.zeros(()), no)
        state = loss_scale.moved(state, no, yes)
        assert float(state.scale) == want
    assert not loss_scale.overflowed(state, jnp.zeros(()), no)
    assert int(state.overflows) == 2
    state = loss_scale.moved(state.replace(scale=jnp.float32(loss_scale.LARGEST)), yes, no)
    assert float(state.scale) == loss_scale.LARGEST


@pytest.mark.slow
def test_factors_on_a_mesh_that_cuts_them_learn_in_float16_too():
    rows, mesh = update.trained_rows(CONFIG, LORA), mesh_of(fsdp=2)
    base = placed(tiny_params(CONFIG), CONFIG, mesh)

    def trained(dtype):
        adam = optimizer_of(rows, dtype)
        functions = update.make_functions(
            CONFIG, mesh, replace(HALF, dtype=dtype), grpo(GRPO()), adam, lora=LORA
        )
        state = train_state.init_state(adam, placed_rows(rows, mesh), mesh)
        return update.update(functions, state, BATCHES, mesh, base)

    (state, metrics), (_, exact) = trained("float16"), trained("float32")
    assert metrics["skipped"] == 0 and metrics["loss_scale/scale"] == loss_scale.FIRST
    assert metrics["grad_norm"] == pytest.approx(exact["grad_norm"], rel=0.01)
    assert "loss_scale/scale" not in exact
    planned = train_state.abstract_state(optimizer_of(rows), rows, mesh)
    for plan, x in zip(jax.tree.leaves(planned), jax.tree.leaves(state), strict=True):
        assert plan.sharding.is_equivalent_to(x.sharding, x.ndim)


def placed_rows(rows, mesh):
    made = drawn(rows)
    return jax.device_put(made, table.shardings(rows, mesh))
