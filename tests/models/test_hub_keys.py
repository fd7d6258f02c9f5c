"""Every key of a config.json is read, refused or irrelevant for a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import transformers
from safetensors.numpy import load_file, save_file
from test_golden import GOLDEN
from tiny import FAMILIES, identical, mesh_of, tiny_config, tiny_params

from r1jax.data.tokenizer import load_tokenizer
from r1jax.errors import UserError
from r1jax.models.config import to_hf
from r1jax.models.hub import directory as hub
from r1jax.models.hub import shards
from r1jax.models.hub.families import from_hf
from r1jax.models.hub.find import model_directory
from r1jax.models.hub.keys import IRRELEVANT, NEUTRAL
from r1jax.models.rope import Dynamic, Linear, Llama3, Yarn
from r1jax.rollout.policy import load_policy

LLAMA3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 64}  # fmt: skip
OLDER = {
    "rope_scaling": LLAMA3, "rope_theta": 5e5, "original_max_position_embeddings": 16,
    "partial_rotary_factor": 0.5, "torch_dtype": "float16", "attn_implementation": "eager",
    "_attn_implementation": "eager", "_commit_hash": "1a", "name_or_path": "x", "num_labels": 3,
    "tie_last_hidden_states": True, "pruned_heads": {"0": [1]}, "torchscript": True,
    "quantization_config": {"bits": 4}, "transformers_weights": "other.safetensors",
    "per_layer_config": {"0": {"intermediate_size": 8}}, "sliding_window": 8,
}  # fmt: skip
"""Keys of config.json files that configs of transformers take without having them as fields."""

OTHER = {
    "hidden_act": "gelu", "rope_parameters": {"rope_type": "default", "rope_theta": 7.0},
    "layer_types": ["sliding_attention", "full_attention", "full_attention"],
    "use_sliding_window": True, "max_window_layers": 1, "model_type": "gpt2",
    "num_attention_heads": 8, "num_key_value_heads": 1, "problem_type": "regression",
    "initializer_range": 0.5, "head_dim": 6, "dtype": "bfloat16", "attention_dropout": 0.1,
}  # fmt: skip
"""A value that differs from the base's, where adding 1 or turning around does not give one."""


NAMES = {"deepseek_v3": "DeepseekV3"}


def config_of(family):
    golden = GOLDEN / family
    return hub.read_config(golden) if family in NAMES else tiny_config(family)


def base_of(family):
    """A config.json of a family with every key that its class of transformers writes."""
    known = getattr(transformers, f"{NAMES.get(family, family.capitalize())}Config")
    own = {k: v for k, v in to_hf(config_of(family)).items() if k != "rope_theta"}
    return json.loads(known(**own, use_cache=True).to_json_string(use_diff=False))


def other(key, value):
    if key in OLDER:
        return OLDER[key]
    if key in OTHER:
        return OTHER[key]
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, (int, float)) else 3 if value is None else "other"


APART = {
    "rope_theta": ({}, ("rope_parameters",)),
    "original_max_position_embeddings": ({"rope_scaling": LLAMA3}, ()),
    "use_sliding_window": ({"sliding_window": 16, "max_window_layers": 0}, ("layer_types",)),
    "sliding_window": ({"use_sliding_window": True, "max_window_layers": 0}, ("layer_types",)),
    "max_window_layers": ({"use_sliding_window": True, "sliding_window": 16}, ("layer_types",)),
    "layer_types": ({"use_sliding_window": True, "sliding_window": 16}, ()),
}
"""Keys that others switch on or hide -> what is set and what left out to see them at work."""


def fate(raw, key):
    """What becomes of a key with another value: refused, read, or nothing."""
    changed, gone = APART.get(key, ({}, ()))
    raw = {k: v for k, v in raw.items() if k not in gone} | changed
    try:
        return (
            "read" if from_hf(raw | {key: other(key, raw.get(key))}) != from_hf(raw) else "nothing"
        )
    except UserError:
        return "refused"


