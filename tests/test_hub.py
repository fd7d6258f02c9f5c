"""Model directories: what is written is read back bit for bit, and what is wrong is named."""

from __future__ import annotations

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from tiny import FAMILIES, identical, mesh_of, placed, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.models import hub, table
from r1jax.models.config import ModelConfig, RopeScaling, from_hf, to_hf

ONE_LINE = r"\A[^\n]*\Z"


@pytest.fixture(params=FAMILIES)
def family(request):
    return request.param


@pytest.fixture
def saved(tmp_path):
    config = tiny_config("qwen2")
    hub.save(tmp_path, tiny_params(config), config)
    return tmp_path, config


def fails(directory, config):
    """The one-line message that loading ends in."""
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        hub.load(directory, config, mesh_of())
    return str(caught.value)


@pytest.mark.parametrize("shard_bytes", [1 << 30, 20_000])
@pytest.mark.parametrize("axes", [{}, {"fsdp": 4, "tensor": 2}])
def test_save_then_load_is_bit_identical(tmp_path, family, axes, shard_bytes):
    config, mesh = tiny_config(family), mesh_of(**axes)
    params = tiny_params(config)
    hub.save(tmp_path, placed(params, config, mesh), config, shard_bytes=shard_bytes)
    assert (tmp_path / hub.INDEX).exists() == (shard_bytes == 20_000)
    assert len(list(tmp_path.glob("*.safetensors"))) == 1 or shard_bytes == 20_000
    assert hub.read_config(tmp_path) == config
    for target in (mesh, mesh_of(), mesh_of(data=2, fsdp=2, tensor=2)):
        loaded = hub.load(tmp_path, config, target)
        assert identical(loaded, params)
        same = jax.tree.map(lambda x, s: x.sharding == s, loaded, table.shardings(config, target))
        assert all(jax.tree.leaves(same))


def test_no_shard_is_larger_than_asked_for_and_the_index_adds_up(tmp_path):
    config = tiny_config("llama")
    hub.save(tmp_path, tiny_params(config), config, shard_bytes=20_000)
    index = json.loads((tmp_path / hub.INDEX).read_text())
    sizes = {
        path.name: sum(x.nbytes for x in load_file(path).values())
        for path in tmp_path.glob("*.safetensors")
    }
    assert max(sizes.values()) <= 20_000 and len(sizes) > 1
    assert index["metadata"]["total_size"] == sum(sizes.values()) == 4 * table.count(config)
    assert set(index["weight_map"].values()) == set(sizes)


def test_bfloat16_weights_travel_both_ways(tmp_path):
    config = tiny_config("qwen3")
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), tiny_params(config))
    hub.save(tmp_path, tiny_params(config), config, dtype=jnp.bfloat16)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == "bfloat16"
    assert identical(hub.load(tmp_path, config, mesh_of(tensor=2), jnp.bfloat16), params)
    wide = jax.tree.map(lambda x: x.astype(jnp.float32), params)
    assert identical(hub.load(tmp_path, config, mesh_of()), wide)


def test_names_and_layout_are_those_of_hugging_face(saved):
    directory, config = saved
    tensors = load_file(directory / hub.SINGLE)
    layer = {
        f"model.layers.2.{name}": shape
        for name, shape in {
            "input_layernorm.weight": (32,),
            "post_attention_layernorm.weight": (32,),
            "self_attn.q_proj.weight": (32, 32),
            "self_attn.q_proj.bias": (32,),
            "self_attn.k_proj.weight": (16, 32),
            "self_attn.k_proj.bias": (16,),
            "self_attn.v_proj.weight": (16, 32),
            "self_attn.v_proj.bias": (16,),
            "self_attn.o_proj.weight": (32, 32),
            "mlp.gate_proj.weight": (48, 32),
            "mlp.up_proj.weight": (48, 32),
            "mlp.down_proj.weight": (32, 48),
        }.items()
    }
    shapes = {name: x.shape for name, x in tensors.items()}
    assert {k: v for k, v in shapes.items() if k.startswith("model.layers.2.")} == layer
    assert {k for k in shapes if ".layers." not in k} == {
        "model.embed_tokens.weight",
        "model.norm.weight",
    }
    down = tiny_params(config)["stacks"][0]["down"]
    np.testing.assert_array_equal(tensors["model.layers.2.mlp.down_proj.weight"], down[2].T)


def rewrite(directory, change):
    tensors = load_file(directory / hub.SINGLE)
    change(tensors)
    save_file(tensors, directory / hub.SINGLE)


def test_a_missing_tensor_is_named(saved):
    directory, config = saved
    rewrite(directory, lambda t: t.pop("model.layers.1.mlp.up_proj.weight"))
    message = fails(directory, config)
    assert "model.layers.1.mlp.up_proj.weight" in message and "missing" in message


def test_a_surplus_tensor_is_named(saved):
    directory, config = saved
    rewrite(directory, lambda t: t.update({"model.layers.3.extra": np.zeros(2, np.float32)}))
    message = fails(directory, config)
    assert "model.layers.3.extra" in message and "not part of this model" in message


