"""Attention to a cache of latents: both forms against float64, what the kernel reads and writes."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of

from r1jax.models.decoding import latent_attention
from r1jax.models.decoding.cache_attention import Prefix
from r1jax.models.decoding.latent_attention import Form, append_and_attend, attend, splits_of

SLOTS, LENGTH, RANK, ROPE, BLOCK, SCALE = 5, 150, 32, 16, 32, 0.2
POSITIONS = np.array([149, 0, 33, 150, 64], np.int32)  # the fourth is free


def arrays(heads, slots=SLOTS):
    rng = np.random.default_rng(0)
    width = RANK + ROPE
    shapes = ((slots, heads, width), (slots, width), (slots, LENGTH, width))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@functools.cache
def kernel(splits=1):
    """The kernel by Pallas' interpreter, jitted."""

    def run(q, new, cache, positions, prefix=None, mesh=None):
        how = dict(form=Form(BLOCK, 4, 3, splits), interpret=True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(latent_attention, "_triton", functools.partial(attend, **how))
            return append_and_attend(
                q, new, cache, positions, RANK, SCALE, prefix, mesh, kernel="triton"
            )

    return jax.jit(run, static_argnames="mesh")


def oracle(q, new, cache, positions):
    """float64, slot by slot: what is mixed, and the cache with the new token in it."""
    q, cache = q.astype(np.float64), cache.astype(np.float64)
    out = np.zeros((*q.shape[:2], RANK))
    for i, at in enumerate(positions):
        if at < LENGTH:
            cache[i, at] = new[i]
            z = SCALE * q[i] @ cache[i, : at + 1].T
            p = np.exp(z - z.max(axis=1, keepdims=True))
            out[i] = p / p.sum(axis=1, keepdims=True) @ cache[i, : at + 1, :RANK]
    return out, cache


def same(found, wanted, live):
    np.testing.assert_allclose(np.asarray(found[0])[live], wanted[0][live], atol=3e-6)
    np.testing.assert_allclose(found[1], wanted[1], atol=1e-6)


@pytest.mark.parametrize("heads", [4, pytest.param(128, marks=pytest.mark.slow)])
@pytest.mark.parametrize("splits", [1, 4])
def test_only_what_counts_is_read_and_only_the_new_token_written(heads, splits):
    q, new, cache = arrays(heads)
    wanted, live = oracle(q, new, cache, POSITIONS), POSITIONS < LENGTH
    read = (np.arange(LENGTH) < POSITIONS[:, None]) & live[:, None]
    cache[~read], wanted[1][~read] = np.nan, np.nan
    wanted[1][live, POSITIONS[live]] = new[live]
    same(kernel(splits)(q, new, cache, POSITIONS), wanted, live)


def test_xla_gives_the_same():
    given, live = arrays(4), POSITIONS < LENGTH
    run = jax.jit(functools.partial(append_and_attend, rank=RANK, scale=SCALE))
    same(run(*given, POSITIONS), oracle(*given, POSITIONS), live)


@pytest.mark.parametrize("splits", [1, 4])
def test_of_a_prefix_the_leaders_copy_is_read(splits):
    q, new, cache = arrays(4)
    cache[1:3] = cache[0]
    positions = np.array([70, 149, 140, 3, 64], np.int32)
    wanted = oracle(q, new, cache, positions)
    cache[1:3, :64], wanted[1][1:3, :64] = np.nan, np.nan  # 70 tokens have 2 whole blocks of 32
    prefix = Prefix(jnp.asarray([0, -1, -2, 0, 0]), jnp.asarray([70, 70, 70, 0, 0]))
    same(kernel(splits)(q, new, cache, positions, prefix), wanted, slice(None))


@pytest.mark.parametrize("axes", [{"data": 2}, {"fsdp": 2, "tensor": 2}])
def test_each_device_has_its_own_slots_and_heads(axes):
    given, positions = arrays(4, slots=4), POSITIONS[:4]
    found = kernel()(*given, positions, mesh=mesh_of(**axes))
    same(found, oracle(*given, positions), positions < LENGTH)


@pytest.mark.parametrize(
    ("programs", "length", "splits"),
    [(256, 1024, 1), (64, 4096, 4), (64, 1024, 2), (1, 65536, 16), (16, 500, 1)],
)
def test_caches_are_split_where_programs_are_few_and_caches_long(programs, length, splits):
    assert splits_of(programs, length) == splits


@pytest.mark.parametrize(("heads", "splits"), [(16, 1), (128, 4)])
def test_it_lowers_for_cuda(heads, splits):
    shapes = ((8, heads, 576), (8, 576), (8, 1024, 576), *[(8,)] * 3)
    types = [jnp.bfloat16] * 3 + [jnp.int32] * 3
    given = [jax.ShapeDtypeStruct(*of) for of in zip(shapes, types, strict=True)]
    run = functools.partial(attend, rank=512, scale=SCALE, form=Form(splits=splits))
    device = jax.sharding.AbstractDevice("NVIDIA H200", 132, "gpu")
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.AbstractMesh((1,), ("data",), kinds, abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        text = jax.jit(run).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
    assert "xla.gpu.triton" in text


@pytest.mark.gpu
@pytest.mark.parametrize("splits", [1, 4])
def test_on_a_gpu_the_kernel_equals_xla(splits):
    if jax.default_backend() != "gpu":
        pytest.skip("needs a CUDA device")
    rng = np.random.default_rng(0)
    shapes = ((4, 16, 576), (4, 576), (4, 1024, 576))
    q, new, cache = (jnp.asarray(rng.normal(size=shape), jnp.bfloat16) for shape in shapes)
    positions, alone = jnp.asarray([1023, 0, 500, 64]), jnp.zeros(4, jnp.int32)
    found = attend(q, new, cache, positions, alone, alone, 512, 0.1, Form(splits=splits))
    wanted = append_and_attend(q, new, cache, positions, 512, 0.1, kernel="xla")
    for got, want in zip(found, wanted, strict=True):
        got, want = (np.asarray(a, np.float32) for a in (got, want))
        assert np.linalg.norm(got - want) <= 1e-2 * np.linalg.norm(want)
