"""On-policy distillation: a teacher's word on what the student wrote, in the loop of a run."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from chat_server import serving, status
from runs import StopAt, changed, go, rows, save_model, tiny_run
from scoring_server import scoring
from tiny import identical, largest_difference, mesh_of, only

from r1jax import commands
from r1jax.advantages import with_teacher
from r1jax.data.packing import Sequences
from r1jax.endpoint import Unscored
from r1jax.errors import Stopped, UserError
from r1jax.models import attention as attn
from r1jax.models import decoder, table
from r1jax.presets.distill import ON_POLICY
from r1jax.report.curves import charts
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.stages import zero
from r1jax.stages.descent import taught
from r1jax.stages.opening import opened
from r1jax.training.rl import memory, served_teacher
from r1jax.training.rl.setup import build, initial_state

ALONE = {"reward.random": 0, "updates": 2, "loss.reduction": "token_mean"}
LENGTH = 128  # of what the served teacher of these tests can read


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
    assert parts.teacher.logp is parts.reference_logp  # compiled once
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
        ({"teacher.model": "http://a/v1"}, "--teacher.model http://a/v1: is an endpoint; on-policy "
         "distillation takes it as --teacher.endpoint.base-url"),
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


# Behind an endpoint


def built(student, path, flags):
    return build(tiny_run(student, path, flags), note=print)


@pytest.fixture(scope="module")
def answer(models):
    """What makes a server's answers, by the teacher's own probabilities."""
    policy = load_policy(models[1], "plain")
    params = load_weights(policy, mesh_of(1))
    tokenizer = policy.tokenizer

    @jax.jit
    def logp(tokens):
        places = jnp.arange(LENGTH)[None]
        segments = attn.Segments(jnp.ones_like(places), 1)
        hidden = decoder.forward(params, policy.config, tokens[None], places, segments)
        return jax.nn.log_softmax(decoder.logits(params, hidden)[0])

    def values(ids):
        return np.asarray(logp(jnp.asarray(ids + [0] * (LENGTH - len(ids)))))[: len(ids)]

    def made(kind="prompt_logprobs", **how):
        encode = lambda text: tokenizer(text)["input_ids"]  # noqa: E731
        return scoring(kind, values, encode, tokenizer.convert_ids_to_tokens, **how)

    return made


@pytest.fixture
def server(monkeypatch, answer):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as running:
        running.default = answer()
        yield running


def served(server, **more):
    how = {"base_url": server.url, "model": "m", "timeout": 20.0, "retries": 1, "backoff": 0.01}
    return ALONE | {f"teacher.endpoint.{name}": value for name, value in (how | more).items()}


@pytest.fixture(scope="module")
def local(models, tmp_path_factory):
    """(rows, weights) of the run whose teacher is a directory."""
    path = tmp_path_factory.mktemp("local")
    student, teacher = models
    loop = go(built(student, path, ALONE | {"teacher.model": teacher}), path / "run")
    return rows(path / "run"), loop.state.params


def nearly(found, right):
    for row, other in zip(found, right, strict=True):
        for name in ("loss", "grad_norm", "teacher/kl"):
            assert row[name] == pytest.approx(other[name], abs=1e-5), name


@pytest.mark.parametrize(
    "kind", ["prompt_logprobs", pytest.param("echoed texts", marks=pytest.mark.slow)]
)
def test_a_served_teacher_teaches_what_it_does_from_its_directory(
    models, local, server, answer, tmp_path, kind
):
    server.default = answer(kind)
    loop = go(built(models[0], tmp_path, served(server)), tmp_path / "run")
    found = rows(tmp_path / "run")
    nearly(found, local[0])
    assert largest_difference(loop.state.params, local[1]) < 1e-4
    assert all(row["teacher/lost"] == 0 and "operations/teacher" not in row for row in found)


def test_what_is_not_scored_is_not_learnt_and_too_much_of_it_ends_the_run(
    models, local, server, answer, tmp_path, capsys
):
    """The checkpoint of the updates before is written, and the same command goes on from it."""
    spoilt = lambda ids, answer: status(400, "no") if ids[-1] % 4 == 0 else None  # noqa: E731
    path = tmp_path / "run"
    parts = built(models[0], tmp_path, served(server, max_lost=0.9))
    server.default = answer(spoil=spoilt)
    go(changed(parts, {"config": changed(parts.config, {"updates": 1})}), tmp_path / "lossy")
    (row,) = rows(tmp_path / "lossy")
    assert 0 < row["teacher/lost"] < 16 and 0 < row["teacher/kl"] < local[0][0]["teacher/kl"]
    said = capsys.readouterr().out
    assert f"teacher: {row['teacher/lost']:.0f} of 16 completions were not scored: sum|" in said
    assert "(status 400 (no))" in said
    seen = []

    def gone(handler, body):  # after the first rollout
        seen.append(body)
        act = status(401, "away") if len(seen) > 16 else answer()
        act(handler, body)

    server.default = gone
    with pytest.raises(Unscored, match="--teacher.endpoint.base-url .*status 401 .away"):
        go(parts, path)
    assert [row["step"] for row in rows(path)] == [1]
    server.default = answer()
    loop = go(parts, path)
    nearly(rows(path), local[0])
    assert largest_difference(loop.state.params, local[1]) < 1e-4


@pytest.mark.slow
def test_its_likeliest_tokens_are_compared_as_a_directorys_are(models, server, tmp_path):
    student, teacher = models
    kind = {"teacher.kind": "jsd", "teacher.beta": 0.3, "teacher.top_k": 5, "updates": 1}
    for name, own in {"served": served(server), "own": ALONE | {"teacher.model": teacher}}.items():
        go(built(student, tmp_path, own | kind), tmp_path / name)
    for row, other in zip(rows(tmp_path / "served"), rows(tmp_path / "own"), strict=True):
        for metric in ("loss", "grad_norm", "teacher/divergence"):
            assert row[metric] == pytest.approx(other[metric], abs=1e-5), metric
        assert row["teacher/divergence"] > 0 == row["teacher/lost"]


@pytest.mark.slow
def test_lineage_knows_who_answered_and_another_is_refused(models, server, answer, tmp_path):
    with only(1):
        config = tiny_run(models[0], tmp_path / "run", served(server) | {"checkpoint.every": 1})
        zero.run(config)
        lineage = json.loads((tmp_path / "run" / "lineage.json").read_text())
        name = f"{server.url} m"
        assert lineage[name]["weights"] == "answers as teacher-7b"
        assert lineage[str(tmp_path / "run")]["used"] == {name: "answers as teacher-7b"}
        (tmp_path / "run" / "summary.json").unlink()
        server.default = answer(model="teacher-8b")
        with pytest.raises(UserError, match=f"--teacher.endpoint {name}: has other weights"):
            zero.run(config)


def test_what_a_served_teacher_cannot_do_is_refused(models, server, tmp_path):
    student, teacher = models
    for more, said in [
        ({"teacher.model": teacher}, f"--teacher.model {teacher}: --teacher.endpoint.base-url"),
        ({"teacher.shown": "policy"}, "--teacher.shown policy: --teacher.endpoint.base-url"),
        ({"teacher.kind": "jsd"}, "returns no whole distributions; say with --teacher.top-k"),
        ({"rollout.temperature": 0.9}, "--rollout.temperature 0.9: the log-probabilities of"),
        ({"rollout.keep_set": 8, "rollout.top_k": 8}, "--rollout.keep-set 8: the log-prob"),
        ({"teacher.endpoint.model": ""}, "--teacher.endpoint.model: empty; name the model"),
        ({"teacher.endpoint.max_lost": 1.0}, "--teacher.endpoint.max-lost 1.0: must be at least"),
        ({"teacher.endpoint.base_url": ""}, "--teacher.endpoint.*: names no --teacher.endpoint.b"),
    ]:
        with pytest.raises(UserError) as caught:
            built(student, tmp_path, served(server) | more)
        assert said in str(caught.value)


def test_a_signal_ends_the_wait_for_a_server_that_says_nothing(models, server, monkeypatch):
    def boundary(often):
        raise Stopped(15, "SIGTERM")

    parts = built(models[0], "unused", served(server))
    sequences = Sequences(np.ones((4, 9), np.int32), np.full(4, 3), np.full(4, 6))
    monkeypatch.setattr(served_teacher, "boundary", boundary)
    server.slow, began = 10, time.monotonic()
    with pytest.raises(Stopped), served_teacher.asked(parts, sequences) as answers:
        served_teacher.waited(answers)
    assert time.monotonic() - began < 5
