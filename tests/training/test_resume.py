"""A run that was interrupted and resumed is the run that was not, bit by bit."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from runs import (
    Interrupted,
    StopAt,
    changed,
    environment,
    go,
    rows,
    save_model,
    tiny_run,
    write_rows,
)
from tiny import identical, largest_difference, only

from experiments.gates.command_line import flags
from r1jax.checkpoint import Checkpoints
from r1jax.errors import UserError
from r1jax.presets.zero import PRESETS
from r1jax.training.rl import setup
from r1jax.training.rl.setup import build

PLAIN = {}
SPLIT = {
    "train.updates_per_rollout": 4,
    "train.reference_every": 3,
    "loss.beta": 0.1,
    "loss.top_entropy": 0.5,
    "loss.covariance": "clip",
    "loss.covariance_low": -9.0,
    "loss.covariance_share": 0.1,
    "loss.entropy_target": 9.0,
    "loss.entropy_step": 0.01,
    "eval.every": 2,
}
HALF = {"rollout.dtype": "float16", "train.dtype": "float16"}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def make(model, path, changes, devices=1):
    """The parts of a run on the first devices."""
    with only(devices):
        return build(tiny_run(model, path, changes), note=print)


@pytest.fixture(
    scope="module",
    params=[pytest.param(PLAIN, marks=pytest.mark.slow), SPLIT],
    ids=["plain", "split"],
)
def whole(request, model, tmp_path_factory):
    """(parts, directory, final loop) of a run that nothing disturbed."""
    path = tmp_path_factory.mktemp("whole") / "run"
    parts = make(model, path, request.param)
    return parts, path, go(parts, path)


def assert_same_run(path, loop, whole):
    _, other, expected = whole
    assert identical(loop.state, expected.state)
    assert identical(loop.reference, expected.reference)
    assert loop.judged == expected.judged == {"random": False}
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert rows(path, name) == rows(other, name)
    assert (path / "eval.json").read_text() == (other / "eval.json").read_text()


def test_the_reference_run_learns_something(whole):
    parts, path, loop = whole
    start = setup.initial_state(parts).params
    assert largest_difference(start, loop.state.params) > 1e-3
    updates = [row["update"] for row in rows(path)]
    assert updates == list(range(1, 9))
    texts = {row["text"] for row in rows(path, "samples.jsonl")}
    assert len(texts) > 16
    if parts.config.loss.top_entropy < 1:  # half of the tokens, and a tenth at random
        masked = [row["policy/masked_token_frac"] for row in rows(path)]
        assert 0.4 < np.mean(masked) < 0.75
        weights = [row.get("policy/entropy_weight") for row in rows(path)]
        assert weights == [0.0, None, None, None, 0.01, None, None, None]


# Checkpoints lie at every third update (and, in the split run, at every second): 4 is the end of a
# rollout there, 5 and 7 are in the middle of one, 2 lies before the first checkpoint of the other.
def test_resumed_again_and_again_is_uninterrupted(whole, tmp_path):
    """Stopped before the first update, between checkpoints and at the last, lines half written."""
    path = tmp_path / "run"
    for update in (1, 2, 4, 5, 7, 8):
        assert go(whole[0], path, StopAt(update)) is None, update
        for name in ("metrics.jsonl", "samples.jsonl"):
            with (path / name).open("a") as file:
                file.write('{"update": 5, "rollo')
    assert_same_run(path, go(whole[0], path), whole)


def test_rows_lost_from_the_disk_are_said_and_cost_nothing_else(whole, tmp_path, capsys):
    path = tmp_path / "run"
    assert go(whole[0], path, StopAt(7)) is None
    lines = (path / "metrics.jsonl").read_text().splitlines(keepends=True)
    (path / "metrics.jsonl").write_text("".join(lines[:2] + lines[4:]))
    assert identical(go(whole[0], path).state, whole[2].state)
    said = capsys.readouterr().out
    assert "metrics.jsonl: the rows of 2 of 6 updates are lost, the first is update 3" in said
    assert [row["update"] for row in rows(path)] == [1, 2, 5, 6, 7, 8]


def test_other_data_than_it_began_with_is_refused(model, tmp_path):
    """The rows of a file are named by their digest, whether it is trained on or judged on."""
    path, files = tmp_path / "run", {}
    for name in ("train", "eval"):
        asked = [{"question": f"What is {i}+1?", "answer": str(i + 1)} for i in range(6)]
        files[name] = write_rows(tmp_path / f"{name}.jsonl", asked)
    changes = {"data.train": (files["train"], "world:sum"), "data.eval": (files["eval"],)}
    begun = make(model, path, changes | {"checkpoint.every": 1})
    assert go(begun, path, StopAt(2)) is None
    for file in files.values():
        text = Path(file).read_text()
        Path(file).write_text(text.replace("4+1", "4 + 1"))
        now = make(model, path, changes | {"checkpoint.every": 1})
        with pytest.raises(UserError, match=rf"saved with another data .{file}: \w+ -> \w+.; use"):
            go(now, path)
        Path(file).write_text(text)
    dropped = changes | {"checkpoint.every": 1, "data.too_long": "drop"}
    assert go(make(model, path, dropped), path, StopAt(3)) is None


def test_a_prompt_that_is_too_long_ends_a_run_before_it_begins(model, tmp_path):
    long = {"question": "and so on " * 99, "answer": "1"}
    source = write_rows(tmp_path / "a.jsonl", [{"question": "1?", "answer": "1"}, long])
    with pytest.raises(UserError, match=r"1 of 2 prompts \(line 2 \(\d+ tokens\)\) are longer"):
        make(model, tmp_path / "run", {"data.train": (source,)})
    parts = make(model, tmp_path / "run", {"data.train": (source,), "data.too_long": "drop"})
    assert {problem.question for problem in parts.stream.take(0, 3)} == {"1?"}


def test_interrupted_at_a_save(whole, tmp_path, monkeypatch):
    """Before the sixth update's checkpoint is written, and then right after it is."""
    path, save = tmp_path / "run", Checkpoints.save
    for written in (False, True):

        def stop(self, saved, score=None, written=written):
            if written or int(saved.state.update) < 6:
                save(self, saved, score)
            if int(saved.state.update) == 6:
                raise Interrupted

        with monkeypatch.context() as patch:
            patch.setattr(Checkpoints, "save", stop)
            assert go(whole[0], path) is None
    assert_same_run(path, go(whole[0], path), whole)


