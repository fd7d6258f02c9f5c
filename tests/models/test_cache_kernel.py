"""The kernel's parts of caches: what they read, write and add up to."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jax.experimental import pallas
from test_cache_attention import arrays, oracle
from tiny import mesh_of, on_device

from r1jax.models.decoding import cache_attention, cache_kernel
from r1jax.models.decoding.cache_attention import Prefix, append_and_attend

LENGTH, SLOTS, BLOCK = 150, 5, 32


@functools.cache
def kernel(splits=1, interpret=True, window=0):
    """The kernel in one of its forms, jitted; by Pallas' interpreter unless on a device."""

    def run(*given, mesh=None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache_kernel, "splits_of", lambda *_: splits)
            attend = functools.partial(cache_kernel.attend, interpret=interpret)
            patch.setattr(cache_attention, "_triton", attend)
            return append_and_attend(*given, mesh=mesh, kernel="triton", window=window)

    return jax.jit(run, static_argnames="mesh")


@pytest.mark.parametrize(
    ("slots", "kv_heads", "length", "splits"),
    [
        (256, 2, 384, 1),
        (16, 2, 2048, 1),
        (256, 2, 32768, 1),
        (132, 2, 32768, 2),
        (64, 2, 8192, 4),
        (16, 2, 32768, 16),
        (16, 2, 4096, 4),
        (16, 2, 3000, 2),
        (1, 1, 1 << 20, 16),
        (1024, 8, 8192, 1),
    ],
)
def test_caches_are_split_where_programs_are_few_and_caches_long(slots, kv_heads, length, splits):
    assert cache_kernel.splits_of(slots, kv_heads, length) == splits


@pytest.mark.parametrize(
    "group", [1, 6, 9, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 3, 8, 20))]
)
def test_it_is_attention_for_groups_of_any_size(group):
    given = arrays(group, 1, 16, slots=SLOTS, length=LENGTH)
    positions = np.array([149, 0, 33, 70, 64], np.int32)
    found = kernel()(*given, on_device(positions))
    for got, wanted in zip(found, oracle(*given, positions), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-6)


@pytest.mark.parametrize("splits", [1, pytest.param(2, marks=pytest.mark.slow), 4])
@pytest.mark.parametrize("window", [pytest.param(1, marks=pytest.mark.slow), 40, 64])
def test_of_a_window_nothing_else_is_read(splits, window):
    *new, k_cache, v_cache = arrays(6, 1, 16, slots=SLOTS, length=LENGTH)
    positions = np.array([149, 0, 40, 96, 64], np.int32)
    token = np.arange(LENGTH)[None]
    read = (token < positions[:, None]) & (token > positions[:, None] - window)
    caches = [np.where(read[..., None, None], x, np.float32(np.nan)) for x in (k_cache, v_cache)]
    out, *_ = kernel(splits, window=window)(*new, *caches, on_device(positions))
    wanted, *_ = oracle(*new, k_cache, v_cache, positions, window)
    np.testing.assert_allclose(out, wanted, atol=2e-6)


@st.composite
def decoding(draw):
    """(positions, leaders, prefix lengths) of slots in groups, some of them free."""
    positions, leaders, lengths = [], [], []
    for slot in range(SLOTS):
        new = slot == 0 or draw(st.booleans())
        leaders.append(slot if new else leaders[-1])
        lengths.append(draw(st.integers(0, LENGTH - 1)) if new else lengths[-1])
        free = draw(st.integers(0, 3)) == 0
        positions.append(LENGTH if free else draw(st.integers(lengths[-1], LENGTH - 1)))
    return positions, leaders, lengths


@pytest.mark.parametrize("splits", [1, pytest.param(2, marks=pytest.mark.slow), 4])
@settings(max_examples=20, deadline=None)
@given(slots=decoding())
@example(slots=([1, 149, 0, 0, 3], [0, 1, 2, 2, 2], [0, 0, 0, 0, 0]))  # most parts have nothing
@example(slots=([128, 149, 150, 128, 130], [0, 0, 0, 0, 0], [128] * 5))
@example(slots=([150, 33, 40, 150, 150], [0, 0, 2, 2, 2], [32, 32, 40, 40, 40]))
def test_only_what_counts_is_read_and_only_the_new_token_written(splits, slots):
    positions, leaders, lengths = (np.array(x, np.int32) for x in slots)
    *new, k_cache, v_cache = arrays(6, 1, 16, slots=SLOTS, length=LENGTH)
    live, own, token = positions < LENGTH, np.arange(SLOTS)[:, None], np.arange(LENGTH)[None]
    whole = token // BLOCK < lengths[:, None] // BLOCK  # blocks inside the prefix
    source = np.where(whole, leaders[:, None], own)
    equal = [np.asarray(x)[source, token] for x in (k_cache, v_cache)]
    used = (token < positions[:, None]) & live[:, None]
    read = np.zeros((SLOTS, LENGTH), bool)
    read[source[used], np.broadcast_to(token, used.shape)[used]] = True
    caches = [np.where(read[..., None, None], x, np.float32(np.nan)) for x in equal]
    prefix = Prefix(on_device(leaders - own[:, 0]), on_device(lengths))
    out, *found = kernel(splits)(*new, *caches, on_device(positions), prefix)
    wanted, *written = oracle(
        *(x[live] for x in new[:3]), [x[live] for x in new[3]], *(x[live] for x in equal),
        positions[live],
    )  # fmt: skip
    np.testing.assert_allclose(np.asarray(out)[live], wanted, atol=2e-6)
    for got, cache, full in zip(found, caches, written, strict=True):
        rows = np.flatnonzero(live), positions[live]
        cache[rows] = full[np.arange(live.sum()), positions[live]]
        np.testing.assert_allclose(got, cache, atol=2e-6)