NONE = {reason: set(keys) for reason, keys in IRRELEVANT.items()}
IGNORED = set().union(*NONE.values())


@pytest.mark.parametrize("family", [*FAMILIES, *NAMES])
def test_no_key_that_transformers_knows_is_passed_over(family):
    raw = base_of(family)
    drawn = transformers.GenerationConfig._get_default_generation_params()
    keys = {*raw, *OLDER, *drawn, *NEUTRAL} - {"architectures"}
    assert len(keys) > 90
    fates = {key: fate(raw, key) for key in keys}
    silent = {key for key, what in fates.items() if what == "nothing"}
    assert silent - IGNORED == set()
    assert {key for key in IGNORED & keys if fates[key] != "nothing"} == {"model_type"}
    assert set(fates.values()) == {"read", "refused", "nothing"}


@pytest.mark.parametrize("family", [*FAMILIES, *NAMES])
def test_what_transformers_writes_is_read_without_a_word(family, tmp_path, capsys):
    (tmp_path / "config.json").write_text(json.dumps(base_of(family)))
    config = hub.read_config(tmp_path)
    want = config_of(family)
    assert replace(config, max_position=want.max_position) == want
    assert capsys.readouterr().err == ""


def test_irrelevant_keys_have_one_reason_and_are_not_refused():
    assert len(IGNORED) == sum(map(len, NONE.values()))
    assert not IGNORED & NEUTRAL.keys()


def test_unknown_keys_are_named_once(tmp_path, capsys):
    raw = to_hf(tiny_config()) | {"unsloth_version": "2026.1", "auto_map": {}, "empty": None}
    (tmp_path / "config.json").write_text(json.dumps(raw))
    assert hub.read_config(tmp_path) == hub.read_config(tmp_path) == tiny_config()
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and said.startswith(f"{tmp_path}/config.json: not read")
    assert said.endswith("auto_map, unsloth_version\n")


def read(family="llama", **change):
    return from_hf(to_hf(tiny_config(family)) | change)


STRETCHED = Llama3(8.0, 1.0, 4.0, 64)
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 64}
R1S = YARN | {"beta_fast": 32, "beta_slow": 1, "mscale": 1.0, "mscale_all_dim": 0.5}


