"""Pre-training: what each corpus gives to learn, and a base from the first to the last step."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest

from experiments import pretrain_base
from experiments.pretrain_base import COUNTDOWN, Config, encode, model_config
from r1jax import cli
from r1jax.data.templates import TEMPLATES
from r1jax.data.tokenizer import load_tokenizer, train_tokenizer
from r1jax.models import table
from r1jax.rollout.policy import load_policy, model_directory


@pytest.fixture(scope="module")
def tokenizer_path(tmp_path_factory):
    path = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer(pretrain_base.tokenizer_texts(COUNTDOWN, 2000), path, 640)
    return str(path)


def test_the_world_is_the_corpus_that_the_embedded_base_has_read():
    flat, lengths, _ = encode(Config(), str(model_directory("embedded")), 0, 300)
    digest = hashlib.sha256(flat.tobytes() + lengths.astype(np.int64).tobytes()).hexdigest()
    assert digest[:16] == "8f95d7cf0fd3597c"


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
