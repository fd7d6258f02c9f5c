"""Runs side by side, controls, and the gate of arithmetics on literal numbers."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from experiments.claims import a_zero, random_reward
from experiments.claims.runs import Config as ClaimsConfig
from experiments.claims.trial import ClaimTrial, Study
from experiments.gates import arithmetic, command_line, jobs
from experiments.methods import changes
from experiments.smollm2 import arms
from r1jax.commands import cli
from r1jax.errors import UserError
from r1jax.presets.zero import PRESETS
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import score
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.reward import HOW, RewardConfig
from r1jax.training.teacher import PolicyTeacher

pytestmark = pytest.mark.lab


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
        text = json.dumps({"name": self.name})
        code = f"import pathlib; p = pathlib.Path({str(place)!r}); p.mkdir()\n"
        return [sys.executable, "-c", code + f"(p / 'summary.json').write_text({text!r})"]


def test_a_failed_run_is_shown_and_the_others_are_kept(tmp_path, capsys):
    setting = jobs.GateSetting(out=str(tmp_path), jobs=2)
    scripts = [Script(name, tmp_path) for name in ("seed0", "random", "seed1")]
    for started in (3, 1):  # what is finished is not run again
        failed = jobs.perform(scripts, setting)
        said = capsys.readouterr()
        assert said.out.count(": started") == started and failed == ["random"]
        assert "random | last words" in said.err
    with pytest.raises(UserError, match=f"--out {tmp_path}: failed: random"):
        jobs.conclude({"a": 1}, "text", failed, setting)
    assert json.loads((tmp_path / "gate.json").read_text()) == {"a": 1}
    assert [script.finished(tmp_path) for script in scripts] == [True, False, True]


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
    terms = make_terms(control, 8, 0)
    assert [(term.name, term.weight) for term in terms] == [("random", 1.0)]


def controls(run):
    """(every control that is made of a run, the one term that it may learn from)."""
    yield changes.coin(run), "random"
    yield arms.coin(arms.Trial(arms.Config(zero=run), 0, 1e-4)).job.config, "random"
    trial = ClaimTrial(Study(ClaimsConfig(zero=run), {}), 0, 0, 1e-4)
    for arm in (a_zero.COIN, a_zero.FORMAT):
        yield arm.steps(trial)[0].job.config, "random" if arm is a_zero.COIN else arm.name
    for arm in random_reward.CALLED:
        made = dataclasses.replace(run, **random_reward.changes(run, arm))
        yield made, "random" if arm == "sample" else "of_text"


def test_no_control_learns_from_what_is_right():
    """Neither from another term, nor from a teacher, nor from a tower that outcomes teach."""
    demo = PRESETS["demo"]
    reward = dataclasses.replace(
        RewardConfig(), code=1.0, language=1.0, user=("a:b",), model=("runs/m",)
    )
    run = dataclasses.replace(
        demo,
        reward=reward,
        teacher=PolicyTeacher(model="embedded"),
        loss=dataclasses.replace(demo.loss, advantage_baseline="others"),
        prime=dataclasses.replace(demo.prime, weight=1.0),
    )
    for control, name in controls(run):
        terms = {term.name: term.weight for term in make_terms(control.reward, 8, 0)}
        assert {term: weight for term, weight in terms.items() if weight} == {name: 1.0}
        assert not control.teacher.there and not control.prime.on
        # The commands of its own are taken: none has a flag that it would not read.
        assert not set(command_line.flags(control, demo)) & cli.idle_flags(control).keys()


def test_what_is_only_seen_is_told_and_earns_nothing():
    terms = make_terms(changes.coin(PRESETS["demo"]).reward, 8, 0)
    problem = Problem("id", "6 * 7 = ?", "42")
    said = [Completion.parse(f"<answer>{n}</answer>") for n in (42, 41)]
    total, parts, _ = score(terms, [problem] * 2, said, RewardContext())
    assert parts["accuracy"] == [1.0, 0.0] and total == parts["random"]


def test_each_job_gets_its_share_of_the_device(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        jobs.subprocess,
        "run",
        lambda command, env, **_: seen.append(env) or type("Done", (), {"returncode": 0}),
    )
    for share in (0.0, 0.25):
        config = jobs.GateSetting(out=str(tmp_path), memory_fraction=share)
        jobs.perform_one(Script("seed0", tmp_path), config)
    assert seen[1]["XLA_PYTHON_CLIENT_MEM_FRACTION"] == "0.25"
    assert "XLA_PYTHON_CLIENT_MEM_FRACTION" not in seen[0]


def test_jobs_share_what_is_compiled_unless_a_place_is_named(tmp_path, monkeypatch):
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR", raising=False)
    config = jobs.GateSetting(out=str(tmp_path / "gate"))
    program = tmp_path / "program.py"
    program.write_text(
        "import jax\njax.jit(lambda x: jax.numpy.sin(x @ x))(jax.numpy.ones((8, 8)))\n"
    )
    told = jobs.environment(config, None) | {"JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    subprocess.run([sys.executable, program], env=told, check=True)
    assert list((tmp_path / "gate" / "compiled").glob("*-cache"))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    assert jobs.environment(config, None) == dict(os.environ)


@pytest.mark.parametrize(
    "flags", [["--seeds", "0"], ["--jobs", "0"], ["--jobs", "3", "--memory-fraction", "0.5"]]
)
def test_values_that_make_no_gate_are_refused(flags, capsys):
    assert cli.run(arithmetic.main, arithmetic.Config(), flags) == 2
    assert capsys.readouterr().err.startswith("error: ")


def test_a_run_with_other_flags_in_its_place_is_refused(tmp_path):
    job = arithmetic.runs(arithmetic.Config(out=str(tmp_path), seeds=1))[0]
    (tmp_path / "float32-seed0").mkdir()
    (tmp_path / "float32-seed0" / "config.json").write_text('{"updates": 3}')
    (tmp_path / "float32-seed0" / "metrics.jsonl").write_text('{"update": 1}')
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
