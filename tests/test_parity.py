"""Parity with transformers on torch: the same logits and texts, in both directions."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import FAMILIES, mesh_of

from r1jax.models import attention as attn
from r1jax.models import decoder, hub
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling

pytest.importorskip("torch", reason="needs torch: pip install -e '.[parity]'")
import transformers
from golden.make import build, greedy, logits

pytestmark = pytest.mark.parity

SHAPES = {
    "qwen2": dict(vocab_size=131, hidden_size=48, intermediate_size=80, num_hidden_layers=3),
    "qwen3": dict(head_dim=16, num_key_value_heads=1, tie_word_embeddings=True),
    "llama": dict(num_attention_heads=2, num_key_value_heads=2, hidden_size=32, head_dim=16),
}


@pytest.fixture(scope="module", params=FAMILIES)
def theirs(request):
    return build(request.param, seed=7, **SHAPES[request.param])


@pytest.fixture(scope="module")
def ours(theirs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    config = hub.read_config(folder)
    return config, hub.load(folder, config, mesh_of())


@pytest.fixture(scope="module")
def tokens(theirs):
    return np.random.default_rng(1).integers(0, theirs.config.vocab_size, (3, 90))


def test_logits_agree(theirs, ours, tokens):
    config, params = ours
    device = jnp.asarray(tokens, jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(device.shape[1]), device.shape)
    segments = attn.Segments(jnp.ones_like(device))
    hidden = jax.jit(decoder.forward, static_argnums=1)(params, config, device, positions, segments)
    want = logits(theirs, tokens)
    assert np.ptp(want) > 5
    np.testing.assert_allclose(decoder.logits(params, hidden), want, atol=1e-4)


@pytest.mark.parametrize("shard_bytes", [1 << 30, 5_000])
def test_transformers_reads_our_export(theirs, ours, tokens, tmp_path, shard_bytes):
    config, params = ours
    hub.save(tmp_path, params, config, shard_bytes=shard_bytes)
    model = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    assert type(model) is type(theirs)
    np.testing.assert_array_equal(logits(model, tokens), logits(theirs, tokens))


def test_greedy_tokens_agree(theirs, ours, tokens):
    config, params = ours
    engine = Engine(config, mesh_of(), EngineConfig(2, 32, 64, 2), stop_ids=())
    lengths = (1, 17, 32)
    prompts = [Prompt(tuple(t[:n].tolist()), 0, 1) for t, n in zip(tokens, lengths, strict=True)]
    found = engine.generate(engine.prepare(params), prompts, Sampling(0.0), seed=0, rollout=0)
    texts = {g.prompt: g.tokens.tolist() for g in found}
    for i, n in enumerate(lengths):
        assert texts[i] == greedy(theirs, tokens[i, :n], 64).tolist()
