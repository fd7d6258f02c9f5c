"""The engine's laws: a text depends on its request alone, and every number beside it is right."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import mesh_of, tiny_config, tiny_params

from r1jax.data.packing import Denominators, Sequences, pack, unpack
from r1jax.errors import UserError
from r1jax.models.logp import score
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling

CONFIG = tiny_config("qwen2", n_layers=2, init_std=0.15)
SHAPE = EngineConfig(slots=4, max_prompt=8, max_tokens=24, prefill=2)
STOPS = (1, 7, 11, 30)
WARM = Sampling(0.9)


def letters(tokens):
    return "".join(chr(97 + t % 26) for t in tokens)


def prompt(n, problem, samples, first=0):
    tokens = np.random.default_rng(problem).integers(2, 97, n)
    return Prompt(tuple(tokens.tolist()), problem, samples, first)


PROMPTS = [
    prompt(n, problem, samples)
    for problem, (n, samples) in enumerate([(3, 3), (8, 1), (1, 4), (5, 2), (4, 4), (6, 6)])
]


@pytest.fixture(scope="module")
def engine():
    return Engine(CONFIG, mesh_of(), SHAPE, stop_ids=STOPS)


@pytest.fixture(scope="module")
def weights(engine):
    return engine.prepare(tiny_params(CONFIG))


def run(engine, weights, prompts=PROMPTS, sampling=WARM, seed=0, rollout=0, **kwargs):
    """{(problem, sample): Generated}."""
    found = list(engine.generate(weights, prompts, sampling, seed=seed, rollout=rollout, **kwargs))
    by_request = {(prompts[g.prompt].problem, g.sample): g for g in found}
    assert len(by_request) == len(found) == sum(p.samples for p in prompts)
    return by_request


def texts(results):
    return {who: g.tokens.tolist() for who, g in results.items()}


@pytest.fixture(scope="module")
def plain(engine, weights):
    return run(engine, weights)


def test_completions_end_in_both_ways_and_are_of_many_lengths(plain):
    """Otherwise the tests below would show little."""
    assert {g.finish_reason for g in plain.values()} == {"stop", "length"}
    assert len({len(g.tokens) for g in plain.values()}) > 5


def test_finish_reasons_and_stop_tokens(plain):
    for g in plain.values():
        assert not set(g.tokens[:-1].tolist()) & set(STOPS)
        stopped = g.tokens[-1] in STOPS
        assert g.finish_reason == ("stop" if stopped else "length")
        assert stopped or len(g.tokens) == SHAPE.max_tokens
        assert g.tokens.shape == g.logp.shape == g.log_mass.shape


@given(
    order=st.permutations(range(len(PROMPTS))),
    cuts=st.lists(st.integers(0, 3), min_size=6, max_size=6),
    refill=st.sampled_from([0.0, 0.125, 0.5, 1.0]),
    steps=st.sampled_from([1, 5, 512]),
)
@settings(max_examples=10, deadline=None)
def test_neither_order_nor_grouping_nor_refill_changes_a_text(
    engine, weights, plain, order, cuts, refill, steps
):
    parts = []
    for i in order:
        whole, cut = PROMPTS[i], min(cuts[i], PROMPTS[i].samples)
        parts += [replace(whole, samples=cut)] if cut else []
        parts += [replace(whole, samples=whole.samples - cut, first_sample=cut)]
    try:
        engine.config = replace(SHAPE, refill=refill, steps=steps)
        found = run(engine, weights, [p for p in parts if p.samples])
    finally:
        engine.config = SHAPE
    assert texts(found) == texts(plain)
    assert all(found[who].finish_reason == g.finish_reason for who, g in plain.items())
    for who, g in plain.items():
        np.testing.assert_allclose(found[who].logp, g.logp, rtol=0, atol=1e-5)


@jax.jit
def trainer_logp(params, batch, temperature):
    return score(params, CONFIG, batch, temperature, chunk=16)[0].logp


def scored(results, prompts, temperature):
    """The trainer's log-probabilities of generated tokens, by request."""
    by_problem = {p.problem: p.tokens for p in prompts}
    requests = list(results)
    rows = [np.array([*by_problem[who[0]], *results[who].tokens]) for who in requests]
    tokens = np.zeros((len(rows), max(map(len, rows))), np.int32)
    for i, row in enumerate(rows):
        tokens[i, : len(row)] = row
    lengths = np.array([len(results[who].tokens) for who in requests])
    sequences = Sequences(tokens, np.array([len(r) for r in rows]) - lengths, lengths)
    layout = (4, 40, 4)
    batches = pack(sequences, *layout, Denominators.of(sequences, SHAPE.max_tokens))
    logp = [np.asarray(trainer_logp(tiny_params(CONFIG), b, temperature)) for b in batches]
    logp = unpack(logp, sequences, *layout)
    return {who: logp[i, : lengths[i]] for i, who in enumerate(requests)}