def test_a_tied_head_written_twice_is_no_surplus(saved):
    directory, config = saved
    rewrite(directory, lambda t: t.update({"lm_head.weight": t["model.embed_tokens.weight"] + 0}))
    assert identical(hub.load(directory, config, mesh_of()), tiny_params(config))


def test_a_wrong_shape_is_named(saved):
    directory, config = saved
    name = "model.layers.0.mlp.down_proj.weight"
    rewrite(directory, lambda t: t.update({name: t[name].T.copy()}))
    message = fails(directory, config)
    assert name in message and "[48, 32]" in message and "[32, 48]" in message


@pytest.mark.parametrize("keep", [5, 200, -100])
def test_a_truncated_file_is_named(saved, keep):
    directory, config = saved
    path = directory / hub.SINGLE
    path.write_bytes(path.read_bytes()[:keep])
    assert str(path) in fails(directory, config)


def test_a_truncated_shard_is_named(tmp_path):
    config = tiny_config()
    hub.save(tmp_path, tiny_params(config), config, shard_bytes=20_000)
    path = sorted(tmp_path.glob("*.safetensors"))[1]
    path.write_bytes(path.read_bytes()[:-8])
    assert str(path) in fails(tmp_path, config)


def test_a_missing_shard_is_named(tmp_path):
    config = tiny_config()
    hub.save(tmp_path, tiny_params(config), config, shard_bytes=20_000)
    path = sorted(tmp_path.glob("*.safetensors"))[1]
    path.unlink()
    assert str(path) in fails(tmp_path, config)


def test_a_tensor_that_the_index_only_promises_is_named(tmp_path):
    config = tiny_config()
    hub.save(tmp_path, tiny_params(config), config, shard_bytes=20_000)
    path = sorted(tmp_path.glob("*.safetensors"))[1]
    tensors = load_file(path)
    name = min(tensors)
    del tensors[name]
    save_file(tensors, path)
    message = fails(tmp_path, config)
    assert name in message and str(path) in message


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_a_broken_index_is_named(saved, text):
    directory, config = saved
    (directory / hub.INDEX).write_text(text)
    assert hub.INDEX in fails(directory, config)


def test_a_directory_without_weights_says_what_is_looked_for(tmp_path):
    message = fails(tmp_path, tiny_config())
    assert str(tmp_path) in message and hub.SINGLE in message and hub.INDEX in message


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (None, "no config.json"),
        ("{", "not valid JSON"),
        ("[1]", "JSON object"),
        ('{"model_type": "gpt2"}', "'gpt2' is not one of qwen2, qwen3, llama"),
        ('{"model_type": "llama"}', "'vocab_size' is missing"),
    ],
)
def test_a_config_that_cannot_be_read_is_one_line(tmp_path, text, named):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        hub.read_config(tmp_path)
    assert named in str(caught.value) and str(tmp_path) in str(caught.value)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"hidden_act": "gelu"}, "hidden_act 'gelu'"),
        ({"use_sliding_window": True}, "use_sliding_window"),
        ({"rope_parameters": {"rope_type": "yarn"}}, "'yarn'"),
        ({"rope_parameters": {"rope_type": "llama3", "factor": 8}}, "'low_freq_factor' is missing"),
        ({"num_attention_heads": None}, "'num_attention_heads' is missing"),
    ],
)
def test_an_unsupported_variant_is_named(change, named):
    raw = to_hf(tiny_config("llama")) | change
    raw = {key: value for key, value in raw.items() if value is not None}
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        from_hf(raw)
    assert named in str(caught.value)


def test_the_older_layout_of_rotary_scaling_is_read():
    raw = to_hf(tiny_config("llama"))
    nested = raw.pop("rope_parameters")
    theta = nested.pop("rope_theta")
    older = raw | {"rope_theta": theta, "rope_scaling": nested}
    assert from_hf(older) == tiny_config("llama")


@st.composite
def configs(draw):
    family = draw(st.sampled_from(FAMILIES))
    size, number = st.integers(1, 4096), st.floats(1e-6, 1e6)
    scaling = RopeScaling(draw(number), draw(number), draw(number), draw(size))
    return ModelConfig(
        family=family,
        **{k: draw(size) for k in ("vocab_size", "d_model", "d_ff", "n_layers", "n_heads")},
        **{k: draw(size) for k in ("n_kv_heads", "head_dim", "max_position")},
        rope_theta=draw(number),
        rope_scaling=scaling if draw(st.booleans()) else None,
        rms_eps=draw(number),
        attention_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        tied=draw(st.booleans()),
        bos_id=draw(st.none() | st.integers(0, 9)),
        eos_ids=tuple(draw(st.lists(st.integers(0, 9), max_size=3))),
        init_std=draw(number),
    )


@given(configs())
@settings(max_examples=100, deadline=None)
def test_a_config_survives_its_file(config):
    assert from_hf(json.loads(json.dumps(to_hf(config)))) == config
