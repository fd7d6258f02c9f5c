"""Rewards given while a rollout is written: the same numbers, in time; threads come to an end."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from runs import save_model, tiny_run

from r1jax.errors import UserError
from r1jax.problem import Problem, RewardContext
from r1jax.rewards import (
    BaseReward,
    Counts,
    RewardPool,
    SandboxConfig,
    Term,
    accuracy,
    code,
    per_answer,
    per_completion,
    per_token,
    random_reward,
    strict_format,
)
from r1jax.rewards.score import joined, score
from r1jax.rollout.engine import Generated
from r1jax.run.progress import Progress
from r1jax.training.rl import collect, judging, setup
from r1jax.training.rl import loop as rl
from r1jax.training.rl.judgement import Judgement, judge
from r1jax.training.rl.judging import Judging
from r1jax.training.rl.setup import build
from r1jax.training.rl.state import Loop

DOUBLE = Problem("double", "Double a number.", "", "code", {"test_list": ["assert double(1) == 2"]})
GROUP = 4


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A policy whose completions have 1 to 24 tokens, looked at after each step."""
    sizes = {"slots": 20, "steps": 1, "prompts": 5, "max_tokens": 24}
    shapes = {f"rollout.{name}": size for name, size in sizes.items()}
    model = save_model(tmp_path_factory.mktemp("model"))
    return build(tiny_run(model, tmp_path_factory.mktemp("run"), shapes), note=print)


@pytest.fixture(scope="module")
def weights(parts):
    return parts.engine.prepare(parts.model(setup.initial_state(parts).params))


@pytest.fixture(scope="module")
def workers():
    with RewardPool(workers=2, wall_seconds=60) as pool:
        yield pool


@per_answer
def first_digit(problem, answer):
    return float(answer[0])  # most random answers raise: lost, and counted


@per_completion
def short(problem, completion):
    return None if len(completion.token_ids) > 6 else float(len(completion.token_ids))


def rank(problems, completions, context):
    """Depends on the whole group, and says if it sees more, or less, or another step."""
    lengths = [len(c.token_ids) for c in completions]
    assert len(set(context.group_ids)) == 1 and len(lengths) == GROUP
    return [context.group_ids[0] + sorted(lengths).index(n) / 8 for n in lengths]


def fragile(problems, completions, context):
    if context.group_ids[0] in (1, 3):
        raise ValueError("no reward for these two groups")
    return [context.step / 2] * len(completions)


TERMS = [
    Term("accuracy", accuracy(sandbox=SandboxConfig(unsafe=True)), 0.7),
    Term("code", code(share=True, sandbox=SandboxConfig(unsafe=True)), 2.0),
    Term("format", strict_format, 0.1),
    Term("random", random_reward(3), 0.3),
    Term("digit", first_digit, 0.3),
    Term("short", short, 1 / 3),
    Term("rank", rank, 0.9),
    Term("fragile", fragile),
]


