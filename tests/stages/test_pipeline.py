"""The pipeline end to end, in miniature: lineage, choice of stages, resumption after a kill."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from compiling import quick_flags
from runs import changed, environment

from experiments.gates.command_line import flags
from r1jax.presets.r1 import PRESETS
from r1jax.run.names import BASE, CHECKPOINTS
from r1jax.stages.pipeline.lineage import ancestors, read_lineage
from r1jax.stages.pipeline.plan import plan

# Few, short and small: every stage trains, nothing is learnt.
SHORT = {"updates": 3, "rollout.prompts": 8, "rollout.group": 4, "rollout.max_tokens": 48}
SHORT |= {"rollout.slots": 32, "eval.samples": 1, "eval.every": 2, "checkpoint.every": 1}
SHORT |= {"train.width": 160, "reward.workers": 0, "memory": "off"}
DATA = {"prompts": 24, "batch": 8, "samples": 4, "rollout.slots": 32, "workers": 0}
LEARN = {"updates": 4, "batch": 8, "export": False, "checkpoint.every": 2}
JUDGE = {"updates": 4, "batch": 8, "checkpoint.every": 2}
# One of each: reinforcement learning, data, a judge, a student. What each resumes is tested apart.
KINDS = ("zero", "rejection", "safety", "student-llama")


def miniature(run):
    """The demo in half a minute or so."""
    parts = {
        "zero": SHORT, "reasoning_rl": SHORT, "general_rl": SHORT, "cold_start_data": DATA,
        "rejection": DATA, "cold_start": LEARN, "general_sft": LEARN, "distill": LEARN,
        "helpfulness": JUDGE, "safety": JUDGE,
        "eval": {"samples": 2}, "general": {"sft_count": 24, "judged_count": 40},
        "data": {"eval_count": 6, "eval": ("world:sum,countdown,word", "world:sum")},
    }  # fmt: skip
    changes = {f"{part}.{name}": v for part, own in parts.items() for name, v in own.items()}
    return changed(PRESETS["demo"], {"run": str(run), "budget_minutes": 1.0} | changes)


def command(config):
    """The command line of a pipeline."""
    return [sys.executable, "-m", "experiments.r1", *flags(config, PRESETS["research"])]


def surroundings():
    """The environment of every process of these tests, which find one another's programs."""
    return environment(os.environ["JAX_COMPILATION_CACHE_DIR"], *quick_flags())


@pytest.fixture(scope="module")
def own():
    return surroundings()


@pytest.fixture(scope="module")
def whole(tmp_path_factory, own):
    """A pipeline that ran without a break."""
    path = tmp_path_factory.mktemp("whole") / "r1"
    subprocess.run(command(miniature(path)), env=own, check=True, stdout=subprocess.DEVNULL)
    return path


def read(path):
    return json.loads(path.read_text())


@pytest.mark.slow
def test_the_lineage_is_the_papers(whole):
    lineage = read_lineage(whole / "lineage.json")
    assert ancestors(lineage, "cold_start") == ancestors(lineage, "general_sft") == [BASE]
    assert ancestors(lineage, "reasoning_rl") == ["cold_start", BASE]
    assert ancestors(lineage, "general_rl") == ["general_sft", BASE]
    assert lineage["cold_start_data"].used == {"zero": lineage["zero"].weights}
    assert lineage["rejection"].used == {"reasoning_rl": lineage["reasoning_rl"].weights}
    chains = lineage["cold_start_data"].made
    assert lineage["cold_start"].data == chains and len(chains) == 1
    samples = lineage["rejection"].made
    assert lineage["general_sft"].data.items() >= samples.items() and len(samples) == 1
    for name in ("student-qwen", "student-llama"):
        assert lineage[name].data == lineage["general_sft"].data
        assert ancestors(lineage, name) == [f"base:{name.removeprefix('student-')}"]
    weights = [entry.weights for entry in lineage.values() if entry.weights]
    assert len(set(weights)) == len(weights) == 12  # 3 models, 5 policies, 2 judges, 2 students


