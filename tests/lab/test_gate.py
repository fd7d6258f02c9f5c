"""The gate: its arithmetic on literal numbers, and what happens when one of its runs fails."""

from __future__ import annotations

import dataclasses
import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.gates import arithmetic, jobs
from experiments.gates import zero as zero_gate
from experiments.gates.table import collate, markdown
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.presets.zero import PRESETS
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.reward import HOW, RewardConfig

pytestmark = pytest.mark.lab


def record(pass_at_1, cons=0.5, form=0.95, length=20.0):
    return {
        "samples": 16,
        "pass_at_1": pass_at_1,
        "pass_at_1_strict": pass_at_1 - 0.05,
        "cons_at_16": cons,
        "format": form,
        "length_mean": length,
    }


def summary(before, after, width=0.03, **more):
    gain = after - before
    return {
        "before": record(before, form=0.1),
        "after": record(after, **more),
        "gain": {"pass_at_1": gain, "ci": [gain - width, gain + width]},
        "sets": {"world-harder": {"before": record(0.1), "after": record(0.2)}},
        "wall_seconds": 100.0,
    }


GOOD = {
    "seed0": summary(0.3, 0.5),
    "seed1": summary(0.3, 0.6),
    "random": summary(0.3, 0.32),
    "format": summary(0.3, 0.2),
    "rejection": summary(0.3, 0.4),
}


def holds(summaries):
    return [v["holds"] for v in collate(summaries, {})["verdicts"]]


def test_the_mean_and_every_verdict():
    gate = collate(GOOD, {"base": {"1": 0.3, "2": 0.4}})
    assert gate["mean"]["before"] == pytest.approx(0.3)
    assert gate["mean"]["after"] == pytest.approx(0.55)
    assert gate["mean"]["low"] == pytest.approx((0.17 + 0.27) / 2)
    assert gate["mean"]["harder"] == pytest.approx(0.2)
    assert holds(GOOD) == [True] * 6


@pytest.mark.parametrize(
    ("changes", "broken"),
    [
        ({"seed0": summary(0.3, 0.45)}, 0),  # mean lower bound (0.12 + 0.27) / 2 = 0.195
        ({"seed0": summary(0.3, 0.41), "seed1": summary(0.3, 0.8)}, 1),
        ({"seed0": summary(0.3, 0.5) | {"before": record(0.3, cons=0.61)}}, 2),
        ({"seed1": summary(0.3, 0.6, form=0.9)}, 3),
        ({"random": summary(0.3, 0.331)}, 4),
        ({"format": summary(0.3, 0.351)}, 5),
    ],
)
def test_one_criterion_breaks(changes, broken):
    found = holds(GOOD | changes)
    if broken == 2:  # of two seeds, the other's majority vote counts as well: (0.61 + 0.5) / 2
        assert collate(GOOD | changes, {})["verdicts"][2]["limit"] == pytest.approx(0.555)
    assert found == [i != broken for i in range(6)]


def test_what_was_not_run_has_no_verdict():
    assert holds({"seed0": GOOD["seed0"], "seed1": GOOD["seed1"]}) == [True] * 4 + [None] * 2
    assert holds({"random": GOOD["random"]}) == [None] * 4 + [True, None]


def test_the_table():
    text = markdown(collate(GOOD, {"base": {"1": 0.3, "256": 0.75}}))
    lines = text.splitlines()
    assert lines[2].startswith("| seed0 | 30.0 | 50.0 | 20.0 | 17.0 | 23.0 | 50.0 | 45.0 |")
    assert lines[4].startswith("| mean of seeds | 30.0 | 55.0 | 25.0 |")
    assert [line.split(" | ")[0] for line in lines[5:8]] == ["| random", "| format", "| rejection"]
    assert "| gain of a random reward, at most | 3.0 | 2.0 | yes |" in lines
    assert lines[-3:] == ["| pass@k | 1 | 256 |", "| --- | ---: | ---: |", "| base | 30.0 | 75.0 |"]


@dataclass(frozen=True)
class Script:
    """A job that writes its summary, or dies talking."""

    name: str
    out: Path
    config: object = None

    def finished(self, out):
        return (out / self.name / "summary.json").exists()

    @property
    def command(self):
        place = self.out / self.name
        if self.name == "random":
            return [
                sys.executable,
                "-c",
                "print('first'); print('last words'); raise SystemExit(3)",
            ]
        text = json.dumps(GOOD[self.name])
        code = f"import pathlib; p = pathlib.Path({str(place)!r}); p.mkdir()\n"
        return [sys.executable, "-c", code + f"(p / 'summary.json').write_text({text!r})"]


def test_a_failed_run_is_shown_and_the_others_are_kept(tmp_path, monkeypatch, capsys):
    names = ("seed0", "random", "seed1")
    monkeypatch.setattr(zero_gate, "runs", lambda config: [Script(n, tmp_path) for n in names])
    argv = ["--out", str(tmp_path), "--curve-problems", "0", "--jobs", "2"]
    for started in (3, 1):  # what is finished is not run again
        assert cli.run(zero_gate.main, zero_gate.Config(), argv) == 2
        said = capsys.readouterr()
        assert said.out.count(": started") == started
        assert "random | last words" in said.err
        assert said.err.splitlines()[-1].startswith(f"error: --out {tmp_path}: failed: random")
        assert list(json.loads((tmp_path / "gate.json").read_text())["rows"]) == ["seed0", "seed1"]
        assert "| random" not in (tmp_path / "gate.md").read_text()


