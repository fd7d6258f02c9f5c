"""Checkpoints: what is saved comes back bit for bit, on any mesh; the newest and the best stay."""

from __future__ import annotations

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import drawn, identical, mesh_of, placed, tiny_config, tiny_params

from r1jax.checkpoint import Checkpoints, load_params
from r1jax.errors import UserError
from r1jax.models import table
from r1jax.models.config import Experts, Latent, to_hf
from r1jax.models.lora import LoraConfig, attach, merge, rows
from r1jax.run.digests import find_step
from r1jax.run.saved import Saved, check_same
from r1jax.training import train_state

CONFIG = tiny_config("qwen2", n_layers=2)
EXPERTS = tiny_config(
    "llama", family="deepseek_v3", n_layers=1, n_kv_heads=4, rope_scaling=None,
    latent=Latent(0, 8, 4, 8), experts=Experts(8, 2, 8, 1),
)  # fmt: skip
OPTIMIZER = optax.adamw(1e-3)
IDENTITY = json.loads(json.dumps({"model": to_hf(CONFIG), "tokenizer": {"size": 97}}))
PENDING = {
    "scored": {
        "tokens": np.arange(12, dtype=np.int32).reshape(3, 4),
        "columns": {"advantages": np.array([0.1, np.nan, -1.0], np.float32)},
        "truncated": np.array([True, False, True]),
    },
    "carried": {"books": np.array([2, 0, 1], np.int64)},
}


def make_state(mesh, step=0, seed=0):
    """A state with moments that are not zero."""
    params = placed(tiny_params(CONFIG, seed), CONFIG, mesh)
    state = train_state.init_state(OPTIMIZER, params, mesh)
    moved = lambda x: jax.device_put(np.asarray(x) + x.dtype.type(seed + 1), x.sharding)  # noqa: E731
    moments = jax.tree.map(moved, state.opt_state)
    return state.replace(opt_state=moments, update=jnp.int32(step), skipped=jnp.int32(seed))


@pytest.fixture(scope="module")
def state():
    return make_state(mesh_of(fsdp=2, tensor=2), step=7, seed=1)


@pytest.fixture
def saved(tmp_path, state):
    """A directory with a checkpoint of update 7, in the middle of a rollout."""
    reference = placed(tiny_params(CONFIG, 9), CONFIG, mesh_of(fsdp=2, tensor=2))
    checkpoints = Checkpoints(tmp_path / "checkpoints", keep=2)
    checkpoints.save(Saved(state, reference, PENDING, {**IDENTITY, "rollout": 3}))
    checkpoints.close()
    return tmp_path / "checkpoints"


def laid_out(tree, mesh):
    """Whether a tree like the parameters lies on the mesh as the weight table says."""
    layout = table.shardings(CONFIG, mesh)
    same = jax.tree.map(lambda x, s: x.sharding.is_equivalent_to(s, x.ndim), tree, layout)
    return all(jax.tree.leaves(same))


@pytest.mark.parametrize(
    "axes",
    [{}, {"data": 2, "fsdp": 4}, pytest.param({"fsdp": 2, "tensor": 2}, marks=pytest.mark.slow)],
)
def test_everything_comes_back_bit_for_bit_on_any_mesh(saved, state, axes):
    mesh = mesh_of(**axes)
    checkpoints = Checkpoints(saved, keep=2)
    assert checkpoints.latest() == 7
    found = checkpoints.restore(7, make_state(mesh), IDENTITY)
    checkpoints.close()
    assert identical(found.state, state)
    assert identical(found.reference, tiny_params(CONFIG, 9))
    assert found.meta == {**IDENTITY, "rollout": 3}
    jax.tree.map(np.testing.assert_array_equal, found.pending, PENDING)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype, found.pending, PENDING))
    for tree in (found.state.params, found.state.opt_state[0].mu, found.reference):
        assert laid_out(tree, mesh)


