"""The runs of claims: queue, deadline, resume, flags, what is shared, comparison data."""

from __future__ import annotations

import json
import os
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from experiments.claims import pairs, study, traces
from experiments.claims.every import CLAIMS
from experiments.claims.runs import DEMO, BaseAndSeed, Config
from experiments.claims.study import SMOKE, plan
from experiments.gates import jobs
from r1jax.commands import cli, rejection, reward_model, sft
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.errors import UserError
from r1jax.presets.r1 import PRESETS as R1
from r1jax.rewards import per_completion
from r1jax.rewards.adapters import named_reward

pytestmark = pytest.mark.lab

FULL = replace(
    Config(), bases=("p/base0", "p/base1"), chinese_bases=("p/zh0", "p/zh1"),
    students=("p/small0", "p/small1"), sizes=(),
)  # fmt: skip


@dataclass(frozen=True)
class Script:
    """A job that writes down when it ran, on which GPU, and what of it was there before."""

    name: str
    out: Path
    code: str = ""
    config: object = None

    def finished(self, out):
        return (out / f"{self.name}.done").exists()

    @property
    def command(self):
        text = f"import os, time\nstart, log = time.monotonic(), {str(self.out / 'order')!r}\n"
        text += self.code
        text += (
            f"\nopen(log, 'a').write('{self.name} %s\\n' % os.environ.get('CUDA_VISIBLE_DEVICES'))"
            f"\nopen({str(self.out / (self.name + '.done'))!r}, 'w').close()"
        )
        return [sys.executable, "-S", "-c", text]


@dataclass(frozen=True)
class Setting:
    out: str
    seeds: int = 1
    jobs: int = 1
    memory_fraction: float = 0.0


def order(out):
    path = out / "order"
    return [line.split()[0] for line in path.read_text().splitlines()] if path.exists() else []


def test_jobs_wait_for_what_they_need(tmp_path):
    names = ["rl", "sft", "data", "zero", "other"]
    scripts = [Script(name, tmp_path) for name in names]
    after = {"rl": ("sft",), "sft": ("data",), "data": ("zero",)}
    assert jobs.perform(scripts, Setting(str(tmp_path)), after) == []
    assert order(tmp_path) == ["zero", "data", "sft", "rl", "other"]
    # What is finished is not run again, and counts as done for those that wait for it.
    (tmp_path / "sft.done").unlink()
    (tmp_path / "rl.done").unlink()
    assert jobs.perform(scripts, Setting(str(tmp_path), jobs=2), after) == []
    assert order(tmp_path)[5:] == ["sft", "rl"]


def test_what_waits_for_a_failed_job_is_not_run(tmp_path):
    scripts = [
        Script("data", tmp_path, "raise SystemExit(3)"), Script("rl", tmp_path),
        Script("other", tmp_path),
    ]  # fmt: skip
    failed = jobs.perform(scripts, Setting(str(tmp_path), jobs=2), {"rl": ("data",)})
    assert failed == ["data"]
    assert order(tmp_path) == ["other"]


def test_jobs_in_a_circle_are_refused(tmp_path):
    scripts = [Script("a", tmp_path), Script("b", tmp_path), Script("c", tmp_path)]
    with pytest.raises(UserError, match="a, b: wait for each other"):
        jobs.perform(scripts, Setting(str(tmp_path)), {"a": ("b",), "b": ("a",)})


def test_jobs_are_dealt_over_devices(tmp_path):
    meet = "while len(os.listdir({0!r})) < 4 and time.monotonic() < start + 20: time.sleep(0.01)"
    here = tmp_path / "here"
    here.mkdir()
    scripts = [
        Script(f"j{i}", tmp_path, f"open({str(here / str(i))!r}, 'w')\n" + meet.format(str(here)))
        for i in range(4)
    ]
    assert jobs.perform(scripts, Setting(str(tmp_path), jobs=2), devices=2) == []
    seen = [line.split()[1] for line in (tmp_path / "order").read_text().splitlines()]
    assert sorted(seen) == ["0", "0", "1", "1"]


@pytest.mark.parametrize(
    ("number", "count", "cores", "own"),
    [
        (0, 1, 4, [0, 1, 2, 3]), (1, 2, 8, [4, 5, 6, 7]), (2, 3, 8, [5, 6]),
        (3, 8, 8, [3, 4]), (7, 8, 8, [7, 0]), (5, 16, 8, [2, 3]), (1, 3, 1, [0]),
    ],
)  # fmt: skip
def test_jobs_share_the_cores(number, count, cores, own):
    assert jobs.cores_of(number, count, list(range(cores))) == own


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_a_job_keeps_to_its_cores(tmp_path):
    mine = sorted(os.sched_getaffinity(0))
    code = "open({0!r}, 'w').write(str(sorted(os.sched_getaffinity(0))))"
    scripts = [Script(f"j{i}", tmp_path, code.format(str(tmp_path / f"c{i}"))) for i in range(8)]
    assert jobs.perform(scripts, Setting(str(tmp_path), jobs=4)) == []
    allowed = {str(sorted(jobs.cores_of(i, 4, mine))) for i in range(4)}
    assert {(tmp_path / f"c{i}").read_text() for i in range(8)} <= allowed
    assert sorted(os.sched_getaffinity(0)) == mine


