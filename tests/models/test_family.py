"""A family of models that r1jax does not know, read by a function of the user."""

from __future__ import annotations

import json
import shutil

import jax
import pytest
from tiny import drawn, identical, mesh_of

from r1jax.errors import UserError
from r1jax.models.config import ModelConfig, Stack
from r1jax.models.hub import directory as hub
from r1jax.models.hub.families import checked, dense, from_hf, refuse
from r1jax.models.hub.keys import number
from r1jax.rollout.policy import load_policy, load_weights, model_directory, save_policy


def mistral(raw):
    """Mistral 7B: Llama's arithmetic, in a window up to v0.1."""
    window = number(raw, "sliding_window", int) if raw.get("sliding_window") is not None else 0
    return dense(raw, window=window, extra=(("sliding_window", window or None),))


def seed_oss(raw):
    """Seed-OSS: biases on queries, keys and values, none on their output."""
    refuse(raw, attention_bias=(True,), attention_out_bias=(False,), mlp_bias=(None, False))
    kept = ("attention_bias", "attention_out_bias", "attention_dropout", "residual_dropout")
    extra = tuple((key, raw[key]) for key in kept if key in raw)
    return dense(raw, attention_bias=True, extra=extra)


EXAMPLES = {"mistral": mistral, "seed_oss": seed_oss}

RAW = {
    "architectures": ["MistralForCausalLM"],
    "model_type": "mistral",
    "vocab_size": 1024,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "hidden_act": "silu",
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 1000000.0,
    "sliding_window": None,
    "tie_word_embeddings": False,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "torch_dtype": "bfloat16",
}


@pytest.fixture
def directory(tmp_path):
    """A Mistral directory with random weights and the embedded tokenizer."""
    config = mistral(RAW)
    hub.save(tmp_path, drawn(config), config)
    (tmp_path / "config.json").write_text(json.dumps(RAW))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_directory("embedded") / name, tmp_path / name)
    return tmp_path


def test_a_users_function_reads_another_family_and_its_names_are_written_back(directory, tmp_path):
    policy = load_policy(str(directory), "mini", family="test_family:mistral")
    c = policy.config
    assert (c.family, c.architecture) == ("mistral", "MistralForCausalLM")
    assert (c.q_dim, c.kv_dim, c.rope_theta, c.rms_eps, c.tied) == (32, 16, 1e6, 1e-5, False)
    weights = load_weights(policy, mesh_of(tensor=2))
    save_policy(tmp_path / "again", policy, weights)
    raw = json.loads((tmp_path / "again" / "config.json").read_text())
    assert raw["architectures"] == ["MistralForCausalLM"] and raw["model_type"] == "mistral"
    assert raw["sliding_window"] is None and "sliding_window" in raw
    again = load_policy(str(tmp_path / "again"), "mini", family="test_family:mistral")
    assert again.config == c and identical(load_weights(again, mesh_of()), weights)


def no_window(raw):
    return dense(raw)


def test_a_window_is_read_or_refused(directory):
    (directory / "config.json").write_text(json.dumps(RAW | {"sliding_window": 64}))
    c = load_policy(str(directory), "mini", family="test_family:mistral").config
    assert c.stacks == (Stack("windowed", "dense", 3),)
    with pytest.raises(UserError, match=r"config\.json: sliding_window 64 is not supported"):
        load_policy(str(directory), "mini", family="test_family:no_window")


def test_without_the_function_the_error_names_the_flag(directory):
    with pytest.raises(UserError, match="'mistral' is not one of .* --family package.module:func"):
        load_policy(str(directory), "mini")


def no_config(raw):
    return dict(raw)


def asks_too_much(raw):
    return dense({"d_model": raw["d_model"]})


def unhashable(raw):
    return dense(raw, extra=(("layer_types", ["full"]),))


def two_arguments(raw, where):
    return dense(raw)


@pytest.mark.parametrize(
    ("family", "named"),
    [
        ("mistral", "not of the form package.module:function"),
        ("no_such_module:mistral", "cannot import no_such_module"),
        ("test_family:minstrel", "test_family has no function minstrel"),
        ("test_family:RAW", r"must be a function of 1 argument, \(raw\)"),
        ("test_family:two_arguments", r"must be a function of 1 argument, \(raw\)"),
        ("test_family:no_config", "gave a dict, not a ModelConfig"),
        (
            "test_family:asks_too_much",
            r"failed with KeyError: 'd_model' \(test_family\.py, line \d+\); it is given",
        ),
        ("os:system", r"--family os:system: failed with TypeError: .* \("),
        ("test_family:unhashable", "unhashable type: 'list'; use tuples"),
    ],
)
def test_a_function_that_does_not_fit_is_one_line(directory, family, named):
    with pytest.raises(UserError, match=rf"\A[^\n]*{named}[^\n]*\Z"):
        load_policy(str(directory), "mini", family=family)