@pytest.mark.parametrize(
    ("change", "scaling", "theta"),
    [
        ({"rope_scaling": LLAMA3}, STRETCHED, 1e4),
        ({"rope_scaling": LLAMA3, "rope_theta": 5e5}, STRETCHED, 5e5),
        ({"rope_scaling": LLAMA3 | {"rope_theta": 7.0}, "rope_theta": None}, STRETCHED, 7.0),
        # rope_scaling goes first, whatever rope_parameters say beside it.
        ({"rope_scaling": {"type": "default"}, "rope_theta": None}, None, 1e4),
        ({"rope_scaling": {}}, Llama3(4.0, 1.0, 4.0, 32), 1e4),
        ({"rope_parameters": LLAMA3, "original_max_position_embeddings": 16},
         replace(STRETCHED, original_max_position=16), 1e4),
        ({"rope_parameters": {k: v for k, v in LLAMA3.items() if "original" not in k}},
         replace(STRETCHED, original_max_position=256), 1e4),
        ({"rope_scaling": {"type": "linear", "factor": 2}}, Linear(2.0), 1e4),
        ({"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, Dynamic(2.0), 1e4),
        ({"rope_scaling": YARN, "rope_theta": 5e5}, Yarn(4.0, 64), 5e5),
        ({"rope_scaling": R1S}, Yarn(4.0, 64, 32.0, 1.0, 1.0, 0.5), 1e4),
        ({"rope_scaling": YARN | {"mscale": 0, "truncate": False, "attention_factor": 1.5}},
         Yarn(4.0, 64, attention_factor=1.5, truncate=False), 1e4),
    ],
)  # fmt: skip
def test_rotary_scaling_is_read_as_transformers_reads_it(change, scaling, theta):
    raw = {k: v for k, v in (to_hf(tiny_config("llama")) | change).items() if v is not None}
    config = from_hf(raw)
    assert (config.rope_scaling, config.rope_theta) == (scaling, theta)
    theirs = transformers.LlamaConfig(**json.loads(json.dumps(raw)))
    theirs.standardize_rope_params()  # as every model does before it reads them
    rope = theirs.rope_parameters
    kind = "default" if scaling is None else scaling.rope_type
    assert (rope["rope_type"], rope["rope_theta"]) == (kind, theta)
    if scaling:
        assert rope["factor"] == scaling.factor
    if kind in ("llama3", "yarn"):
        assert rope["original_max_position_embeddings"] == scaling.original_max_position


WINDOWS = {"use_sliding_window": True, "sliding_window": 7, "max_window_layers": 1}
KINDS = ["full_attention", "sliding_attention", "full_attention"]


@pytest.mark.parametrize(
    ("change", "windowed"),
    [
        (WINDOWS, (False, True, True)),
        (WINDOWS | {"layer_types": KINDS}, (False, True, False)),
        (WINDOWS | {"max_window_layers": 0}, (True, True, True)),
        (WINDOWS | {"max_window_layers": 3}, (False,) * 3),
        (WINDOWS | {"max_window_layers": None}, (False,) * 3),
        (WINDOWS | {"sliding_window": None}, (False,) * 3),
        (WINDOWS | {"use_sliding_window": False}, (False,) * 3),
        (WINDOWS | {"layer_types": ["attention"] * 3}, (False,) * 3),
    ],
)
def test_windows_are_those_of_transformers(change, windowed):
    config = read("qwen2", **change)
    assert config.has_window == windowed and config.window == (7 if any(windowed) else 0)
    given = {k: v for k, v in change.items() if v is not None or k == "sliding_window"}
    theirs = transformers.Qwen2Config(num_hidden_layers=3, **given)
    assert tuple(kind == "sliding_attention" for kind in theirs.layer_types) == windowed


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"rope_scaling": {"rope_type": "longrope"}}, "rope type 'longrope' is not supported; use"),
        ({"rope_scaling": {"type": "linear"}}, "key 'factor' is missing"),
        ({"rope_scaling": YARN | {"factor": None}}, "key 'factor' is missing"),
        ({"rope_scaling": YARN | {"beta_slow": 40}}, "beta_fast 32.0 must not be below beta_slow"),
        ({"rope_scaling": YARN | {"truncate": 1}}, "truncate is 1; it must be true or false"),
        ({"rope_scaling": YARN | {"attention_factor": 0}}, "attention_factor is 0; it must be a n"),
        ({"rope_scaling": YARN | {"low_freq_factor": 1}}, "holds low_freq_factor, which rope"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0, "alpha": 1}}, "holds alpha, which"),
        ({"rope_scaling": {"type": "dynamic", "factor": 2.0}, "head_dim": 2}, "dynamic needs 4 or"),
        ({"rope_scaling": YARN, "rope_theta": 1.0}, "rope_theta is 1.0; yarn needs one above 1"),
        ({"rope_scaling": {"rope_type": "default", "type": "mrope"}}, "rope type 'mrope'"),
        ({"rope_scaling": {"rope_type": ["llama3"]}}, r"rope type \['llama3'\]"),
        ({"rope_parameters": {"rope_type": "default", "factor": 2.0}}, "holds factor, which rope"),
        ({"rope_parameters": LLAMA3 | {"beta_fast": 32}}, "rope_parameters holds beta_fast, which"),
        ({"rope_parameters": {"full_attention": LLAMA3}}, "has rules for full_attention alone"),
        ({"rope_parameters": LLAMA3 | {"low_freq_factor": 4.0}}, "high_freq_factor 4.0 must be ab"),
        ({"rope_parameters": [1]}, r"rope_parameters is \[1\]; it must be an object or null"),
        ({"rope_theta": float("inf"), "rope_parameters": None}, "rope_theta is inf"),
        ({"rms_norm_eps": float("nan")}, "rms_norm_eps is nan; it must be a number above 0"),
        ({"rms_norm_eps": 1.0}, "rms_norm_eps is 1.0; it must be above 0 and below 1"),
        ({"rope_scaling": LLAMA3 | {"rope_theta": 7.0}}, "rope_theta is 10000.0, and in rope_sc"),
        ({"rope_theta": 5e5}, "rope_theta is 500000.0, and in rope_parameters 10000.0; take one"),
        ({"use_bidirectional_attention": True}, "use_bidirectional_attention True is not"),
        ({"is_causal": False}, "is_causal False is not supported; only True is"),
        ({"add_cross_attention": True}, "add_cross_attention True is not supported"),
        ({"scale_emb": 12}, "scale_emb 12 is not supported; only 1.0 is"),
        ({"text_config": {"model_type": "llama"}}, "text_config .* is not supported"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "only models of text are read"),
        ({"hidden_size": float("inf")}, "hidden_size is inf; it must be a whole number"),
        ({"sliding_window": 8}, "sliding_window 8 is not supported; only 'null' is"),
        ({"layer_types": KINDS}, "layer_types asks for sliding_attention"),
        ({"layer_types": ["full_attention"]}, "layer_types has 1 entries for 3 layers"),
        ({"layer_types": ["chunked_attention"] * 3}, "layer_types holds 'chunked_attention'; full"),
        ({"layer_types": [["full_attention"]] * 3}, r"layer_types holds \['full_attention'\]"),
        ({"layer_types": "full_attention"}, "layer_types holds 'full_attention'; full_attention a"),
        ({"tie_word_embeddings": "false"}, "tie_word_embeddings is 'false'; it must be true or f"),
        ({"attention_bias": 1}, "attention_bias is 1; it must be true or false"),
        ({"mlp_bias": "yes"}, "mlp_bias is 'yes'; it must be true or false"),
        ({"eos_token_id": 10**12}, "eos_token_id holds 1000000000000; token ids of this model are"),
        ({"eos_token_id": [1, -5]}, "eos_token_id holds -5; token ids of this model are 0 to 96"),
        ({"eos_token_id": True}, "eos_token_id is True; it must be a token id, a list of them"),
        ({"bos_token_id": 97}, "bos_token_id holds 97"),
        ({"bos_token_id": "<s>"}, "bos_token_id is '<s>'; it must be a token id"),
        ({"num_hidden_layers": 10**7}, "num_hidden_layers is 10000000; it must be at most 10000"),
        ({"num_hidden_layers": 10**12}, "num_hidden_layers is 1000000000000; it must be at most"),
        ({"vocab_size": 2**31}, "vocab_size is 2147483648; it must be at most 2147483647"),
        ({"model_type": ["llama"]}, r"model_type \['llama'\] is not one of qwen2, qwen3, llama"),
        ({"model_type": {"a": {}}}, "model_type .* is not one of"),
        ({"model_type": "x" * 5000}, "model_type 'x+\\.\\.\\.x+' is not one of"),
        ({"head_dim": 7}, "head_dim is 7; rotary positions need an even one"),
        ({"per_layer_config": {"0": {}}}, "per_layer_config .* is not supported"),
        ({"attention_dropout": 0.1}, "attention_dropout 0.1 is not supported; only 0.0 is"),
        ({"embedding_multiplier": 12.0}, "embedding_multiplier 12.0 is not supported; only 1.0"),
    ],
)  # fmt: skip
def test_what_is_not_read_is_refused_in_one_line(tmp_path, change, named):
    raw = to_hf(tiny_config("llama")) | change
    (tmp_path / "config.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=rf"config\.json: [^\n]*{named}[^\n]*\Z") as caught:
        hub.read_config(tmp_path)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"layer_types": KINDS}, "layer_types asks for sliding_attention; use_sliding_window must"),
        (WINDOWS | {"max_window_layers": -1}, "max_window_layers is -1; it must be a whole number"),
        (WINDOWS | {"max_window_layers": True}, "max_window_layers is True; it must be a whole"),
        (WINDOWS | {"sliding_window": 0}, "sliding_window is 0; it must be a whole number above 0"),
        ({"use_sliding_window": "no"}, "use_sliding_window is 'no'; it must be true or false"),
    ],
)
def test_windows_that_are_none_are_one_line(change, named):
    with pytest.raises(UserError, match=rf"\A{named}[^\n]*\Z"):
        read("qwen3", **change)