def test_the_deadline_stops_and_a_second_call_goes_on(tmp_path, capsys):
    first = "if not os.path.exists({0!r}):\n    open({0!r}, 'w').close()\n    time.sleep(60)"
    slow = Script("long", tmp_path, first.format(str(tmp_path / "m")))
    scripts = [Script("quick", tmp_path), slow, Script("late", tmp_path)]
    started = time.monotonic()
    assert jobs.perform(scripts, Setting(str(tmp_path)), until=started + 2) == []
    assert time.monotonic() - started < 20
    assert order(tmp_path) == ["quick"]
    assert "long: stopped" in capsys.readouterr().out
    assert jobs.perform(scripts, Setting(str(tmp_path)), until=time.monotonic() + 60) == []
    assert order(tmp_path) == ["quick", "long", "late"]


# --- the plan ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("letter", "count"),
    [("a", 42), ("b", 10), ("c", 40), ("d", 90), ("e", 10), ("f", 120), ("g", 22), ("h", 75),
     ("i", 50), ("k", 50)],
)  # fmt: skip
def test_the_runs_of_a_claim(letter, count):
    steps = plan(FULL, [CLAIMS[letter]])
    assert len(steps) == count
    names = [step.job.name for step in steps]
    assert len(set(names)) == count
    for i, step in enumerate(steps):
        assert set(step.after) <= set(names[:i])  # the order is one in which all can run


def test_runs_that_claims_share_are_run_once():
    shared = {step.job.name for step in plan(FULL, [CLAIMS["b"]])}
    assert shared == {f"zero-b{b}-s{s}" for b in (0, 1) for s in range(5)}
    for letter in "acdfgik":
        assert shared <= {step.job.name for step in plan(FULL, [CLAIMS[letter]])}
    assert len(plan(FULL, [CLAIMS["a"], CLAIMS["b"], CLAIMS["g"]])) == 42


def commands(*letters):
    chosen = [CLAIMS[letter] for letter in letters]
    return {step.job.name: step.job for step in plan(replace(FULL, seeds=2), chosen)}


def test_flags_mean_what_the_claim_says():
    found = commands("a", "c", "d", "f", "h", "i", "k")
    defaults = {
        "zero_demo": DEMO,
        "sft": sft.PRESETS["research"],
        "rejection": rejection.PRESETS["research"],
        "reward_model": reward_model.PRESETS["research"],
        "pairs": pairs.Config(),
        "traces": traces.Config(),
    }
    names = ["zero-b1-s1", "zero-mean-b0-s0", "chinese-language-b0-s1", "sft-cold-b0-s0",
             "rl-cold-b1-s1", "teacher-data-b0-s1", "proxy-few-b0-s0", "hack-many-b1-s0",
             "cap-raised-b0-s0", "clip-10-b0-s0", "std-b1-s1", "pairs-few-s0",
             "cold-others-b0-s0"]  # fmt: skip
    for name in names:
        job = found[name]
        default = defaults[job.module.rpartition(".")[2]]
        assert cli.parse(default, job.command[3:]) == job.config
    run = lambda name: found[name].config  # noqa: E731
    assert run("zero-b1-s1").model == "p/base1"
    assert (run("zero-b1-s1").seed, run("zero-b1-s1").data.seed) == (1, 1)
    assert run("zero-b1-s1").loss == DEMO.loss
    assert run("zero-mean-b0-s0").loss.reduction == "sequence_mean"
    assert run("chinese-language-b0-s1").data.weights == (4.0, 1.0)
    assert run("chinese-language-b0-s1").reward.language == 1.0
    assert run("rl-cold-b1-s1").parent == "runs/claims/sft-cold-b1-s1/checkpoints"
    assert run("cap-kept-b0-s0").rollout.max_tokens == 48
    assert run("cap-raised-b0-s0").rollout.max_tokens == 128
    assert run("cap-raised-b0-s0").updates == 30
    assert run("cap-raised-b0-s0").data.seed != run("cap-first-b0-s0").data.seed
    assert run("clip-10-b0-s0").loss.clip_low == 10
    assert (run("clip-10-b0-s0").updates, run("clip-10-b0-s0").train.updates_per_rollout) == (
        192,
        8,
    )
    assert run("proxy-few-b0-s0").data == PreferenceConfig(
        train=("runs/claims/pairs-few-s0/pairs.jsonl",),
        eval=("runs/claims/pairs-few-s0/held_out.jsonl",), template="mini",
    )  # fmt: skip
    assert run("hack-many-b1-s0").reward.accuracy == 0
    assert run("judge-student-corpus-b0-s0").model == "p/small0"