def until(true, seconds=60.0):
    """Waits for something that another thread does."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.002)


def generate(parts, weights, problems, whole):
    r = parts.config.rollout
    return collect.generate(
        parts.engine, parts.policy, weights, problems, r.group, r.sampling, 0, 1, whole=whole
    )


@pytest.mark.parametrize("pooled", [False, True])
def test_judged_in_parts_is_judged_at_once(pooled, parts, weights, workers):
    pool = workers if pooled else RewardPool(workers=0)
    problems = [*parts.stream.take(0, 4), DOUBLE]
    arrived = []
    with Judging(parts.policy, TERMS, pool, step=5) as judged:

        def whole(problem, group):
            arrived.append(group[0].prompt)
            judged.take(problem, group)
            if len(arrived) < 4:  # a batch of its own; the last two may be one
                until(lambda: len(judged._batches) == len(arrived))

        generated = generate(parts, weights, problems, whole)
        drawn = judged.finish()
    assert len({len(g.tokens) for g in generated}) > 3
    assert sorted(arrived) == [0, 1, 2, 3, 4] != arrived
    assert drawn.generated == generated
    assert [p.id for p in drawn.problems] == [p.id for p in problems for _ in range(GROUP)]
    assert drawn.completions == [parts.policy.completion(g) for g in generated]
    np.testing.assert_array_equal(drawn.groups, np.repeat(np.arange(5), GROUP))
    context = RewardContext(5, tuple(drawn.groups.tolist()), parts.policy.tokenizer)
    at_once = judge(TERMS, drawn.problems, drawn.completions, context, pool)
    assert drawn.judgement.total.tobytes() == at_once.total.tobytes()
    assert {name: part.tobytes() for name, part in drawn.judgement.parts.items()} == {
        name: part.tobytes() for name, part in at_once.parts.items()
    }
    assert drawn.judgement.lost == at_once.lost
    assert at_once.lost["fragile"] == 2 * GROUP
    assert np.unique(at_once.parts["rank"]).size > 5
    assert 0 < np.isnan(at_once.parts["short"]).sum() < 20
    assert set(at_once.parts["fragile"]) == {0.0, 2.5}


class Watched:
    """An engine that does not end its last completion before `event`."""

    def __init__(self, engine, event):
        self.prepare, self._engine, self._event = engine.prepare, engine, event
        self.ended = threading.Event()

    def generate(self, *args, **kwargs):
        *found, last = self._engine.generate(*args, **kwargs)
        yield from found
        assert self._event.wait(60)
        self.ended.set()
        yield last


def draw(parts, terms, engine):
    """The groups of a rollout, as the loop of training draws them."""
    parts = dataclasses.replace(parts, terms=terms, engine=engine, pool=RewardPool(workers=0))
    loop = Loop(setup.initial_state(parts), None)
    files = SimpleNamespace(progress=Progress(1, "", enabled=False))
    return rl.draw_groups(parts, loop, files), loop


def alive():
    return [thread for thread in threading.enumerate() if thread.name.startswith("judging")]


def test_rewards_begin_before_the_devices_end(parts):
    begun, events = threading.Event(), []

    def slow(problems, completions, context):
        begun.set()
        time.sleep(0.05)
        events.append((threading.current_thread().name, engine.ended.is_set()))
        return [0.5] * len(completions)

    engine = Watched(parts.engine, begun)
    (drawn, told), loop = draw(parts, [Term("slow", slow)], engine)
    assert events[0][0].startswith("judging") and len(events) == 5
    assert events[-1][1]  # the last group waited for the last completion
    assert drawn.judgement.total.tolist() == [0.5] * 20
    assert told["perf/reward_seconds"] >= 5 * 0.05
    assert told["rollout/rounds"] == 1 and loop.seconds["time/reward"] > 0
    assert not alive()


def test_a_mistake_in_a_reward_ends_the_rollout(parts):
    begun = threading.Event()

    def wrong(problems, completions, context):
        begun.set()
        return [1.0]

    with pytest.raises(UserError, match="^reward wrong returned 1 values for 4 completions; retu"):
        draw(parts, [Term("wrong", wrong)], Watched(parts.engine, begun))
    assert not alive()


def hand_made(prompt, sizes=(1, 2, 3)):
    tokens = [np.full(n, 5, np.int32) for n in sizes]
    return [Generated(t, 0.0 * t, 0.0 * t, prompt, i, "stop", ()) for i, t in enumerate(tokens)]


def test_generation_learns_of_it_at_the_next_group(parts):
    terms = [Term("accuracy", accuracy())]
    with Judging(parts.policy, terms, RewardPool(workers=0), step=0) as judged:
        judged.take(Problem("a", "?", "1", "nobody"), hand_made(0))
        until(lambda: judged._calls[0].done())
        with pytest.raises(UserError, match="nobody"):
            judged.take(Problem("b", "?", "1"), hand_made(1))
        with pytest.raises(UserError, match="nobody"):
            judged.finish()


@pytest.mark.parametrize("pooled", [False, True])
def test_ctrl_c_breaks_off_what_the_thread_is_at(pooled, parts, workers):
    """A worker in the middle of a text; this process between two of them."""
    pool = workers if pooled else RewardPool(workers=0)
    begun, seconds = threading.Event(), 50.0 if pooled else 0.5

    @per_completion
    def forever(problem, completion):
        time.sleep(seconds)

    @per_completion
    def beginning(problem, completion):
        begun.set()
        return forever.function(problem, completion)

    began = time.monotonic()
    terms = [Term("x", forever if pooled else beginning)]
    with pytest.raises(KeyboardInterrupt):
        with Judging(parts.policy, terms, pool, step=0) as judged:
            judged.take(Problem("a", "?", "1"), hand_made(0, (1,) * 80))
            until(lambda: begun.is_set() or any(w.busy for w in pool._team))
            raise KeyboardInterrupt
    assert time.monotonic() - began < 35 and not alive()
    assert pool.map(short, [Problem("a", "?", "1")], [parts.policy.completion(hand_made(0)[0])],
                    RewardContext())[0] == [1.0]  # fmt: skip


def test_groups_that_wait_are_one_batch(parts, monkeypatch):
    monkeypatch.setattr(judging, "GATHER_SECONDS", 60.0)  # the end does not wait for more
    with Judging(parts.policy, TERMS[2:3], RewardPool(workers=0), step=0) as judged:
        for prompt in (2, 0, 1):
            judged.take(Problem(f"p{prompt}", "?", "1"), hand_made(prompt))
        drawn = judged.finish()
    assert len(judged._batches) == 1
    assert [p.id for p in drawn.problems] == ["p0"] * 3 + ["p1"] * 3 + ["p2"] * 3


class Device(BaseReward):
    """Stands for a reward model: what it was called with, and in which thread."""

    per_item, place = False, "devices"
    calls: list = []

    def __call__(self, problems, completions, context):
        self.calls.append((threading.current_thread(), context.group_ids))
        return [float(len(c.token_ids)) for c in completions]


def test_reward_models_judge_everything_at_the_end(parts):
    terms = [Term("device", Device(), 10.0), Term("format", strict_format)]
    with Judging(parts.policy, terms, RewardPool(workers=0), step=0) as judged:
        for prompt in (1, 0):
            judged.take(Problem(f"p{prompt}", "?", "1"), hand_made(prompt, (2 + prompt, 1)))
            until(lambda n=2 - prompt: len(judged._batches) == n)
        assert not Device.calls
        drawn = judged.finish()
    assert Device.calls == [(threading.main_thread(), (0, 0, 1, 1))]
    assert drawn.judgement.total.tolist() == [20.0, 10.0, 30.0, 10.0]
    assert drawn.judgement.parts["device"].tolist() == [2.0, 1.0, 3.0, 1.0]


def test_rewards_that_are_lost_are_said_once_and_end_a_run_that_has_no_others():
    def lost(count, why="E: a"):
        return Judgement(np.zeros(4), {}, {"f": count, "g": 0}, why={"f": why} if why else {})

    known = {}
    said = "reward f: {} of 4 completions could not be judged and earn 0 by it"
    with pytest.raises(UserError, match=rf"\A{said.format(4)} \(E: a\); mend it, or"):
        list(lost(4).complaints(known, "f"))
    with pytest.raises(UserError, match=f"{said.format(4)}; mend it"):  # in another process
        list(lost(4, "").complaints({}, "f"))
    watched, warned = {}, [f"warning: {said.format(4)} (E: a); reward_lost/f counts them"]
    for expected in (warned, []):  # nothing is learnt from it
        assert list(lost(4).complaints(watched, "g")) == expected
    assert list(lost(0).complaints(known, "f")) == [] and known == {"f": False, "g": False}
    assert list(lost(4).complaints(known, "f")) == warned
    assert list(lost(1).complaints(known, "f")) == [] == list(lost(4).complaints(known, "f"))


def test_what_was_lost_adds_up_over_calls():
    calls = [([1.0], Counts(cpu=1)), ([None, 0.0], Counts(cpu=2, errors=1, first_error="E: a")),
             ([0.5], Counts(retried=3, errors=1, first_error="E: b"))]  # fmt: skip
    values, counts = joined(calls)
    assert values == [1.0, None, 0.0, 0.5]
    assert counts == Counts(cpu=3, errors=2, retried=3, first_error="E: a") and counts.lost == 5
    assert counts.why == "E: a" and Counts(cpu=2, died=1, retried=9).why == (
        "2 over their CPU time, 1 their worker ended"
    )
    problems = [Problem("p", "?", "1")] * 4
    nothing = Term("other", lambda p, c, x: [1.0] * len(p))
    total, parts, lost = score(
        [Term("known", None, 2.0), nothing], problems, problems, RewardContext(),
        judged={"known": (values, counts)},
    )  # fmt: skip
    assert total == [3.0, 1.0, 1.0, 2.0]
    assert list(parts) == ["known", "other"] and lost["known"] is counts


# --- rewards of tokens -----------------------------------------------------------------------


@per_token
@per_completion
def countdown(problem, completion):
    """n, None, n - 2, None, ... over n tokens; single tokens are left out."""
    n = len(completion.token_ids)
    return [None if i % 2 else float(n - i) for i in range(n)] if n > 1 else None


@per_token
def places(problems, completions, context):
    return [[float(i)] * len(c.token_ids) for i, c in enumerate(completions)]


class TokenDevice(Device):
    per_token = True

    def __call__(self, problems, completions, context):
        return [[0.25] * len(c.token_ids) for c in completions]


@pytest.mark.parametrize("pooled", [False, True])
def test_tokens_have_rewards_beside_the_totals(pooled, parts, workers):
    pool = workers if pooled else RewardPool(workers=0)
    terms = [
        Term("countdown", countdown, 2.0),
        Term("format", strict_format),
        Term("places", places),
        Term("device", TokenDevice(), 4.0),
    ]
    with Judging(parts.policy, terms, pool, step=0) as judged:
        for prompt in (1, 0):  # told in the order of prompts, whatever came first
            judged.take(Problem(f"p{prompt}", "?", "1"), hand_made(prompt, (1, 3 + prompt)))
            until(lambda n=2 - prompt: len(judged._batches) == n)
        found = judged.finish().judgement
    x = np.nan
    assert found.total.tolist() == [0.0] * 4
    np.testing.assert_array_equal(
        found.tokens["countdown"],
        [[x, x, x, x], [6, x, 2, x], [x, x, x, x], [8, x, 4, x]],
    )
    np.testing.assert_array_equal(
        found.tokens["places"], [[0, x, x, x], [1, 1, 1, x], [0, x, x, x], [1, 1, 1, 1]]
    )
    np.testing.assert_array_equal(
        found.token_rewards, [[1, x, x, x], [8, 2, 4, x], [1, x, x, x], [10, 2, 6, 2]]
    )
    assert found.tokens["device"].dtype == np.float32
    np.testing.assert_array_equal(found.parts["countdown"], [x, 4, x, 6])
    np.testing.assert_array_equal(found.parts["device"], [0.25, 0.75, 0.25, 1.0])
    assert found.earned.tolist() == [1, 14, 1, 20]
    assert found.lost == dict.fromkeys(("countdown", "format", "places", "device"), 0)
    some = found.take(np.array([3, 0]))
    assert some.tokens["places"].tolist()[0] == [1] * 4 and some.earned.tolist() == [20, 1]
    narrow = Judgement(found.total, found.parts, found.lost,
                       {name: own[:, :2] for name, own in found.tokens.items()})  # fmt: skip
    both = narrow.joined(found)
    np.testing.assert_array_equal(both.tokens["places"][[1, 5]], [[1, 1, x, x], [1, 1, 1, x]])
    assert both.total.shape == (8,) and both.earned[4:].tolist() == [1, 14, 1, 20]


def test_without_such_terms_nothing_is_there(parts):
    found = judge([Term("format", strict_format)], [], [], RewardContext(), RewardPool(workers=0))
    assert found.tokens == {} and found.token_rewards is None
    assert found.earned is found.total


def test_they_reach_the_advantages_and_the_metrics(parts):
    """Completions earn 1 where they have an odd number of tokens, their first token its half."""
    odd = per_completion(lambda problem, completion: len(completion.token_ids) % 2)

    @per_token
    @per_completion
    def beginning(problem, completion):
        return [len(completion.token_ids), *[None] * (len(completion.token_ids) - 1)]

    terms = [Term("odd", odd), Term("beginning", beginning, 0.5)]
    chosen = dataclasses.replace(parts, terms=terms, pool=RewardPool(workers=0))
    files = SimpleNamespace(progress=Progress(1, "", enabled=False), samples=lambda *_: None)
    scored = rl.new_rollout(chosen, Loop(setup.initial_state(parts), None), files)
    lengths = scored.sequences.lengths
    above = [
        (x - x.mean(1, keepdims=True)).ravel()
        for x in (lengths.reshape(-1, GROUP) % 2, lengths.reshape(-1, GROUP) / 2)
    ]
    expected = np.where(np.arange(lengths.max()) < lengths[:, None], above[0][:, None], 0)
    expected[:, 0] += above[1]  # of no other token: it has the rewards from it to the end
    np.testing.assert_allclose(scored.sequences.columns["advantages"], expected, atol=1e-6)
    assert np.unique(lengths).size > 3
    metrics = scored.metrics
    assert metrics["reward/beginning"] == pytest.approx(lengths.mean())
    assert metrics["reward/mean"] == pytest.approx((lengths % 2 + lengths / 2).mean())


PROCESSES = """
import sys, jax, numpy as np
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import BaseReward, RewardPool, Term, per_completion, per_token
from r1jax.training.rl.judgement import Judgement, judge