@pytest.mark.parametrize(
    "text",
    ["[" * 5000, '{"a":' * 5000 + "1" + "}" * 5000, "\ufeff{}", '{"a": 1' + "0" * 5000 + "}"],
)
def test_json_that_python_cannot_read_is_one_line(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"\A[^\n]*config\.json: not valid JSON [^\n]*\Z"):
        hub.read_config(tmp_path)


def test_bytes_that_are_no_text_are_one_line(tmp_path):
    (tmp_path / "config.json").write_bytes(b'{"model_type": "\xff"}')
    with pytest.raises(UserError, match=r"config\.json: not valid JSON"):
        hub.read_config(tmp_path)


def test_a_name_no_file_can_have_is_one_line():
    for name in ("x" * 5000, "a/" + "b" * 5000 + "/c", "a\0b"):
        with pytest.raises(UserError, match=r"\A--model [^\n]*no such directory[^\n]*\Z"):
            model_directory(name)


@pytest.fixture
def saved(tmp_path):
    config = tiny_config()
    hub.save(tmp_path, tiny_params(config), config)
    return tmp_path, config


def fails(directory, config):
    with pytest.raises(UserError, match=r"\A[^\n]*\Z") as caught:
        hub.load(directory, config, mesh_of())
    return str(caught.value)


