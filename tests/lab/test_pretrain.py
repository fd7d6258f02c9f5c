"""Pre-training: what each corpus gives to learn, and a base from the first to the last step."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest

from experiments.pretraining import base as pretrain_base
from experiments.pretraining.base import encode, model_config
from experiments.pretraining.config import (
    COUNTDOWN,
    PRESETS,
    STUDENT_LLAMA,
    STUDENT_QWEN,
    V3_TINY,
    Config,
)
from r1jax.commands import cli
from r1jax.data.templates import TEMPLATES
from r1jax.data.tokenizer import load_tokenizer, train_tokenizer
from r1jax.errors import UserError
from r1jax.models import table
from r1jax.models.config import Stack, to_hf
from r1jax.models.hub.families import from_hf
from r1jax.models.hub.find import model_directory
from r1jax.rollout.policy import load_policy
from r1jax.types import TrainState


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(pretrain_base.tokenizer_texts(COUNTDOWN, 2000), path, 640)
    return str(path)


def test_the_world_is_the_corpus_that_the_embedded_base_has_read():
    flat, lengths, _ = encode(Config(), str(model_directory("embedded")), 0, 300)
    digest = hashlib.sha256(flat.tobytes() + lengths.astype(np.int64).tobytes()).hexdigest()
    assert digest[:16] == "6e813b49f4bcf60b"


@pytest.mark.parametrize("flag", ["general", "chinese"])
def test_the_shares_of_general_and_of_chinese_documents_are_flags(flag):
    for share in (0.0, 0.2, 0.7):
        config = Config(**{flag: share})
        found = pretrain_base.world.describe(pretrain_base.documents(config, 0, 3000))
        assert found[flag] == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("name", ["habit", "mixing", "general", "chinese"])
def test_a_share_that_is_none_is_named(name):
    with pytest.raises(UserError, match=f"--{name} 1.5: must be at least 0 and at most 1"):
        Config(**{name: 1.5})


def test_the_family_is_a_flag():
    tokenizer = load_tokenizer(str(model_directory("embedded")))
    shapes = {f: model_config(Config(family=f), tokenizer) for f in ("qwen3", "qwen2", "llama")}
    assert {f: (c.family, c.qk_norm, c.attention_bias) for f, c in shapes.items()} == {
        "qwen3": ("qwen3", True, False),
        "qwen2": ("qwen2", False, True),
        "llama": ("llama", False, False),
    }
    counts = {family: table.count(c) for family, c in shapes.items()}
    # Per layer: 2 norms of 32; biases of 192 queries, 64 keys, 64 values.
    assert counts["qwen3"] - counts["llama"] == 4 * 64
    assert counts["qwen2"] - counts["llama"] == 4 * 320


def test_students_are_a_quarter_of_the_base_with_its_tokenizer():
    tokenizer = load_tokenizer(str(model_directory("embedded")))
    base = table.count(model_config(Config(), tokenizer))
    assert base == 1_771_456
    for student, family in ((STUDENT_QWEN, "qwen3"), (STUDENT_LLAMA, "llama")):
        c = model_config(student, tokenizer)
        assert 0.2 * base < table.count(c) <= base / 4
        assert (student.tokenizer, c.family, c.vocab_size) == ("embedded", family, 1024)


def test_v3_tiny_has_deepseeks_form_and_is_small():
    c = model_config(V3_TINY, load_tokenizer(str(model_directory("embedded"))))
    assert c.stacks == (Stack("latent", "dense", 1), Stack("latent", "experts", 3))
    assert from_hf(to_hf(c)) == c and not c.tied
    assert (table.count(c), table.active(c)) == (1_561_016, 1_077_176)
    with pytest.raises(UserError, match="--kv-heads 2: deepseek_v3 has a key for each of its 5 "):
        replace(V3_TINY, kv_heads=2)


def test_a_pretraining_goes_on_from_its_newest_checkpoint(tmp_path, capsys):
    zero, asked = jnp.zeros((), jnp.int32), []
    fresh = TrainState({"w": jnp.zeros(2)}, {"m": jnp.zeros(2)}, zero, zero)

    def run(state, updates):
        asked.append((int(state.update), updates))
        if len(asked) == 3:
            raise KeyboardInterrupt
        w = state.params["w"] + updates
        return state.replace(params={"w": w}, update=jnp.int32(updates)), {"at": updates}

    config = Config(out=str(tmp_path), steps=10, save_every=3)
    with pytest.raises(KeyboardInterrupt):
        pretrain_base.in_parts(run, fresh, config)
    state, metrics = pretrain_base.in_parts(run, fresh, config)
    assert asked == [(0, 3), (3, 6), (6, 9), (6, 9), (9, 10)] and metrics == {"at": 10}
    assert state.params["w"].tolist() == [28, 28]  # 3 + 6 + 9 + 10
    assert "goes on after update 6" in capsys.readouterr().out
    with pytest.raises(UserError, match=r"another flags \(steps: 10 -> 20\)"):
        pretrain_base.in_parts(run, fresh, replace(config, steps=20, dtype="bfloat16"))


def test_countdown_documents_are_prompt_completion_and_stop(tokenizer_path):
    tokenizer = load_tokenizer(tokenizer_path)
    flat, lengths, given = encode(COUNTDOWN, tokenizer_path, 10, 20)
    documents = list(pretrain_base.documents(COUNTDOWN, 10, 20))
    starts = np.cumsum(lengths) - lengths
    for document, at, length, prompt in zip(documents, starts, lengths, given, strict=True):
        ids = flat[at : at + length].tolist()
        assert ids[-1] == tokenizer.eos_token_id
        assert tokenizer.decode(ids[:prompt]) == document.prompt
        assert tokenizer.decode(ids[prompt:-1]) == document.completion


def test_the_base_for_countdown_has_the_asked_size(tokenizer_path):
    c = model_config(COUNTDOWN, load_tokenizer(tokenizer_path))
    assert 20e6 < table.count(c) < 50e6
    assert c.head_dim == 64 and c.q_dim == c.d_model


def test_the_v3_base_in_the_package_is_what_its_preset_makes():
    made = model_directory("v3-tiny")
    policy, card = load_policy(str(made), "mini"), json.loads((made / "card.json").read_text())
    assert policy.config == model_config(V3_TINY, load_tokenizer(str(made)))
    assert card["family"] == "deepseek_v3" and card["parameters"] == table.count(policy.config)
    assert sum(path.stat().st_size for path in made.iterdir()) < 16 * 2**20


@pytest.mark.slow
def test_a_document_that_fits_no_row_stops_before_training(tmp_path, capsys):
    config = Config(out=str(tmp_path), documents=40, workers=1)
    small = replace(config, train=replace(config.train, width=32))
    assert cli.run(pretrain_base.main, small, []) == 2
    assert "--train.width 32: the longest document has " in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ["student-qwen", "student-llama"])
def test_a_student_is_trained_and_loads(tmp_path, name):
    preset = PRESETS[name]
    small = replace(
        preset, out=str(tmp_path), steps=2, batch=8, documents=48, workers=1,
        train=replace(preset.train, rows=2, unroll=1),
    )  # fmt: skip
    assert cli.run(pretrain_base.main, small, []) == 0
    policy = load_policy(str(tmp_path), "mini")
    assert policy.config.family == preset.family
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["family"] == preset.family and card["general"] == 0.15
    assert card["parameters"] == table.count(policy.config) <= 1_771_456 / 4


@pytest.mark.slow
def test_a_tiny_base_in_shards(tmp_path, tokenizer_path, capsys):
    out = tmp_path / "base"
    small = replace(
        COUNTDOWN,
        out=str(out), steps=2, batch=8, documents=48, workers=1,
        tokenizer=tokenizer_path, dtype="bfloat16",
        d_model=192, d_ff=640, layers=2, heads=3, kv_heads=1, shard_mb=1,
        train=replace(COUNTDOWN.train, rows=2, dtype="float32", unroll=1),
    )  # fmt: skip
    argv = ["--preset", "countdown", "--seed", "3"]
    assert cli.run(pretrain_base.main, Config(), argv, presets={"countdown": small}) == 0
    card = json.loads((out / "card.json").read_text())
    assert card["documents"] == 48 and card["updates"] == 2 and card["seed"] == 3
    assert "habit" not in card and card["corpus"]["kinds"].keys() == {
        "arithmetic", "short", "tinyzero",
    }  # fmt: skip
    weights = sorted(out.glob("model-*.safetensors"))
    assert len(weights) > 1 and all(path.stat().st_size < 1.1 * 2**20 for path in weights)
    policy = load_policy(str(out), "tinyzero")
    assert policy.template == TEMPLATES["tinyzero"] and policy.config.head_dim == 64
    assert cli.run(pretrain_base.main, small, []) == 2
    assert "there is a model already" in capsys.readouterr().err
