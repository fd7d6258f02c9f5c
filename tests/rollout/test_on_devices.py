"""Devices that each run their own slots write what one device writes, and seldom speak."""

from __future__ import annotations

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of, placed, tiny_config, tiny_params

from r1jax.models import grouped_query
from r1jax.models.decoding import cache_attention
from r1jax.rollout import on_devices
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling

CONFIG = tiny_config("qwen3", n_layers=2, vocab_size=97)
LONG = 40
RNG = np.random.default_rng(0)
PROMPTS = [
    Prompt(tuple(RNG.integers(1, 97, LONG - 3 * i).tolist()), i, 3, limit=25 - 3 * i)
    for i in range(7)
]
ENGINE = EngineConfig(slots=8, max_prompt=LONG, max_tokens=80, prefill=4, refill=0.3)


def written(mesh, config=ENGINE, prompts=PROMPTS):
    """(tokens, log-probabilities, reason) by prompt and sample, and the engine that wrote them."""
    engine = Engine(CONFIG, mesh, config, stop_ids=range(0, 97, 11))
    weights = engine.prepare(placed(tiny_params(CONFIG), CONFIG, mesh))
    found = engine.generate(weights, prompts, Sampling(), seed=3, rollout=1)
    return {(g.prompt, g.sample): (g.tokens, g.logp, g.finish_reason) for g in found}, engine


def agree(found, wanted):
    assert found.keys() == wanted.keys()
    for key, (tokens, logp, reason) in wanted.items():
        np.testing.assert_array_equal(found[key][0], tokens)
        np.testing.assert_allclose(found[key][1], logp, atol=1e-5)
        assert found[key][2] == reason


@pytest.fixture(scope="module")
def alone():
    return written(mesh_of())[0]


@pytest.mark.parametrize(
    ("axes", "look"),
    [
        pytest.param((4, 2, 1), on_devices.LOOK, marks=pytest.mark.slow),
        pytest.param((2, 1, 1), 3, marks=pytest.mark.slow),
        ((2, 1, 2), 3),
    ],
    ids=str,
)
def test_texts_are_those_of_one_device(alone, axes, look, traced_anew, monkeypatch):
    monkeypatch.setattr(on_devices, "LOOK", look)
    found, engine = written(mesh_of(*axes))
    agree(found, alone)
    assert len({len(tokens) for tokens, _, _ in alone.values()}) > 5
    assert engine.steps_taken >= 24


def test_caches_that_fill_up_on_one_device_alone_climb_together():
    config = EngineConfig(slots=8, max_prompt=8, max_tokens=120, first_length=32, prefill=2, tail=2)
    prompts = [Prompt((5 + i, 9, 2), i, 2, limit=115 if i == 1 else 9) for i in range(6)]
    wanted, one = written(mesh_of(), config, prompts)
    found, engine = written(mesh_of(2, 1, 1), config, prompts)
    agree(found, wanted)
    assert len(one.shapes) > 1 and engine.shapes == one.shapes


def test_a_group_over_two_devices_reads_its_prompt_from_its_own(alone, traced_anew, monkeypatch):
    kernel = functools.partial(cache_attention._triton, interpret=True)
    monkeypatch.setattr(cache_attention, "_triton", kernel)
    forced = functools.partial(cache_attention.append_and_attend, kernel="triton")
    monkeypatch.setattr(grouped_query, "append_and_attend", forced)
    engine = Engine(CONFIG, mesh_of(2, 1, 1), ENGINE, stop_ids=range(0, 97, 11))
    seen, decode = [], engine.programs.decode

    def watched(weights, slots, *rest, **how):
        seen.append(np.arange(8) + np.asarray(slots.prefix.leader))
        return decode(weights, slots, *rest, **how)

    engine.programs = engine.programs._replace(decode=watched)
    weights = engine.prepare(placed(tiny_params(CONFIG), CONFIG, engine.mesh))
    found = engine.generate(weights, PROMPTS, Sampling(), seed=3, rollout=1)
    agree({(g.prompt, g.sample): (g.tokens, g.logp, g.finish_reason) for g in found}, alone)
    for leader in seen:
        np.testing.assert_array_equal(leader // 4, np.arange(8) // 4)
    assert any((leader != np.arange(8))[4:].any() for leader in seen)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(2, 1, 1), (1, 1, 2)], ids=str)
def test_kept_sets_are_those_of_one_device(axes):
    """Where each device has its own slots, and where the vocabulary is cut."""
    found, how = [], Sampling(1.0, 0.6, told=20)
    for mesh in (mesh_of(), mesh_of(*axes)):
        engine = Engine(CONFIG, mesh, ENGINE, stop_ids=range(0, 97, 11))
        weights = engine.prepare(placed(tiny_params(CONFIG), CONFIG, mesh))
        drawn = list(engine.generate(weights, PROMPTS, how, seed=3, rollout=1))
        found.append({(g.prompt, g.sample): (g.tokens, g.logp, g.finish_reason) for g in drawn})
        found.append({(g.prompt, g.sample): np.sort(g.support) for g in drawn})
    agree(found[2], found[0])
    for key, sets in found[1].items():
        np.testing.assert_array_equal(found[3][key], sets)


def test_a_decode_step_moves_no_weights_and_asks_nobody():
    mesh = mesh_of(2, 2, 1)
    engine = Engine(CONFIG, mesh, ENGINE, stop_ids=(1,))
    weights = engine.prepare(placed(tiny_params(CONFIG), CONFIG, mesh))
    number = jnp.int32(9)
    text = (
        engine.programs.decode.lower(
            weights, engine.programs.empty(), number, number, sampling=Sampling()
        )
        .compile()
        .as_text()
    )
    assert not re.search(r"all-to-all|collective-permute|reduce-scatter|all-reduce", text)
    moved = re.findall(r"= \(?(\w+\[[\d,]+\]).*?all-gather(?:-start)?\(", text)
    # What all say of themselves, before the loop and in it: steps, active slots, any full.
    assert moved == ["s32[4,3]"] * 2
    assert all(w.sharding.is_fully_replicated for w in jax.tree.leaves(weights))
