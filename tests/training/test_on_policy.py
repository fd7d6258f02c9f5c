"""On-policy distillation: a teacher's word on what the student wrote, in the loop of a run."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from runs import StopAt, changed, go, rows, save_model, tiny_run
from tiny import identical, only

from r1jax import commands
from r1jax.advantages import with_teacher
from r1jax.errors import UserError
from r1jax.models import table
from r1jax.presets.distill import ON_POLICY
from r1jax.report.curves import charts
from r1jax.stages import zero
from r1jax.stages.descent import taught
from r1jax.stages.opening import opened
from r1jax.training.rl import memory
from r1jax.training.rl.setup import build, initial_state

ALONE = {"reward.random": 0, "updates": 2, "loss.reduction": "token_mean"}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(student, teacher): random models of different widths with the same tokens."""
    path = tmp_path_factory.mktemp("models")
    teacher = save_model(path / "teacher", seed=5, d_model=48, n_layers=1, tied=False)
    return save_model(path / "student"), teacher


def test_each_token_gets_its_own_difference_and_nothing_of_later_ones():
    old = np.log([[0.5, 0.4, 1.0], [0.6, 0.2, 0.3]])
    teacher = np.log([[0.25, 0.8, 0.1], [0.3, 0.2, 0.6]])
    lengths = np.array([2, 3])
    found = with_teacher(np.array([1.0, -1.0]), lengths, old, teacher, 0.5)
    half = 0.5 * np.log(2)
    right = [[1 - half, 1 + half, 0.0], [-1 - half, -1.0, -1 + half]]
    np.testing.assert_allclose(found, right, rtol=1e-6)
    per_token = np.broadcast_to([[1.0], [-1.0]], (2, 3))
    np.testing.assert_array_equal(with_teacher(per_token, lengths, old, teacher, 0.5), found)


def test_its_own_start_is_a_teacher_that_teaches_nothing(models, tmp_path):
    """Advantages are 0 bit for bit, so that not even Adam moves a weight."""
    student, _ = models
    flags = ALONE | {"teacher.model": student, "updates": 1, "optimizer.weight_decay": 0.0}
    parts = build(tiny_run(student, tmp_path / "run", flags), note=print)
    loop = go(parts, tmp_path / "run")
    (row,) = rows(tmp_path / "run")
    assert row["teacher/kl"] == 0.0 == row["grad_norm"]
    assert identical(loop.state.params, initial_state(parts).params)
    least = 2 * table.active(parts.policy.config) * row["data/tokens_seen"]
    assert least < row["operations/teacher"] < 1.2 * least  # attention is the rest
    # Writing and scoring are two passes, the teacher's is one of the same size, an update three.
    assert row["operations/rollout"] == pytest.approx(2 * row["operations/teacher"])
    assert row["operations/update"] == pytest.approx(3 * row["operations/teacher"])


@pytest.mark.slow
def test_whole_distributions_are_learnt_and_resumed_bit_by_bit(models, tmp_path):
    student, teacher = models
    flags = ALONE | {"teacher.model": teacher, "teacher.kind": "jsd", "teacher.beta": 0.3,
                     "updates": 24, "optimizer.lr": 0.05, "lora.rank": 4, "eval.before": False,
                     "train.updates_per_rollout": 2, "checkpoint.every": 9}  # fmt: skip
    parts = build(tiny_run(student, tmp_path, flags), note=print)
    whole = go(parts, tmp_path / "whole")
    found = rows(tmp_path / "whole")
    apart = [row["teacher/divergence"] for row in found]
    assert 0 < np.mean(apart[-3:]) < 0.95 * np.mean(apart[:3]) and "teacher/kl" not in found[0]
    least = 2 * table.active(parts.teacher.policy.config) * found[0]["data/tokens_seen"]
    assert least < found[0]["operations/teacher"] < 1.2 * least
    assert go(parts, tmp_path / "again", StopAt(11)) is None
    again = go(parts, tmp_path / "again")
    assert rows(tmp_path / "again") == found and identical(again.state, whole.state)