@pytest.mark.slow
def test_restored_in_mid_rollout_on_another_mesh(model, tmp_path):
    changes = {"train.updates_per_rollout": 4, "updates": 4, "checkpoint.every": 1}
    one = make(model, tmp_path / "one", changes)
    expected = go(one, tmp_path / "one")
    assert go(one, tmp_path / "two", StopAt(3)) is None
    eight = make(model, tmp_path / "two", changes | {"mesh.data": 2, "mesh.fsdp": 4}, devices=8)
    assert eight.mesh.size == 8
    loop = go(eight, tmp_path / "two")
    assert len(jax.tree.leaves(loop.state.params)[0].sharding.device_set) == 8
    # Adam divides by the gradient's own size: what is nearly 0 may come out as anything up to lr.
    difference = largest_difference(loop.state.params, expected.state.params)
    assert difference < 1e-4
    for a, b in zip(rows(tmp_path / "two"), rows(tmp_path / "one"), strict=True):
        assert {k: a[k] for k in b} == pytest.approx(b, rel=1e-4, abs=1e-5)


def test_another_model_in_the_same_place_is_refused_with_the_difference(whole, tmp_path):
    path = tmp_path / "run"
    assert go(whole[0], path, StopAt(5)) is None
    deeper = make(save_model(tmp_path / "model", n_layers=2), path, PLAIN)
    with pytest.raises(UserError, match=r"another model \(num_hidden_layers: 1 -> 2\)"):
        go(replace(deeper, config=whole[0].config), path)


def test_other_flags_are_refused_with_the_difference(whole, tmp_path, model):
    path = tmp_path / "run"
    assert go(whole[0], path, StopAt(5)) is None
    other = changed(tiny_run(model, path), {"optimizer.lr": 1e-4})
    with pytest.raises(UserError, match=r"optimizer.lr: 0.003 -> 0.0001"):
        go(replace(whole[0], config=other), path)


def command(model, path, changes):
    """The run of `tiny_run` as a user starts it."""
    config = tiny_run(model, path, changes)
    return [sys.executable, "-m", "experiments.zero", *flags(config, PRESETS["research"])]


def written(path):
    """Rows of metrics so far."""
    file = path / "metrics.jsonl"
    return file.read_bytes().count(b"\n") if file.exists() else 0


@pytest.mark.slow
@pytest.mark.parametrize("changes", [PLAIN, SPLIT | HALF], ids=["plain", "split in float16"])
def test_kill_dash_nine_at_random_moments(changes, model, tmp_path):
    own = environment(tmp_path / "cache")
    changes = changes | {"updates": 24, "checkpoint.every": 2}
    whole = command(model, tmp_path / "whole", changes)
    subprocess.run(whole, env=own, check=True, stdout=subprocess.DEVNULL)
    path, rng, killed = tmp_path / "run", random.Random(0), []
    for target in (1, 7, 13, 19):
        process = subprocess.Popen(
            command(model, path, changes), env=own, stdout=subprocess.DEVNULL
        )
        while process.poll() is None and written(path) < target:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.2))  # in a rollout, an update, an evaluation or a save
        process.send_signal(signal.SIGKILL)
        killed.append(process.wait() == -signal.SIGKILL)
    assert sum(killed) >= 3
    subprocess.run(command(model, path, changes), env=own, check=True)
    for name in ("metrics.jsonl", "samples.jsonl"):
        assert rows(path, name) == rows(tmp_path / "whole", name)
    a, b = (json.loads((tmp_path / n / "eval.json").read_text()) for n in ("run", "whole"))
    assert a == b
    assert np.isfinite([row["loss"] for row in rows(path)]).all()
    scaled = all(row.get("loss_scale/scale", 0) > 1 for row in rows(path))
    assert scaled == ("train.dtype" in changes)
