"""Chat templates and prefills, on the embedded tokenizer, and on real ones where they are given.

R1JAX_TOKENIZERS names a directory with deepseek_r1/ and qwen3/ (tokenizer.json and
tokenizer_config.json each).
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs import CHAT, model_with

from r1jax.data import TEMPLATES, DataConfig
from r1jax.errors import UserError
from r1jax.models.config import ModelConfig
from r1jax.models.hub import directory as hub
from r1jax.problem import Problem
from r1jax.rewards.format import is_strict_format
from r1jax.rollout.engine import Generated
from r1jax.rollout.policy import load_policy

PROBLEM = Problem("p", "What is 6*7?", "42")


def generated(ids, reason="stop"):
    zeros = np.zeros(len(ids), np.float32)
    return Generated(np.asarray(ids, np.int32), zeros, zeros, 0, 0, reason, ())


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return model_with(tmp_path_factory.mktemp("chat") / "model", CHAT)


def test_a_chat_prompt_has_one_bos_and_ends_where_the_answer_begins(model):
    policy = load_policy(model, "chat", system="Be brief.")
    assert policy.prompt_text(PROBLEM) == "<s><system>Be brief.\n<user>What is 6*7?\n<assistant>"
    ids = policy.prompt(PROBLEM)
    assert ids[0] == 1 and ids.count(1) == 1
    assert policy.tokenizer.decode(ids) == policy.prompt_text(PROBLEM)
    boxed = load_policy(model, "chat_boxed")
    assert boxed.prompt_text(PROBLEM) == (
        "<s><user>What is 6*7?\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.\n<assistant>"
    )


def test_a_prefill_belongs_to_the_prompt_and_to_the_completions_text(model):
    policy = load_policy(model, "chat", prefill="<think>\n")
    assert policy.prompt_text(PROBLEM).endswith("<assistant><think>\n")
    ids = policy.tokenizer("6*7=42</think><answer>42</answer>", add_special_tokens=False).input_ids
    completion = policy.completion(generated([*ids, 2]))
    assert completion.text == "<think>\n6*7=42</think><answer>42</answer>"
    assert (completion.thought, completion.answer) == ("6*7=42", "42")
    assert is_strict_format(completion.text)
    assert completion.token_ids == (*ids, 2)  # the generated tokens alone, the stop token too


def test_a_template_that_opens_think_itself_is_not_opened_twice(tmp_path):
    opens = CHAT.replace("<assistant>", "<assistant><think>\n")
    path = model_with(tmp_path / "model", opens)
    for prefill in (None, "<think>\n"):
        policy = load_policy(path, "chat", prefill=prefill)
        assert policy.prompt_text(PROBLEM).endswith("\n<assistant><think>\n")
        assert policy.prompt_text(PROBLEM).count("<think>") == 1
        assert policy.completion(generated([2])).text == "<think>\n"
    # Without a prefill by name: the prompt still opens it, rewards see the bare text.
    assert load_policy(path, "chat", prefill="").completion(generated([2])).text == ""


def test_text_templates_keep_their_own_prefill_or_take_another(model):
    policy = load_policy("embedded", "tinyzero")
    assert policy.prompt_text(PROBLEM).endswith("step by step.\n<think>")
    assert policy.completion(generated([2])).text == "<think>"
    assert load_policy("embedded", "tinyzero", prefill="").prompt_text(PROBLEM).endswith("step.\n")
    opened = load_policy("embedded", "r1_zero", prefill=" <think>")
    assert opened.prompt_text(PROBLEM).endswith("User: What is 6*7?. Assistant: <think>")


def test_mistakes_are_one_line():
    with pytest.raises(UserError, match="has no chat template; use r1_zero or another"):
        load_policy("embedded", "chat")
    with pytest.raises(UserError, match="--data.template mini has no system message; use chat or"):
        DataConfig(template="mini", system="Be brief.")
    assert DataConfig(template="chat", system="Be brief.").system == "Be brief."


REFUSES = "{{ raise_exception('no system role\n here') if messages[0].role == 'system' }}"


@pytest.mark.parametrize(
    ("template", "system", "said"),
    [
        (REFUSES + CHAT, "Be brief.", "refuses it (no system role here; "),
        ("{% for m in messages %}{{ m", "", "refuses it (TemplateSyntaxError: unexpected end of"),
        ("{{ nothing.at.all }}" + CHAT, "", "refuses it (UndefinedError: 'nothing' is undefined"),
        ("{{ 'a' + 1 }}" + CHAT, "", "refuses it (TypeError: "),
        ("{{ messages[7].role }}" + CHAT, "", "refuses it (UndefinedError: "),
        ("{% if messages[0].role == 'user' %}" + CHAT + "{% endif %}", "Be brief.",
         "leaves the user's message out; use r1_zero or another text template"),
        (CHAT.replace("for m in messages", "for m in messages if m.role == 'user'"), "Be brief.",
         "leaves the system message out"),
    ],
)  # fmt: skip
def test_a_template_that_cannot_be_used_is_one_line_before_anything_runs(
    tmp_path, model, template, system, said
):
    path = tmp_path / "model"
    shutil.copytree(model, path)
    settings = json.loads((path / "tokenizer_config.json").read_text())
    (path / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": template}))
    with pytest.raises(UserError) as caught:
        load_policy(str(path), "chat", system=system)
    flags = "--data.template chat" + (" with --data.system" if system else "")
    text = str(caught.value)
    assert text.startswith(f"{flags}: the chat template ") and said in text and "\n" not in text


# --- real tokenizers --------------------------------------------------------------------------

TOKENIZERS = os.environ.get("R1JAX_TOKENIZERS", "")
real = pytest.mark.skipif(
    not Path(TOKENIZERS, "deepseek_r1").is_dir(),
    reason="R1JAX_TOKENIZERS names no directory with deepseek_r1 and qwen3",
)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    """A function: name of a tokenizer -> model directory without weights, with two stop tokens."""

    def make(name, vocab, eos):
        path = tmp_path_factory.mktemp(name)
        for file in Path(TOKENIZERS, name).iterdir():
            shutil.copy(file, path / file.name)
        config = ModelConfig(
            family="qwen3", vocab_size=vocab, d_model=8, d_ff=8, n_layers=1, n_heads=1,
            n_kv_heads=1, head_dim=8, max_position=64, qk_norm=True, bos_id=None, eos_ids=(eos[0],),
        )  # fmt: skip
        (path / "config.json").write_text(json.dumps(hub.to_hf(config)))
        (path / "generation_config.json").write_text(json.dumps({"eos_token_id": list(eos)}))
        return str(path)

    return make


@pytest.fixture(scope="module")
def deepseek(directory):
    return directory("deepseek_r1", 129_280, (1, 0))


@pytest.fixture(scope="module")
def qwen(directory):
    return directory("qwen3", 151_936, (151_645, 151_643))


@real
def test_the_r1_zero_prompt_through_real_tokenizers(deepseek, qwen):
    text = TEMPLATES["r1_zero"].fill(PROBLEM.question)
    assert text.endswith("User: What is 6*7?. Assistant:")
    policy = load_policy(deepseek, "r1_zero")
    ids = policy.prompt(PROBLEM)
    assert ids[0] == policy.tokenizer.bos_token_id and ids.count(ids[0]) == 1
    assert policy.tokenizer.decode(ids[1:]) == text
    policy = load_policy(qwen, "r1_zero")
    assert policy.tokenizer.bos_token_id is None
    assert policy.tokenizer.decode(policy.prompt(PROBLEM)) == text


@real
def test_chat_prompts_through_real_tokenizers(deepseek, qwen):
    policy = load_policy(deepseek, "chat", prefill="<think>\n")
    assert policy.prompt_text(PROBLEM) == (
        "<｜begin▁of▁sentence｜><｜User｜>What is 6*7?<｜Assistant｜><think>\n"
    )
    ids = policy.prompt(PROBLEM)
    assert ids[0] == policy.tokenizer.bos_token_id and ids.count(ids[0]) == 1
    assert policy.tokenizer.decode(ids) == policy.prompt_text(PROBLEM)
    policy = load_policy(qwen, "chat", system="Be brief.")
    assert policy.prompt_text(PROBLEM) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWhat is 6*7?<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert policy.tokenizer.decode(policy.prompt(PROBLEM)) == policy.prompt_text(PROBLEM)
    assert policy.template.prefill == ""
    # SimpleRL's text template and the tokenizer's own chat template are the same prompt.
    boxed = load_policy(qwen, "chat_boxed", system="You are a helpful assistant.")
    assert boxed.prompt(PROBLEM) == load_policy(qwen, "qwen_boxed").prompt(PROBLEM)


@real
def test_several_stop_tokens_and_a_pad_that_is_the_stop_token(deepseek, qwen):
    policy = load_policy(qwen, "chat")
    assert policy.stop_ids == (151_643, 151_645)
    words = policy.tokenizer("6*7=42", add_special_tokens=False).input_ids
    for stop in policy.stop_ids:
        assert policy.completion(generated([*words, stop])).text == "6*7=42"
    policy = load_policy(deepseek, "chat", prefill="")
    assert policy.tokenizer.pad_token_id == policy.tokenizer.eos_token_id == 1
    assert set(policy.stop_ids) == {0, 1}
    words = policy.tokenizer("6*7=42", add_special_tokens=False).input_ids
    cut = policy.completion(generated(words, "length"))
    assert (cut.text, cut.finish_reason, len(cut.token_ids)) == ("6*7=42", "length", len(words))
    ended = policy.completion(generated([*words, 1]))
    assert (ended.text, len(ended.token_ids)) == ("6*7=42", len(words) + 1)


def test_replacing_a_prefill_leaves_the_templates_alone():
    assert replace(TEMPLATES["tinyzero"], prefill="").prefill == ""
    load_policy("embedded", "tinyzero", prefill="x")
    assert TEMPLATES["tinyzero"].prefill == "<think>"
