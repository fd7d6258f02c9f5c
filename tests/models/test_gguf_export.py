"""`--export-gguf`: what is written is read back, and said in a way that llama.cpp knows."""

from __future__ import annotations

import copy
import json
from dataclasses import replace

import gguf
import numpy as np
import pytest
from gguf_files import TEXTS, TOKENIZER, both, tensors_of, tokenizer_of, toy
from runs import save_model, tiny_course, tiny_run, write_rows
from tiny import identical, mesh_of
from tokenizers import Regex, normalizers, pre_tokenizers

from r1jax.errors import UserError
from r1jax.models.hub.gguf import write
from r1jax.models.hub.gguf.file import read_header
from r1jax.models.hub.gguf.tokenizer import SPLITS
from r1jax.models.hub.gguf.words import words
from r1jax.models.rope import Dynamic, Linear, Yarn
from r1jax.rollout.policy import load_policy, load_weights, save_policy_gguf
from r1jax.stages import supervised
from r1jax.stages import zero as zero_stage

MODELS = [
    toy("llama"), toy("biased", tied=False), toy("qwen3"), toy("qwen2", rope_scaling=Linear(4.0)),
    toy("qwen3", rope_scaling=Yarn(4.0, 64, 24.0, 2.0)),
]  # fmt: skip


@pytest.mark.parametrize("config", MODELS, ids=lambda c: c.family)
def test_what_is_written_is_read_back_and_is_what_the_converter_writes(tmp_path, config):
    directory, other = both(tmp_path, config)
    policy = load_policy(str(directory), "chat")
    params = load_weights(policy, mesh_of(fsdp=2))
    save_policy_gguf(tmp_path / "out", policy, params, "f32")
    file = tmp_path / "out" / "model.gguf"
    again = load_policy(str(file), "chat")
    assert again.config == config and again.stop_ids == policy.stop_ids
    assert again.identity == policy.identity
    assert identical(load_weights(again, mesh_of()), params)
    assert again.tokenizer(TEXTS).input_ids == policy.tokenizer(TEXTS).input_ids
    assert again.tokenizer.chat_template == policy.tokenizer.chat_template
    ours, theirs = (
        {t.name: t.data for t in gguf.GGUFReader(path).tensors} for path in (file, other)
    )
    assert ours.keys() == theirs.keys()
    for name, x in theirs.items():
        np.testing.assert_allclose(ours[name], x, rtol=1e-6, err_msg=name)


ERRORS = {"f16": 6e-4, "bf16": 5e-3, "q8_0": 0.006, "q5_1": 0.04, "q5_0": 0.06, "q4_1": 0.08,
          "q4_0": 0.12}  # fmt: skip
"""Largest distance of a number of a kind from the one meant, over the largest of its block."""


@pytest.mark.parametrize("kind", ERRORS)
def test_every_kind_is_read_back_within_its_rounding(tmp_path, kind):
    directory, _ = both(tmp_path, toy("llama", d_ff=80))
    policy = load_policy(str(directory), "chat")
    save_policy_gguf(tmp_path, policy, load_weights(policy, mesh_of()), kind)
    file = tmp_path / "model.gguf"
    stored = {name: tensor.kind.name for name, tensor in read_header(file).tensors.items()}
    assert stored["blk.0.attn_norm.weight"] == stored["rope_freqs.weight"] == "F32"
    outside = "Q8_0" if kind[:2] in ("q4", "q5") else kind.upper()
    assert stored["token_embd.weight"] == outside and stored["blk.0.attn_q.weight"] == kind.upper()
    # Rows of 80 are no blocks of 32.
    assert stored["blk.0.ffn_down.weight"] == (kind.upper() if kind.endswith("f16") else "F16")
    assert read_header(file).metadata["general.file_type"] == write.FILE_TYPES[kind]
    meant = tensors_of(directory, policy.config)
    for tensor in gguf.GGUFReader(file).tensors:
        x = meant[tensor.name]
        found = gguf.dequantize(tensor.data, tensor.tensor_type).reshape(x.shape)
        assert np.abs(found - x).max() <= ERRORS[kind] * np.abs(x).max()
    assert not identical(load_weights(load_policy(str(file), "chat"), mesh_of()), meant)


@pytest.mark.parametrize("name", SPLITS)
def test_the_way_a_tokenizer_cuts_texts_is_recognised(name):
    metadata = words(TOKENIZER, 416)
    assert metadata["tokenizer.ggml.pre"] == "smollm"
    changed = json.loads(json.dumps(metadata))
    fast = tokenizer_of(changed | {"tokenizer.ggml.pre": name})
    alike = {"starcoder": "smollm"}
    assert words(fast, 416) == changed | {"tokenizer.ggml.pre": alike.get(name, name)}


def test_tokenizers_that_llama_cpp_cannot_say_are_refused():
    own = copy.deepcopy(TOKENIZER)
    own.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex("e"), "isolated"), pre_tokenizers.ByteLevel(False)]
    )
    with pytest.raises(UserError, match="in a way that has no known name"):
        words(own, 416)
    own = copy.deepcopy(TOKENIZER)
    own.backend_tokenizer.normalizer = normalizers.Lowercase()
    with pytest.raises(UserError, match="in a way that has no known name"):
        words(own, 416)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (dict(rope_scaling=Dynamic(2.0)), "rotary scaling dynamic"),
        (dict(rope_scaling=Yarn(2.0, 64, attention_factor=2.0)), "rotary scaling yarn"),
        (dict(window=8, windowed=(True, False, True)), "sliding windows"),
        (dict(family="mistral", architecture="MistralForCausalLM"), "a model of family mistral"),
    ],
)
def test_models_that_llama_cpp_cannot_say_are_refused(changes, message):
    with pytest.raises(UserError, match=message):
        write.metadata(replace(toy("qwen3"), **changes), TOKENIZER, (1,), "f16")


def test_a_run_refuses_before_it_trains_and_writes_when_it_is_done(tmp_path):
    embedded = save_model(tmp_path / "embedded")
    rl = replace(tiny_run(embedded, tmp_path / "rl"), export_gguf="q8_0")
    rows = [{"prompt": f"{i}+1=", "completion": str(i + 1)} for i in range(20)]
    write_rows(tmp_path / "sums.jsonl", rows)
    course = replace(tiny_course(embedded, tmp_path, tmp_path / "sft"), export_gguf="f16")
    for stage, config in ((zero_stage, rl), (supervised, course)):
        with pytest.raises(UserError, match=r"\A--export-gguf \w+: [^\n]*GPT-2's kind[^\n]*\Z"):
            stage.run(config)
        assert not list(tmp_path.glob("*/metrics.jsonl"))
    directory, _ = both(tmp_path, toy("llama"))
    course = replace(course, model=str(directory), updates=2, run=str(tmp_path / "done"))
    supervised.run(replace(course, export=False))
    made = tmp_path / "done" / "gguf"
    trained = load_weights(load_policy(str(made / "model.gguf"), "chat"), mesh_of())
    of_directory = load_weights(load_policy(str(tmp_path / "done" / "hf"), "chat"), mesh_of())
    gap = max(np.abs(np.asarray(a) - np.asarray(b)).max() for a, b in zip(
        *(sum((list(s.values()) for s in p["stacks"]), []) for p in (trained, of_directory)),
        strict=True))  # fmt: skip
    assert 0 < gap < 1e-3
    text = (made / "Modelfile").read_text()
    assert text.startswith("FROM ./model.gguf\n") and text.count("{{ .Prompt }}") == 1
    assert 'PARAMETER stop "<|end|>"' in text