def test_the_pipelines_flags_are_ones_it_has():
    job = commands("e")["r1-b1-s1"]
    assert job.command[3:5] == ["--preset", "demo"]
    config = cli.parse(R1["demo"], job.command[5:])
    assert (config.model, config.seed, config.run) == ("p/base1", 1, "runs/claims/r1-b1-s1")
    assert config.general_rl.rollout.slots == config.rejection.rollout.slots == 256
    assert config.zero.updates == R1["demo"].zero.updates
    assert config.cold_start_data.prompts == 448 != R1["demo"].cold_start_data.prompts


def test_the_gold_is_a_reward_of_weight_0():
    name, reward, weight = named_reward("experiments.claims.gold:gold=0")
    assert (name, weight) == ("gold", 0.0)
    assert type(reward) is type(per_completion(lambda problem, completion: 0.0))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--only", "x"], "--only x: no such claim"),
        (["--only", "c"], "--chinese-bases: names 0 directories for 1 of --bases"),
        (["--only", "f", "--bases", "a", "b", "--students", "c"], "--students: names 1"),
        (["--deadline", "-1"], "--deadline -1.0: must be at least 0"),
        (["--seeds", "0"], "--seeds 0"),
    ],
)
def test_studies_that_cannot_be_are_refused(flags, said, tmp_path, capsys):
    argv = [*flags, "--out", str(tmp_path / "out")]
    assert cli.run(study.main, Config(), argv, presets=study.PRESETS) == 2
    assert capsys.readouterr().err.startswith(f"error: {said}")
    assert not (tmp_path / "out").exists()


def test_half_a_study_is_collated(tmp_path):
    config = replace(SMOKE, out=str(tmp_path), bases=("embedded",), seeds=2)
    place = tmp_path / BaseAndSeed(0, 1).named("zero")
    place.mkdir()
    sides = {
        side: {"samples": 2, "pass_at_1": value, "cons_at_2": value + 0.25}
        for side, value in (("before", 0.25), ("after", 0.5))
    }
    (place / "summary.json").write_text(json.dumps(sides))
    record = study.collected(config, CLAIMS["b"])
    assert record["planned"] == 2
    assert [(p["base"], p["seed"]) for p in record["pairs"]] == [(0, 1)]
    assert record["pairs"][0]["numbers"]["vote gains/R1-Zero"] == 25.0
    assert record["comparisons"][0]["mean"] == 25.0
    assert record["verdict"] == "inconclusive"


# --- what samples are compared with ------------------------------------------------------------


def test_as_many_right_traces_as_samples(tmp_path):
    kept = tmp_path / "kept.jsonl"
    rows = [{"prompt": f"p{i}", "completion": f"new {i}", "source": f"old {i}"} for i in range(3)]
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["--like", str(kept), "--run", str(tmp_path / "run")]
    assert cli.run(traces.main, traces.Config(), argv) == 0
    read = lambda name: [  # noqa: E731
        json.loads(line) for line in (tmp_path / "run" / name).read_text().splitlines()
    ]
    corpus = read("corpus.jsonl")
    assert len(corpus) == 3
    for row in corpus:
        assert row["prompt"].startswith("User: ") and row["prompt"].endswith("\nAssistant:")
        assert row["completion"].startswith(" <think>") and "</answer>" in row["completion"]
    assert read("unrewritten.jsonl")[1] == {"prompt": "p1", "completion": "old 1"}
    assert cli.run(traces.main, traces.Config(), argv) == 0  # finished already


def test_pairs_hold_bare_questions(tmp_path):
    argv = ["--count", "8", "--held-out", "4", "--run", str(tmp_path / "run")]
    assert cli.run(pairs.main, pairs.Config(), argv) == 0
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "pairs.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 8
    for row in rows:
        assert set(row) == {"prompt", "chosen", "rejected"}
        assert not row["prompt"].startswith("User") and not row["prompt"].endswith("\n")
        assert row["chosen"] != row["rejected"]


@pytest.mark.slow
def test_a_claim_from_end_to_end(tmp_path):
    argv = ["--preset", "smoke", "--only", "b", "--out", str(tmp_path / "runs")]
    argv += ["--results", str(tmp_path / "results")]
    for _ in range(2):
        assert cli.run(study.main, Config(), argv, presets=study.PRESETS) == 0
    record = json.loads((tmp_path / "results" / "b.json").read_text())
    assert record["comparisons"][0]["n"] == 1
    assert record["verdict"] == "inconclusive"
    assert (tmp_path / "runs" / "zero-b0-s0.log").read_text().count("finished already") == 0
