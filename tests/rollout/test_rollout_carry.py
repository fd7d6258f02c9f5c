"""Groups carried over rollouts: none lost, none twice, texts unchanged, and how old tokens are."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import mesh_of, tiny_config, tiny_params

from r1jax.problem import Problem
from r1jax.rollout.ending import AllBut, WholeGroups
from r1jax.rollout.engine import Engine, Generated, Prompt
from r1jax.rollout.requests import Drawn, Request
from r1jax.training.rl import carried_groups
from r1jax.training.rl.config import RolloutConfig

CONFIG = tiny_config("qwen2", n_layers=1, init_std=0.15)
STOPS = (1, 7, 11)


def left(*prompts):
    return [Request(prompt, 0, 0, (3,), 9) for prompt in prompts]


def test_all_but_some_waits_for_those_that_have_not_begun():
    assert AllBut(2).missing(left(0, 0, 1), waiting=False) == 1
    assert AllBut(2).missing(left(0, 0, 1), waiting=True) == 3
    assert AllBut(5).missing(left(0), waiting=False) == 0


@pytest.mark.parametrize(
    ("wanted", "due", "missing"),
    [
        (1, (), 0),  # group 3 is whole
        (2, (), 1),  # and group 2 lacks the least
        (3, (), 3),
        (4, (), 6),
        (9, (), 6),  # more than there are
        (2, (0,), 3),
        (1, (0,), 3),  # whole ones do not stand for one that is due
        (3, (0,), 4),
        (2, (0, 1), 5),
        (1, (3,), 0),
    ],
)
def test_whole_groups_need_the_least_that_fills_up_the_number(wanted, due, missing):
    # Group 0 has two prompts and lacks 3 completions, 1 lacks 2, 2 lacks 1.
    ending = WholeGroups([0, 0, 1, 2, 3], wanted, frozenset(due))
    assert ending.missing(left(0, 1, 1, 2, 2, 3), waiting=False) == missing
    assert ending.missing([], waiting=False) == 0


class Stream:
    """Problems that recur after seven."""

    def take(self, start, count):
        return [Problem(f"p{i % 7}", str(i), "0") for i in range(start, start + count)]


POLICY = SimpleNamespace(prompt=lambda p: (3, 5, 7 + p.number % 50, 11 + p.number % 13))


def text(problem, sample, rollout):
    """What a completion will be, of 1 to 40 tokens."""
    rng = np.random.default_rng([problem, sample, rollout])
    return rng.integers(2, 97, 1 + rng.integers(40) // (1 + rng.integers(4)))


class Writer:
    """Stands for the engine: writes `text` at random paces; logp says in which rollout."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def advance(self, weights, prompts, sampling, ending, *, seed, rollout):
        kept = {}
        for i, p in enumerate(prompts):
            assert p.samples == 1 or p.kept is None
            for j in range(p.first_sample, p.first_sample + p.samples):
                kept[i, j] = p.kept or Drawn(*np.zeros((3, 0)))
        going = [Request(i, j, 0, (), 0) for i, j in kept]
        while ending.missing(going, False):
            request = going[self.rng.integers(len(going))]
            p, who = prompts[request.prompt], (request.prompt, request.sample)
            whole, n = text(p.problem, request.sample, p.rollout), len(kept[who].tokens)
            more = whole[n : n + 1 + self.rng.integers(9)]
            new = Drawn(more, np.full(len(more), rollout), np.zeros(len(more)))
            kept[who] = kept[who].then(new)
            if len(kept[who].tokens) == len(whole):
                going.remove(request)
                yield Generated(*kept[who].arrays, *who, "stop", p.tokens)
        for request in going:
            who = request.prompt, request.sample
            yield Generated(*kept[who].arrays, *who, None, prompts[request.prompt].tokens)


@given(
    seed=st.integers(0, 999),
    prompts=st.integers(1, 5),
    group=st.integers(1, 4),
    leave=st.sampled_from([0.1, 0.4, 0.9]),
    most=st.integers(1, 4),
)
@settings(max_examples=30)
def test_nothing_is_lost_nothing_comes_twice(seed, prompts, group, leave, most):
    config = RolloutConfig(prompts=prompts, group=group, leave=leave, carry=most)
    extra, writer, stream = int(np.ceil(leave * prompts)), Writer(seed), Stream()
    carried, taken, places = (), 0, []
    for rollout in range(1, 8):
        groups = carried_groups.under_way(carried, stream, POLICY, taken, rollout, config)
        taken += len(groups) - len(carried)
        whole, carried = carried_groups.advance(writer, None, groups, config, 0, rollout)
        assert (
            len(whole) == prompts and len(carried) == extra and taken == rollout * prompts + extra
        )
        places += [g.place for g in whole]
        assert sorted(places + [g.place for g in carried]) == list(range(taken))
        for g in whole:
            assert rollout - g.rollout <= most
            assert g.problem == stream.take(g.place, 1)[0]
            for c, stale, age in zip(g.completions, g.stale, g.age, strict=True):
                assert c.tokens.tolist() == text(g.problem.number, c.sample, g.rollout).tolist()
                assert stale == np.sum(c.logp < rollout) and age == np.sum(rollout - c.logp)
        keys = [(g.problem.id, g.rollout, c.sample) for g in groups for c in g.completions]
        assert len(set(keys)) == len(keys) == (prompts + extra) * group
        problems, found = zip(*carried_groups.completed(whole), strict=True)
        assert [[c.prompt for c in own] for own in found] == [[i] * group for i in range(prompts)]
        assert list(problems) == [g.problem for g in whole]
        again = carried_groups.from_arrays(carried_groups.to_arrays(carried), stream, POLICY)
        for a, b in zip(again, carried, strict=True):
            assert (a.problem, a.place, a.rollout) == (b.problem, b.place, b.rollout)
            np.testing.assert_array_equal([a.stale, a.age], [b.stale, b.age])
            for x, y in zip(a.completions, b.completions, strict=True):
                assert (x.sample, x.finish_reason) == (y.sample, y.finish_reason)
                assert x.prompt_tokens == y.prompt_tokens == POLICY.prompt(a.problem)
                for name in ("tokens", "logp", "log_mass"):
                    np.testing.assert_array_equal(getattr(x, name), getattr(y, name))


