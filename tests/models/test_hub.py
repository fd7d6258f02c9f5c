"""Model directories: what is written is read back bit for bit, and what is wrong is named."""

from __future__ import annotations

import collections
import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from safetensors.numpy import load_file, save_file
from tiny import host_peak, identical, mesh_of, placed, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.models import table
from r1jax.models.hub import directory as hub
from r1jax.models.hub import shards
from r1jax.rollout.policy import load_policy, load_weights, model_directory, save_policy
from r1jax.training.train_state import init_state

ONE_LINE = r"\A[^\n]*\Z"


@pytest.fixture(
    params=[
        "qwen2",
        "llama",
        "windowed",
        *(pytest.param(n, marks=pytest.mark.slow) for n in ("qwen3", "biased")),
    ]
)
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


@pytest.mark.parametrize(
    ("axes", "shard_bytes"),
    [
        ({}, 20_000),
        ({"fsdp": 4, "tensor": 2}, 1 << 30),
        pytest.param({}, 1 << 30, marks=pytest.mark.slow),
        pytest.param({"fsdp": 4, "tensor": 2}, 20_000, marks=pytest.mark.slow),
    ],
)
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


LARGEST = 256 * 1024 * 2  # bytes of the bfloat16 gate of one layer below


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """A bfloat16 model of 16 layers: a row of the table is 16 times the largest tensor."""
    path = tmp_path_factory.mktemp("deep")
    config = tiny_config("llama", d_model=256, d_ff=1024, n_layers=16)
    shapes = table.abstract(config, dtype=jnp.bfloat16)
    hub.save(path, jax.tree.map(lambda s: np.ones(s.shape, s.dtype), shapes), config)
    assert max(x.nbytes for x in load_file(path / hub.SINGLE).values()) == LARGEST
    return path, config


SLACK = LARGEST // 4  # names, specs and what else Python makes in passing


@pytest.mark.parametrize(
    "axes", [{}, pytest.param({"data": 3}, marks=pytest.mark.slow), {"fsdp": 2, "tensor": 2}]
)
def test_loading_holds_at_most_two_tensors_on_the_host(deep, axes):
    path, config = deep
    peak = host_peak(lambda: jax.block_until_ready(hub.load(path, config, mesh_of(**axes))))
    assert LARGEST / 8 < peak < 2 * LARGEST + SLACK


def test_saving_holds_one_shard_on_the_host(deep, tmp_path):
    path, config = deep
    params = hub.load(path, config, mesh_of(), jnp.bfloat16)
    shard_bytes = 4 * LARGEST
    peak = host_peak(lambda: hub.save(tmp_path, params, config, shard_bytes=shard_bytes))
    sizes = [file.stat().st_size for file in tmp_path.glob("*.safetensors")]
    assert len(sizes) > 10 and peak < shard_bytes + LARGEST + SLACK


def test_each_file_is_opened_once(tmp_path, monkeypatch):
    config = tiny_config()
    hub.save(tmp_path, tiny_params(config), config, shard_bytes=20_000)
    opened = collections.Counter()
    safe_open = shards.safe_open

    def counting(path, framework):
        opened[path.name] += 1
        return safe_open(path, framework=framework)

    monkeypatch.setattr(shards, "safe_open", counting)
    hub.load(tmp_path, config, mesh_of(fsdp=2))
    files = {path.name for path in tmp_path.glob("*.safetensors")}
    assert opened == dict.fromkeys(files, 1) and len(files) > 1


@pytest.mark.parametrize(
    ("family", "dtype", "shard_bytes"),
    [
        ("qwen2", jnp.float32, 20_000),
        ("windowed", jnp.bfloat16, 1 << 30),
        *(
            pytest.param(name, dtype, size, marks=pytest.mark.slow)
            for name, dtype, size in (
                ("llama", jnp.float32, 20_000),
                ("qwen3", jnp.bfloat16, 1 << 30),
                ("biased", jnp.float32, 1 << 30),
            )
        ),
    ],
)
def test_zero_steps_of_training_export_the_files_bit_for_bit(tmp_path, family, dtype, shard_bytes):
    config, mesh = tiny_config(family, vocab_size=1024), mesh_of(fsdp=2, tensor=2)
    source = tmp_path / "source"
    hub.save(source, tiny_params(config), config, dtype=dtype, shard_bytes=shard_bytes)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_directory("embedded") / name, source / name)
    policy = load_policy(str(source), "mini")
    state = init_state(optax.adamw(1e-3), load_weights(policy, mesh), mesh)
    assert all(x.dtype == jnp.float32 for x in jax.tree.leaves(state.params))
    save_policy(tmp_path / "export", policy, state.params)
    before, after = (everything(path) for path in (source, tmp_path / "export"))
    assert before.keys() == after.keys()
    for name, want in before.items():
        assert after[name].dtype == want.dtype == dtype
        assert after[name].tobytes() == want.tobytes(), name
    raw = json.loads((tmp_path / "export" / "config.json").read_text())
    assert raw["dtype"] == str(np.dtype(dtype)) == str(hub.source_dtype(source, config))


def everything(directory):
    """All tensors of a directory by name."""
    files = sorted(directory.glob("*.safetensors"))
    return {name: x for file in files for name, x in load_file(file).items()}