@pytest.mark.slow
def test_what_a_pipeline_leaves(whole):
    summary = read(whole / "summary.json")
    assert list(summary["stages"]) == ["Zero", "Dev1", "Dev2", "Dev3", "R1"]
    for record in (summary["base"], *summary["stages"].values()):
        assert record["problems"] == 6 and 0 <= record["language_consistency"] <= 1
        assert [s["problems"] for s in record["sets"].values()] == [6]
        assert record.keys() >= {"pass_at_1", "pass_at_1_strict", "format", "length_mean"}
        assert record["general"].keys() >= {"helpfulness", "unsafe_compliance", "safe_refusal"}
    assert list(summary["students"]) == ["qwen", "llama"]
    for student in summary["students"].values():
        gain = student["after"]["pass_at_1"] - student["before"]["pass_at_1"]
        assert student["gain"]["pass_at_1"] == pytest.approx(gain)
        assert student["parameters"] <= 1_771_456 / 4
    assert list(summary["seconds"]) == [stage.name for stage in plan(miniature(whole))]
    assert summary["budget_seconds"] == 60
    for stage in plan(miniature(whole)):
        assert (stage.path / "summary.json").exists()
    rewards = (whole / "stages" / "10-general_rl" / "metrics.jsonl").read_text().splitlines()
    judged = ["reward/08-helpfulness" in json.loads(row) for row in rewards]
    assert judged == [False, False, True]  # only in the last part of its updates
    page = (whole / "report.html").read_text()
    assert all(name in page for name in CHECKPOINTS.values())


@pytest.mark.slow
def test_a_finished_pipeline_runs_nothing_again(whole, own):
    before = {path: path.stat().st_mtime_ns for path in whole.glob("stages/*/*.json*")}
    subprocess.run(command(miniature(whole)), env=own, check=True)
    assert {path: path.stat().st_mtime_ns for path in whole.glob("stages/*/*.json*")} == before


# What is sent in the stages of KINDS; a second signal comes before or after a boundary.
SENT = (signal.SIGKILL,), (signal.SIGTERM,), (signal.SIGINT,), (signal.SIGINT, signal.SIGINT)


@pytest.mark.slow
def test_a_signal_in_each_kind_of_stage_changes_nothing(whole, own, tmp_path):
    path, log = tmp_path / "r1", tmp_path / "log"
    stages = [stage for stage in plan(miniature(path)) if stage.name in KINDS]
    ended = 0
    for stage, numbers in zip(stages, itertools.cycle(SENT), strict=False):
        with log.open("w") as file:
            process = subprocess.Popen(
                command(miniature(path)), env=own, stdout=file, stderr=subprocess.STDOUT
            )
        while process.poll() is None and not has_begun(stage.path):
            time.sleep(0.002)
        for number in numbers:
            process.send_signal(number)
            time.sleep(0.05)
        expected = -numbers[0] if numbers[0] == signal.SIGKILL else 128 + numbers[0]
        assert process.wait() in (expected, 0), log.read_text()
        ended += process.returncode != 0
        assert "Traceback" not in log.read_text()
        assert (path / "owner.json").exists() == (process.returncode < 0)
    assert ended >= len(KINDS) - 1
    subprocess.run(command(miniature(path)), env=own, check=True)
    assert read(path / "lineage.json") == read(whole / "lineage.json")
    ours, theirs = (read(at / "summary.json") for at in (path, whole))
    assert ours["stages"] == theirs["stages"] and ours["students"] == theirs["students"]


def has_begun(path: Path):
    """Whether a stage has something to lose: a row of metrics, samples, or at least its flags."""
    if path.name.endswith("general_data"):
        return (path / "config.json").exists()
    names = ("metrics.jsonl", "prompts.jsonl", "kept.jsonl")
    return any((path / name).exists() and (path / name).stat().st_size for name in names)
