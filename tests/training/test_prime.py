"""PRIME: a reward tower learns from outcomes, says what tokens earn, is saved and resumed."""

from __future__ import annotations

import os
import signal
from dataclasses import replace

import jax
import numpy as np
import pytest
from runs import StopAt, go, rows, save_model, tiny_run, with_other_tokens
from tiny import identical, largest_difference

from r1jax.errors import Stopped, UserError
from r1jax.presets.prime import PRIME
from r1jax.report.curves import charts
from r1jax.rewards import random_reward
from r1jax.rollout.policy import load_policy
from r1jax.training import weights
from r1jax.training.rl import collect, credit, memory, reward_tower
from r1jax.training.rl.reward_tower import RewardTower
from r1jax.training.rl.setup import build, initial_state

ON = {
    "loss.advantage_baseline": "others",
    "loss.advantage_whiten": True,
    "reward.accuracy": 1.0,
    "reward.random": 0.0,
    "prime.weight": 1.0,
    "prime.lr": 1e-2,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def coins(monkeypatch):
    """What is right is a coin's word, as a model without knowledge would never be."""
    monkeypatch.setattr(collect, "accuracy", lambda *args, **kwargs: random_reward(0))


def shrunk(name, model, path):
    """The preset at toy size, its tower in a hurry."""
    toy, preset = tiny_run(model, path), PRIME[name]
    shape = {f: getattr(toy.rollout, f) for f in ("max_prompt", "max_tokens", "slots", "prefill")}
    return replace(
        preset, run=str(path), model=model, updates=4, data=toy.data, memory="off",
        rollout=replace(preset.rollout, prompts=2, max_rounds=4, dtype="float32", **shape),
        reward=replace(preset.reward, workers=0), prime=replace(preset.prime, lr=1e-2),
        train=replace(toy.train, updates_per_rollout=min(preset.train.updates_per_rollout, 2)),
        optimizer=replace(preset.optimizer, lr=3e-3), eval=toy.eval,
        checkpoint=replace(toy.checkpoint, every=3),
    )  # fmt: skip


def stopping_at(step):
    """A tower's step in which, the first time it is the `step`-th, the run is asked to end."""
    steps, original = [], RewardTower.learn

    def learn(*args):
        found = original(*args)
        steps.append(1)
        if len(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return found

    return learn


def test_tokens_earn_nothing_at_first_and_something_once_outcomes_were_seen(
    model, tmp_path, monkeypatch
):
    parts = build(tiny_run(model, tmp_path, ON | {"updates": 2}), note=print)
    seen, original = [], credit.rollout_advantages
    monkeypatch.setattr(
        credit, "rollout_advantages", lambda *args: seen.append(args[-2]) or original(*args)
    )
    loop, start = go(parts, tmp_path), initial_state(parts).params
    assert not seen[0].any() and np.abs(seen[1]).max() > 0.1
    assert identical(loop.reference, start)  # in neither update it followed
    assert largest_difference(loop.tower.params, start) > 1e-2
    assert largest_difference(loop.tower.params, loop.state.params) > 1e-2
    first, second = rows(tmp_path)
    assert first["prime/loss"] == pytest.approx(np.log(2), rel=1e-6)
    assert first["prime/dpo_acc"] == 0.5  # all alike
    assert 0 <= second["prime/dpo_acc"] <= 1 and second["prime/loss"] != first["prime/loss"]
    # Learning is three times a judging pass, and the policy's update costs as much.
    spent = second["operations/prime"]
    assert spent == pytest.approx(second["operations/update"] * 4 / 3, rel=1e-6)
    assert {"prime", "prime_loss"} <= {chart.name for chart in charts([first, second], [])}


@pytest.mark.slow
@pytest.mark.parametrize("name", PRIME)
def test_a_preset_runs_and_is_resumed_bit_by_bit(name, model, tmp_path, monkeypatch):
    """Stopped between updates, and by a signal in the middle of the second rollout's learning."""
    parts = build(shrunk(name, model, tmp_path / "whole"), note=print)
    whole = go(parts, tmp_path / "whole")
    found = rows(tmp_path / "whole")
    steps = {"prime": 2 * 4, "prime-verl": 4 * 4}[name]
    assert (int(whole.state.update), int(whole.tower.update)) == (4, steps)
    assert all(row.get("rollout/rounds", 1) >= 1 and row["loss"] is not None for row in found)
    # One that learns before it judges knows outcomes that it has seen.
    if name == "prime-verl":
        assert np.mean([row["prime/dpo_acc"] for row in found]) > 0.8
    assert go(parts, tmp_path / "again", StopAt(1)) is None
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        patch.setattr(RewardTower, "learn", stopping_at(5))  # each rollout has four parts
        go(parts, tmp_path / "again")
    assert go(parts, tmp_path / "again", StopAt(4)) is None
    again = go(parts, tmp_path / "again")
    assert identical((again.state, again.tower), (whole.state, whole.tower))
    assert identical(again.reference, whole.reference)
    assert rows(tmp_path / "again") == found


def test_the_memory_plan_counts_tower_and_reference(model, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "update_bytes", lambda *args: 0)  # which would compile
    for rank in (0, 2):
        parts = build(tiny_run(model, tmp_path, ON | {"lora.rank": rank}), note=print)
        plan = memory.plan(parts)
        assert plan["prime"] == plan["weights"] + plan["optimizer"] > 0
        assert plan["reference"] == plan["weights"]
        kept = ("weights", "frozen base", "optimizer", "reference", "prime")
        assert plan["peak"] >= sum(plan[name] for name in kept)


@pytest.mark.slow
def test_with_lora_the_tower_is_factors_of_its_own(model, tmp_path):
    parts = build(tiny_run(model, tmp_path, ON | {"lora.rank": 2, "updates": 1}), note=print)
    loop, start = go(parts, tmp_path), initial_state(parts).params
    shapes = [jax.tree.map(np.shape, x) for x in (loop.tower.params, loop.state.params)]
    assert shapes[0] == shapes[1]
    assert largest_difference(loop.tower.params, start) > 1e-3


@pytest.mark.slow
def test_a_tower_may_begin_with_the_weights_of_another_run(model, tmp_path):
    other = build(tiny_run(model, tmp_path / "other", {"updates": 1}), note=print)
    learnt = go(other, tmp_path / "other").state.params
    start = {"prime.parent": str(tmp_path / "other" / "checkpoints"), "updates": 1}
    parts = build(tiny_run(model, tmp_path / "run", ON | start), note=print)
    reference = initial_state(parts).params
    assert identical(parts.rewarder.fresh(reference).params, learnt)
    go(parts, tmp_path / "run")
    assert rows(tmp_path / "run")[0]["prime/loss"] != pytest.approx(np.log(2), rel=1e-6)


@pytest.mark.parametrize("flags", [ON, {"loss.advantage_baseline": "critic"}])
def test_runs_that_differ_in_no_program_compile_a_tower_once(model, tmp_path, flags):
    parts = [
        build(tiny_run(model, tmp_path, flags | {"train.max_skipped": n}), note=print)
        for n in (4, 5)
    ]
    assert parts[0].tower.functions is parts[1].tower.functions


def test_a_parent_of_other_tokens_is_refused_however_many(model, tmp_path, monkeypatch):
    policy, other = (
        load_policy(m, "plain") for m in (model, with_other_tokens(model, tmp_path / "o"))
    )
    assert len(policy.tokenizer) == len(other.tokenizer)
    saved = {"directory": str(tmp_path), "step": 3}
    monkeypatch.setattr(weights, "find_step", lambda *_: 3)
    for meta in (policy.identity, policy.identity | {"tokenizer": {"size": 1024, "eos": 2}}):
        monkeypatch.setattr(weights, "read_meta", lambda *_, meta=meta: meta)
        assert weights.find_parent(policy, str(tmp_path), None) == saved
    monkeypatch.setattr(weights, "read_meta", lambda *_: other.identity)
    asked = weights.NamedTeacher(model, parent=str(tmp_path))
    for flag, find in {
        "--parent": lambda: weights.find_parent(policy, str(tmp_path), None),
        "--teacher.parent": lambda: weights.find_teacher_parent(policy, asked, False),
        "--prime.parent": lambda: build(
            tiny_run(model, tmp_path, ON | {"prime.parent": str(tmp_path)}), note=print
        ),
    }.items():
        with pytest.raises(
            UserError, match=f"{flag} {tmp_path}: has other tokens than {model}; na"
        ):
            find()
    # A command that judges, labels or answers with a checkpoint's weights.
    with pytest.raises(UserError, match=f"^{tmp_path}: has other tokens than {model}; name chec"):
        weights.trained_weights(policy, None, str(tmp_path))
    monkeypatch.setattr(weights, "read_meta", lambda *_: policy.identity | {"reward_model": {}})
    with pytest.raises(UserError, match=f"^{tmp_path}: holds a reward model; name the checkp"):
        weights.trained_weights(policy, None, str(tmp_path))


def test_a_tower_of_another_model_is_refused(model, tmp_path, monkeypatch):
    policy = build(tiny_run(model, tmp_path), note=print).policy
    for name in ("tokenizer", "model"):
        there = policy.identity | {name: {"size": 7}}
        monkeypatch.setattr(reward_tower, "read_meta", lambda *_, there=there: there)
        with pytest.raises(UserError, match=f"--prime.parent /runs/a: has another {name} than"):
            reward_tower.check_alike({"directory": "/runs/a", "step": 1}, policy)
    older = {k: v for k, v in policy.identity["tokenizer"].items() if k != "tokens"}
    for there in (policy.identity, policy.identity | {"tokenizer": older}):
        monkeypatch.setattr(reward_tower, "read_meta", lambda *_, there=there: there)
        reward_tower.check_alike({"directory": "/runs/a", "step": 1}, policy)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"prime.lr": 1e-3}, "--prime: is read with a --prime.weight above 0 alone"),
        (ON | {"reward.accuracy": 0.0, "reward.random": 1.0}, "--prime.weight 1.0: .* raw acc"),
        (ON | {"loss.advantage_baseline": "critic"}, "--prime.weight 1.0: compares a token"),
        (ON | {"loss.advantage_baseline": "token"}, "--prime.weight 1.0: compares a token"),
        (ON | {"loss.advantage_baseline": "none", "rollout.group": 1}, "--rollout.group 2 or more"),
        (ON | {"train.reference_every": 2}, "--train.reference-every 2: .* a reference that stays"),
        (ON | {"lora.rank": 2, "prime.parent": "runs/a"}, "--prime.parent runs/a: with --lora"),
        (ON | {"prime.parts": 17}, "--prime.parts 17: a rollout has 16 completions"),
        ({"rollout.accuracy_low": 0.2}, "--rollout.accuracy-low, .* --rollout.max-rounds above 1"),
    ],
)
def test_a_tower_that_cannot_be_had_is_refused(changes, said, model, tmp_path):
    with pytest.raises(UserError, match=said):
        tiny_run(model, tmp_path, changes)


def test_presets_hold_what_their_projects_ran():
    own, verl = PRIME["prime"], PRIME["prime-verl"]
    for run in (own, verl):
        assert (run.optimizer.lr, run.prime.lr, run.prime.clip) == (5e-7, 1e-6, 10)
        assert (run.prime.beta, run.prime.norm, run.loss.beta) == (0.05, "batch", 0)
        assert run.loss.advantage_baseline == "others" and run.loss.advantage_whiten
        assert run.rollout.group == 4
        assert (run.rollout.accuracy_low, run.rollout.accuracy_high) == (0.2, 0.8)
    assert (own.prime.update, own.prime.weight, own.reward.accuracy) == ("after", 1, 1)
    assert (verl.prime.update, verl.prime.weight, verl.reward.accuracy) == ("before", 5, 5)
    assert own.prime.last_token and not own.prime.times_beta
    assert verl.prime.times_beta and not verl.prime.last_token