def test_ages_by_hand():
    def group(lengths, stale, age):
        done = tuple(Generated(*np.zeros((3, n)), 0, i, "stop", ()) for i, n in enumerate(lengths))
        problem, ages = Problem("p", "", ""), (np.array(stale), np.array(age))
        return carried_groups.Group(problem, 0, 1, done, *ages)

    # Of 20 tokens 5 are from earlier rollouts, 3 of these from the last but one.
    assert carried_groups.ages([group([6, 4], [5, 0], [8, 0]), group([8, 2], [0, 0], [0, 0])]) == {
        "rollout/carried_frac": 0.25,
        "rollout/stale_frac": 0.25,
        "rollout/age_mean": 0.4,
    }
    assert carried_groups.from_arrays({}, Stream(), POLICY) == ()


SHAPE = RolloutConfig(
    slots=8, max_prompt=4, max_tokens=60, prefill=4, prompts=3, group=4, leave=0.5, carry=3
)


@pytest.mark.parametrize(
    ("shapes", "strings"),
    [
        ({}, ("ab", "x")),
        pytest.param({"first_length": 16, "tail": 2}, (), marks=pytest.mark.slow),
        ({"first_length": 16, "tail": 2, "cache_tokens": 256}, ()),
    ],
    ids=["one shape", "growing", "bounded"],
)
def test_a_carried_text_is_the_uninterrupted_one(shapes, strings):
    config = replace(SHAPE, **shapes)
    letters = lambda tokens: "".join(chr(97 + t % 26) for t in tokens)  # noqa: E731
    engine = Engine(
        CONFIG, mesh_of(), config, stop_ids=STOPS, stop_strings=strings, detokenize=letters
    )
    weights, stream = engine.prepare(tiny_params(CONFIG)), Stream()
    carried, taken, seen, parked = (), 0, [], 0
    for rollout in range(1, 6):
        groups = carried_groups.under_way(carried, stream, POLICY, taken, rollout, config)
        taken += len(groups) - len(carried)
        whole, carried = carried_groups.advance(engine, weights, groups, config, 9, rollout)
        seen += whole
        begun = [n for g in carried for n in g.lengths[~np.array(finished(g))]]
        parked += sum(n + 4 >= engine.shapes[0].length for n in begun)
    assert len(seen) == 15 and sum((g.stale > 0).sum() for g in seen) > 8
    lengths = np.concatenate([g.lengths for g in seen])
    assert lengths.max() > 20 if strings else lengths.max() == 60 and parked
    for began in range(1, 6):
        own = [g for g in seen if g.rollout == began]
        prompts = [
            Prompt(POLICY.prompt(g.problem), g.problem.number, 4, g.completions[0].sample)
            for g in own
        ]
        plain = engine.generate(weights, prompts, config.sampling, seed=9, rollout=began)
        want = {(g.prompt, g.sample): g for g in plain}
        for i, g in enumerate(own):
            for c in g.completions:
                other = want[i, c.sample]
                assert c.tokens.tolist() == other.tokens.tolist()
                assert c.finish_reason == other.finish_reason
                np.testing.assert_allclose(c.logp, other.logp, rtol=0, atol=1e-4)


def finished(group):
    return [c.finish_reason is not None for c in group.completions]


def test_under_other_weights_what_was_drawn_before_keeps_its_numbers():
    config = replace(SHAPE, max_tokens=24)
    engine = Engine(CONFIG, mesh_of(), config, stop_ids=STOPS)
    old, new = (engine.prepare(tiny_params(CONFIG, seed)) for seed in (0, 1))
    groups = carried_groups.under_way((), Stream(), POLICY, 0, 1, config)
    whole, carried = carried_groups.advance(engine, old, groups, config, 0, 1)
    groups = carried_groups.under_way(carried, Stream(), POLICY, 5, 2, replace(config, carry=1))
    before = {g.place: g for g in carried}
    whole, rest = carried_groups.advance(engine, new, groups, replace(config, carry=1), 0, 2)
    late = [g for g in whole if g.rollout == 1]
    assert {g.place for g in late} == before.keys() and not any(g.rollout == 1 for g in rest)
    for g in late:
        for a, b in zip(before[g.place].completions, g.completions, strict=True):
            n = len(a.tokens)
            assert n == len(b.tokens) if a.finish_reason else n < len(b.tokens)
            np.testing.assert_array_equal(b.tokens[:n], a.tokens)
            np.testing.assert_array_equal(b.logp[:n], a.logp)