def test_a_family_without_a_class_to_write_back_is_refused():
    raw = {k: v for k, v in RAW.items() if k != "architectures"}
    with pytest.raises(UserError, match="no class of transformers for 'mistral'"):
        read(raw)
    assert read(raw, architecture="X").architecture == "X"


def read(raw, **fields):
    return checked(dense(raw, **fields))


RENAMES = (
    ("model.layers.{}.self_attn.o_proj", "transformer.h.{}.attn.attention.out_proj"),
    ("model.layers", "transformer.h"),
    ("self_attn", "attn.attention"),
    ("mlp.down_proj", "mlp.c_proj"),
    ("model.embed_tokens", "transformer.wte"),
    ("model.norm", "transformer.ln_f"),
)


def test_tensors_are_read_and_written_by_the_familys_own_names(tmp_path):
    config = dense(RAW, renames=RENAMES)
    params = drawn(config, 1)
    names = {weight.name for weight in hub.weights(params, config)}
    assert {
        "transformer.wte.weight",
        "transformer.ln_f.weight",
        "transformer.h.2.attn.attention.q_proj.weight",
        "transformer.h.0.attn.attention.out_proj.weight",
        "transformer.h.1.mlp.c_proj.weight",
        "lm_head.weight",
    } <= names and not any(name.startswith("model.") for name in names)
    hub.save(tmp_path, params, config)
    assert identical(hub.load(tmp_path, config, mesh_of()), params)
    with pytest.raises(UserError, match="model.embed_tokens.weight is missing"):
        hub.load(tmp_path, dense(RAW), mesh_of())


class Split(ModelConfig):
    """The same layers as a stack of one and a stack of the rest."""

    @property
    def stacks(self):
        return Stack("grouped", "dense", 1), Stack("grouped", "dense", self.n_layers - 1)


def test_a_second_stack_goes_on_counting_layers(tmp_path):
    whole = mistral(RAW)
    params = drawn(whole, 2)
    hub.save(tmp_path, params, whole)
    first, rest = hub.load(tmp_path, Split(**vars(whole)), mesh_of())["stacks"]
    stack = params["stacks"][0]
    assert identical(first, jax.tree.map(lambda x: x[:1], stack))
    assert identical(rest, jax.tree.map(lambda x: x[1:], stack))


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_size": "24"}, "hidden_size is '24'; it must be a whole number above 0"),
        ({"num_hidden_layers": 0}, "num_hidden_layers is 0; it must be"),
        ({"vocab_size": 10.5}, "vocab_size is 10.5; it must be a whole number"),
        ({"rms_norm_eps": True}, "rms_norm_eps is True; it must be a number"),
        ({"num_key_value_heads": 3}, "num_attention_heads 4 is no multiple of 3"),
        ({"rope_scaling": "linear"}, "rope_scaling is 'linear'; it must be an object or null"),
        ({"rope_scaling": {"type": "su", "factor": 2}}, "rope type 'su'"),
        ({"partial_rotary_factor": 0.5}, "partial_rotary_factor 0.5 is not supported; only 1.0"),
        ({"quantization_config": {"bits": 4}}, "quantization_config .* is not supported"),
        ({"eos_token_id": "</s>"}, "eos_token_id is '</s>'; it must be a token id, a list of th"),
        ({"sliding_window": -3}, "sliding_window is -3; it must be a whole number above 0"),
        ({"attention_dropout": 0.1}, "attention_dropout 0.1 is not supported; only 0.0"),
    ],
)
def test_a_config_of_other_arithmetic_or_type_is_one_line(change, named):
    raw = RAW | change
    function = from_hf if raw["model_type"] != "mistral" else mistral
    with pytest.raises(UserError, match=rf"\A{named}[^\n]*\Z"):
        function(raw)


@pytest.mark.parametrize(
    ("change", "field", "value"),
    [
        ({"rope_scaling": None}, "rope_scaling", None),
        ({"rope_parameters": {"rope_theta": 5.0}, "rope_theta": None}, "rope_theta", 5.0),
        ({"rope_theta": None}, "rope_theta", 10000.0),
        ({"eos_token_id": [5, 6]}, "eos_ids", (5, 6)),
        ({"eos_token_id": None}, "eos_ids", ()),
        ({"num_key_value_heads": None}, "n_kv_heads", 4),
        ({"head_dim": None}, "head_dim", 6),
        ({"quantization_config": None}, "family", "mistral"),
        ({"model_type": "qwen3", "head_dim": 16}, "head_dim", 16),
    ],
)
def test_nulls_lists_and_older_layouts_are_read(change, field, value):
    raw = RAW | change
    function = from_hf if raw["model_type"] != "mistral" else mistral
    assert getattr(function(raw), field) == value


def test_a_qwen3_config_without_head_dim_has_that_of_transformers():
    raw = {k: v for k, v in RAW.items() if k != "head_dim"} | {"model_type": "qwen3"}
    assert from_hf(raw).head_dim == 128
