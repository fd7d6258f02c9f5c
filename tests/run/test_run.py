"""The run directory: starting, resuming, refusing, cutting, and files that are always JSON."""

import json
import math
import os
from dataclasses import dataclass, field
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.run import directory as run_module
from r1jax.run.directory import RunDirectory, differences, inspect, read_jsonl, to_json
from r1jax.run.rows import cut, settle


@dataclass(frozen=True)
class Optimizer:
    lr: float = 1e-4
    betas: tuple[float, float] = (0.9, 0.95)


@dataclass(frozen=True)
class Config:
    optimizer: Optimizer = field(default_factory=Optimizer)
    seed: int = 0
    out: Path = Path("runs/x")
    overwrite: bool = False


def strict(path):
    def refuse(word):
        raise AssertionError(f"{word} is not JSON")

    return json.loads(path.read_text(), parse_constant=refuse)


def test_a_new_run(tmp_path):
    run = RunDirectory.start(tmp_path / "a" / "b", Config())
    assert run.status == "new"
    assert strict(run.path / "config.json") == {
        "optimizer": {"lr": 1e-4, "betas": [0.9, 0.95]},
        "seed": 0,
        "out": "runs/x",
        "overwrite": False,
    }
    assert run.checkpoints.is_dir() and run.plots.is_dir()
    environment = strict(run.path / "environment.json")
    assert environment["packages"]["jax"] and environment["device_count"] >= 1


def test_equal_flags_resume_and_a_finished_run_says_so(tmp_path):
    RunDirectory.start(tmp_path, Config()).metrics(1, 1, {"reward/mean": 0.5})
    run = RunDirectory.start(tmp_path, Config(overwrite=False))
    assert run.status == "resume"
    run.finish({"wall_seconds": 2.5})
    assert strict(tmp_path / "summary.json") == {"schema": 1, "wall_seconds": 2.5}
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    assert RunDirectory.start(tmp_path, Config()).status == "finished"
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("finished", [False, True])
def test_other_flags_are_refused_with_the_difference(tmp_path, finished):
    run = RunDirectory.start(tmp_path, Config())
    run.metrics(1, 1, {})
    if finished:
        run.finish({})
    with pytest.raises(UserError) as caught:
        RunDirectory.start(tmp_path, Config(Optimizer(lr=3e-4), seed=1))
    line = str(caught.value)
    assert "optimizer.lr: 0.0001 -> 0.0003; seed: 0 -> 1" in line
    assert "betas" not in line and "--overwrite" in line and "\n" not in line


def test_flags_that_nothing_was_made_with_may_be_corrected(tmp_path):
    """A wrong one may have ended the run at its start."""
    (tmp_path / "kept.jsonl").touch()
    (tmp_path / "config.json").write_text('{"seed": -1}')
    (tmp_path / "owner.json").write_text("{}")
    run = RunDirectory.start(tmp_path, Config())
    assert run.status == "new" and strict(tmp_path / "config.json")["seed"] == 0
    (run.checkpoints / "1").mkdir()
    with pytest.raises(UserError, match="seed: 0 -> 1"):
        RunDirectory.start(tmp_path, Config(seed=1))


def test_ignored_fields_may_differ(tmp_path):
    RunDirectory.start(tmp_path, Config()).metrics(1, 1, {})
    changed = Config(Optimizer(lr=1.0), overwrite=False)
    assert inspect(tmp_path, changed, ignore=("optimizer",)) == "resume"
    with pytest.raises(UserError, match="optimizer.lr"):
        inspect(tmp_path, changed, ignore=("optim",))


def test_overwrite_starts_anew_and_spares_what_is_not_of_a_run(tmp_path):
    run = RunDirectory.start(tmp_path, Config())
    run.metrics(1, 1, {})
    run.finish({})
    (run.checkpoints / "7").mkdir()
    (tmp_path / "notes.txt").write_text("mine")
    run = RunDirectory.start(tmp_path, Config(seed=5, overwrite=True), overwrite=True)
    assert run.status == "new"
    assert not (tmp_path / "metrics.jsonl").exists() and not (tmp_path / "summary.json").exists()
    assert list(run.checkpoints.iterdir()) == []
    assert (tmp_path / "notes.txt").read_text() == "mine"
    assert RunDirectory.start(tmp_path, Config(seed=5)).status == "resume"