@pytest.mark.parametrize("sampling", [WARM, Sampling(0.6, 0.8), Sampling(1.0, 1.0, 5)])
def test_the_sampler_reports_what_the_trainer_scores(engine, weights, sampling):
    results = run(engine, weights, sampling=sampling)
    want = scored(results, PROMPTS, sampling.temperature)
    difference = max(np.max(np.abs(g.logp - want[who])) for who, g in results.items())
    assert difference <= 1e-5
    cut = sampling.top_p < 1 or sampling.top_k
    masses = np.concatenate([g.log_mass for g in results.values()])
    assert np.all(masses <= 1e-6) and (masses.min() < -0.01 if cut else np.all(masses == 0))


def test_greedy_is_the_argmax_and_knows_no_seed(engine, weights):
    greedy = Sampling(0.0)
    results = run(engine, weights, sampling=greedy)
    assert texts(results) == texts(run(engine, weights, sampling=greedy, seed=5, rollout=2))
    for (problem, sample), g in results.items():
        assert g.tokens.tolist() == results[problem, 0].tokens.tolist(), sample
        assert np.all(g.logp > -np.log(97))
    want = scored(results, PROMPTS, 1.0)
    assert max(np.max(np.abs(g.logp - want[who])) for who, g in results.items()) <= 1e-5


@pytest.mark.parametrize("slots", [7, pytest.param(1, marks=pytest.mark.slow)])
def test_log_probabilities_agree_across_slot_counts(engine, weights, plain, slots):
    other = Engine(CONFIG, mesh_of(), replace(SHAPE, slots=slots), stop_ids=STOPS)
    for who, g in run(other, weights).items():
        n = min(len(g.tokens), len(plain[who].tokens))
        apart = np.flatnonzero(g.tokens[:n] != plain[who].tokens[:n])
        same = apart[0] if len(apart) else n
        np.testing.assert_allclose(g.logp[:same], plain[who].logp[:same], rtol=0, atol=1e-4)
        assert same == max(len(g.tokens), len(plain[who].tokens)), "no near tie in these texts"


@pytest.mark.parametrize("limit", [1, 5, 24])
def test_max_tokens_cuts_and_changes_nothing_before(engine, weights, plain, limit):
    for who, g in run(engine, weights, max_tokens=limit).items():
        whole = plain[who]
        assert g.tokens.tolist() == whole.tokens[:limit].tolist()
        ended = whole.finish_reason == "stop" and len(whole.tokens) <= limit
        assert g.finish_reason == ("stop" if ended else "length")


@pytest.mark.parametrize("strings", [("q",), ("ab", "x"), ("zzzz",)])
def test_a_stop_string_cuts_at_its_first_token_whatever_the_steps(
    engine, weights, plain, strings, monkeypatch
):
    want = {}
    for who, g in plain.items():
        tokens, text = g.tokens.tolist(), letters(g.tokens)
        ends = [text.find(s) + len(s) for s in strings if s in text]
        want[who] = (tokens[: min(ends)], "stop") if ends else (tokens, g.finish_reason)
    assert any(len(w[0]) < len(plain[who].tokens) for who, w in want.items()) == (
        strings != ("zzzz",)
    )
    monkeypatch.setattr(engine, "stop_strings", strings)
    monkeypatch.setattr(engine, "detokenize", letters)
    for steps in (1, 3, 512):
        monkeypatch.setattr(engine, "config", replace(SHAPE, steps=steps))
        found = run(engine, weights)
        assert {who: (g.tokens.tolist(), g.finish_reason) for who, g in found.items()} == want
        assert all(len(g.logp) == len(g.log_mass) == len(g.tokens) for g in found.values())