@pytest.mark.parametrize(
    "axes",
    [
        {"fsdp": 2, "expert": 2},
        *(pytest.param(a, marks=pytest.mark.slow) for a in ({}, {"expert": 8})),
    ],
)
def test_experts_come_back_whatever_they_were_spread_over(tmp_path, axes):
    c, optimizer = EXPERTS, optax.sgd(1e-3, momentum=0.9)
    params, wanted = tiny_params(c, 2), mesh_of(**axes)
    state, other = (
        train_state.init_state(optimizer, placed(params, c, mesh), mesh)
        for mesh in (mesh_of(expert=4, context=2), wanted)
    )
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(Saved(state, None, {}, IDENTITY))
    found = checkpoints.restore(0, other, IDENTITY).state
    checkpoints.close()
    assert identical(found, state)
    held = found.params["stacks"][0]["expert_up"].addressable_shards[0].data.shape[1]
    assert held == 8 // wanted.shape["expert"]


def test_between_rollouts_nothing_is_pending_and_without_beta_no_reference(tmp_path, state):
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(Saved(state, None, {}, IDENTITY))
    checkpoints.wait()
    found = checkpoints.restore(7, state, IDENTITY)
    checkpoints.close()
    assert found.reference is None and found.pending == {}
    assert identical(found.state, state)


def one_number(step):
    """The least that can be saved."""
    state = train_state.init_state(optax.sgd(1e-3), {"w": jnp.ones(1)}, mesh_of())
    return Saved(state.replace(update=jnp.int32(step)), None, {}, IDENTITY)


def kept_after(directory, keep, scores):
    """Updates on disk, and the best of them, after saves with these scores (None: not measured)."""
    checkpoints = Checkpoints(directory, keep=keep)
    for step, score in enumerate(scores, 1):
        checkpoints.save(one_number(step), score=score)
    checkpoints.wait()
    best = checkpoints.best()
    checkpoints.close()
    return {int(p.name) for p in directory.iterdir() if p.name.isdigit()}, best


@pytest.mark.parametrize(
    ("scores", "kept", "best"),
    [
        ([None, 0.5, 0.25, None, None], {2, 4, 5}, 2),
        ([None, 0.5, 0.5, None, None], {3, 4, 5}, 3),
        ([0.5, 0.5, 0.5, 0.25, 0.25], {3, 4, 5}, 3),
        ([0.1, 0.2, 0.3, 0.4, 0.5], {4, 5}, 5),
        ([None, None, None, None, None], {4, 5}, None),
        ([-3.5, -1.25, None, -2.0, None], {2, 4, 5}, 2),  # minus a loss
    ],
)
def test_the_newest_and_the_best_are_kept(tmp_path, scores, kept, best):
    assert kept_after(tmp_path, 2, scores) == (kept, best)


def test_the_best_is_remembered_by_the_next_process(tmp_path):
    kept_after(tmp_path, 1, [0.25, 0.75, 0.5])
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert (checkpoints.best(), checkpoints.latest()) == (2, 3)
    checkpoints.save(one_number(4), score=0.75)
    checkpoints.wait()
    assert checkpoints.best() == 4
    checkpoints.close()
    assert {int(p.name) for p in tmp_path.iterdir() if p.name.isdigit()} == {4}


def test_an_empty_directory_has_neither_newest_nor_best(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep=1)
    assert (checkpoints.latest(), checkpoints.best()) == (None, None)
    checkpoints.close()


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"model": {**IDENTITY["model"], "hidden_size": 64}}, "hidden_size: 32 -> 64"),
        ({"tokenizer": {"size": 98}}, "another tokenizer (size: 97 -> 98)"),
        ({"seed": 3}, "another seed (None -> 3)"),
    ],
)
def test_another_model_or_tokenizer_is_refused_with_the_difference(saved, state, changed, named):
    checkpoints = Checkpoints(saved, keep=2)
    with pytest.raises(UserError) as caught:
        checkpoints.restore(7, state, IDENTITY | changed)
    checkpoints.close()
    assert named in str(caught.value) and "\n" not in str(caught.value)
    assert "vocab_size" not in str(caught.value)


def test_a_checkpoint_is_held_to_what_it_says_of_a_tokenizer_and_to_all_of_the_rest():
    """Those written before a tokenizer's tokens were told apart know its size alone."""
    older, newer = {"size": 97}, {"size": 97, "tokens": "ab"}
    for told in (older, newer):
        meta = {"model": {"width": 8}, "tokenizer": told, "teacher": {"tokenizer": told}}
        check_same(meta, meta | {"tokenizer": newer, "teacher": {"tokenizer": newer}}, "there")
        for other, said in (
            ({"tokenizer": newer | {"size": 98}}, "tokenizer .size: 97 -> 98"),
            ({"teacher": {"tokenizer": newer | {"size": 98}}}, "teacher .tokenizer: "),
            ({"model": {"width": 8, "depth": 2}}, "model .depth: None -> 2"),
        ):
            with pytest.raises(UserError, match=f"there: saved with another {said}"):
                check_same(meta, meta | other, "there")
    with pytest.raises(UserError, match="tokenizer .tokens: ab -> cd"):
        check_same(meta, meta | {"tokenizer": newer | {"tokens": "cd"}}, "there")