def test_the_whole_file_is_read_before_an_index(saved, capsys):
    directory, config = saved
    index = {"weight_map": {"model.norm.weight": "model-00001-of-00002.safetensors"}}
    (directory / hub.INDEX).write_text(json.dumps(index))
    shards.say.cache_clear()
    assert identical(hub.load(directory, config, mesh_of()), tiny_params(config))
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and f"{hub.SINGLE} is read, as transformers does" in said


def test_an_export_leaves_nothing_of_the_one_before(tmp_path):
    config = tiny_config()
    old, new = (tiny_params(config, seed) for seed in (0, 1))
    (tmp_path / "notes.safetensors").write_text("mine")
    for shard_bytes in (20_000, 1 << 30, 40_000, 20_000):
        hub.save(tmp_path, old, config, shard_bytes=1 << 30)
        hub.save(tmp_path, new, config, shard_bytes=shard_bytes)
        assert identical(hub.load(tmp_path, config, mesh_of()), new)
        files = {path.name for path in tmp_path.glob("model*")}
        if shard_bytes == 1 << 30:
            assert files == {hub.SINGLE}
        else:
            index = json.loads((tmp_path / hub.INDEX).read_text())
            assert files == {hub.INDEX, *index["weight_map"].values()}
        old, new = new, old
    assert (tmp_path / "notes.safetensors").read_text() == "mine"


@pytest.mark.parametrize(
    ("file", "named"),
    [
        ("../outside.safetensors", "only files in its own directory are read"),
        ("a/../../outside.safetensors", "only files in its own directory are read"),
        ("/etc/passwd", "only files in its own directory are read"),
        ("x" * 5000, "is listed in model.safetensors.index.json but not there"),
        ("a\0b", "is listed in model.safetensors.index.json but not there"),
        ("", "is listed in model.safetensors.index.json but not there"),
    ],
)
def test_an_index_names_files_of_its_own_directory(saved, file, named):
    directory, config = saved
    (directory / hub.SINGLE).rename(directory.parent / "outside.safetensors")
    index = {"weight_map": {"model.norm.weight": file}}
    (directory / hub.INDEX).write_text(json.dumps(index))
    message = fails(directory, config)
    assert named in message and len(message) < 600


