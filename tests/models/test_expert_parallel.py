"""Experts spread over devices: rows brought together, room that does not do, texts, refusals."""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_deepseek import SEQUENCES, layer_of, toy
from tiny import identical, largest_difference, mesh_of, on_device, packed, placed, tiny_config

from r1jax import mesh as meshes
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import attention as attn
from r1jax.models import expert_parallel, experts, kernels, table
from r1jax.models.row_groups import block_size, gathered, swiglu_of
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.training import update
from r1jax.types import Max, Mean, TrainState

RUNS = {
    "skewed": [[3, 0, 4], [0, 1, 6], [2, 2, 0]],
    "all in one": [[0, 8, 0], [0, 8, 0], [0, 8, 0]],
    "one row": [[0, 0, 0], [0, 0, 1], [0, 0, 0]],
    "none": [[0, 0, 0], [0, 0, 0], [0, 0, 0]],
}


ROOM = 8


def total(f, *given):
    y = f(*given)
    return jnp.sum(jnp.sin(y)), y


@functools.cache
def grouped(size):
    """(gradients, values) of rows through their group's matrices, of (counts, rows, matrices)."""

    def run(counts, x, *weights):
        ends = jnp.cumsum(counts, axis=1)
        groups = gathered(jnp.arange(3) * ROOM, ends, len(x), size, 3 * ROOM)
        return swiglu_of(groups, x, weights)

    return jax.jit(jax.grad(functools.partial(total, run), argnums=(1, 2, 3, 4), has_aux=True))


@jax.jit
@functools.partial(jax.grad, argnums=(1, 2, 3, 4), has_aux=True)
def plain(member, x, gate, up, down):
    """The same by products of every row with every matrix, bool[N, groups] says which counts."""

    def run(x, gate, up, down):
        g, u = (jnp.einsum("nd,edw->enw", x, m) for m in (gate, up))
        return jnp.einsum("enw,ewd,ne->nd", jax.nn.silu(g) * u, down, member)

    return total(run, x, gate, up, down)


@pytest.mark.parametrize("size", [1, 4, 24], ids=["ragged", "blocks", "one block"])
@pytest.mark.parametrize("counts", RUNS.values(), ids=RUNS)
def test_rows_of_several_runs_meet_the_matrices_of_their_group(counts, size):
    counts, rng = np.array(counts), np.random.default_rng(0)
    shapes = ((3 * ROOM, 5), (3, 5, 6), (3, 5, 6), (3, 6, 5))
    given = [on_device(rng.normal(size=shape), jnp.float32) for shape in shapes]
    group = np.full(3 * ROOM, 3)  # of each row; 3: none
    for i, of_run in enumerate(counts):
        group[i * ROOM : i * ROOM + of_run.sum()] = np.repeat(np.arange(3), of_run)
    found = grouped(size)(counts, *given)
    wanted = plain(on_device(group[:, None] == np.arange(3), jnp.float32), *given)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-4)


def test_blocks_are_a_quarter_of_a_group_and_not_too_large():
    sizes = ((64, 8, 40), (4096, 8, 1024), (1 << 20, 8, 1 << 17))
    assert [block_size(*of) for of in sizes] == [40, 128, 1024]


def of_layer(room, mesh):
    """(gradients by weights and inputs, what it tells) of a layer of experts; some are padding."""
    c, layer = toy()[0], layer_of(1)
    c = replace(c, experts=replace(c.experts, room=room))
    x = on_device(np.random.default_rng(3).normal(size=(8, 6, c.d_model)), jnp.float32)
    ids = jnp.ones((8, 6), jnp.int32).at[:, 4:].set(0)

    def value(layer, x, ids):
        y, told = experts.run(c, layer, x, attn.Segments(ids), mesh)
        return jnp.sum(jnp.sin(jnp.where(ids[..., None] > 0, y, 0))), told

    given = jax.device_put((layer, x, ids), meshes.replicated(mesh))
    return jax.device_get(jax.jit(jax.grad(value, argnums=(0, 1), has_aux=True))(*given))


def test_a_layer_is_the_same_with_its_experts_spread():
    one, spread = (of_layer(8.0, m) for m in (mesh_of(), mesh_of(fsdp=2, expert=2, context=2)))
    assert largest_difference(one[0], spread[0]) < 1e-5
    assert largest_difference(one[1]["load"], spread[1]["load"]) < 1e-5
    assert not spread[1]["lost"] and 0.5 < spread[1]["fullest"] < 8


@pytest.mark.parametrize("axes", [{}, {"data": 2, "fsdp": 2, "tensor": 2}])
def test_tokens_that_go_to_their_experts_get_what_all_experts_give(axes, monkeypatch):
    """Where experts are not spread: as on a device that has a kernel for it."""
    found, mesh = [], mesh_of(**axes)
    for goes in (False, True):
        monkeypatch.setattr(expert_parallel, "wanted", lambda *_, goes=goes: goes)
        found.append(of_layer(0.5, mesh))  # which is said of others' rows
    assert largest_difference(*found) < 1e-5 and "lost" not in found[1][1]


