"""A policy that teaches itself, shown another answer of the group that is right (SDPO)."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from runs import StopAt, go, rows, save_model, tiny_run
from tiny import identical

from r1jax.data.packing import Sequences
from r1jax.errors import UserError
from r1jax.presets.distill import ON_POLICY
from r1jax.problem import Completion, Problem
from r1jax.rewards import random_reward
from r1jax.training.batches import over_completions
from r1jax.training.rl import collect, showing
from r1jax.training.rl.setup import build, initial_state

FLAGS = {
    "reward.random": 0, "teacher.shown": "policy", "updates": 2, "loss.reduction": "token_mean",
    "loss.importance_cap": None, "eval.before": False, "rollout.max_prompt": 64,
    "train.width": 128,
}  # fmt: skip
EMA = {"teacher.shown": "reference", "train.reference_every": 1, "train.reference_rate": 0.05}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def test_each_is_shown_the_first_other_one_of_its_group_that_is_right():
    groups = np.array([0, 0, 0, 1, 1, 2, 2])
    right = np.array([False, True, True, True, False, False, False])
    # 1 is right and sees 2, not itself; 3 alone is right in its group; nobody is in the last.
    assert showing.peers(groups, right).tolist() == [1, 2, 1, -1, 3, -1, -1]


def test_the_question_holds_the_answer_in_the_published_words():
    asked = showing.shown(Problem("a", "1+2?", "3"), " 1+2={3}")
    assert asked.question == (
        "1+2?\nCorrect solution:\n\n 1+2={3}\n\n\n\nCorrectly solve the original question.\n"
    )
    assert (asked.id, asked.answer) == ("a", "3")


def drawn_of(parts):
    """Three made-up answers to one problem, of which the second is right, and their scores."""
    problem = Problem("a", "1+2?", "3")
    prompt = parts.policy.prompt(problem)
    texts = [" It is 4", " 1+2=3", " 5"]
    ids = [parts.policy.tokenizer(text, add_special_tokens=False).input_ids for text in texts]
    written = Sequences(
        np.zeros((3, 40), np.int32), np.full(3, len(prompt)), np.array([len(i) for i in ids])
    )
    for row, own in zip(written.tokens, ids, strict=True):
        row[: len(prompt) + len(own)] = [*prompt, *own]
    old = np.zeros((3, max(written.lengths)), np.float32)
    for i, length in enumerate(written.lengths):
        old[i, :length] = -1.0 - i
    judgement = SimpleNamespace(parts={"accuracy": np.array([0.0, 1.0, 0.0])})
    completions = [Completion.parse(t, i, "stop", 0) for t, i in zip(texts, ids, strict=True)]
    drawn = SimpleNamespace(problems=[problem] * 3, completions=completions,
                            groups=np.zeros(3, int), judgement=judgement)  # fmt: skip
    return drawn, written.with_columns(old_logp=old), ids


def test_the_tokens_are_judged_behind_the_prompt_that_shows_an_answer(model, tmp_path):
    parts = build(tiny_run(model, tmp_path, FLAGS), note=print)
    state = initial_state(parts)
    loop = SimpleNamespace(state=state, reference=None)
    drawn, sequences, ids = drawn_of(parts)
    found, metrics = showing.judged(parts, loop, drawn, sequences)
    # By hand: the text around the question is the template's, each answer in a row of its own.
    text = "User: 1+2?\nCorrect solution:\n\n 1+2=3\n\n\n\nCorrectly solve the original question.\n"
    prompt = parts.policy.tokenizer(text + "\nAssistant:").input_ids
    said = found.columns["teacher_logp"]
    for i in (0, 2):
        whole = np.array([[*prompt, *ids[i]]], np.int32)
        alone = Sequences(whole, np.array([len(prompt)]), np.array([len(ids[i])]))
        where = parts.config.train, parts.mesh
        right = over_completions(parts.reference_logp, state.params, alone, *where)[0]
        np.testing.assert_allclose(said[i, : len(ids[i])], right, atol=1e-5)
        assert not said[i, len(ids[i]) :].any()
    np.testing.assert_array_equal(said[1], sequences.columns["old_logp"][1])  # has no peer
    assert metrics["teacher/shown_frac"] == pytest.approx(2 / 3)
    assert metrics["operations/teacher"] > 0
    # No room in a row: nothing is shown, and nothing learnt.
    narrow = SimpleNamespace(config=SimpleNamespace(train=SimpleNamespace(width=len(prompt))),
                             policy=parts.policy)  # fmt: skip
    untold, metrics = showing.judged(narrow, loop, drawn, sequences)
    np.testing.assert_array_equal(untold.columns["teacher_logp"], sequences.columns["old_logp"])
    assert metrics == {"teacher/shown_frac": 0.0, "operations/teacher": 0.0}


@pytest.mark.slow
def test_without_a_right_answer_nothing_is_learnt(model, tmp_path):
    flags = FLAGS | {"updates": 1, "optimizer.weight_decay": 0.0}
    parts = build(tiny_run(model, tmp_path / "run", flags), note=print)
    loop = go(parts, tmp_path / "run")
    (row,) = rows(tmp_path / "run")
    assert row["reward/accuracy"] == row["teacher/shown_frac"] == row["grad_norm"] == 0.0
    assert identical(loop.state.params, initial_state(parts).params)


@pytest.mark.slow
@pytest.mark.parametrize("teacher", [{}, EMA])
def test_a_run_learns_from_it_and_is_resumed_bit_by_bit(model, tmp_path, monkeypatch, teacher):
    monkeypatch.setattr(collect, "accuracy", lambda *args, **kwargs: random_reward(0))
    flags = FLAGS | {"updates": 6, "checkpoint.every": 2, "optimizer.lr": 1e-2} | teacher
    parts = build(tiny_run(model, tmp_path, flags), note=print)
    whole = go(parts, tmp_path / "whole")
    found = rows(tmp_path / "whole")
    assert all(0 < row["teacher/shown_frac"] <= 1 and row["grad_norm"] > 0 for row in found)
    assert all(row["reward/mean"] == 0 for row in found)  # its weight is 0: it is only seen
    assert (whole.reference is not None) == ("reference" in parts.config.teacher.shown)
    if teacher:  # a moving average: neither the start nor the policy
        start = initial_state(parts).params
        assert not identical(whole.reference, start)
        assert not identical(whole.reference, whole.state.params)
    assert go(parts, tmp_path / "again", StopAt(3)) is None
    assert identical(go(parts, tmp_path / "again").state, whole.state)
    assert rows(tmp_path / "again") == found


def test_what_cannot_be_shown_is_refused(model, tmp_path):
    for flags, said in [
        ({"teacher.model": "x"}, "--teacher.model x: --teacher.shown policy is the policy"),
        ({"teacher.kind": "jsd"}, "--teacher.kind jsd: --teacher.shown policy is the policy"),
        ({"rollout.group": 1, "loss.advantage_baseline": "none"},
         "--teacher.shown policy: shows another answer to the same problem; use --rollout.group 2"),
        ({"train.width": 64}, "take 117 tokens with --teacher.shown; raise it to that"),
        ({"teacher.shown": "", "teacher.weight": 2.0}, "names no --teacher.model"),
    ]:  # fmt: skip
        with pytest.raises(UserError) as caught:
            build(tiny_run(model, tmp_path / "run", FLAGS | flags), note=print)
        assert said in str(caught.value)


def test_the_preset_has_room_for_what_it_shows():
    config = ON_POLICY["sdpo"]
    r = config.rollout
    assert config.train.width >= r.max_prompt + 2 * r.max_tokens + 64
    assert config.reward == config.reward.only() and config.teacher.shown == "reference"