@pytest.mark.parametrize("axes", [{}, {"fsdp": 4, "tensor": 2}])
def test_the_next_stage_takes_the_weights_alone(saved, axes):
    mesh = mesh_of(**axes)
    params = load_params(saved, CONFIG, mesh)
    assert identical(params, tiny_params(CONFIG, 1))
    assert identical(load_params(saved, CONFIG, mesh, step=7), params)
    assert laid_out(params, mesh)


def test_a_checkpoint_that_is_not_there_is_named(saved, tmp_path):
    with pytest.raises(UserError, match="no checkpoint 8 there; found updates .*7"):
        load_params(saved, CONFIG, mesh_of(), step=8)
    with pytest.raises(UserError, match="found updates none"):
        load_params(tmp_path, CONFIG, mesh_of())
    with pytest.raises(UserError, match="elsewhere: no such directory"):
        load_params(tmp_path / "elsewhere", CONFIG, mesh_of())
    assert not (tmp_path / "elsewhere").exists()


def lora_checkpoint(directory, config, parent, step=4):
    """A checkpoint of LoRA factors, none of them zero, that says what it started from."""
    mesh = mesh_of()
    factors = jax.tree.map(lambda x: x + 0.05, drawn(rows(CONFIG, config), step))
    state = train_state.init_state(OPTIMIZER, factors, mesh).replace(update=jnp.int32(step))
    meta = {**IDENTITY, "lora": dataclasses.asdict(config), "parent": parent}
    checkpoints = Checkpoints(directory, keep=1)
    checkpoints.save(Saved(state, None, {}, meta))
    checkpoints.close()
    return factors


def test_factors_are_merged_into_the_base_or_into_the_checkpoint_they_started_from(saved, tmp_path):
    lora, mesh = LoraConfig(rank=2), mesh_of()
    base = lambda: placed(tiny_params(CONFIG, 5), CONFIG, mesh)  # noqa: E731
    merged = lambda below, factors: merge(attach(below, factors, lora))  # noqa: E731
    first = lora_checkpoint(tmp_path / "first", lora, None)
    assert identical(
        load_params(tmp_path / "first", CONFIG, mesh, base=base), merged(base(), first)
    )
    with pytest.raises(UserError, match="first: holds LoRA factors; the base's weights are needed"):
        load_params(tmp_path / "first", CONFIG, mesh)

    second = lora_checkpoint(tmp_path / "second", lora, {"directory": str(saved), "step": 7}, 5)
    found = load_params(tmp_path / "second", CONFIG, mesh, base=base)
    assert identical(found, merged(load_params(saved, CONFIG, mesh), second))
    upon = {"directory": str(tmp_path / "first"), "step": 4}
    third = lora_checkpoint(tmp_path / "third", lora, upon, 6)
    found = load_params(tmp_path / "third", CONFIG, mesh, base=base)
    assert identical(found, merged(merged(base(), first), third))


def test_the_newest_checkpoint_is_found_by_name(saved):
    assert find_step(saved) == find_step(saved, 7) == 7
    with pytest.raises(UserError, match="no checkpoint 6 there"):
        find_step(saved, 6)


def test_a_run_in_place_of_its_checkpoints_is_told_where_they_are(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(UserError, match=f"found updates none; name {tmp_path}/checkpoints"):
        find_step(tmp_path)


def test_weights_of_another_shape_name_the_model(saved):
    said = r"its weight stacks.0.down has the shape \(2, 48, 32\), the model's has \(2, 64, 32\)"
    with pytest.raises(UserError, match=f"{said}; name the --model"):
        load_params(saved, dataclasses.replace(CONFIG, d_ff=64), mesh_of(data=1))
    with pytest.raises(UserError, match=r"/7: it holds no weight stacks.0.bdown, .* name the"):
        load_params(saved, dataclasses.replace(CONFIG, ffn_bias=True), mesh_of(data=1))
