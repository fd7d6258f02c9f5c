"""Adafactor: its steps by the paper's formulas, what it keeps, and that meshes and pauses agree."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import identical, largest_difference, mesh_of, on_device, placed, tiny_config, tiny_params

from experiments.bench.shapes import SHAPES
from r1jax.checkpoint import Checkpoints
from r1jax.errors import UserError
from r1jax.losses import GRPO, grpo
from r1jax.models import table
from r1jax.run.saved import Saved
from r1jax.training import train_state, update
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.rl.memory import nbytes

# Every matrix but the keys' and values' (64 wide) is large enough to be factored.
CONFIG = tiny_config(vocab_size=160, d_model=128, d_ff=256, n_layers=2, head_dim=32)
SMALL = OptimizerConfig(kind="adafactor", lr=1e-3)
ADAFACTOR = make_optimizer(SMALL, 100, table.decay_mask(CONFIG))


def stepped(optimizer, params, gradients):
    """The changes after each of the gradients."""
    state, found = optimizer.init(params), []
    for gradient in gradients:
        changes, state = optimizer.update(gradient, state, params)
        found.append(changes)
    return found


def factored(state):
    """The part of an optimizer's state that holds Adafactor's moments."""
    is_it = lambda x: hasattr(x, "v_row")  # noqa: E731
    (found,) = (x for x in jax.tree.leaves(state, is_leaf=is_it) if is_it(x))
    return found


def test_steps_of_a_stack_of_matrices_by_the_paper():
    """Algorithm 4 of Shazeer and Stern on each layer, b2 corrected, the rate absolute."""
    rng, b2, eps, lr = np.random.default_rng(0), 0.9, 1e-3, 0.5
    weight = rng.normal(size=(3, 130, 140))
    gradients = rng.normal(size=(4, 3, 130, 140)) * rng.uniform(0.01, 1, (1, 3, 130, 1))
    config = OptimizerConfig(kind="adafactor", lr=lr, b2=b2, eps=eps, clip=1e9, weight_decay=0.1)
    optimizer = make_optimizer(config, 10, {"w": True})
    given = [{"w": on_device(g, jnp.float32)} for g in gradients]
    found = stepped(optimizer, {"w": on_device(weight, jnp.float32)}, given)

    row, column = np.zeros((3, 130)), np.zeros((3, 140))
    for t, gradient in enumerate(gradients, 1):
        square = gradient**2 + eps**2
        row = b2 * row + (1 - b2) * square.mean(2)
        column = b2 * column + (1 - b2) * square.mean(1)
        second = row[:, :, None] * column[:, None, :] / row.mean(1)[:, None, None] / (1 - b2**t)
        step = gradient / np.sqrt(second)
        step /= max(1, np.sqrt((step**2).mean()))
        np.testing.assert_allclose(
            found[t - 1]["w"], -lr * (step + 0.1 * weight), rtol=1e-3, atol=1e-5
        )


def test_small_weights_take_the_steps_of_adam_without_its_first_moment():
    params = {"bias": jnp.zeros(200), "thin": jnp.zeros((2, 300, 5))}
    rng = np.random.default_rng(1)
    first = jax.tree.map(lambda x: on_device(rng.normal(size=x.shape), jnp.float32), params)
    # Ever smaller gradients: no step has a root mean square above 1.
    gradients = [jax.tree.map(lambda g, t=t: g * 0.7**t, first) for t in range(4)]
    config = OptimizerConfig(kind="adafactor", lr=0.1, b2=0.95, eps=0.01, clip=1e9)
    optimizer = make_optimizer(config, 10, {"bias": False, "thin": True})
    ours = stepped(optimizer, params, gradients)
    adam = stepped(optax.adam(0.1, 0.0, 0.95, eps=0.0, eps_root=1e-4), params, gradients)
    assert largest_difference(ours, adam) < 1e-6
    assert 0.01 < float(jnp.abs(ours[3]["bias"]).max()) < 0.1


@pytest.mark.parametrize("shape", [name for name in SHAPES if name != "tiny"])
def test_matrices_are_factored_within_their_layers_and_the_state_is_small(shape):
    model = SHAPES[shape]
    params = table.abstract(model)
    sizes = {}
    for kind in ("adamw", "adafactor"):
        config = OptimizerConfig(kind=kind)
        state = jax.eval_shape(make_optimizer(config, 10, table.decay_mask(model)).init, params)
        sizes[kind] = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state))
    assert sizes["adafactor"] < 0.002 * sizes["adamw"]
    moments = factored(state)
    parts = zip(*map(jax.tree.leaves, (params, moments.v_row, moments.v_col)), strict=True)
    decayed = jax.tree.leaves(table.decay_mask(model))
    for (weight, row, column), matrix in zip(parts, decayed, strict=True):
        kept = sorted([row.shape, column.shape])
        matrix = matrix and min(weight.shape[-2:]) >= 128  # a router's is kept whole
        *layers, n_in, n_out = weight.shape if matrix else (0, 0)
        assert kept == (sorted([(*layers, n_in), (*layers, n_out)]) if matrix else [(1,), (1,)])


def gradients_of(seed):
    """Gradients of all weights as an update's micro-batches leave them."""
    rng = np.random.default_rng(seed)
    shapes = table.abstract(CONFIG)
    return jax.tree.map(lambda x: on_device(rng.normal(size=x.shape), jnp.float32), shapes)


