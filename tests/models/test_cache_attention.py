"""Attention to a decode cache: both kernels against float64, what they write and leave alone."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of, on_device, tiny_config, tiny_params

from r1jax.models import decoder, grouped_query
from r1jax.models.decoding import cache_attention
from r1jax.models.decoding.cache import empty
from r1jax.models.decoding.cache_attention import Prefix, append_and_attend
from r1jax.models.layers import rope

LENGTH = 150
POSITIONS = np.array([0, 1, 31, 32, 64, 149], np.int32)


@pytest.fixture(params=["xla", "triton"])
def kernel(request, monkeypatch):
    """A kernel's name; Triton's is run by Pallas' interpreter."""
    monkeypatch.setattr(cache_attention, "_triton", interpreted_of(cache_attention._triton))
    return request.param


@functools.partial(jax.jit, static_argnames=("mesh", "kernel", "window"))
def attend(*given, **form):
    """Jitted, so that equal shapes are traced once."""
    return append_and_attend(*given, **form)


def interpreted_of(run):
    return functools.partial(run, interpret=True)


def arrays(heads, kv_heads, h, dtype=jnp.float32, slots=6, length=LENGTH):
    """q, k, v, tables of any angles, and the two caches."""
    rng = np.random.default_rng(0)
    shapes = [(slots, heads, h), *[(slots, kv_heads, h)] * 2, *[(slots, length, kv_heads, h)] * 2]
    q, k, v, *caches = (on_device(rng.normal(size=shape), dtype) for shape in shapes)
    angle = on_device(rng.uniform(0, 6, (slots, 1, h // 2)), jnp.float32)
    return [q, k, v, (jnp.cos(angle), jnp.sin(angle)), *caches]


def oracle(q, k, v, tables, k_cache, v_cache, positions, window=10**6):
    """float64, slot by slot: out, and the caches with the new token in them."""
    q, k, v, k_cache, v_cache = (np.array(x, np.float64) for x in (q, k, v, k_cache, v_cache))
    turn = np.array(tables[0], np.float64) + 1j * np.array(tables[1], np.float64)
    pairs = [(x[..., : x.shape[-1] // 2] + 1j * x[..., x.shape[-1] // 2 :]) * turn for x in (q, k)]
    q, k = (np.concatenate([x.real, x.imag], axis=-1) for x in pairs)
    out, share = np.zeros_like(q), q.shape[1] // k.shape[1]
    for i, at in enumerate(positions):
        k_cache[i, at], v_cache[i, at] = k[i], v[i]
        for n in range(q.shape[1]):
            seen = slice(max(at + 1 - window, 0), at + 1)
            z = k_cache[i, seen, n // share] @ q[i, n] / np.sqrt(q.shape[-1])
            w = np.exp(z - z.max())
            out[i, n] = w / w.sum() @ v_cache[i, seen, n // share]
    return out, k_cache, v_cache


@pytest.mark.parametrize(
    ("heads", "kv_heads", "h"),
    [(4, 2, 16), pytest.param(12, 2, 64, marks=pytest.mark.slow), (3, 3, 16)],
)
def test_it_is_full_attention_up_to_the_position(kernel, heads, kv_heads, h):
    given = arrays(heads, kv_heads, h)
    found = attend(*given, on_device(POSITIONS), kernel=kernel)
    for got, wanted in zip(found, oracle(*given, POSITIONS), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-6)


@pytest.mark.parametrize(
    "window", [1, 33, 70, *(pytest.param(n, marks=pytest.mark.slow) for n in (2, 32, 150, 400))]
)
def test_a_window_hides_what_came_before_it(kernel, window):
    given = arrays(4, 2, 16)
    found = attend(*given, on_device(POSITIONS), kernel=kernel, window=window)
    for got, wanted in zip(found, oracle(*given, POSITIONS, window), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-6)


def test_the_new_key_is_rounded_where_the_layers_round(kernel):
    given, rows = arrays(4, 2, 16, jnp.bfloat16), np.arange(6)
    _, keys, values = attend(*given, on_device(POSITIONS), kernel=kernel)
    _, k, v, tables, *_ = given
    np.testing.assert_array_equal(keys[rows, POSITIONS], rope(k, tables))
    np.testing.assert_array_equal(values[rows, POSITIONS], v)


def test_what_lies_beyond_the_position_does_not_count(kernel):
    *new, k_cache, v_cache = arrays(4, 2, 16)
    beyond = np.arange(LENGTH)[None, :, None, None] > POSITIONS[:, None, None, None]
    filled = [jnp.where(beyond, 1e4, x) for x in (k_cache, v_cache)]
    one, other = (
        attend(*new, *caches, on_device(POSITIONS), kernel=kernel)[0]
        for caches in ((k_cache, v_cache), filled)
    )
    np.testing.assert_array_equal(one, other)


def test_a_position_past_the_end_writes_nothing(kernel):
    given = arrays(4, 2, 16, slots=3, length=40)
    positions = on_device([40, 45, 39], jnp.int32)
    _, *caches = attend(*given, positions, kernel=kernel)
    for new, old in zip(caches, given[4:], strict=True):
        np.testing.assert_array_equal(new[:2], old[:2])
        assert not np.array_equal(new[2], old[2])


def shared_prefix():
    """Six slots, of which 1, 3 and 4 begin with the same 70 tokens; (arrays, positions, prefix)."""
    *new, k_cache, v_cache = arrays(4, 2, 16)
    members, n = on_device([1, 3, 4]), 70
    caches = [x.at[members, :n].set(x[1, :n]) for x in (k_cache, v_cache)]
    prefix = Prefix(on_device([0, 0, 0, -2, -3, 0]), on_device([9, n, 0, n, n, 1]))
    return [*new, *caches], on_device([12, 70, 3, 71, 149, 1], jnp.int32), prefix


@pytest.mark.parametrize(
    "axes", [{}, pytest.param({"data": 2}, marks=pytest.mark.slow), {"fsdp": 2, "tensor": 2}]
)
def test_a_common_prefix_changes_nothing(kernel, axes):
    given, positions, prefix = shared_prefix()
    mesh = mesh_of(**axes) if axes else None
    alone = attend(*given, positions, kernel=kernel)
    found = attend(*given, positions, prefix, mesh=mesh, kernel=kernel)
    for got, wanted in zip(found, alone, strict=True):
        np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_only_the_leaders_copy_of_a_prefix_is_read(monkeypatch):
    monkeypatch.setattr(cache_attention, "_triton", interpreted_of(cache_attention._triton))
    given, positions, prefix = shared_prefix()
    wanted, *_ = attend(*given, positions, prefix, kernel="triton")
    *new, k_cache, v_cache = given
    spoilt = [x.at[3:5, :64].set(9.0) for x in (k_cache, v_cache)]  # 70 tokens hold 2 blocks of 32
    found, *_ = attend(*new, *spoilt, positions, prefix, kernel="triton")
    np.testing.assert_array_equal(found, wanted)
    alone, *_ = attend(*new, *spoilt, positions, kernel="triton")
    assert not np.allclose(alone[3:5], wanted[3:5], atol=0.1)


@pytest.mark.parametrize(
    "axes",
    [pytest.param({"data": 4}, marks=pytest.mark.slow), {"fsdp": 2, "tensor": 2}, {"tensor": 4}],
)
def test_each_device_computes_its_own_slots_and_heads(kernel, axes):
    given = arrays(4, 2, 16, slots=8)
    positions = on_device([*POSITIONS, 70, 5], jnp.int32)
    for got, wanted in zip(
        attend(*given, positions, mesh=mesh_of(**axes), kernel=kernel),
        attend(*given, positions, kernel=kernel),
        strict=True,
    ):
        np.testing.assert_allclose(got, wanted, atol=1e-6)


@pytest.mark.parametrize(
    ("heads", "kv_heads", "h"),
    [
        (12, 2, 128),
        (3, 3, 128),
        *(pytest.param(n, 2, 64, marks=pytest.mark.slow) for n in (14, 32)),
    ],
)
def test_the_kernel_lowers_for_cuda(heads, kv_heads, h):
    given = [*arrays(heads, kv_heads, h, jnp.bfloat16), on_device(POSITIONS)]
    run = jax.jit(append_and_attend, static_argnames="kernel")
    device = jax.sharding.AbstractDevice("NVIDIA H200", 132, "gpu")
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.AbstractMesh((1,), ("data",), kinds, abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        lowered = run.trace(*given, kernel="triton").lower(lowering_platforms=("cuda",))
    assert "xla.gpu.triton" in lowered.as_text()


@pytest.mark.parametrize("axes", [{}, pytest.param({"data": 2}, marks=pytest.mark.slow)])
def test_a_joined_projection_reaches_the_kernel_uncopied(axes, monkeypatch):
    def opaque(program, *, out_shape, **_):
        def call(joined, _, value, cos, sin, k_cache, v_cache, *numbers):
            assert value is joined
            seen = jax.pure_callback(lambda x: x, joined, joined)
            return k_cache, v_cache, jnp.zeros(out_shape[2].shape, seen.dtype) + seen[0, 0, 0]

        return call

    monkeypatch.setattr("jax.experimental.pallas.pallas_call", opaque)
    forced = functools.partial(append_and_attend, kernel="triton")
    monkeypatch.setattr(grouped_query, "append_and_attend", forced)
    config, mesh, token = tiny_config(), mesh_of(**axes), jnp.zeros(4, jnp.int32)
    weights = decoder.unstack(tiny_params(config), config, jnp.float32, mesh)
    cache = empty(config, 4, 32, jnp.float32)
    run = jax.jit(decoder.decode_step, static_argnames=("c", "mesh"))
    text = run.lower(weights, config, token, token, cache, mesh=mesh).compile().as_text()
    assert "custom-call(" in text and "concatenate(" not in text


@pytest.mark.gpu
def test_on_a_gpu_the_kernel_equals_xla():
    if jax.default_backend() != "gpu":
        pytest.skip("needs a CUDA device")
    given = arrays(12, 2, 128, jnp.bfloat16)
    found = append_and_attend(*given, on_device(POSITIONS), kernel="triton")
    wanted = append_and_attend(*given, on_device(POSITIONS), kernel="xla")
    for got, want in zip(found, wanted, strict=True):
        got, want = (np.asarray(x, np.float32) for x in (got, want))
        assert np.linalg.norm(got - want) <= 1e-2 * np.linalg.norm(want)