@pytest.mark.parametrize(
    ("axes", "tokens", "platform", "dtype", "goes"),
    [
        ({}, 257, "gpu", "bfloat16", True),
        ({}, 256, "gpu", "bfloat16", False),
        ({}, 257, "gpu", "float32", False),
        ({}, 257, "cpu", "bfloat16", False),
        ({"data": 2}, 512, "gpu", "bfloat16", False),
        ({"data": 2}, 514, "gpu", "bfloat16", True),
        ({"expert": 2}, 2, "cpu", "float32", True),
        ({"tensor": 2}, 257, "gpu", "bfloat16", False),  # half of a width of 64
    ],
)
def test_tokens_go_to_their_experts_where_a_kernel_takes_them(
    axes, tokens, platform, dtype, goes, monkeypatch
):
    c = toy()[0]
    c = replace(c, d_model=64, experts=replace(c.experts, width=64))
    monkeypatch.setattr(kernels, "platform", lambda mesh: platform)
    monkeypatch.setattr(kernels, "capability", lambda mesh: "9.0")
    x = jax.ShapeDtypeStruct((tokens, 64), dtype)
    assert expert_parallel.wanted(c, x, mesh_of(**axes)) == goes
    assert not expert_parallel.wanted(c, x, None)


@pytest.mark.slow
def test_tokens_without_room_end_the_update_before_it_is_made():
    c, params = toy()
    mesh = mesh_of(expert=2)
    compute = update.ComputeConfig(8, 24, 2, chunk=8, room=0.5)
    functions = update.make_functions(c, mesh, compute, sft, optax.identity())
    state = TrainState(placed(params, c, mesh), optax.identity().init(params), *jnp.zeros(2, int))
    batches = packed(SEQUENCES, 8, 24, 2)
    said = r"\A--train.room: \d+ choices of tokens found no room [^\n]*; use --train.room [^\n]*\Z"
    with pytest.raises(UserError, match=said):
        update.update(functions, state, batches, mesh)
    assert identical(state.params, params) and not int(state.update)


def test_room_for_experts_that_there_are_none_of_is_refused():
    compute = update.ComputeConfig(8, 24, 2, chunk=8, room=4.0)
    with pytest.raises(UserError, match="--train.room 4.0: the model has no experts"):
        update.make_functions(tiny_config(), mesh_of(), compute, sft, optax.identity())


def test_rows_that_are_lost_end_it_and_what_is_asked_for_is_enough():
    state = TrainState({}, optax.identity().init({}), *jnp.zeros(2, int))

    def run(lost, fullest):
        metrics = {"ahead/lost": Mean(lost, 1.0), "ahead/fullest": Max(fullest)}
        metrics["param_norm"] = Mean(1.0, 1.0)
        total = update.Accumulator({}, 0.0, metrics)
        functions = update.Functions(
            start=lambda scale: total,
            accumulate=lambda *_: total,
            apply=lambda state, total: (state, total.metrics),
            columns=tuple,
        )
        return update.update(functions, state, packed(SEQUENCES, 8, 24, 2), mesh_of())[1]

    assert run(0.0, 1.9)["ahead/fullest"] == 1.9
    with pytest.raises(UserError, match=r": 3 choices .* 2.71 times .*use --train.room 2.8,"):
        run(3.0, 2.71)


@pytest.mark.parametrize(
    ("axes", "named"),
    [
        ({"context": 8}, "--mesh.context 8 x --mesh.tensor 1: .* 4 heads"),
        ({"context": 2, "tensor": 4}, "--mesh.context 2 x --mesh.tensor 4: .* 4 heads"),
        ({"expert": 6}, "--mesh.expert 6: the model's 8 experts do not divide by it; 2 would do"),
    ],
)
def test_what_does_not_divide_is_refused_in_one_line(axes, named):
    with pytest.raises(UserError, match=rf"\A{named}[^\n]*\Z"):
        table.shardings(toy()[0], mesh_of(**axes))


def test_a_model_without_experts_is_spread_by_the_axis_all_the_same():
    where = table.shardings(tiny_config(), mesh_of(expert=2, context=2))
    assert where["embed"].spec[1] == ("expert", "context")


@pytest.mark.slow
@pytest.mark.parametrize("axes", [{"data": 2, "expert": 4}, {"fsdp": 2, "expert": 2, "tensor": 2}])
def test_texts_are_those_of_one_device(axes):
    c, params = toy()
    config = EngineConfig(slots=8, max_prompt=8, max_tokens=8, prefill=4)
    prompts = [Prompt(tuple(range(2 * i, 2 * i + 7)), i, 2) for i in range(5)]

    def texts(mesh):
        engine = Engine(c, mesh, config, stop_ids=(1, 2))
        weights = engine.prepare(placed(params, c, mesh))
        held = weights["stacks"][1]["expert_gate"]
        assert held.addressable_shards[0].data.shape[0] == 8 // max(mesh.shape["expert"], 1)
        found = engine.generate(weights, prompts, Sampling(0.0), seed=0, rollout=0)
        return {(g.prompt, g.sample): (g.tokens.tolist(), g.logp) for g in found}

    one, many = texts(mesh_of()), texts(mesh_of(**axes))
    assert {k: v[0] for k, v in one.items()} == {k: v[0] for k, v in many.items()}
    for key, (_, logp) in one.items():
        np.testing.assert_allclose(many[key][1], logp, atol=1e-4)