@functools.cache
def functions_on(mesh):
    compute = update.ComputeConfig(rows=4, width=8, max_segments=2)
    return update.make_functions(CONFIG, mesh, compute, grpo(GRPO()), ADAFACTOR)


def moved(mesh, state, seeds):
    """The state after an optimizer step for each seed."""
    for seed in seeds:
        total = update.Accumulator(placed(gradients_of(seed), CONFIG, mesh), jnp.zeros(()), {})
        state, metrics = functions_on(mesh).apply(state, total)
        assert float(metrics["skipped"].sum) == 0
    return state


def fresh(mesh):
    return train_state.init_state(ADAFACTOR, placed(tiny_params(CONFIG), CONFIG, mesh), mesh)


@pytest.mark.slow
def test_a_mesh_cuts_the_moments_and_takes_the_same_steps():
    alone, mesh = mesh_of(), mesh_of(fsdp=2, tensor=2)
    one, cut = moved(alone, fresh(alone), (0, 1)), moved(mesh, fresh(mesh), (0, 1))
    assert largest_difference(one.params, tiny_params(CONFIG)) > 1e-3
    assert largest_difference(one.params, cut.params) < 1e-6
    assert largest_difference(factored(one.opt_state), factored(cut.opt_state)) < 1e-6

    planned = train_state.abstract_state(ADAFACTOR, CONFIG, mesh)
    for plan, x in zip(jax.tree.leaves(planned), jax.tree.leaves(cut), strict=True):
        assert plan.shape == x.shape
        assert plan.sharding.is_equivalent_to(x.sharding, x.ndim)
    held = sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(cut.opt_state))
    assert held == nbytes(planned.opt_state)
    moments = factored(cut.opt_state)
    shards = [
        x["stacks"][0]["gate"].addressable_shards[0].data.shape
        for x in (moments.v_row, moments.v_col)
    ]
    assert sorted(shards) == [(2, 64), (2, 128)]  # of [2, 128] over fsdp, [2, 256] over tensor


def test_a_resumed_run_goes_on_bit_by_bit(tmp_path):
    mesh = mesh_of(fsdp=2, tensor=2)
    whole = moved(mesh, fresh(mesh), (0, 1, 2))
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(Saved(moved(mesh, fresh(mesh), (0, 1)), None, {}, {"rollout": 2}))
    checkpoints.wait()
    restored = checkpoints.restore(2, fresh(mesh), {}).state
    checkpoints.close()
    assert identical(moved(mesh, restored, (2,)), whole)


def test_a_first_moment_is_refused():
    with pytest.raises(UserError, match="--optimizer.b1 0.5: adafactor keeps no first moment"):
        OptimizerConfig(kind="adafactor", b1=0.5)
