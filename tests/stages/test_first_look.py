"""The first look at a base: what its samples say, what they advise, what the run will take."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from runs import changed, rows, save_model, tiny_run

from r1jax.commands import cli
from r1jax.evaluate.reading import Grader, judge
from r1jax.presets.zero import PRESETS
from r1jax.problem import Completion, Problem
from r1jax.stages import zero
from r1jax.stages.first_look import Look, Speed, advice, hours, seen_in
from r1jax.training.rl.config import RLConfig

GSM8K = PRESETS["gsm8k-zero"]
WELL = Look(
    samples=64, lenient=0.4, strict=0.1, format=0.2, truncated=0.1, boxed=0.0, mixed=0.5,
    tokens=200.0, longest=500,
)  # fmt: skip


def seen(*texts, reason="stop"):
    """What two problems of answer 7 say, each with these samples."""
    samples = [Completion.parse(text, range(20), reason) for text in texts]
    problems = [Problem(name, "3 + 4?", "7") for name in "ab"]
    return seen_in(judge(problems, [samples] * 2, Grader()))


def said(changes, config=GSM8K):
    return " ".join(advice(replace(WELL, **changes), config))


def test_right_strict_and_format_are_counted_apart():
    found = seen(
        "<think>I add them up.</think><answer>7</answer>",
        "The answer is 7.",
        "<think>I add them up.</think><answer>8</answer>",
    )
    assert (found.samples, found.tokens, found.mixed) == (6, 20, 1.0)
    assert found.lenient == pytest.approx(2 / 3) and found.strict == pytest.approx(1 / 3)
    assert found.format == pytest.approx(2 / 3) and found.boxed == found.truncated == 0
    assert "right 67% (within the tags 33%), format 67%, cut 0%, 20 tokens" in found.line


def test_boxes_and_what_runs_on_are_seen():
    assert seen("It is $\\boxed{7}$.").boxed == 1
    assert seen("<think>I add them up.</think><answer>\\boxed{7}</answer>").boxed == 0
    cut = seen("7</answer> User: and 1 + 1? Assistant: 2", "let me think and", reason="length")
    assert (cut.truncated, cut.lenient, cut.runs_on) == (1, 0, "")  # half of them is not most
    assert seen("7</answer> User: more", reason="length").runs_on == "</answer>"
    assert seen("7\nUser: more", reason="length").runs_on == "\nUser:"


@pytest.mark.parametrize(
    ("changes", "flags"),
    [
        ({"truncated": 0.6}, "--rollout.max-tokens 1536 --train.width 2048"),
        ({"truncated": 0.6, "runs_on": "\nUser:"}, "--rollout.stop 'User:'"),
        ({"boxed": 0.8, "format": 0.0}, "--data.template qwen_boxed --reward.format 0"),
        ({"format": 0.0}, "--data.prefill '<think>'"),
        ({"lenient": 0.0, "mixed": 0.0}, "--data.grader"),
        ({"lenient": 0.99}, "harder problems"),
        ({"mixed": 0.0}, "--rollout.group 16"),
        ({"tokens": 4.0}, "answers have 4 tokens: r1jax sft"),
    ],
)
def test_what_looks_wrong_names_the_flag(changes, flags):
    assert flags in said(changes)


def test_what_looks_well_needs_no_advice():
    assert not said({})
    unrewarded = replace(GSM8K, reward=replace(GSM8K.reward, format=0.0))
    assert not said({"format": 0.0}, unrewarded)
    plain = replace(GSM8K, data=replace(GSM8K.data, template="qa"))
    assert "--data.template r1_zero asks to think" in said({"tokens": 4.0}, plain)


def test_expected_hours_are_those_of_all_phases():
    config = RLConfig(updates=100)  # 32 x 8 completions, 64 slots; evaluations 0, 20, ..., 100
    found = hours(config, WELL, Speed(step=0.01, token=1e-4, prompt=100.0), [10])
    rollout = 0.01 * ((256 - 64) * 200 / 64 + 500)
    judged = 0.01 * ((10 * 17 - 64) * 200 / 64 + 500)
    assert found == pytest.approx((100 * (rollout + 256 * 300 * 1e-4) + 6 * judged) / 3600)
    twice = replace(config, train=replace(config.train, updates_per_rollout=2))
    assert found > hours(twice, WELL, Speed(0.01, 1e-4, 100.0), [10]) > found / 2


def test_a_look_is_told_and_changes_nothing(tmp_path, capsys):
    config = tiny_run(save_model(tmp_path / "model"), tmp_path / "blind", {"updates": 2})
    zero.run(config)
    assert "samples before the first update" not in capsys.readouterr().out
    zero.run(changed(config, {"run": str(tmp_path / "seen"), "look": 8, "memory": "warn"}))
    shown = capsys.readouterr().out
    assert "8 samples before the first update: right " in shown
    assert "expected: about " in shown and " for 2 updates, " in shown and "GiB" in shown
    assert rows(tmp_path / "seen") == rows(tmp_path / "blind")


def test_the_page_on_training_names_flags_that_there_are():
    text = (Path(__file__).parents[2] / "docs/training.md").read_text(encoding="utf-8")
    known = cli.flag_types(RLConfig())
    named = set(re.findall(r"--[a-z][\w.-]*\w", text)) - {"--preset"}
    assert len(named) > 30 and named <= known.keys()
    for line in re.findall(r"^r1jax (?:zero|memory_plan) (.*)$", text, flags=re.M):
        assert cli.parse(GSM8K, line.replace("--preset gsm8k-zero ", "").split())