def test_the_source_type_holds_every_tensor(saved):
    directory, config = saved

    def to(*types):
        def change(tensors):
            for i, name in enumerate(sorted(tensors)):
                tensors[name] = tensors[name].astype(types[i % len(types)])

        return change

    for types, want in (
        ((jnp.bfloat16,), jnp.bfloat16),
        ((jnp.bfloat16, np.float32), np.float32),
        ((jnp.bfloat16, np.float16), np.float32),
    ):
        rewrite(directory, to(*types))
        assert hub.source_dtype(directory, config) == want
    # Frequencies that older files hold in float32 are no weights.
    name = "model.layers.0.self_attn.rotary_emb.inv_freq"
    rewrite(directory, to(jnp.float16))
    rewrite(directory, lambda t: t.update({name: np.ones(4, np.float32)}))
    assert hub.source_dtype(directory, config) == np.float16


def test_weights_that_are_no_floats_are_named(saved):
    directory, config = saved
    name = "model.layers.0.mlp.up_proj.weight"
    rewrite(directory, lambda t: t.update({name: t[name].astype(np.int8)}))
    message = fails(directory, config)
    assert name in message and "I8" in message and "dequantised" in message


def test_the_generation_config_keeps_the_sources_and_every_stop_token(tmp_path):
    config = replace(tiny_config(vocab_size=1024), eos_ids=(7,), bos_id=1)
    hub.save(tmp_path, tiny_params(config), config)
    own = {"eos_token_id": [9, 7], "temperature": 0.6, "top_p": 0.95, "do_sample": True}
    (tmp_path / "generation_config.json").write_text(json.dumps(own))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(model_directory("embedded") / name, tmp_path / name)
    policy = load_policy(str(tmp_path), "mini")
    save_policy(tmp_path / "export", policy, load_weights(policy, mesh_of()))
    assert json.loads((tmp_path / "export" / "generation_config.json").read_text()) == {
        "bos_token_id": 1,
        "eos_token_id": [2, 7, 9],  # the tokenizer's, the config's, the generation config's
        "pad_token_id": 0,
        "do_sample": True,
        "temperature": 0.6,
        "top_p": 0.95,
    }
    again = load_policy(str(tmp_path / "export"), "mini")
    assert again.stop_ids == policy.stop_ids == (2, 7, 9)
    assert again.tokenizer("2+3=5").input_ids == policy.tokenizer("2+3=5").input_ids


def test_a_broken_generation_config_is_named(tmp_path):
    shutil.copytree(model_directory("embedded"), tmp_path, dirs_exist_ok=True)
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(UserError, match=r"generation_config\.json: not valid JSON"):
        load_policy(str(tmp_path), "mini")


TWO_PROCESSES = """
import sys
import jax
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.run.processes import ProcessConfig, start_processes
from r1jax.models.hub import directory as hub
source, target, coordinator, number = sys.argv[1:]
start_processes(ProcessConfig(coordinator, 2, int(number)))
config = hub.read_config(source)
params = hub.load(source, config, make_mesh(MeshConfig(fsdp=4, tensor=2)))
assert not params["stacks"][0]["gate"].is_fully_addressable
hub.save(target, params, config, shard_bytes=20_000, write=number == "0")
"""


@pytest.mark.slow
def test_two_processes_load_their_parts_and_one_writes_the_whole(tmp_path):
    config = tiny_config("qwen3")
    hub.save(tmp_path / "source", tiny_params(config), config)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        coordinator = f"127.0.0.1:{free.getsockname()[1]}"
    flags = "--xla_force_host_platform_device_count=4"
    environment = dict(os.environ, JAX_PLATFORMS="cpu", XLA_FLAGS=flags)
    arguments = [str(tmp_path / "source"), str(tmp_path / "target"), coordinator]
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO_PROCESSES, *arguments, n], env=environment)
        for n in "01"
    ]
    try:
        assert [process.wait(300) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    assert identical(hub.load(tmp_path / "target", config, mesh_of()), tiny_params(config))


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


@pytest.mark.parametrize(
    ("dtype", "number"),
    [("bfloat16", np.nan), ("bfloat16", -np.inf), ("float16", np.inf), ("float32", -np.nan)],
)
def test_a_number_that_is_not_finite_is_named_with_tensor_and_file(tmp_path, dtype, number):
    config, name = tiny_config(), "model.layers.1.mlp.up_proj.weight"
    hub.save(tmp_path, tiny_params(config), config, dtype=dtype, shard_bytes=20_000)
    path = tmp_path / json.loads((tmp_path / hub.INDEX).read_text())["weight_map"][name]
    tensors = load_file(path)
    tensors[name] = np.array(tensors[name])
    tensors[name][-1, -1] = number
    save_file(tensors, path)
    with pytest.raises(UserError, match=f"{path}: tensor {name} holds NaN or infinite"):
        hub.load(tmp_path, config, mesh_of(fsdp=2))


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
    assert f"{path}' is listed in {hub.INDEX} but not there" in fails(tmp_path, config)


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


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"weight_map": {"a": "m.safetensors", "a": "n.safetensors"}}']
)
def test_a_broken_index_is_named(saved, text):
    directory, config = saved
    (directory / hub.SINGLE).unlink()
    (directory / hub.INDEX).write_text(text)
    assert hub.INDEX in fails(directory, config)


def test_a_directory_without_weights_says_what_is_looked_for(tmp_path):
    message = fails(tmp_path, tiny_config())
    assert str(tmp_path) in message and hub.SINGLE in message and hub.INDEX in message
    (tmp_path / "pytorch_model.bin").touch()
    assert "pytorch_model.bin is in another form: save" in fails(tmp_path, tiny_config())
