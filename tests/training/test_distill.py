"""Distillation from a teacher's logits: the share against whole distributions, and whole runs."""

from __future__ import annotations

import functools
import json
import shutil
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import Interrupted, changed, rows, save_model, tiny_course, write_rows
from tiny import mesh_of, only, packed, random_sequences, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.models import attention as attn
from r1jax.models import decoder
from r1jax.presets.distill import PRESETS
from r1jax.stages import supervised
from r1jax.training.batches import ComputeConfig
from r1jax.training.supervised import distill
from r1jax.training.supervised.distill import TeacherConfig, beside_text, make_share

STUDENT = tiny_config("qwen3")
TEACHER = tiny_config("llama", d_model=16, vocab_size=101)  # wider by four padded tokens


@pytest.fixture
def two_devices():
    with only(2):
        yield


@functools.partial(jax.jit, static_argnums=1)
def on_devices(params, config, ids, temperature):
    positions = jnp.arange(ids.shape[1])[None]
    hidden = decoder.forward(params, config, ids, positions, attn.Segments(jnp.ones_like(ids)))
    return jax.nn.log_softmax(decoder.logits(params, hidden)[0, :, :97] / temperature)


def distributions(params, config, tokens, temperature):
    """log softmax of one sequence's logits over the tokens both models have, [T, 97]."""
    return np.asarray(on_devices(params, config, tokens[None], temperature))


@pytest.mark.parametrize("kind", ["forward", "reverse"])
@pytest.mark.parametrize("weight", [pytest.param(1.0, marks=pytest.mark.slow), 0.3])
def test_the_share_is_that_of_whole_distributions(kind, weight):
    student, teacher = tiny_params(STUDENT), tiny_params(TEACHER, seed=1)
    sequences = random_sequences([3, 5, 2], [6, 4, 7])
    config = TeacherConfig(model="one", weight=weight, kind=kind, temperature=0.7)
    compute = ComputeConfig(rows=2, width=16, max_segments=3, remat="none", chunk=5, kernel="xla")
    how = config, beside_text(config), mesh_of(), compute, None, (1.0, 0.7)
    share = jax.jit(make_share(STUDENT, TEACHER, *how))
    found = [
        share(student, {"base": None, "teacher": teacher}, batch)
        for batch in packed(sequences, 2, 16, 3)
    ]
    kl = nll = 0.0
    for tokens, p, n in zip(
        sequences.tokens, sequences.prompt_lengths, sequences.lengths, strict=True
    ):
        tokens = tokens[: p + n]
        own, other = (
            distributions(*model, tokens, 0.7)[p - 1 : -1]
            for model in ((student, STUDENT), (teacher, TEACHER))
        )
        a, b = (other, own) if kind == "forward" else (own, other)
        kl += float(np.sum(np.exp(a) * (a - b))) / 17
        plain = distributions(student, STUDENT, tokens, 1.0)[p - 1 : -1]
        nll -= float(plain[np.arange(n), tokens[p:]].sum()) / 17
    np.testing.assert_allclose(
        sum(float(value) for value, _ in found), weight * kl + (1 - weight) * nll, rtol=1e-5
    )
    sums = {k: sum(float(m[k].sum) for _, m in found) / 17 for k in ("distill/kl", "sft/nll")}
    np.testing.assert_allclose([sums["distill/kl"], sums["sft/nll"]], [kl, nll], rtol=1e-5)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """(student, teacher): random models of different widths with the same tokens."""
    path = tmp_path_factory.mktemp("models")
    teacher = save_model(path / "teacher", seed=5, d_model=48, n_layers=1, tied=False)
    return save_model(path / "student"), teacher


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    pairs = [{"prompt": f"{a}+{b}=", "completion": f" {a + b}"} for a in range(5) for b in range(5)]
    write_rows(path / "sums.jsonl", pairs)
    return path


def run_of(models, data, path, changes=()):
    student, teacher = models
    return tiny_course(student, data, path, {"teacher.model": teacher} | dict(changes))


@pytest.mark.slow
@pytest.mark.parametrize("lora, left", [({}, 0.6), ({"lora.rank": 4, "optimizer.lr": 0.05}, 0.85)])
def test_the_student_comes_nearer_to_its_teacher(models, data, tmp_path, lora, left):
    config = run_of(models, data, tmp_path / "run", {"updates": 40, "eval_every": 0} | lora)
    supervised.run(config)
    metrics = rows(tmp_path / "run")
    assert metrics[-1]["distill/kl"] < left * metrics[0]["distill/kl"]
    assert (tmp_path / "run" / "adapter").exists() == bool(lora)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["updates"] == 40