def test_the_jobs_and_their_flags(tmp_path):
    config = zero_gate.Config(out=str(tmp_path), seeds=2)
    found = {job.name: job for job in zero_gate.runs(config)}
    assert list(found) == ["seed0", "seed1", "random", "format", "rejection"]
    command = found["seed1"].command[3:]
    assert cli.parse(PRESETS["demo"], command) == found["seed1"].config
    assert command[: command.index("--data.eval")] == [
        "--run",
        str(tmp_path / "seed1"),
        "--seed",
        "1",
    ]
    assert found["seed1"].config.data.seed == 1
    reward = found["random"].config.reward
    assert (reward.random, reward.accuracy, reward.format) == (1, 0, 0)
    demo = PRESETS["demo"]
    assert found["rejection"].config.rollouts * demo.train.updates_per_rollout == demo.updates
    curves = {job.name: job for job in zero_gate.curves(config)}
    assert list(curves) == ["curve-base", "curve-seed0", "curve-seed1"]
    assert curves["curve-base"].config.checkpoint == ""
    assert curves["curve-seed1"].config.checkpoint == str(tmp_path / "seed1" / "checkpoints")
    assert curves["curve-base"].config.eval.samples == 256
    assert curves["curve-base"].config.data.eval_count == 64
    assert len(curves["curve-base"].config.data.eval) == 1


def test_a_control_carries_no_reward_that_it_does_not_name():
    """Every field set to another value than its zero, fields of later days too."""
    other = {float: 0.7, int: 3, str: "x", tuple: ("a:b=1",), type(None): 2}
    reward = RewardConfig()
    reward = dataclasses.replace(
        reward,
        **{f.name: other[type(getattr(reward, f.name))] for f in dataclasses.fields(reward)},
    )
    control = reward.only(random=1.0)
    weights = {f.name: getattr(control, f.name) for f in dataclasses.fields(control)}
    assert {name: weights.pop(name) for name in HOW} == {n: getattr(reward, n) for n in HOW}
    assert weights.pop("random") == 1.0
    assert set(weights) >= {"accuracy", "code", "format", "language", "user", "model"}
    assert not any(weights.values())
    demo = dataclasses.replace(
        PRESETS["demo"],
        reward=dataclasses.replace(
            RewardConfig(), code=1.0, language=1.0, user=("a:b",), model=("runs/m",)
        ),
    )
    made = {job.name: job.config for job in zero_gate.runs(zero_gate.Config(demo=demo))}
    for name in ("random", "format"):
        terms = make_terms(made[name].reward, 8, 0)
        assert [(term.name, term.weight) for term in terms] == [(name, 1.0)]


def test_each_job_gets_its_share_of_the_device(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        jobs.subprocess,
        "run",
        lambda command, env, **_: seen.append(env) or type("Done", (), {"returncode": 0}),
    )
    for share in (0.0, 0.25):
        config = zero_gate.Config(out=str(tmp_path), memory_fraction=share)
        jobs.perform_one(Script("seed0", tmp_path), config)
    assert seen[1]["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.25"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in seen[0]


@pytest.mark.parametrize(
    "flags", [["--seeds", "0"], ["--jobs", "0"], ["--jobs", "3", "--memory-fraction", "0.5"]]
)
def test_values_that_make_no_gate_are_refused(flags, capsys):
    assert cli.run(zero_gate.main, zero_gate.Config(), flags) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_with_other_flags_in_its_place_is_refused(tmp_path):
    job = zero_gate.runs(zero_gate.Config(out=str(tmp_path), seeds=1))[0]
    (tmp_path / "seed0").mkdir()
    (tmp_path / "seed0" / "config.json").write_text('{"updates": 3}')
    (tmp_path / "seed0" / "metrics.jsonl").write_text('{"update": 1}')
    with pytest.raises(UserError, match="was run with other flags"):
        job.finished(tmp_path)


def test_arithmetics_are_compared_seed_by_seed_and_what_failed_has_no_pair():
    def made(after, differences=(0.01, 0.03)):
        metrics = [{"policy/logp_diff_mean": d, "policy/logp_diff_p99": 9 * d, "skipped": 1.0}
                   for d in differences]  # fmt: skip
        return arithmetic.row(
            {"before": {"pass_at_1": 0.2}, "after": {"pass_at_1": after}}, metrics
        )

    rows = {"float32-seed0": made(0.5), "float32-seed1": made(0.6), "bfloat16-seed0": made(0.4),
            "bfloat16-seed1": made(0.56), "float16-seed1": made(0.59)}  # fmt: skip
    gate = arithmetic.collate(rows)
    brain, half = (gate["against_float32"][kind] for kind in ("bfloat16", "float16"))
    assert brain["by_seed"] == pytest.approx([-0.1, -0.04]) and not brain["holds"]
    assert brain["mean"] == pytest.approx(-0.07) and brain["ci"][0] < -0.07 < brain["ci"][1]
    assert half["by_seed"] == pytest.approx([-0.01]) and half["holds"] and half["ci"] is None
    assert rows["float16-seed1"]["logp_diff_mean"] == pytest.approx(0.02)
    text = arithmetic.markdown(gate)
    assert "| bfloat16-seed0 | 20 | 40 |" in text
    assert "| bfloat16 | -7 |" in text and "| float16 | -1 |  |  | yes |" in text


def test_every_arithmetic_runs_under_every_seed(tmp_path):
    config = arithmetic.Config(out=str(tmp_path), seeds=2)
    found = {job.name: job for job in arithmetic.runs(config)}
    assert len(found) == 6 and found["float16-seed1"].config.seed == 1
    command = found["float16-seed1"].command
    for flag in ("--rollout.dtype", "--train.dtype"):
        assert command[command.index(flag) + 1] == "float16"
    assert "--train.dtype" not in found["float32-seed0"].command