@pytest.mark.parametrize("axes", [{"data": 2}, {"fsdp": 2, "tensor": 2}])
def test_devices_split_the_caches_of_their_own_slots(axes):
    given = arrays(4, 2, 16, slots=6, length=LENGTH)
    members, n = on_device([2, 3, 4]), 70  # a group on both sides of the devices' border
    given[4:] = (x.at[members, :n].set(x[2, :n]) for x in given[4:])
    positions = np.array([149, 0, 70, 71, 140, 3], np.int32)
    prefix = Prefix(on_device([0, 0, 0, -1, -2, 0]), on_device([9, 0, n, n, n, 1]))
    found = kernel(2)(*given, on_device(positions), prefix, mesh=mesh_of(**axes))
    for got, wanted in zip(found, oracle(*given, positions), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-6)


@pytest.mark.parametrize("splits", [1, 4])
def test_only_parts_leave_sums_to_be_joined(splits, monkeypatch):
    found, call = [], pallas.pallas_call

    def noted(*given, out_shape, **how):
        found.extend(out_shape)
        return call(*given, out_shape=out_shape, **how)

    monkeypatch.setattr(pallas, "pallas_call", noted)
    given = arrays(12, 2, 16, jnp.bfloat16, slots=SLOTS, length=LENGTH)
    jax.eval_shape(kernel.__wrapped__(splits), *given, jnp.zeros(SLOTS, jnp.int32))
    sums = [(splits, 5, 2, 6)] * 2 if splits > 1 else []
    assert [x.shape for x in found] == [(5, 150, 2, 16)] * 2 + [(splits, 5, 2, 6, 16), *sums]
    assert found[2].dtype == (jnp.bfloat16 if splits == 1 else jnp.float32)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "h"),
    [
        (3, 3, 128),
        (20, 1, 64),
        *(
            pytest.param(*form, marks=pytest.mark.slow)
            for form in ((12, 2, 128), (14, 2, 64), (32, 2, 64))
        ),
    ],
)
@pytest.mark.parametrize(("splits", "window"), [(1, 0), (4, 0), (4, 20)])
def test_all_forms_lower_for_cuda(heads, kv_heads, h, splits, window):
    given = arrays(heads, kv_heads, h, jnp.bfloat16, slots=SLOTS, length=64)
    device = jax.sharding.AbstractDevice("NVIDIA H200", 132, "gpu")
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.AbstractMesh((1,), ("data",), kinds, abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        run = kernel(splits, False, window).trace(*given, jnp.zeros(SLOTS, jnp.int32))
        text = run.lower(lowering_platforms=("cuda",)).as_text()
    assert "xla.gpu.triton" in text


@pytest.mark.gpu
@pytest.mark.parametrize("window", [0, 1, 100, 300])
@pytest.mark.parametrize("splits", [1, 2, 4])
def test_on_a_gpu_all_forms_equal_xla(splits, window):
    if jax.default_backend() != "gpu":
        pytest.skip("needs a CUDA device")
    given = arrays(12, 2, 128, jnp.bfloat16, slots=SLOTS, length=1024)
    given[4:] = (x.at[:4, :130].set(x[0, :130]) for x in given[4:])
    positions = on_device([130, 1023, 500, 131, 77], jnp.int32)
    prefix = Prefix(on_device([0, -1, -2, -3, 0]), on_device([130, 130, 130, 130, 0]))
    found = kernel(splits, False, window)(*given, positions, prefix)
    wanted = append_and_attend(*given, positions, kernel="xla", window=window)
    for got, want in zip(found, wanted, strict=True):
        got, want = (np.asarray(x, np.float32) for x in (got, want))
        assert np.linalg.norm(got - want) <= 1e-2 * np.linalg.norm(want)