jax.distributed.initialize(sys.argv[1], 2, int(sys.argv[2]))
me = jax.process_index()

@per_token
@per_completion
def steps(problem, completion):
    assert me == 0, "graded by the first process alone"
    return [i + 0.5 for i in range(len(completion.token_ids))]

class Everywhere(BaseReward):
    per_item, per_token, place = False, True, "devices"

    def __call__(self, problems, completions, context):
        print("everywhere", me)
        return [None, *([1.0] * len(c.token_ids) for c in completions[1:])]

terms = [Term("steps", steps, 2.0), Term("everywhere", Everywhere())]
completions = [Completion.parse("x", range(n)) for n in (1, 3)]
found = judge(terms, [Problem("p", "?", "1")] * 2, completions, RewardContext(), RewardPool(0))
print(*(own.tolist() for own in (*found.tokens.values(), found.token_rewards)),
      found.parts["steps"].tolist(), found.lost)
"""


@pytest.mark.slow
def test_two_processes_hold_the_same_rewards_of_tokens():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{s.getsockname()[1]}"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", PROCESSES, address, str(i)],
            env=os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": ""},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for i in range(2)
    ]  # fmt: skip
    said = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    lines = [[x for x in out.splitlines() if "Gloo" not in x] for out, _ in said]
    assert [first for first, *_ in lines] == ["everywhere 0", "everywhere 1"]
    assert (
        lines[0][1]
        == lines[1][1]
        == (
            "[[1.0, nan, nan], [1.0, 3.0, 5.0]] [[nan, nan, nan], [1.0, 1.0, 1.0]] "
            "[[1.0, nan, nan], [2.0, 4.0, 6.0]] [0.5, 4.5] {'steps': 0, 'everywhere': 0}"
        )
    )
