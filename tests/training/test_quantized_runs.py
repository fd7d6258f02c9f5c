"""Runs that sample in 8 bits: refused without what they need, corrected, judged without."""

from __future__ import annotations

import builtins
import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from runs import go, rows, save_model, tiny_run
from tiny import tiny_config

from r1jax.errors import UserError
from r1jax.models import decoder, table
from r1jax.training.rl import loop as rl
from r1jax.training.rl import memory, setup
from r1jax.training.rl.setup import build


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def test_qwix_is_asked_for_in_one_line(model, monkeypatch, tmp_path):
    imported = builtins.__import__

    def without(name, *rest, **more):
        if name == "qwix":
            raise ImportError(name)
        return imported(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    wanted = tiny_run(model, tmp_path, {"rollout.weights": "float8"})
    with pytest.raises(UserError, match=r"^--rollout.weights float8: needs .*r1jax\[quantized\]"):
        build(wanted, note=print)
    assert build(tiny_run(model, tmp_path), note=print).config.rollout.weights == "same"


def test_without_importance_weights_8_bits_are_refused(model, tmp_path):
    flags = {"loss.importance_cap": None, "rollout.weights": "float8"}
    with pytest.raises(UserError, match="^--rollout.weights float8: .*--loss.importance-cap"):
        tiny_run(model, tmp_path, flags)
    assert tiny_run(model, tmp_path, flags | {"rollout.weights": "same"})


def test_a_run_samples_in_8_bits_and_is_judged_without(model, tmp_path, monkeypatch):
    flags = {"rollout.weights": "float8", "updates": 2}
    parts = setup.build(tiny_run(model, tmp_path, flags), note=print)
    asked, prepare = [], parts.engine.prepare

    def watched(params, weights="same"):
        asked.append(weights)
        return prepare(params, weights=weights)

    monkeypatch.setattr(parts.engine, "prepare", watched)
    loop = go(parts, tmp_path / "run")
    assert asked == ["float8", "float8", "same"] and not loop.warned
    for row in rows(tmp_path / "run"):
        # Two programs of one policy differ by 1e-4 at most.
        assert 1e-3 < row["policy/logp_diff_mean"] < row["policy/logp_diff_max"] < 1
        assert 0 < abs(row["policy/importance_mean"] - 1) < 0.05


@pytest.mark.parametrize(("weights", "warned"), [("same", True), ("float8", False)])
def test_8_bits_surprise_nobody(weights, warned):
    notes = []
    config = SimpleNamespace(
        rollout=SimpleNamespace(dtype="float32", weights=weights),
        train=SimpleNamespace(dtype="float32"),
    )
    loop = SimpleNamespace(warned=False, scored=SimpleNamespace(metrics={}))
    files = SimpleNamespace(progress=SimpleNamespace(note=notes.append))
    rl.warn_on_mismatch(config, loop, files, {"policy/logp_diff_max": 0.2})
    assert loop.warned == warned and len(notes) == warned


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("weights", ["same", "float8"])
def test_the_memory_plan_counts_what_is_held(weights, dtype):
    c = tiny_config("qwen2", d_model=1024, d_ff=2048, n_heads=16, head_dim=64, vocab_size=4096)
    whole = table.abstract(c)
    unstack = functools.partial(decoder.unstack, c=c, dtype=dtype, weights=weights)
    want = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(jax.eval_shape(unstack, whole)))
    planned = memory.decoding_weights(c, whole, jnp.dtype(dtype).itemsize, weights)
    assert planned == pytest.approx(want, rel=0.005) and (weights != "same" or planned == want)


def test_the_peak_is_that_of_evaluation(model, tmp_path):
    same, narrow = (
        memory.plan(build(tiny_run(model, tmp_path, {"rollout.weights": w}), note=print))
        for w in ("same", "float8")
    )
    assert narrow["rollout weights"] < same["rollout weights"]
    assert narrow["peak"] == same["peak"]