def test_a_file_that_is_a_link_is_read(saved):
    # As in the cache of Hugging Face, whose files lie elsewhere.
    directory, config = saved
    (directory / hub.SINGLE).rename(directory.parent / "blob")
    (directory / hub.SINGLE).symlink_to(directory.parent / "blob")
    assert identical(hub.load(directory, config, mesh_of()), tiny_params(config))


@pytest.mark.parametrize("change", [lambda w: w + 1, lambda w: w[:-1], lambda w: w.ravel()])
def test_a_tied_head_that_is_another_matrix_is_named(saved, change, monkeypatch):
    monkeypatch.setattr(shards, "PIECE", 200)  # several pieces, the last of them short
    directory, config = saved
    tensors = load_file(directory / hub.SINGLE)
    embed = tensors["model.embed_tokens.weight"]
    tensors["lm_head.weight"] = embed.copy()
    save_file(tensors, directory / hub.SINGLE)
    assert identical(hub.load(directory, config, mesh_of()), tiny_params(config))
    tensors["lm_head.weight"] = change(embed)
    save_file(tensors, directory / hub.SINGLE)
    message = fails(directory, config)
    assert "lm_head.weight differs from the embedding" in message
    assert "tie_word_embeddings" in message


def test_an_adapter_is_not_taken_for_a_model(saved):
    directory, _ = saved
    (directory / "adapter_config.json").write_text("{}")
    with pytest.raises(UserError, match=r"holds adapter_config\.json; merge the adapter into its"):
        hub.read_config(directory)


@pytest.mark.parametrize(
    ("raw", "named"),
    [
        ({"eos_token_id": 97}, "eos_token_id holds 97; token ids of this model are 0 to 96"),
        ({"eos_token_id": ["<e>"]}, "eos_token_id is .* it must be a token id"),
    ],
)
def test_stop_tokens_of_generation_are_the_models(saved, raw, named):
    directory, config = saved
    (directory / "generation_config.json").write_text(json.dumps(raw))
    with pytest.raises(UserError, match=rf"generation_config\.json: {named}"):
        hub.read_generation(directory, config)


def test_what_of_generation_is_not_applied_is_said(saved, capsys):
    directory, config = saved
    raw = {"eos_token_id": [3, 4], "temperature": 0.6, "repetition_penalty": 1.05, "min_p": None}
    (directory / "generation_config.json").write_text(json.dumps(raw))
    assert hub.read_generation(directory, config) == (raw, (3, 4))
    assert capsys.readouterr().err.endswith("not applied: repetition_penalty 1.05\n")


def test_a_token_beyond_the_vocabulary_is_named(tmp_path):
    for path in model_directory("embedded").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    tokens = json.loads((tmp_path / "tokenizer.json").read_text())
    tokens["model"]["vocab"]["far"] = 5000  # fewer tokens than the model has, but a number it lacks
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokens))
    with pytest.raises(UserError, match=r"has tokens up to number 5001, the model's vocabulary"):
        load_policy(str(tmp_path), "mini")


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("tokenizer.json", None),
        ("tokenizer_config.json", "[]"),
        ("tokenizer_config.json", "[" * 5000),
    ],
)
def test_a_tokenizer_that_cannot_be_read_is_one_line(tmp_path, file, text):
    for path in model_directory("embedded").glob("tokenizer*.json"):
        (tmp_path / path.name).write_text(path.read_text())
    broken = json.loads((tmp_path / "tokenizer.json").read_text())
    broken["pre_tokenizer"] = {"type": "Split", "pattern": {"Regex": "(["}, "behavior": "Isolated",
                               "invert": False}  # fmt: skip
    (tmp_path / file).write_text(text or json.dumps(broken))
    with pytest.raises(UserError, match=r"\Atokenizer [^\n]*cannot be loaded[^\n]*\Z"):
        load_tokenizer(tmp_path)
