"""A prompt read once for all its samples: the same texts, whoever leads and leaves first."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of, tiny_config, tiny_params

from r1jax.models import grouped_query
from r1jax.models.decoding import cache_attention
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling

LONG = 40  # tokens of a prompt: more than a block of the kernel


def run(config, params, prompts):
    """Texts and log-probabilities by (prompt, sample), and the slots each look has seen."""
    engine = Engine(config, mesh_of(), EngineConfig(slots=6, max_prompt=LONG, max_tokens=12,
                    prefill=2, refill=0.3, steps=3), stop_ids=range(0, 97, 8))  # fmt: skip
    seen, decode = [], engine.programs.decode

    def watched(weights, slots, *rest, **how):
        leader = jnp.arange(6) + slots.prefix.leader
        prefix = slots.prefix._replace(leader=leader)
        seen.append(jax.device_get((prefix, slots.active, slots.key)))
        return decode(weights, slots, *rest, **how)

    engine.programs = engine.programs._replace(decode=watched)
    found = engine.generate(engine.prepare(params), prompts, Sampling(), seed=0, rollout=0)
    return {(g.prompt, g.sample): (g.tokens, g.logp) for g in found}, seen


@pytest.mark.parametrize(
    "config",
    [
        tiny_config(n_layers=1),
        pytest.param(tiny_config("windowed", window=37), marks=pytest.mark.slow),
    ],
)
def test_texts_are_those_of_slots_that_read_their_own(config, traced_anew, monkeypatch):
    params = tiny_params(config)
    rng = np.random.default_rng(0)
    prompts = [Prompt(tuple(rng.integers(1, 97, LONG - i).tolist()), i, 3) for i in range(6)]
    wanted, _ = run(config, params, prompts)
    kernel = functools.partial(cache_attention._triton, interpret=True)
    monkeypatch.setattr(cache_attention, "_triton", kernel)
    forced = functools.partial(cache_attention.append_and_attend, kernel="triton")
    monkeypatch.setattr(grouped_query, "append_and_attend", forced)
    traced_anew()
    found, seen = run(config, params, prompts)
    assert found.keys() == wanted.keys()
    for key, (tokens, logp) in wanted.items():
        np.testing.assert_array_equal(found[key][0], tokens)
        np.testing.assert_allclose(found[key][1], logp, atol=1e-5)
    followers = [(p.leader != np.arange(6)) & active for p, active, _ in seen]
    assert any(f.any() for f in followers)
    # A leader finishes before its group somewhere, and its followers go on reading its copy.
    assert any((~a[p.leader] & f).any() for (p, a, _), f in zip(seen, followers, strict=True))
    for (p, _, _), f in zip(seen, followers, strict=True):
        lengths = p.length[p.leader]
        assert (lengths[f] == p.length[f]).all()
    assert jnp.asarray([len(t) for t, _ in found.values()]).min() < 12
