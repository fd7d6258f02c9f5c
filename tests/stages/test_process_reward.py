"""A process reward model at toy size: what it learns, how it rewards, what it refuses."""

from __future__ import annotations

import json
import random
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from runs import changed, rows, save_model, tiny_run, write_rows

from r1jax.checkpoint import CheckpointConfig
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import Term
from r1jax.rollout.policy import load_policy
from r1jax.stages import reward_model, zero
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl import reward_model as models
from r1jax.training.rl.judgement import Judgement, refuse_no_steps
from r1jax.training.rl.reward_model import load_reward_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Whatever step says 9 is right, no other is; two of them a solution."""
    path, r = tmp_path_factory.mktemp("process"), random.Random(0)
    found = []
    for i in range(160):
        labels = [r.random() < 0.5 for _ in range(2)]
        steps = [f"{r.choice('1234567')} {9 if good else 8}" for good in labels]
        found.append({"prompt": f"{i}?", "completions": steps, "labels": labels})
    config = RewardModelConfig(
        run=str(path / "run"),
        kind="process",
        model=save_model(path / "model"),
        updates=12,
        batch=32,
        eval_every=0,
        data=PreferenceConfig(train=(write_rows(path / "rows.jsonl", found),), eval_count=32),
        optimizer=OptimizerConfig(lr=2e-2),
        train=ComputeConfig(rows=8, width=64, max_segments=4, remat="none", kernel="xla"),
        checkpoint=CheckpointConfig(every=0),
    )
    reward_model.run(config)
    return config


def test_steps_are_told_apart(trained):
    found = json.loads((Path(trained.run) / "summary.json").read_text())
    before, after = found["before"], found["after"]
    assert found["kind"] == "process" and after["steps"] == 2 * after["rows"]
    assert before["accuracy"] == 0.5  # the head begins at 0: nothing is preferred yet
    assert after["accuracy"] > 0.9 and after["f1"] > 0.8 and after["loss"] < before["loss"]
    assert rows(Path(trained.run))[-1]["process/accuracy"] > 0.8
    assert "F1 of first errors" in (Path(trained.run) / "report.html").read_text()


def test_a_policys_tokens_have_their_steps_probability(trained):
    model, tokenizer = load_reward_model(trained.run), load_policy("embedded", "mini").tokenizer
    text = "1 9\n2 8\n3"
    ids = tokenizer(text, add_special_tokens=False).input_ids + [2]
    problems = [Problem("a", "5?", "1", "number"), Problem("b", "5?", "1", "number")]
    completions = [Completion.parse(text, ids), Completion.parse("", [2])]
    assert model.per_token
    first, second = model(problems, completions, RewardContext(tokenizer=tokenizer))
    assert len(first) == len(ids) and second == [None]
    told = {i: p for i, p in enumerate(first) if p is not None}
    assert [tokenizer.decode(ids[: i + 1]) for i in told] == ["1 9", "1 9\n2 8", text]
    right, wrong, _ = told.values()
    assert right > 0.5 > wrong
    [scores] = model.step_scores(["5?"], [text])
    assert [end for end, _ in scores] == [3, 7, 9]
    np.testing.assert_allclose([p for _, p in scores], list(told.values()), rtol=1e-5)
    # A policy of another tokenizer, which writes a letter a token.
    letters = SimpleNamespace(decode=lambda ids: "".join(map(chr, ids)))
    spelt = Completion.parse(text, [*map(ord, text)])
    [found] = model(problems[:1], [spelt], RewardContext(tokenizer=letters))
    there = {i: p for i, p in enumerate(found) if p is not None}
    assert list(there) == [2, 6, 8]
    np.testing.assert_allclose(list(there.values()), list(told.values()), rtol=1e-5)


def test_a_model_whose_tokens_have_changed_since_is_refused(trained, monkeypatch):
    known = models.read_meta(Path(trained.run) / "checkpoints", 12)
    with pytest.raises(UserError, match="--reward.model .*: learnt with other tokens than .* has"):
        other = known | {"tokenizer": known["tokenizer"] | {"tokens": "0" * 16}}
        monkeypatch.setattr(models, "read_meta", lambda *_: other)
        models.named_reward_model(trained.run)
    older = {k: v for k, v in known["tokenizer"].items() if k != "tokens"}
    monkeypatch.setattr(models, "read_meta", lambda *_: known | {"tokenizer": older})
    assert load_reward_model(trained.run).per_token


@pytest.mark.slow
def test_it_rewards_tokens_in_reinforcement_learning(trained, tmp_path):
    changes = {
        "updates": 1, "reward.model": (f"{trained.run}=0.5",), "reward.accuracy": 0.0,
        "reward.format": 0.0, "eval.before": False, "rollout.prompts": 16,
    }  # fmt: skip
    config = tiny_run(trained.model, tmp_path / "run", changes)
    zero.run(config)
    row = rows(Path(config.run))[-1]
    assert row["reward/run"] > 0 and np.isfinite(row["loss"])


def test_a_policy_that_writes_no_steps_is_refused_by_its_first_rollout(trained):
    model = load_reward_model(trained.run)
    one = np.full((3, 4), np.nan)
    one[:2, -1] = 0.25  # the third was left out
    asked = np.array([0.5, 0.5, np.nan])

    def refuse(tokens, known=(), weight=0.5, parts=asked):
        judgement = Judgement(np.zeros(3), {"run": parts}, {"run": 0}, {"run": tokens})
        refuse_no_steps([Term("run", model, weight)], judgement, known)

    said = "--reward.model .*: none of the first 2 completions has a second step .--steps line."
    with pytest.raises(UserError, match=said):
        refuse(one)
    with pytest.raises(UserError, match=said):  # not even the end of one
        refuse(np.full((3, 4), np.nan))
    two = one.copy()
    two[1, 0] = 0.0
    refuse(two)
    refuse(one, known={"run"})  # it wrote steps when the run began
    refuse(one, weight=0.0)  # it is only watched
    refuse(one, parts=np.full(3, np.nan))  # no problem was its own


def test_flags_that_nothing_would_read_are_refused(trained):
    with pytest.raises(UserError, match="--steps sentence: belongs to --kind process, not pair"):
        changed(trained, {"kind": "pairwise", "steps": "sentence"})
    with pytest.raises(UserError, match=r"--loss\.\*: belongs to --kind pairwise; .* of process"):
        changed(trained, {"loss.margin": 1.0})
    with pytest.raises(UserError, match="--data.view summary: the steps of kind process"):
        changed(trained, {"data.view": "summary"})


def test_steps_of_one_label_are_refused(trained, tmp_path):
    row = {"prompt": "a", "completions": ["b"], "labels": [1]}
    data = (write_rows(tmp_path / "rows.jsonl", [row, row | {"prompt": "c"}]),)
    config = changed(
        trained, {"run": str(tmp_path / "run"), "data.train": data, "data.eval_count": 0}
    )
    with pytest.raises(UserError, match="every step is right; both labels are needed"):
        reward_model.run(config)
