"""The bench of a whole step: that it is the loop of training, and that its phases add up."""

from __future__ import annotations

import dataclasses
import json

import pytest
from runs import Interrupted, changed

from experiments import bench_step
from experiments.bench import step as bench
from experiments.bench.shapes import SHAPES
from r1jax.commands import cli
from r1jax.rollout.policy import load_policy
from r1jax.training.rl.loop import train

pytestmark = pytest.mark.lab

TINY = bench_step.PRESETS["tiny"]
PHASES = ["rollout", "reward", "score", "update"]


@pytest.fixture(scope="module")
def problems(tmp_path_factory):
    """Problems of one length, so that every rollout has the same shapes."""
    path = tmp_path_factory.mktemp("data") / "same.jsonl"
    path.write_text('{"question": "2 + 3 = ?", "answer": "5"}\n' * 3)
    return str(path)


def test_the_command_times_every_phase_and_compiles_nothing_more(problems, tmp_path, capsys):
    out = tmp_path / "step.json"
    argv = ["--preset", "tiny", "--reward.workers", "1", "--data.train", problems]
    argv += ["--out", str(out)]
    presets = bench_step.PRESETS
    assert cli.run(bench_step.main, presets["128x256"], argv, presets=presets) == 0
    (row,) = json.loads(out.read_text())["rows"]
    assert (row["steps"], row["completions"]) == (2, 8)
    assert row["compiled after warm-up"] == 0
    assert row["names compiled"] == []
    assert 1 <= row["tokens of one"] <= 8
    assert row["tok/s end to end"] == pytest.approx(8 * row["tokens of one"] / row["s per step"])
    assert row["tok/s rollout"] > row["tok/s end to end"]
    assert 0 < row["packing %"] <= 100
    assert row["compile s"] > 0
    assert row["MFU of update %"] is None  # a CPU's peak is not known
    assert 0 <= row["reward"] <= 1.2  # a coin, and accuracy and format where chance will have it
    assert len(row["each step"]) == 4
    for one in row["each step"]:
        assert list(one) == [*PHASES, "whole"]
        assert all(seconds > 0 for seconds in one.values())
        assert sum(one[name] for name in PHASES) <= one["whole"]
    assert [phase["phase"] for phase in row["phases"]] == [*PHASES, "outside", "whole"]
    assert sum(phase["share %"] for phase in row["phases"][:-1]) == pytest.approx(100)
    printed = capsys.readouterr().out
    assert all(f"| {name} |" in printed for name in PHASES)


class Losses:
    """A sink that keeps the metrics of every update and ends the run after the second."""

    def __init__(self):
        self.rows = []

    def log(self, update, metrics):
        self.rows.append(metrics)
        if update == 2:
            raise Interrupted

    def samples(self, update, rows):
        pass

    def close(self):
        pass


def test_a_step_is_that_of_the_training_loop(problems):
    config = changed(TINY, {"reward.workers": 0, "data.train": (problems,)})
    with bench.prepared(config.run, SHAPES["tiny"]) as (parts, loop, files):
        assert loop.reference is not None
        ours = [bench.step(parts, loop, files) for _ in range(2)]
        assert (loop.update, loop.rollout, loop.scored) == (2, 3, None)
        _, again = bench._started(parts)
        sink = Losses()
        with pytest.raises(Interrupted):
            train(parts, again, dataclasses.replace(files, sinks=(sink,)))
        names = ("loss", "grad_norm", "reward/mean", "policy/kl_ref", "completion/length_mean")
        for one, row in zip(ours, sink.rows, strict=True):
            assert {name: one.metrics[name] for name in names} == {n: row[n] for n in names}
        assert sink.rows[1]["policy/kl_ref"] > 0  # the reference stayed where the policy began
        run = files.run.path
        assert (run / "metrics.jsonl").exists()
    assert not run.exists()


def test_the_tokenizer_has_a_word_for_every_id(tmp_path):
    shape = bench.write_model(tmp_path, dataclasses.replace(SHAPES["tiny"], vocab_size=5000))
    policy, own = load_policy(str(tmp_path), "mini"), load_policy("embedded", "mini")
    assert policy.config == shape
    assert shape.vocab_size == len(policy.tokenizer) == 5000
    assert policy.tokenizer.decode([1024, 4999]).split() == ["w1024", "w4999"]
    text = "What is 12 + 7?"
    assert policy.tokenizer(text)["input_ids"] == own.tokenizer(text)["input_ids"]


def test_a_small_vocabulary_grows_to_the_tokenizer(tmp_path):
    assert bench.write_model(tmp_path, SHAPES["tiny"]).vocab_size == 1024
    assert load_policy(str(tmp_path), "mini").config.vocab_size == 1024


def test_rates_and_shares_by_hand():
    def one(rollout, update, whole, tokens):
        phases, told = {"rollout": rollout, "update": update}, {"perf/reward_seconds": rollout / 2}
        return bench.MeasuredStep(phases, whole, 4, tokens, 1e9, 0.9, told)

    steps = [one(1.0, 2.0, 4.0, 100), one(3.0, 2.0, 6.0, 140)]
    rates = bench.rates(steps)
    assert rates["tok/s end to end"] == 24  # 240 in 10 s
    assert rates["tok/s rollout"] == 60
    assert rates["tokens of one"] == 30
    assert rates["s per step"] == 5
    assert rates["s judging"] == 1
    assert rates["packing %"] == pytest.approx(90)
    rows = {row.pop("phase"): row for row in bench.phase_rows(steps)}
    assert [rows[name]["share %"] for name in ("rollout", "update", "outside")] == [40, 40, 20]
    assert rows["rollout"]["standard deviation s"] == 1
    assert (rows["whole"]["least s"], rows["whole"]["most s"]) == (4, 6)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--steps", "0"], "--steps 0: must be at least 1"),
        (["--shape", "huge"], "--shape huge: no such shape"),
        (["--train.updates-per-rollout", "3"], "must divide the 128 completions"),
        (["--preset", "64"], "--preset 64: no such preset; choose from 128x256, 512x1024, tiny"),
        (["--data.train", "none.jsonl"], "none.jsonl"),
    ],
)
def test_mistakes_end_in_one_line(argv, said, capsys):
    presets = bench_step.PRESETS
    assert cli.run(bench_step.main, presets["128x256"], argv, presets=presets) == 2
    errors = capsys.readouterr().err
    assert said in errors
    assert errors.count("\n") == 1
