"""Generation over several cache shapes: texts that outgrow theirs."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import mesh_of, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.programs import programs
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.schedule import Schedule
from r1jax.rollout.stops import first_stop

CONFIG = tiny_config("qwen2", n_layers=1, init_std=0.12)
STOPS = (1,)
PLAIN = EngineConfig(slots=4, max_prompt=8, max_tokens=96, prefill=2)
LONG = replace(PLAIN, cache_tokens=128, first_length=32, tail=1)
WARM = Sampling(0.9, 0.95)
PROMPTS = [
    Prompt(tuple(range(2, 2 + n)), problem, samples, limit=limit)
    for problem, (n, samples, limit) in enumerate(
        [(7, 3, None), (8, 2, None), (2, 5, 17), (7, 2, 60), (8, 3, 1), (7, 2, None)]
    )
]


def letters(tokens):
    return "".join(chr(97 + t % 26) for t in tokens)


def run(engine, prompts=PROMPTS, **kwargs):
    """{(problem, sample): Generated} of an engine, its weights those of seed 0."""
    weights = engine.prepare(tiny_params(CONFIG))
    found = list(engine.generate(weights, prompts, WARM, seed=0, rollout=0, **kwargs))
    by_request = {(prompts[g.prompt].problem, g.sample): g for g in found}
    assert len(by_request) == len(found) == sum(p.samples for p in prompts)
    return by_request


@pytest.fixture(scope="module")
def plain():
    engine = Engine(CONFIG, mesh_of(), PLAIN, stop_ids=STOPS)
    assert engine.shapes == ((4, 104),)
    return run(engine)


@pytest.fixture(scope="module")
def engine():
    engine = Engine(CONFIG, mesh_of(), LONG, stop_ids=STOPS)
    assert engine.shapes == ((4, 32), (2, 64), (1, 104)) and engine.cache_tokens == 128
    return engine


def agree(found, want):
    """The law across shapes: equal texts up to near ties, of which these texts have none."""
    for who, g in found.items():
        assert g.tokens.tolist() == want[who].tokens.tolist(), who
        assert g.finish_reason == want[who].finish_reason
        assert g.tokens.shape == g.logp.shape == g.log_mass.shape
        np.testing.assert_allclose(g.logp, want[who].logp, rtol=0, atol=1e-4)
        np.testing.assert_allclose(g.log_mass, want[who].log_mass, rtol=0, atol=1e-4)


def test_the_texts_below_are_of_all_kinds(plain):
    lengths = [len(g.tokens) for g in plain.values()]
    assert {g.finish_reason for g in plain.values()} == {"stop", "length"}
    assert max(lengths) == 96 and min(lengths) == 1
    for (problem, _), g in plain.items():
        limit = PROMPTS[problem].limit or 96
        assert len(g.tokens) == limit if g.finish_reason == "length" else g.tokens[-1] in STOPS


def test_completions_that_give_up_their_slots_are_those_of_one_shape(engine, plain, monkeypatch):
    kept, park = [], Schedule.park

    def noted(work, slot, drawn):
        kept.append((work._owner[slot], drawn))
        park(work, slot, drawn)

    monkeypatch.setattr(Schedule, "park", noted)
    found = run(engine)
    agree(found, plain)
    assert engine.evictions == len(kept) > 4
    for request, drawn in kept:
        g = found[request.problem, request.sample]
        for whole, part in zip((g.tokens, g.logp, g.log_mass), drawn.arrays, strict=True):
            assert np.array_equal(whole[: len(part)], part), "the first numbers stay"
    drawn = sum(len(g.tokens) - 1 for g in found.values()) - engine.evictions
    assert drawn <= engine.slot_steps <= 4 * engine.steps_taken
    before = engine.steps_taken
    run(engine)
    assert engine.steps_taken == before, "counted anew in every call"


@pytest.fixture(scope="module")
def growing():
    """A run whose slots all get longer: engine, completions, (cache, prompts) of its prefills."""
    config = replace(LONG, cache_tokens=0, first_length=64, tail=2)
    programs.cache_clear()  # those of equal settings have met the shapes of other tests
    engine = Engine(CONFIG, mesh_of(), config, stop_ids=STOPS)
    met, admit = set(), engine._admit

    def noted(weights, slots, prompts, *rest):
        met.add(((slots.cache.slots, slots.cache.length), prompts.shape))
        return admit(weights, slots, prompts, *rest)

    engine._admit = noted
    return engine, run(engine), met


def test_growing_without_a_bound_evicts_nobody(plain, growing):
    engine, found, _ = growing
    agree(found, plain)
    assert engine.shapes == ((4, 64), (4, 104), (2, 104))
    assert engine.evictions == 0 and engine.slot_steps < 4 * engine.steps_taken


def test_a_prefill_is_compiled_for_prompts_of_a_width_whatever_the_shape(growing):
    engine, _, met = growing
    caches, prompts = (set(kind) for kind in zip(*met, strict=True))
    assert len(caches) > 1 and len(prompts) < len(met)
    assert engine.programs.prefill._cache_size() == len(prompts)
    assert engine.programs.fill._cache_size() == len(met)
    assert engine.programs.enter._cache_size() == len(caches)


@pytest.mark.slow
def test_looking_often_changes_nothing(plain):
    engine = Engine(CONFIG, mesh_of(), replace(LONG, steps=3, refill=1.0), stop_ids=STOPS)
    agree(run(engine), plain)


@pytest.mark.slow
@pytest.mark.parametrize("axes", [(2, 1, 1), (1, 2, 2)])
def test_shapes_change_on_several_devices(plain, axes):
    config = replace(LONG, cache_tokens=256)
    engine = Engine(CONFIG, mesh_of(*axes), config, stop_ids=STOPS)
    assert engine.shapes == ((4, 32), (4, 64), (2, 104))
    agree(run(engine), plain)
    assert engine.evictions > 0


def test_stop_strings_end_completions_across_shapes(engine, plain, monkeypatch):
    texts = [letters(g.tokens) for g in plain.values()]
    longest = max(texts, key=len)
    apart = next(
        t[i : i + 2] for t in texts for i in range(len(t) - 1) if t[i : i + 2] not in longest
    )
    pairs = [longest[i : i + 2] for i in range(94)]
    rare = next(pair for i, pair in enumerate(pairs) if i > 60 and pair not in pairs[:i])
    monkeypatch.setattr(engine, "stop_strings", (rare, "###", apart))
    monkeypatch.setattr(engine, "detokenize", letters)
    found, late = run(engine), 0
    for who, g in found.items():
        tokens, text = plain[who].tokens.tolist(), letters(plain[who].tokens)
        ends = [text.find(s) + len(s) for s in engine.stop_strings if s in text]
        late += bool(ends) and min(ends) > 32
        assert g.tokens.tolist() == (tokens[: min(ends)] if ends else tokens)
        assert g.finish_reason == ("stop" if ends else plain[who].finish_reason)
    assert late, "some end after their slot was given up"


def test_nothing_is_compiled_once_every_shape_was_used(engine, plain):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    run(engine)
    jax.jit(lambda x: x * 3)(np.zeros(3))
    assert len(compiled) >= 1, "the counter counts"
    compiled.clear()
    run(engine)
    assert engine.evictions and compiled == []


@settings(max_examples=200)
@given(st.text("ab", max_size=40), st.integers(0, 40), st.sampled_from([("aab",), ("bb", "aba")]))
def test_a_stop_string_is_found_from_where_the_search_stood(text, searched, strings):
    ends = [text.find(s) + len(s) for s in strings if s in text]
    want = min(ends, default=None)
    searched = min(searched, len(text) if want is None else want - 1)
    read = []

    def detokenize(ids):
        read.append(len(ids))
        return "".join(map(chr, ids))

    assert first_stop(np.array([*map(ord, text)], int), searched, strings, detokenize) == want
    assert max(read) <= len(text) - searched + 11
    ids, rule = np.array([*map(ord, text)], int), lambda seen: any(s in seen for s in strings)
    assert first_stop(ids, searched, (), detokenize, rule) == want


@pytest.mark.parametrize(("limit", "named"), [(0, "limit 0"), (97, "limit 97 is above")])
def test_a_limit_of_a_prompt_is_checked(engine, limit, named):
    with pytest.raises(UserError, match=named):
        run(engine, [Prompt((3, 4), 1, 1, limit=limit)])


def test_a_limit_of_a_prompt_goes_before_that_of_the_call(engine, plain):
    found = run(engine, [replace(PROMPTS[0], limit=9), PROMPTS[1]], max_tokens=4)
    assert [len(found[0, i].tokens) for i in range(3)] == [
        min(9, len(plain[0, i].tokens)) for i in range(3)
    ]
    assert max(len(found[1, i].tokens) for i in range(2)) <= 4
