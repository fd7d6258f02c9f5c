"""Toy models that transformers made, with logits, gradients and texts that torch computed."""

from __future__ import annotations

import functools
import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny import FAMILIES, mesh_of, on_device

from r1jax.losses.sft import sft
from r1jax.models import attention as attn
from r1jax.models import decoder, multi_token
from r1jax.models.config import to_hf
from r1jax.models.hub import directory as hub
from r1jax.models.hub.families import from_hf
from r1jax.models.layers import rope_tables
from r1jax.models.logp import score
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.types import Batch

GOLDEN = Path(__file__).parents[1] / "golden"
ROPE = json.loads((GOLDEN / "rope.json").read_text())


def next_tokens(tokens):
    """A batch whose loss is the mean over every token of i32[B, T] but the first of a row."""
    b, t = tokens.shape
    scalar = np.float32(b * (t - 1))
    return Batch(
        tokens=np.asarray(tokens, np.int32),
        positions=np.broadcast_to(np.arange(t, dtype=np.int32), (b, t)),
        segment_ids=np.ones((b, t), np.int32),
        mask=np.broadcast_to((np.arange(t) > 0).astype(np.float32), (b, t)),
        columns={},
        lengths=np.full((b, 1), t - 1, np.float32),
        n_tokens=scalar,
        n_sequences=scalar,
        max_tokens=scalar,
    )


# Toys are compiled longer than they run, least so without optimisation.
QUICKLY = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


@functools.partial(jax.jit, static_argnames="config", compiler_options=QUICKLY)
def logits_and_gradients(params, config, batch):
    """Logits [B, T, V] of a model, and the gradient of its supervised loss."""
    segments = attn.Segments(batch.segment_ids)
    hidden = decoder.forward(params, config, batch.tokens, batch.positions, segments)
    loss = lambda p: sft(score(p, config, batch, 1.0, chunk=16)[0], batch)[0]  # noqa: E731
    return decoder.logits(params, hidden), jax.grad(loss)(params)


def within(config):
    """How near logits are to be, and the gradient of a tensor, relative to its norm."""
    return (2e-5, 2e-5) if config.latent else (1e-4, 1e-3)


def assert_gradients(gradients, config, expected, relative):
    """Every tensor's gradient is the expected one of that name, in norm."""
    host = jax.tree.map(np.asarray, gradients)
    found = {weight.name: weight.fetch() for weight in hub.weights(host, config)}
    whole = np.sqrt(sum(np.sum(np.square(x)) for x in expected.values()))
    # Biases are moved by the load alone; the module ahead learns by a loss of its own.
    further = f"model.layers.{config.n_layers}."
    still = {n for n in found if n.endswith("e_score_correction_bias") or n.startswith(further)}
    assert all(not np.any(found.pop(name)) for name in still)
    assert found.keys() == expected.keys()
    for name, want in expected.items():
        assert np.linalg.norm(want) > 1e-4 * whole, f"{name}: nothing to compare"
        assert np.linalg.norm(found[name] - want) <= relative * np.linalg.norm(want), name


MODELS = (*FAMILIES, "llama_biased", "qwen2_windowed", "deepseek_v3")


def golden(name):
    """(config, parameters, what transformers and torch made of them)."""
    folder = GOLDEN / name
    config = hub.read_config(folder)
    expected = dict(np.load(folder / "expected.npz"))
    expected["gradients"] = load_file(folder / "gradients.safetensors")
    return config, hub.load(folder, config, mesh_of()), expected


@pytest.mark.parametrize("name", MODELS)
def test_logits_and_gradients_are_those_of_transformers(name):
    config, params, expected = golden(name)
    batch = next_tokens(expected["tokens"])
    logits, gradients = logits_and_gradients(params, config, batch)
    near = within(config)
    np.testing.assert_allclose(logits, expected["logits"], atol=near[0])
    assert_gradients(gradients, config, expected["gradients"], near[1])


@pytest.mark.parametrize(
    "name",
    [
        "qwen2_windowed",
        "deepseek_v3",
        *(pytest.param(n, marks=pytest.mark.slow) for n in (*FAMILIES, "llama_biased")),
    ],
)
def test_greedy_text_is_that_of_transformers(name):
    config, params, expected = golden(name)
    climbs = {"first_length": 32} if config.window else {}
    engine = Engine(config, mesh_of(), EngineConfig(2, 16, 64, 2, **climbs), stop_ids=())
    assert (len(engine.shapes) > 1) == (config.window > 0)
    prompts = [
        Prompt(tuple(row[:n].tolist()), i, 1)
        for i, (row, n) in enumerate(zip(expected["tokens"], (5, 9), strict=True))
    ]
    found = engine.generate(engine.prepare(params), prompts, Sampling(0.0), seed=0, rollout=0)
    texts = {g.prompt: g.tokens.tolist() for g in found}
    assert texts == {i: row.tolist() for i, row in enumerate(expected["greedy"])}


def test_the_module_ahead_is_that_of_transformers():
    folder = GOLDEN / "deepseek_v3"
    config = hub.read_config(folder)
    params, expected = hub.load(folder, config, mesh_of()), np.load(folder / "expected.npz")
    batch = next_tokens(expected["tokens"])

    @functools.partial(jax.jit, compiler_options=QUICKLY)
    def run(params):
        segments = attn.Segments(batch.segment_ids)
        given = batch.tokens, batch.positions, segments
        hidden = decoder.forward(params, config, *given)
        return decoder.logits(params, multi_token.forward(params, config, hidden, *given))

    assert np.ptp(expected["further"]) > 5
    np.testing.assert_allclose(run(params)[:, :-1], expected["further"], atol=1e-4)


@pytest.mark.parametrize("name", ROPE)
def test_rotary_tables_are_those_of_transformers(name):
    """Of single tokens, and of sequences scored whole, up to and beyond the original length."""
    raw = json.loads((GOLDEN / "llama" / "config.json").read_text())
    said = {"rope_parameters": ROPE[name]["said"], "rope_theta": 1000.0}
    c = from_hf(raw | said | {"head_dim": 16, "max_position_embeddings": 32})
    for n, (*frequency, factor) in ROPE[name]["found"].items():
        length = int(n)
        angle = (length - 1) * np.array(frequency)
        whole = jnp.arange(length)[None], attn.Segments(jnp.ones((1, length), jnp.int32))
        alone = on_device([[length - 1]])
        for tables in (rope_tables(c, alone), [x[:, -1:] for x in rope_tables(c, *whole)]):
            want = factor * np.cos(angle), factor * np.sin(angle)
            np.testing.assert_allclose(np.stack(tables)[:, 0, 0, 0], want, atol=2e-5)
    assert from_hf(to_hf(c)) == c


def test_a_row_of_several_sequences_grows_each_by_its_own_length():
    said = {"rope_parameters": ROPE["dynamic"]["said"], "rope_theta": 1000.0}
    raw = json.loads((GOLDEN / "llama" / "config.json").read_text())
    c = from_hf(raw | said | {"head_dim": 16, "max_position_embeddings": 32})
    ids = np.repeat([1, 2, 0], [40, 50, 6])[None]
    positions = np.concatenate([np.arange(n) for n in (40, 50, 6)])[None]
    tables = rope_tables(c, on_device(positions), attn.Segments(on_device(ids), 2))
    for start, n in ((0, 40), (40, 50)):
        alone = attn.Segments(jnp.ones((1, n), jnp.int32))
        for whole, own in zip(tables, rope_tables(c, jnp.arange(n)[None], alone), strict=True):
            np.testing.assert_array_equal(whole[:, start : start + n], own)


def test_the_golden_models_stay_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 650_000