def test_stop_strings_are_looked_for_every_few_steps(engine, weights, monkeypatch):
    looks, decode = [], engine.programs.decode

    def counted(weights, slots, steps, enough_free, **kwargs):
        looks.append(int(steps))
        return decode(weights, slots, steps, enough_free, **kwargs)

    monkeypatch.setattr(engine, "programs", engine.programs._replace(decode=counted))
    monkeypatch.setattr(engine, "detokenize", letters)
    for steps, strings in ((3, ("q",)), (512, ("q",)), (512, ())):
        monkeypatch.setattr(engine, "stop_strings", strings)
        monkeypatch.setattr(engine, "config", replace(SHAPE, steps=steps))
        run(engine, weights, [PROMPTS[0]])
    assert set(looks) == {3, 16, 512}


def test_stop_strings_without_a_detokenizer_are_a_mistake():
    with pytest.raises(ValueError, match="detokenizer"):
        Engine(CONFIG, mesh_of(), SHAPE, stop_ids=STOPS, stop_strings=("q",))


def test_a_group_larger_than_the_slots_is_finished_in_parts(engine, weights):
    whole = run(engine, weights, [prompt(4, 10, 11)])
    assert sorted(whole) == [(10, i) for i in range(11)]
    single = {}
    for i in range(11):
        single |= run(engine, weights, [prompt(4, 10, 1, first=i)])
    assert texts(whole) == texts(single)
    assert len({tuple(t) for t in texts(whole).values()}) == 11


def test_every_part_of_the_key_changes_the_text(engine, weights):
    def one(problem=3, sample=0, seed=0, rollout=0):
        same_words = replace(prompt(5, 1, 1), problem=problem, first_sample=sample)
        (g,) = run(engine, weights, [same_words], Sampling(1.0), seed, rollout).values()
        return g.tokens.tolist()

    base = one()
    assert base == one()
    others = [one(problem=4), one(sample=1), one(seed=1), one(rollout=1)]
    assert len({tuple(t) for t in [base, *others]}) == 5


def test_no_prompts_no_completions(engine, weights):
    assert list(engine.generate(weights, [], WARM, seed=0, rollout=0)) == []


@pytest.mark.parametrize(
    ("prompts", "limit", "named"),
    [
        ([PROMPTS[0], prompt(9, 1, 1)], None, "--rollout.max-prompt 8: a prompt has 9 tokens"),
        ([Prompt((), 1, 1)], None, "no tokens"),
        ([PROMPTS[0]], 0, "max_tokens 0"),
        ([PROMPTS[0]], 25, "max_tokens 25 is above the engine's 24"),
    ],
)
def test_what_does_not_fit_is_refused(engine, weights, prompts, limit, named):
    with pytest.raises(UserError, match=named):
        list(engine.generate(weights, prompts, WARM, seed=0, rollout=0, max_tokens=limit))


def test_each_prompt_is_prefilled_once_for_its_whole_group(engine, weights, monkeypatch):
    admitted, admit = [], engine._admit

    def counted(weights, slots, prompts, entering, sampling):
        given = np.asarray(entering.slot)
        assert len(set(given.tolist())) == len(given), "what is copied relies on it"
        for row in np.unique(np.asarray(entering.source)[given < SHAPE.slots]):
            admitted.append(tuple(np.asarray(prompts)[row, : entering.lengths[row]]))
        return admit(weights, slots, prompts, entering, sampling)

    monkeypatch.setattr(engine, "_admit", counted)
    fitting = [p for p in PROMPTS if p.samples <= SHAPE.slots]
    run(engine, weights, fitting)
    assert sorted(admitted) == sorted(p.tokens for p in fitting)


def test_nothing_is_compiled_after_the_first_rollout(engine, weights, plain):
    compiled = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: compiled.append(event) if "backend_compile" in event else None
    )
    jax.jit(lambda x: x * 3)(np.zeros(3))
    assert len(compiled) == 1, "the counter counts"
    compiled.clear()
    run(engine, weights, [replace(p, problem=p.problem + 50) for p in PROMPTS[::-1]], rollout=4)
    run(engine, weights, PROMPTS[:2], max_tokens=3, rollout=5)
    assert compiled == []