def test_a_teacher_from_a_checkpoint_is_its_own_best_student(models, data, tmp_path):
    """A run's weights as the teacher of the same weights: nothing to learn."""
    first = tiny_course(models[0], data, tmp_path / "first", {"updates": 3})
    supervised.run(first)
    place = str(tmp_path / "first" / "checkpoints")
    flags = {"teacher.model": models[0], "teacher.parent": place, "parent": place, "updates": 1}
    supervised.run(tiny_course(models[0], data, tmp_path / "second", flags))
    (row,) = rows(tmp_path / "second")
    assert row["distill/kl"] < 1e-5 and row["grad_norm"] < 1e-3 < row["sft/nll"]


@pytest.mark.slow
@pytest.mark.usefixtures("two_devices")
def test_resumed_is_uninterrupted(models, data, tmp_path, monkeypatch):
    whole = run_of(models, data, tmp_path / "whole", {"teacher.top_k": 7})
    supervised.run(whole)
    parts = changed(whole, {"run": str(tmp_path / "parts")})
    advance = supervised.train.__globals__["advance"]

    def stop(course, loop, files):
        if loop.update == 5:
            raise Interrupted
        return advance(course, loop, files)

    with monkeypatch.context() as patch:
        patch.setitem(supervised.train.__globals__, "advance", stop)
        with pytest.raises(Interrupted):
            supervised.run(parts)
    supervised.run(parts)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    weights = [
        Path(tmp_path / n / "hf" / "model.safetensors").read_bytes() for n in ("whole", "parts")
    ]
    assert weights[0] == weights[1]


@pytest.mark.slow
def test_top_k_and_kind_change_what_is_learnt(models, data, tmp_path):
    found = {}
    for name, flags in {
        "whole": {},
        "few": {"teacher.top_k": 3},
        "reverse": {"teacher.kind": "reverse"},
        "warm": {"teacher.temperature": 2.0},
        "text": {"teacher.weight": 0.5},
    }.items():
        config = run_of(models, data, tmp_path / name, {"updates": 1, "eval_every": 0} | flags)
        supervised.run(config)
        found[name] = rows(tmp_path / name)[0]
    assert found["few"]["distill/kl"] < found["whole"]["distill/kl"]
    assert len({round(row["loss"], 6) for row in found.values()}) == 5
    text = found["text"]
    np.testing.assert_allclose(
        text["loss"], 0.5 * (text["distill/kl"] + text["sft/nll"]), rtol=1e-5
    )


def test_other_tokens_are_refused(models, data, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(models[1], other)
    path = other / "tokenizer.json"
    raw = json.loads(path.read_text())
    vocab = raw["model"]["vocab"]
    a, b = sorted(vocab, key=vocab.get)[-2:]
    vocab[a], vocab[b] = vocab[b], vocab[a]
    path.write_text(json.dumps(raw))
    with pytest.raises(UserError, match="--teacher.model .*: has other tokens than the student"):
        supervised.run(run_of((models[0], str(other)), data, tmp_path / "run"))


@pytest.mark.parametrize(
    "flags, said",
    [
        ({"kind": "reverse"}, "--teacher.*: names no --teacher.model"),
        ({"model": "x", "weight": 0.0}, "--teacher.weight 0.0: must be above 0"),
        ({"model": "x", "weight": 1.5}, "--teacher.weight 1.5"),
        ({"model": "x", "temperature": 0.0}, "--teacher.temperature 0.0: must be above 0"),
        ({"model": "x", "top_k": -1}, "--teacher.top-k -1: must be at least 0"),
        ({"model": "x", "kind": "jsd", "beta": 1.0}, "--teacher.beta 1.0: must be"),
        ({"model": "x", "beta": 0.3}, "--teacher.beta 0.3: only --teacher.kind jsd reads it"),
    ],
)
def test_flags_that_mean_nothing_are_refused(flags, said):
    with pytest.raises(UserError) as caught:
        distill.TeacherConfig(**flags)
    assert said in str(caught.value)


def test_the_papers_students():
    rates = {name: config.optimizer.lr for name, config in PRESETS.items()}
    assert rates == {
        "qwen-1.5b": 1e-4, "qwen-7b": 8e-5, "qwen-14b": 7e-5, "qwen-32b": 6e-5,
        "llama-8b": 5e-5, "llama-70b": 2e-5,
    }  # fmt: skip
    for config in PRESETS.values():
        assert (config.batch, config.train.width) == (64, 32_768)
        assert config.epochs in (2, 3)  # what the paper says
        assert (config.optimizer.schedule, config.optimizer.final) == ("cosine", 0.1)
        assert not config.teacher.model and config.model.count("/") == 1
