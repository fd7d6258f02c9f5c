"""Checkpoints in FP8 with scales of blocks: read as what they stand for, in any cut."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_golden import GOLDEN
from tiny import identical, mesh_of, tiny_params

from r1jax.errors import UserError
from r1jax.models import kinds
from r1jax.models.hub import directory as hub
from r1jax.models.hub.shards import SINGLE

NAMES = {np.dtype(jnp.float8_e4m3fn): "F8_E4M3", np.dtype(jnp.bfloat16): "BF16",
         np.dtype(np.float32): "F32", np.dtype(jnp.float8_e8m0fnu): "F8_E8M0"}  # fmt: skip


def write(path, tensors):
    """A safetensors file, also of types that the library's writer does not know."""
    header, body = {}, b""
    for name, x in tensors.items():
        begin, body = len(body), body + x.tobytes()
        header[name] = {
            "dtype": NAMES[x.dtype], "shape": x.shape, "data_offsets": [begin, len(body)]
        }  # fmt: skip
    head = json.dumps(header).encode()
    path.write_bytes(len(head).to_bytes(8, "little") + head + body)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory):
    """(directory, config, what it stands for), with matrices of 160 and 272 rows or columns."""
    return made(tmp_path_factory.mktemp("quantised"), np.float32)


def made(folder, scale_type):
    c = hub.read_config(GOLDEN / "deepseek_v3")
    c = replace(
        c, n_layers=2, d_model=160, d_ff=272, experts=replace(c.experts, width=144, shared=1)
    )
    hub.save(folder, tiny_params(c), c)
    rng = np.random.default_rng(0)
    stored, meant = {}, {}
    for weight in hub.weights(tiny_params(c), c):
        x = weight.fetch()
        kept = any(part in weight.name for part in ("norm", "embed", "lm_head", "mlp.gate."))
        if x.ndim != 2 or kept:
            kind = x.dtype if weight.name.endswith("correction_bias") else jnp.bfloat16
            meant[weight.name] = stored[weight.name] = x.astype(kind)
            continue
        small = x.astype(jnp.float8_e4m3fn)
        blocks = tuple(-(-n // 128) for n in x.shape)
        scales = (2.0 ** rng.integers(-3, 3, blocks)).astype(scale_type)
        if scale_type == np.float32:
            scales *= rng.uniform(0.5, 1, blocks).astype(np.float32)
        stored |= {weight.name: small, weight.name + "_scale_inv": scales}
        each = np.kron(scales.astype(np.float32), np.ones((128, 128), np.float32))
        meant[weight.name] = small.astype(np.float32) * each[: x.shape[0], : x.shape[1]]
    write(folder / SINGLE, stored)
    return folder, c, meant


@pytest.mark.parametrize("scale_type", [np.float32, jnp.float8_e8m0fnu])
def test_every_matrix_is_its_numbers_times_the_scales_of_their_blocks(
    quantised, tmp_path, scale_type
):
    plain = scale_type == np.float32
    directory, c, meant = quantised if plain else made(tmp_path, scale_type)
    params = hub.load(directory, c, mesh_of())
    found = {w.name: w.fetch() for w in hub.weights(params, c)}
    assert found.keys() == meant.keys()
    for name, want in meant.items():
        assert np.array_equal(found[name], want.astype(np.float32)), name


def test_devices_that_hold_parts_read_them_alone(quantised):
    directory, c, _ = quantised
    whole = hub.load(directory, c, mesh_of())
    parts = hub.load(directory, c, mesh_of(fsdp=2, tensor=4))
    assert len(parts["stacks"][1]["expert_gate"].sharding.spec) > 1
    assert identical(whole, parts)


def test_they_are_written_in_bfloat16_without_scales(quantised, tmp_path):
    directory, c, meant = quantised
    assert hub.source_dtype(directory, c) == jnp.bfloat16
    params = hub.load(directory, c, mesh_of())
    hub.save(tmp_path / "again", params, c, dtype=hub.source_dtype(directory, c))
    raw = json.loads((tmp_path / "again" / "config.json").read_text())
    assert "quantization_config" not in raw and raw["dtype"] == "bfloat16"
    again = hub.load(tmp_path / "again", c, mesh_of())
    want = kinds.cast(params, jnp.bfloat16)
    assert identical(again, jax.tree.map(lambda x: x.astype(jnp.float32), want))


def test_scales_of_another_shape_and_none_are_one_line(quantised, tmp_path):
    source, c, meant = quantised
    directory = shutil.copytree(source, tmp_path / "other")
    name = next(n for n in meant if n.endswith("kv_a_proj_with_mqa.weight"))
    plain = {n: x.astype(jnp.bfloat16) for n, x in meant.items()}
    plain[name] = plain[name].astype(jnp.float8_e4m3fn)
    write(directory / SINGLE, plain)
    with pytest.raises(UserError, match=rf"\A[^\n]*{name} is stored as F8_E4M3[^\n]*\Z"):
        hub.load(directory, c, mesh_of())
    write(directory / SINGLE, plain | {name + "_scale_inv": np.ones((1, 1), np.float32)})
    with pytest.raises(UserError, match=r"\A[^\n]*_scale_inv has shape \[1, 1\]; [^\n]*\Z"):
        hub.load(directory, c, mesh_of())