def test_a_directory_that_is_no_run_is_refused_even_with_overwrite(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    for overwrite in (False, True):
        with pytest.raises(UserError, match="holds other files"):
            RunDirectory.start(tmp_path, Config(), overwrite=overwrite)
    with pytest.raises(UserError, match="is a file"):
        RunDirectory.start(tmp_path / "thesis.tex", Config())


def test_a_run_that_has_lost_its_config_is_not_cleared(tmp_path):
    run = RunDirectory.start(tmp_path, Config())
    run.metrics(1, 1, {})
    (tmp_path / "config.json").unlink()
    with pytest.raises(UserError, match="holds a run without its config.json; put it back"):
        RunDirectory.start(tmp_path, Config())
    assert (tmp_path / "metrics.jsonl").stat().st_size
    assert RunDirectory.start(tmp_path, Config(), overwrite=True).status == "new"
    assert not (tmp_path / "metrics.jsonl").exists()


def test_only_the_first_process_writes(tmp_path):
    run = RunDirectory(tmp_path / "r", "new", write=False)
    run.metrics(1, 1, {"a": 1.0})
    run.samples(0, 1, [{"text": "x"}])
    run.evaluation(1, {"pass_at_1": 1.0}, [{"text": "x"}])
    run.finish({})
    cut(run, 0, 0)
    assert not (tmp_path / "r").exists()


def test_rows_and_evaluations(tmp_path):
    run = RunDirectory.start(tmp_path, Config())
    values = {"loss": math.nan, "norm": np.float32(1.5), "lr": jnp.float32(2.0), "n": np.int32(3)}
    run.metrics(4, 2, values)
    run.samples(3, 2, [{"text": "1 + 1\n= 2", "parts": {"format": math.inf}}, {"text": "二"}])
    run.evaluation(0, {"pass_at_1": 0.25})
    run.evaluation(4, {"pass_at_1": math.nan})
    assert (tmp_path / "metrics.jsonl").read_text() == (
        '{"update": 4, "step": 4, "rollout": 2, "loss": null, "norm": 1.5, "lr": 2.0, "n": 3}\n'
    )
    rows = read_jsonl(tmp_path / "samples.jsonl")
    assert [row["text"] for row in rows] == ["1 + 1\n= 2", "二"]
    assert rows[0]["parts"] == {"format": None}
    assert strict(tmp_path / "eval.json") == [
        {"update": 0, "step": 0, "pass_at_1": 0.25},
        {"update": 4, "step": 4, "pass_at_1": None},
    ]


def test_what_is_removed_while_a_run_writes_is_said_or_still_known(tmp_path, capsys):
    run = RunDirectory.start(tmp_path, Config())
    for update in (0, 2):
        run.evaluation(update, {"pass_at_1": 0.25}, [{"text": "二"}])
        run.metrics(update + 1, 1, {"a": 1.0})
        run.metrics(update + 2, 1, {"a": 1.0})
        assert capsys.readouterr().out == ""
    (tmp_path / "metrics.jsonl").unlink()
    (tmp_path / "eval.json").write_text("")
    assert [e["update"] for e in run.evaluations()] == [0, 2]
    for update in (5, 6):
        run.metrics(update, 2, {"a": 1.0})
    run.evaluation(6, {"pass_at_1": 0.5})
    said = f"warning: {tmp_path}/metrics.jsonl: rows were removed; the run goes on without them\n"
    assert capsys.readouterr().out == said
    assert [row["update"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [5, 6]
    assert [e["update"] for e in strict(tmp_path / "eval.json")] == [0, 2, 6]


@given(st.integers(0, 6), st.integers(0, 3), st.binary(max_size=9))
def test_cut_leaves_the_rows_the_checkpoint_covers(tmp_path_factory, update, rollout, half):
    path = tmp_path_factory.mktemp("run")
    run = RunDirectory(path, "resume")
    for u in range(1, 7):
        run.metrics(u, (u + 1) // 2, {})
        run.evaluation(u, {}, [{"text": "x"}, {"text": "y"}])
    for r in range(1, 4):
        run.samples(2 * (r - 1), r, [{"i": 0}, {"i": 1}])
    with (path / "metrics.jsonl").open("ab") as file:
        file.write(half.replace(b"\n", b" "))
    cut(run, update, rollout)
    kept = [u for u in range(1, 7) if u <= update and (u + 1) // 2 <= rollout]
    assert [row["update"] for row in read_jsonl(path / "metrics.jsonl")] == kept
    samples = [(row["rollout"], row["i"]) for row in read_jsonl(path / "samples.jsonl")]
    assert samples == [
        (r, i) for r in range(1, 4) for i in (0, 1) if r <= rollout and 2 * (r - 1) <= update
    ]
    assert [entry["step"] for entry in run.evaluations()] == list(range(1, update + 1))
    assert [row["update"] for row in run.transcripts()] == [
        u for u in range(1, update + 1) for _ in "xy"
    ]
    run.metrics(update + 1, rollout + 1, {})
    assert read_jsonl(path / "metrics.jsonl")[-1]["update"] == update + 1


def test_a_broken_line_in_the_middle_is_named(tmp_path):
    run = RunDirectory.start(tmp_path, Config())
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\n{"upda\n{"update": 3}\n')
    with pytest.raises(UserError, match=r"metrics.jsonl, line 2: not JSON"):
        cut(run, 3, 3)


def test_rows_that_a_power_cut_took_are_said(tmp_path):
    """From the end, in the middle, whole files; blocks of nothing where a row was to stand."""
    run = RunDirectory.start(tmp_path, Config())
    for u in (1, 2, 5):
        run.metrics(u, u, {})
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(b"\0" * 40 + b'te": 7}\n\0\0')
    lines = cut(run, 6, 2)
    assert [line.partition(": ")[2] for line in lines] == [
        "the rows of 4 of 6 updates are lost, the first is update 3; the run goes on without them",
        "the rows of 2 of 2 rollouts are lost, the first is rollout 1; the run goes on without "
        "them",
    ]
    assert "metrics.jsonl" in lines[0] and "samples.jsonl" in lines[1]
    assert [row["update"] for row in read_jsonl(tmp_path / "metrics.jsonl")] == [1, 2]
    assert cut(run, -1, 0) == []


def test_rows_are_on_the_disk_once_they_are_settled(tmp_path, monkeypatch):
    run = RunDirectory.start(tmp_path, Config())
    settle(run)
    run.metrics(1, 1, {})
    run.samples(0, 1, [{"text": "x"}])
    synced = []
    monkeypatch.setattr(os, "fsync", lambda fd: synced.append(os.readlink(f"/proc/self/fd/{fd}")))
    settle(run)
    files = [str(tmp_path / name) for name in ("metrics.jsonl", "samples.jsonl")]
    assert synced == [*files, str(tmp_path)]


def test_a_crash_while_replacing_leaves_the_old_file(tmp_path, monkeypatch):
    run = RunDirectory.start(tmp_path, Config())
    run.evaluation(1, {"pass_at_1": 0.5})

    def crash(descriptor):
        raise OSError("disk full")

    monkeypatch.setattr(run_module.os, "fsync", crash)
    with pytest.raises(OSError):
        run.evaluation(2, {"pass_at_1": 0.6})
    assert [entry["step"] for entry in strict(tmp_path / "eval.json")] == [1]


def test_a_start_that_crashed_is_new(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "config.json.tmp").write_text("{")
    assert RunDirectory.start(tmp_path, Config()).status == "new"


def test_a_broken_config_is_a_user_error(tmp_path):
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(UserError, match="config.json: not JSON"):
        RunDirectory.start(tmp_path, Config())


def test_differences_name_absent_fields():
    old, new = {"a": {"b": 1, "c": 2}}, {"a": {"b": 1}, "d": [1]}
    assert differences(old, new) == ["a.c: 2 -> (absent)", "d: (absent) -> [1]"]


def test_functions_are_named():
    assert to_json({"reward": math.gcd}) == {"reward": "math:gcd"}


@pytest.mark.parametrize("found", [[1, 2, 3, 2, 3, 4], [1, 2, 2], [2, 1]])
def test_updates_that_two_processes_wrote_are_refused(tmp_path, found):
    run = RunDirectory.start(tmp_path, Config())
    for update in found:
        run.metrics(update, update, {})
    before = (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(
        UserError, match=r"update \d stands behind \d: two processes .* --overwrite"
    ):
        cut(run, 4, 4)
    assert (tmp_path / "metrics.jsonl").read_text() == before
    cut(run, 0, 0)  # what comes after the restored counters goes anyway
    assert (tmp_path / "metrics.jsonl").read_text() == ""


@pytest.mark.parametrize("row", ["[1]", "null", '{"update": "1"}', "[" * 5000])
def test_a_row_of_another_kind_is_named_by_its_line(tmp_path, row):
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\n' + row + "\n")
    with pytest.raises(UserError, match="metrics.jsonl, line 2: not JSON"):
        read_jsonl(tmp_path / "metrics.jsonl")
