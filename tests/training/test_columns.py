"""One more quantity of every token has one producer and one consumer; all between carries it."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
from runs import StopAt, changed, go, rows, save_model, tiny_run
from tiny import identical

from r1jax.commands import cli
from r1jax.stages import zero
from r1jax.training import update
from r1jax.training.rl import collect, memory
from r1jax.training.rl import loop as rl
from r1jax.training.rl.setup import build

LOSS = """
import jax.numpy as jnp
from r1jax.losses import masked, masked_sum
from r1jax.rewards import per_token
from r1jax.types import Mean

VALUES = (1.0, None, 0.0, -0.5)  # by the token's number

@per_token
def steps(problems, completions, context):
    return [[VALUES[i % 4] for i in c.token_ids] for c in completions]

def weighed(stats, batch):
    worth = batch.column("worth")
    per_token = -worth * batch.advantages * masked(stats.logp, batch)
    seen = {"own/worth": Mean(masked_sum(worth, batch), jnp.sum(batch.mask))}
    return masked_sum(per_token, batch) / batch.n_tokens, seen
"""
# Two micro-batches for each of the two updates of a rollout.
FLAGS = {
    "train.rows": 2,
    "train.updates_per_rollout": 2,
    "updates": 6,
    "user_loss": "worthy:weighed",
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(autouse=True)
def loss(tmp_path, monkeypatch):
    """The consumer: a user's loss in a module of its own."""
    (tmp_path / "worthy.py").write_text(LOSS)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("worthy", None)


@pytest.fixture
def worths(monkeypatch):
    """The producer; what it has made, by rollout."""
    made, plain = [], collect.to_sequences

    def with_worth(generated):
        sequences = plain(generated)
        worth = sequences.tokens[:, : sequences.lengths.max()] % 7 / 7.0
        made.append((worth, sequences.lengths))
        return sequences.with_columns(worth=worth)

    monkeypatch.setattr(collect, "to_sequences", with_worth)
    return made


def test_a_made_up_column_reaches_the_loss_through_packing_checkpoints_and_resume(
    model, tmp_path, worths
):
    parts = build(tiny_run(model, tmp_path / "whole", FLAGS), note=print)
    expected = go(parts, tmp_path / "whole")
    found = [row["own/worth"] for row in rows(tmp_path / "whole")]
    assert len(worths) == 3 and len(found) == 6
    for rollout, (worth, lengths) in enumerate(worths):
        inside = np.arange(worth.shape[1]) < lengths[:, None]
        order = np.random.default_rng([parts.config.seed, rollout + 1]).permutation(len(worth))
        for half, seen in zip(np.split(order, 2), found[2 * rollout :], strict=False):
            assert seen == pytest.approx(worth[half][inside[half]].mean(), rel=1e-5)

    # A checkpoint lies after update 3, in the middle of rollout 2: its column is not made again.
    again = tmp_path / "again"
    assert go(parts, again, StopAt(5)) is None
    del worths[:]
    loop = go(parts, again)
    assert len(worths) == 1 and identical(loop.state, expected.state)
    assert rows(again) == rows(tmp_path / "whole")
    assert memory.plan(parts)["update"] > 0  # compiled beforehand with the column, too


def test_a_column_that_nothing_fills_ends_the_run_in_one_line(model, tmp_path, capsys):
    config = changed(tiny_run(model, tmp_path / "run", FLAGS), {"memory": "warn"})
    assert cli.run(zero.run, config, []) == 2
    assert capsys.readouterr().err == (
        "error: the loss reads the column worth of the batch, which nothing here has filled; "
        "there are: advantages, old_logp, sampler_logp\n"
    )


@pytest.mark.parametrize(
    "flags", [{}, {"loss.beta": 0.1, "updates": 2, "train.updates_per_rollout": 2}], ids=str
)
def test_the_plan_compiles_what_the_run_learns_with(flags, model, tmp_path, monkeypatch):
    """Other columns would be another program, compiled for nothing but its size."""
    parts = build(tiny_run(model, tmp_path / "run", {"updates": 1} | flags), note=print)
    planned, learnt = [], []

    def seen(into, function):
        def wrapped(*given):
            batch = function(*given)
            into.append(set(batch.columns))
            return batch

        return wrapped

    monkeypatch.setattr(memory, "abstract_batch", seen(planned, memory.abstract_batch))
    monkeypatch.setattr(update, "place_batch", seen(learnt, update.place_batch))
    memory.plan(parts)
    go(parts, tmp_path / "run")
    assert planned == learnt[:1] and all(columns == learnt[0] for columns in learnt)


@pytest.mark.parametrize("random", [0, 1])
def test_rewards_of_tokens_become_columns_of_advantages(random, model, tmp_path, monkeypatch):
    """Each less the mean of its group, from the token to the end, beside the outcome's."""
    flags = {"reward.user": ("worthy:steps=0.5",), "reward.random": random, "updates": 1}
    parts, seen, plain = build(tiny_run(model, tmp_path, flags), note=print), [], rl.new_rollout
    monkeypatch.setattr(rl, "new_rollout", lambda *args: seen.append(plain(*args)) or seen[0])
    go(parts, tmp_path / "run")
    sequences = seen[0].sequences
    own = [sequences.tokens[i, p : p + n] for i, (p, n) in enumerate(
        zip(sequences.prompt_lengths, sequences.lengths, strict=True))]  # fmt: skip
    rewards = [0.5 * np.array([1, np.nan, 0, -0.5])[tokens % 4] for tokens in own]
    assert sum(np.nansum(r) != 0 for r in rewards) > 8
    row = json.loads((tmp_path / "run" / "metrics.jsonl").read_text())
    coins = row.get("reward/random", 0)
    assert row["reward/mean"] == pytest.approx(np.mean([*map(np.nansum, rewards)]) + coins)
    assert row["reward/steps"] == pytest.approx(2 * np.mean([*map(np.nansum, rewards)]))
    samples = [json.loads(s) for s in (tmp_path / "run/samples.jsonl").read_text().splitlines()]
    outcome = np.array([s.get("reward/random", 0) for s in samples]).reshape(4, 4)
    outcome = (outcome - outcome.mean(1, keepdims=True)).ravel()
    for i, tokens in enumerate(own):
        mean = np.nanmean(np.concatenate(rewards[i - i % 4 : i - i % 4 + 4]))
        to_come = np.nan_to_num(rewards[i] - mean)[::-1].cumsum()[::-1]
        got = sequences.columns["advantages"][i]
        np.testing.assert_allclose(got[: len(tokens)], outcome[i] + to_come, atol=1e-6)
        assert not got[len(tokens) :].any()
