"""A sweep: its grid, what it makes of its runs, and that it goes on where it stood."""

import dataclasses
import json
import shlex
import sys
from pathlib import Path

import pytest

from experiments import sweep
from experiments.gates import jobs
from r1jax.commands import cli

pytestmark = pytest.mark.lab

AFTER = {"lr0.001-seed0": 0.5, "lr0.001-seed1": 0.7, "lr0.003-seed0": 0.9, "lr0.003-seed1": 0.1}
ARGV = ["--rates", "3e-3", "1e-3", "--zero.updates", "3", "--zero.optimizer.lr", "1e-4"]


class Script:
    """A run that leaves a summary; it fails while `broken` is there."""

    def __init__(self, job, out):
        self.name, self.config, self.out = job.name, job.config, out

    def finished(self, out):
        return (out / self.name / "summary.json").exists()

    @property
    def command(self):
        record = {"pass_at_1": 0.2, "length_mean": 10.0, "format": 1.0}
        after = record | {"pass_at_1": AFTER[self.name]}
        text = json.dumps({"before": record, "after": after})
        broken = f"{self.name}" == "lr0.001-seed1" and (self.out / "broken").exists()
        code = f"import pathlib, sys; sys.exit(3) if {broken} else None; "
        code += f"p = pathlib.Path({str(self.out / self.name)!r}); p.mkdir(exist_ok=True); "
        return [sys.executable, "-c", code + f"(p / 'summary.json').write_text({text!r})"]


@pytest.fixture
def scripts(tmp_path, monkeypatch):
    real = sweep.runs
    monkeypatch.setattr(
        sweep,
        "runs",
        lambda c: {rate: [Script(job, tmp_path) for job in js] for rate, js in real(c).items()},
    )
    return [*ARGV, "--out", str(tmp_path), "--jobs", "2"]


def test_rates_are_compared_by_the_mean_of_their_seeds(tmp_path, scripts, capsys):
    assert cli.run(sweep.main, sweep.Config(), scripts) == 0
    found = json.loads((tmp_path / "sweep.json").read_text())
    assert [(r["rate"], r["seeds"]) for r in found["rows"]] == [(0.001, 2), (0.003, 2)]
    assert [r["after"] for r in found["rows"]] == pytest.approx([0.6, 0.5])
    assert (found["rows"][0]["lowest"], found["rows"][0]["highest"]) == (0.5, 0.7)
    assert found["best"] == 0.001
    said = capsys.readouterr().out
    assert "| 0.001 | 2 | 0.2 | 0.6 | 0.5 | 0.7 | 10 | 1 |" in said and found["command"] in said
    words = shlex.split(found["command"])
    assert words[:3] == ["python", "-m", "experiments.zero"]
    config = cli.parse(sweep.DEFAULT, words[3:])
    expected = sweep.at(dataclasses.replace(sweep.DEFAULT, updates=3), 0.001)
    assert config == dataclasses.replace(expected, run=str(tmp_path / "best"))


def test_a_failed_run_is_named_and_the_sweep_goes_on_from_the_others(tmp_path, scripts, capsys):
    (tmp_path / "broken").touch()
    assert cli.run(sweep.main, sweep.Config(), scripts) == 2
    said = capsys.readouterr()
    assert "failed: lr0.001-seed1" in said.err
    assert json.loads((tmp_path / "sweep.json").read_text())["rows"][0]["seeds"] == 1
    (tmp_path / "broken").unlink()
    assert cli.run(sweep.main, sweep.Config(), scripts) == 0
    assert capsys.readouterr().out.count(": started") == 1
    assert json.loads((tmp_path / "sweep.json").read_text())["rows"][0]["seeds"] == 2


def test_without_rates_there_are_three_around_the_runs_own(tmp_path):
    config = sweep.Config(out=str(tmp_path), zero=sweep.at(sweep.DEFAULT, 1e-5))
    assert config.grid == pytest.approx((3.3e-6, 1e-5, 3e-5))
    (job, other), *_ = sweep.runs(config).values()
    assert (job.name, other.name) == ("lr3.3e-06-seed0", "lr3.3e-06-seed1")
    assert isinstance(job, jobs.Job) and Path(job.config.run) == tmp_path / job.name
    assert (other.config.seed, other.config.data.seed, other.config.optimizer.lr) == (1, 1, 3.3e-6)
    assert cli.parse(sweep.DEFAULT, other.command[3:]) == other.config


def test_without_a_judgement_before_there_is_no_figure_of_it():
    after = {"pass_at_1": 0.5, "length_mean": 3.0, "format": 1.0}
    found = sweep.row(1e-6, [{"before": {}, "after": after}])
    assert found["before"] is None and found["after"] == 0.5


@pytest.mark.parametrize("flags", [["--rates", "1", "1"], ["--rates", "0"], ["--gpus", "-1"],
                                   ["--rates", "1e-6", "1.0000001e-6"], ["--zero.run", "x"],
                                   ["--zero.seed", "5"], ["--zero.data.seed", "5"],
                                   ["--zero.data.eval"]])  # fmt: skip
def test_values_that_make_no_sweep_are_refused(flags, capsys):
    assert cli.run(sweep.main, sweep.Config(), flags) == 2
    assert capsys.readouterr().err.startswith(f"error: {flags[0]}")
