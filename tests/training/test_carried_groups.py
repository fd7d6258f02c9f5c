"""Runs that carry unfinished groups over: what they learn from, their weights, and their resume."""

from __future__ import annotations

import numpy as np
import pytest
from runs import StopAt, go, rows, save_model, tiny_run
from tiny import identical

from r1jax.errors import UserError
from r1jax.stages.opening import opened
from r1jax.training.batches import place_batch
from r1jax.training.rl import loop as rl
from r1jax.training.rl.resume import begin
from r1jax.training.rl.setup import build
from r1jax.training.rl.tower import copied

CARRY = {
    "rollout.leave": 0.5,
    "rollout.carry": 2,
    "rollout.slots": 8,
    "loss.importance_cap": 1.5,
    "optimizer.lr": 2e-2,
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def test_tokens_of_older_weights_are_weighed_by_what_has_changed(model, tmp_path):
    """One update per rollout: π of now over that of then, from passes made by hand."""
    parts = build(tiny_run(model, tmp_path / "run", CARRY), note=print)
    assert not parts.needs_old
    then, weighed = [], []
    with opened(parts.config) as run:
        files = run.files(parts.config)
        loop = begin(parts, files)
        for _ in range(3):
            loop.scored = rl.new_rollout(parts, loop, files)
            then.append(copied(loop.state.params))
            found = loop.scored.metrics
            metrics, batches = rl.learn(parts, loop)
            ratios, apart = [], []
            for batch in batches:
                mask, sampler = batch.mask > 0, np.asarray(batch.sampler_logp)
                each = np.stack([np.asarray(parts.logp(p, place_batch(batch, parts.mesh)))
                                 for p in then])  # fmt: skip
                ratios.append(np.exp(each[-1] - sampler)[mask])
                apart.append(np.abs(each - sampler)[:, mask])
            ratio, apart = np.concatenate(ratios), np.concatenate(apart, axis=1)
            assert apart.min(axis=0).max() < 1e-4  # each token is of one of the policies so far
            wanted = np.minimum(ratio, 1.5).mean()
            assert metrics["policy/importance_mean"] == pytest.approx(wanted, abs=1e-4)
            fresh = np.mean(apart[-1] < 1e-4)  # a token of older weights may look like one as well
            assert fresh >= 1 - found["rollout/stale_frac"] - 1e-9
            assert (found["rollout/stale_frac"] == 0) == (len(then) == 1)
            weighed.append(float(np.abs(ratio - 1).max()))
            rl.record(parts, loop, files, metrics)
    assert weighed[0] < 1e-4 and min(weighed[1:]) > 0.1 and not loop.warned


@pytest.fixture(scope="module")
def whole(model, tmp_path_factory):
    """(parts, directory, final loop) of a run with two updates per rollout."""
    path = tmp_path_factory.mktemp("whole") / "run"
    flags = CARRY | {"train.updates_per_rollout": 2, "updates": 7, "loss.beta": 0.1}
    parts = build(tiny_run(model, path, flags), note=print)
    return parts, path, go(parts, path)


def test_a_run_learns_from_whole_groups_old_and_new(whole):
    _, path, loop = whole
    assert (loop.taken, len(loop.carried)) == (4 * 4 + 2, 2)
    first, *later = [row for row in rows(path) if "rollout/carried_frac" in row]
    assert first["rollout/carried_frac"] == first["rollout/age_mean"] == 0
    assert all(0 < row["rollout/stale_frac"] <= row["rollout/age_mean"] for row in later)
    assert all(0 < row["rollout/carried_frac"] <= 0.5 for row in later)  # two groups of four
    for row in rows(path):
        numbers = [v for v in row.values() if isinstance(v, (int, float))]
        assert np.isfinite(numbers).all() and row["loss"] is not None
    for sample in rows(path, "samples.jsonl"):
        assert sample["finish_reason"] == "stop" or sample["length"] == 8  # nobody was cut


# Checkpoints lie at updates 3 and 6: in the middle of rollout 2, and after rollout 3.
@pytest.mark.parametrize("stops", [[5, 7]], ids=str)
def test_resumed_is_uninterrupted(stops, whole, tmp_path):
    parts, other, expected = whole
    path = tmp_path / "run"
    for update in stops:
        assert go(parts, path, StopAt(update)) is None
    loop = go(parts, path)
    assert identical(loop.state, expected.state)
    assert [g.place for g in loop.carried] == [g.place for g in expected.carried]
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert rows(path, name) == rows(other, name)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"rollout.carry": -1}, "--rollout.carry -1: must be at least 0"),
        ({"rollout.carry": 2}, "needs the share of groups that are carried, --rollout.leave"),
        (CARRY | {"rollout.max_rounds": 2, "reward.accuracy": 1}, "--rollout.max-rounds 1"),
        (CARRY | {"loss.importance_cap": None}, "set --loss.importance-cap"),
    ],
)
def test_what_does_not_go_together_is_refused(flags, words, tmp_path):
    with pytest.raises(UserError, match=words):
        tiny_run("embedded", tmp_path, flags)


def test_a_users_loss_may_weigh_by_itself(tmp_path):
    flags = CARRY | {"loss.importance_cap": None, "user_loss": "own:loss"}
    assert tiny_run("embedded", tmp_path, flags).rollout.carry == 2
