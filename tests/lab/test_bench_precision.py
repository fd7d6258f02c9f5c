"""The decoder that rounds where it is told to, and the tables made of it."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of, packed, random_sequences, tiny_config, tiny_params

from experiments import bench_precision
from experiments.bench.roundings import OPERANDS, POINTS, codes, logp
from r1jax.commands import cli
from r1jax.training.update import ComputeConfig, cast, make_score, place_batch

pytestmark = pytest.mark.lab
SEQUENCES = random_sequences([4, 3, 6, 5], [9, 10, 7, 8])  # of 13 tokens each
MESH = mesh_of()


def rounded(config, params, dtype="bfloat16", points=(), pieces=1):
    return np.asarray(logp(params, config, SEQUENCES.tokens, codes(dtype, points), pieces))


def scored(config, params, dtype):
    """What the trainer's program says of the same tokens."""
    (batch,) = packed(SEQUENCES, 4, 13, 1)
    compute = ComputeConfig(rows=4, width=13, max_segments=1, dtype=dtype, remat="none")
    run = jax.jit(make_score(config, MESH, compute, 1.0))
    return np.asarray(run(params, place_batch(batch, MESH)).logp)[:, 1:]


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama"])
def test_without_a_rounding_it_is_the_decoder(family):
    config = tiny_config(family)
    params = tiny_params(config)
    exact = scored(config, params, "float32")
    np.testing.assert_allclose(rounded(config, params), exact, atol=2e-5)
    np.testing.assert_allclose(rounded(config, params, pieces=3), exact, atol=2e-5)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_the_trainer_rounds_what_the_table_says_it_does(dtype):
    """Its distance from float32 is that of all roundings but the residual stream's."""
    config = tiny_config("llama", n_layers=12)
    params = cast(cast(tiny_params(config), dtype), jnp.float32)
    exact = rounded(config, params)

    def off(logp):
        return np.abs(logp - exact).mean()

    every = [p for p in POINTS if p != "logits"]
    whole, stream_kept = (off(rounded(config, params, dtype, p)) for p in (every, every[1:]))
    found = off(scored(config, params, dtype))
    assert stream_kept < 0.9 * whole and found == pytest.approx(stream_kept, rel=0.25)
    assert off(rounded(config, params, dtype, OPERANDS)) < stream_kept


def test_both_tables_of_a_model(tmp_path, capsys):
    out = tmp_path / "precision.json"
    flags = ["--model", "embedded", "--prompts", "2", "--group", "2", "--tokens", "6"]
    flags += ["--out", str(out), "--pairs", "bfloat16/bfloat16", "float16/float16"]
    assert cli.run(bench_precision.main, bench_precision.Config(), flags) == 0
    programs = {row["arithmetic"]: row for row in json.loads(out.read_text())["rows"]}
    brain, half = programs["bfloat16/bfloat16"], programs["float16/float16"]
    assert 0 < half["mean"] < brain["mean"] / 3 and 24 >= half["tokens"] >= 4
    assert brain["mean"] <= brain["p99"] <= brain["max"] and half["ratio"] > 1 and half["k3"] > 0
    rows = json.loads((tmp_path / "precision-roundings.json").read_text())["rows"]
    by_name = {row["rounded"]: row for row in rows}
    assert set(POINTS) <= by_name.keys()
    assert by_name["nothing"]["max"] < by_name["residual"]["mean"] / 10
    assert by_name["operands of products"]["mean"] < by_name["everything"]["mean"]
    assert "as programmed" in capsys.readouterr().out


def test_a_pair_that_is_none_is_one_line(capsys):
    assert cli.run(bench_precision.main, bench_precision.Config(), ["--pairs", "bf16"]) == 2
    assert "--pairs bf16: choose from bfloat16/bfloat16" in capsys.readouterr().err
