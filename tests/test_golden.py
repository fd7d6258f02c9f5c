"""Toy models that transformers made, with the logits and texts that torch computed for them."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import FAMILIES, mesh_of

from r1jax.models import attention as attn
from r1jax.models import decoder, hub
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling

GOLDEN = Path(__file__).parent / "golden"


@pytest.fixture(params=FAMILIES)
def golden(request):
    folder = GOLDEN / request.param
    config = hub.read_config(folder)
    return config, hub.load(folder, config, mesh_of()), np.load(folder / "expected.npz")


def test_logits_are_those_of_transformers(golden):
    config, params, expected = golden
    tokens = jnp.asarray(expected["tokens"], jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    segments = attn.Segments(jnp.ones_like(tokens))
    hidden = jax.jit(decoder.forward, static_argnums=1)(params, config, tokens, positions, segments)
    np.testing.assert_allclose(decoder.logits(params, hidden), expected["logits"], atol=1e-4)


def test_greedy_text_is_that_of_transformers(golden):
    config, params, expected = golden
    engine = Engine(config, mesh_of(), EngineConfig(2, 16, 64, 2), stop_ids=())
    prompts = [
        Prompt(tuple(row[:n].tolist()), i, 1)
        for i, (row, n) in enumerate(zip(expected["tokens"], (5, 9), strict=True))
    ]
    found = engine.generate(engine.prepare(params), prompts, Sampling(0.0), seed=0, rollout=0)
    texts = {g.prompt: g.tokens.tolist() for g in found}
    assert texts == {i: row.tolist() for i, row in enumerate(expected["greedy"])}


def test_the_golden_models_stay_small():
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 200_000
