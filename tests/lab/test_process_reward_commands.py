"""Labels of steps and the best of N: the commands at toy size, and their numbers by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from runs import changed, save_model, write_rows
from tiny import mesh_of

from experiments.process_reward import best, labels
from experiments.smollm2 import english, thinking
from r1jax.checkpoint import Checkpoints
from r1jax.data import TrainDataConfig
from r1jax.data.examples.steps import read_solutions
from r1jax.data.world.problems import generate
from r1jax.data.world.truth import step_truth, true_labels
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rollout.engine import EngineConfig
from r1jax.run.flags import TrustConfig
from r1jax.run.saved import Saved
from r1jax.training.rl.reward_model import Described
from r1jax.training.train_state import init_state

pytestmark = pytest.mark.lab

SUM = Problem("s", "12+34-5=?", "41", "number", {"family": "sum", "target": 41})


@pytest.mark.parametrize(
    "step, truth",
    [
        ("First 12+34=46.", True),
        ("First 12+34=36.", False),
        ("We want to know it.", True),
        ("The answer is 41.", True),
        ("The answer is 46.", False),
        ("= 41", True),
        ("答案是40。", False),
        ("<answer> 41 </answer>", True),
        ("Try 12+34=46 no, 46-5=41 yes.", True),
        ("Try 12+34=46 yes.", False),
        ("Try 46-5=41 no.", False),
    ],
)
def test_the_world_knows_whether_a_step_is_true(step, truth):
    assert step_truth(SUM, step) is truth


def test_what_follows_the_first_wrong_step_is_not_judged():
    assert true_labels(SUM, ["12+34=46.", "46-5=40.", "The answer is 41."]) == [True, False]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model") / "tiny")


def toy(model, path, **changes):
    flags = dict(
        run=str(path), model=model, prompts=4, samples=2, rollouts=2, batch=2, workers=0,
        data=TrainDataConfig(train=("world:sum",), template="mini"),
        rollout=EngineConfig(slots=8, max_prompt=64, max_tokens=12, prefill=4),
    )  # fmt: skip
    return labels.Config(**flags | changes)


def written(config):
    return [json.loads(line) for line in (Path(config.run) / labels.ROWS).open()]


@pytest.mark.parametrize("kind", ["soft", "truth"])
def test_rows_are_read_as_trl_writes_them(tmp_path, kind):
    config = toy("embedded", tmp_path / "run", labels=kind, prompts=2)
    shapes = EngineConfig(slots=8, max_prompt=64, max_tokens=48, prefill=4)
    config = labels.replace(config, rollout=shapes)
    labels.main(config)
    rows, path = written(config), Path(config.run) / labels.ROWS
    read = [solution for _, solution in read_solutions(str(path))]
    assert len(read) == len(rows) > 0
    for row, solution in zip(rows, read, strict=True):
        assert list(solution.labels) == [float(label) for label in row["labels"]]
        assert len(row["labels"]) <= len(row["completions"])
        if kind == "soft":  # the last step is the solution's own verdict
            assert row["labels"][-1] == float(row["right"])
            assert set(row["labels"][:-1]) <= {0.0, 0.5, 1.0}
    found = json.loads((Path(config.run) / "summary.json").read_text())
    assert found["solutions"] == len(rows) and found["labels"] == kind
    assert (found["continued_tokens"] > 0) == (kind == "soft")
    if kind == "truth":
        assert found["wrong_called_right"] in (0.0, None) and found["right_called_wrong"] == 0.0


def test_a_stopped_run_goes_on_behind_what_is_written(model, tmp_path, monkeypatch):
    whole = toy(model, tmp_path / "whole", labels="hard")
    labels.main(whole)
    config, real, calls = toy(model, tmp_path / "cut", labels="hard"), labels.labelled, []

    def stops(*arguments):
        calls.append(arguments[-1])
        if len(calls) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(labels, "labelled", stops)
    with pytest.raises(KeyboardInterrupt):
        labels.main(config)
    path = Path(config.run) / labels.ROWS
    kept = path.read_text()
    path.write_text(kept.replace(json.loads(kept.splitlines()[0])["id"], "another"))
    with pytest.raises(UserError, match="rows.jsonl, line 1: has another, where the data has .*"):
        labels.main(config)
    path.write_text(kept.replace(json.loads(kept.splitlines()[0])["problem"], "0" * 16))
    with pytest.raises(UserError, match="line 1: .* the data has another answer, grader or column"):
        labels.main(config)
    first = json.loads(kept.splitlines()[0])
    for row in (first | {"number": 99}, {"id": first["id"]}):
        write_rows(path, [row])
        with pytest.raises(UserError, match="line 1: has no number of one of 4 problems"):
            labels.main(config)
    path.write_text(kept)
    labels.main(config)
    assert calls == [0, 2, 2] and written(config) == written(whole)


def test_what_no_rule_judges_has_no_labels(model, tmp_path):
    data = TrainDataConfig(train=("general:helpful",), template="mini")
    with pytest.raises(UserError, match="--data.train: no rule judges problem"):
        labels.main(toy(model, tmp_path / "run", data=data))


def test_truth_is_of_the_embedded_world_alone(model, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", [{"question": "1+1?", "answer": "2"}])
    config = toy(model, tmp_path / "run", labels="truth", prompts=1)
    config = labels.replace(config, data=TrainDataConfig(train=(rows,), template="mini"))
    with pytest.raises(UserError, match="--labels truth: is known of the embedded world's"):
        labels.main(config)


def sample(number, extracted, lenient, problem="a"):
    return {
        "set": "x", "id": problem, "question": "?", "sample": number, "text": f"{extracted}",
        "extracted": extracted, "lenient": lenient, "finish_reason": "stop",
    }  # fmt: skip


def test_a_reward_model_without_digests_is_taken_where_that_is_asked_for(
    model, tmp_path, monkeypatch
):
    about = Described("process", "whole", model, "", "mini", "", "float32")
    state = init_state(optax.sgd(1.0), {"w": jnp.ones(1)}, mesh_of())
    checkpoints = Checkpoints(tmp_path / "model" / "checkpoints", keep=1)
    checkpoints.save(Saved(state, None, {}, {"reward_model": vars(about), "tokenizer": {}}))
    checkpoints.close()
    (tmp_path / "model/checkpoints/0/digests.0.json").unlink()
    rows = [sample(0, "5", False), sample(1, "7", True)]
    config = best.Config(
        run=str(tmp_path / "run"), reward=str(tmp_path / "model"),
        completions=write_rows(tmp_path / "completions.jsonl", rows),
    )  # fmt: skip
    monkeypatch.setattr(best, "scored", lambda model, rows: [[0.1], [0.9]])
    with pytest.raises(UserError, match="digests, .*; --checkpoint.unverified takes it as it is"):
        best.main(config)
    best.main(replace(config, checkpoint=TrustConfig(unverified=True)))
    found = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert found["measures"]["best of N, last"]["mean"] == 1.0


@pytest.mark.parametrize("module", [labels, english, thinking], ids=lambda m: m.__name__)
def test_checkpoints_without_digests_are_taken_where_that_is_asked_for(
    module, model, tmp_path, monkeypatch
):
    def weights(policy, mesh, checkpoints, unverified):
        raise UserError(f"{checkpoints} {unverified}")

    monkeypatch.setattr(module, "trained_weights", weights)
    changes = {} if module is english else {"data.template": "mini"}
    changes |= {"data.train": ("world:sum",)} if module is labels else {}
    changes |= {"data.eval": ("world:sum",), "workers": 0} if module is thinking else {}
    config = changed(module.Config(run=str(tmp_path), model=model, checkpoints="c"), changes)
    for asked in (False, True):
        with pytest.raises(UserError, match=f"c {asked}"):
            module.main(changed(config, {"checkpoint.unverified": asked}))


def test_choosing_by_hand(tmp_path):
    rows = [sample(0, "5", False), sample(1, "5", False), sample(2, "7", True)]
    rows += [sample("greedy", "7", True), sample(0, "3", True, "b"), sample(1, None, False, "b")]
    problems = best.read_samples(write_rows(tmp_path / "completions.jsonl", rows))
    assert [len(samples) for samples in problems] == [3, 2]
    # Worst step, product and last step prefer different samples of the first problem.
    scores = [[[0.9, 0.2], [0.5, 0.5], [0.4, 0.9]], [[0.5], []]]
    measures = best.measured(problems, scores)["measures"]
    assert measures["best of N, min"]["per_problem"] == [0.0, 1.0]
    found = {k: v["mean"] for k, v in measures.items()}
    assert found["one sample"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert found["vote"] == 0.5 and found["any (pass@N)"] == 1.0
    assert found["best of N, min"] == 0.5 and found["best of N, product"] == 1.0
    assert found["best of N, last"] == 1.0
    # .2 + .5 for 5 against .4; .18 + .25 against .36; .2 + .5 against .9
    assert found["weighted vote, min"] == 0.5 and found["weighted vote, product"] == 0.5
    assert found["weighted vote, last"] == 1.0
    with pytest.raises(UserError, match="line 1: no column question; expected completions.jsonl"):
        best.read_samples(write_rows(tmp_path / "other.jsonl", [{"id": 1}]))
    for name, value in (("id", []), ("text", None), ("lenient", "no"), ("question", 3)):
        path = write_rows(tmp_path / "odd.jsonl", [sample(0, "5", False) | {name: value}])
        with pytest.raises(UserError, match=f"line 1, column {name}: is .*; expected completions"):
            best.read_samples(path)
    with pytest.raises(UserError, match="--reward: names nothing"):
        best.main(best.Config(run=str(tmp_path / "run"), completions="x"))


def test_the_worlds_own_solutions_are_true():
    for i in range(20):
        problem = generate(("sum",), seed=0, index=i)
        assert step_truth(problem, f"The answer is {problem.answer}.")
        assert np.all(true_labels(problem, [f"= {problem.answer}"]))
