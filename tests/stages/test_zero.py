"""R1-Zero as a chapter: what a run that goes on must not do a second time."""

from __future__ import annotations

import json

import pytest
from runs import Interrupted, StopAt, changed, save_model, tiny_run

from r1jax.stages import opening, zero
from r1jax.training import weights
from r1jax.training.rl import loop as rl


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Flags of a run that nothing disturbed, with two held-out sets."""
    path = tmp_path_factory.mktemp("whole")
    sets = {"data.eval": ("world:sum", "world:countdown"), "eval.every": 2}
    config = tiny_run(save_model(path / "model"), path / "run", {"updates": 4} | sets)
    zero.run(config)
    return config


def summary(config):
    """The summary without what the clock and the machine decide."""
    with open(f"{config.run}/summary.json") as file:
        found = json.load(file)
    assert found.pop("wall_seconds") > 0 and found.pop("environment")
    return found


@pytest.fixture
def looked_at():
    """The updates after which held-out sets are judged; that weights are read is an error."""
    updates, real = [], rl.judge_held_out

    def judge(parts, loop, files):
        updates.append(loop.update)
        return real(parts, loop, files)

    def read(*arguments):
        raise AssertionError("a run that goes on has its weights from its checkpoint")

    def watch(patch):
        updates.clear()
        patch.setattr(rl, "judge_held_out", judge)
        patch.setattr(zero, "judge_held_out", judge)
        patch.setattr(weights, "load_weights", read)
        return updates

    return watch


def test_before_and_after_are_of_the_same_problems(whole):
    found = summary(whole)
    assert [row["question"] for row in found["transcripts"]]
    for row in found["transcripts"]:
        assert {"question", "answer", "family", "language", "before", "after"} == row.keys()
        assert row["before"].keys() == row["after"].keys() == {"text", "correct"}
    assert list(found["sets"]) == ["world-countdown"] and found["before"]["set"] == "world-sum"
    for sides in (found, found["sets"]["world-countdown"]):
        assert "per_problem" not in sides["before"]
        gain = sides["after"]["pass_at_1"] - sides["before"]["pass_at_1"]
        assert sides["gain"]["pass_at_1"] == pytest.approx(gain)


def test_a_run_that_does_not_judge_the_base_says_what_it_reached_alone(whole, tmp_path):
    config = changed(whole, {"run": str(tmp_path / "run"), "eval.before": False, "eval.every": 0})
    zero.run(config)
    found = summary(config)
    assert found["after"] == summary(whole)["after"]
    assert found["before"] == {} and "gain" not in found
    assert all(row.keys() >= {"after"} and "before" not in row for row in found["transcripts"])
    with open(f"{config.run}/eval.json") as file:
        assert {record["update"] for record in json.load(file)} == {4}
    assert "held-out pass@1, at the end" in open(f"{config.run}/report.html").read()


def test_a_resumed_run_neither_reads_nor_judges_the_base_again(
    whole, tmp_path, monkeypatch, looked_at
):
    config = changed(whole, {"run": str(tmp_path / "killed")})
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_sinks", lambda *_: (StopAt(3),))
        with pytest.raises(Interrupted):
            zero.run(config)
    with monkeypatch.context() as patch:
        judged = looked_at(patch)
        zero.run(config)
    assert judged == [4]
    assert summary(config) == summary(whole)


def test_what_was_judged_last_is_not_judged_again_for_the_summary(
    whole, tmp_path, monkeypatch, looked_at
):
    def stop(*arguments):
        raise Interrupted

    config = changed(whole, {"run": str(tmp_path / "killed")})
    with monkeypatch.context() as patch:
        patch.setattr(zero, "digest", stop)
        with pytest.raises(Interrupted):
            zero.run(config)
    with monkeypatch.context() as patch:
        judged = looked_at(patch)
        zero.run(config)
    assert judged == []
    assert summary(config) == summary(whole)


def test_a_run_stopped_before_its_first_checkpoint_begins_anew(whole, tmp_path, monkeypatch):
    config = changed(whole, {"run": str(tmp_path / "killed")})
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_sinks", lambda *_: (StopAt(1),))
        with pytest.raises(Interrupted):
            zero.run(config)
    zero.run(config)
    assert summary(config) == summary(whole)