@pytest.mark.slow
def test_the_student_comes_nearer_to_its_teacher_and_is_resumed_bit_by_bit(models, tmp_path):
    student, teacher = models
    flags = ALONE | {"teacher.model": teacher, "updates": 20, "optimizer.lr": 1e-2,
                     "rollout.prompts": 16, "eval.before": False}  # fmt: skip
    with only(2):
        config = tiny_run(student, tmp_path / "whole", flags)
        zero.run(config)
        found = rows(tmp_path / "whole")
        kl = [row["teacher/kl"] for row in found]
        assert np.mean(kl[-6:]) < 0.9 * np.mean(kl[:6]) and kl[0] > 1
        assert any(chart.name == "teacher" for chart in charts(found, []))
        lineage = json.loads((tmp_path / "whole" / "lineage.json").read_text())
        made = lineage[str(tmp_path / "whole")]
        assert made["used"] == {teacher: lineage[teacher]["weights"]}
        parts = build(config, note=print)
        for update in (1, 13):
            assert go(parts, tmp_path / "again", StopAt(update)) is None
        zero.run(changed(config, {"run": str(tmp_path / "again")}))
        assert rows(tmp_path / "again") == found
        ended = json.loads((tmp_path / "again" / "lineage.json").read_text())
        assert ended[str(tmp_path / "again")]["weights"] == made["weights"]


def test_other_weights_than_those_learnt_from_are_refused(models, tmp_path):
    student, teacher = models
    flags = ALONE | {"teacher.model": teacher}
    parts = build(tiny_run(student, tmp_path / "run", flags), note=print)
    parts = replace(parts, teacher=parts.teacher.loaded())
    with opened(parts.config) as run:
        used = taught(run.directory, parts)
        assert used == taught(run.directory, parts) and list(used) == [teacher]
        other = jax.tree.map(lambda x: x + 1, parts.teacher.params)
        with pytest.raises(UserError, match="has other weights than those that this run"):
            taught(run.directory, replace(parts, teacher=replace(parts.teacher, params=other)))


def test_the_plan_and_a_checkpoint_know_the_teacher(models, tmp_path):
    """It has its row and its identity; its weights are no part of what is trained or saved."""
    student, teacher = models
    with only(2):
        flags = ALONE | {"teacher.model": teacher, "teacher.kind": "reverse", "mesh.fsdp": 2}
        parts = build(tiny_run(student, tmp_path, flags), note=print)
        plan = memory.plan(parts)
        row = plan["teacher"]
    (weights,) = Path(teacher).glob("*.safetensors")
    assert 0.49 < row / weights.stat().st_size < 0.51  # f32 both, a half on each device
    assert parts.identity["teacher"]["model"]["hidden_size"] == 48
    assert memory.held_bytes(plan) == row + plan["weights"] + plan["optimizer"]
    assert "teacher" not in parts.model_identity


def test_a_teacher_that_cannot_judge_is_refused(models, tmp_path):
    student, teacher = models
    wide = save_model(tmp_path / "wide", vocab_size=1100)  # 76 of them padding
    for flags, said in [
        ({"teacher.weight": 0.5}, "--teacher.*: names no --teacher.model"),
        ({"teacher.model": "http://a/v1"}, "--teacher.model http://a/v1: is an endpoint teacher "
         "that returns no log-probabilities; name a model directory"),
        ({"teacher.model": teacher, "teacher.weight": 0.0}, "--teacher.weight 0.0: must be above"),
        ({"teacher.model": teacher, "teacher.top_k": 9}, "--teacher.top-k 9: --teacher.kind sam"),
        ({"teacher.model": teacher, "teacher.beta": 0.1}, "--teacher.beta 0.1: only --teacher"),
        ({"model": wide, "teacher.model": teacher}, "logits of 1024 tokens, fewer than the 1100"),
        ({"reward.random": 0}, "--reward: every weight is 0"),
    ]:  # fmt: skip
        with pytest.raises(UserError) as caught:
            build(tiny_run(student, tmp_path / "run", flags), note=print)
        assert said in str(caught.value)


def test_distill_has_the_student_write_where_it_is_asked_to(models, capsys, tmp_path):
    student, teacher = models
    told = ["--on-policy", "--preset", "demo", "--model", student, "--print-config"]
    assert commands.run("distill", [*told, "--teacher.model", teacher]) == 0
    said = capsys.readouterr().out
    assert f"model: {teacher}" in said and "run: runs/distill-on-policy-demo" in said
    assert commands.run("distill", ["--on-policy", "--run", str(tmp_path / "run")]) == 2
    assert "--teacher.model: --on-policy learns from a teacher" in capsys.readouterr().err
    for config in ON_POLICY.values():  # the teacher alone
        assert config.reward == config.reward.only() and not config.look
