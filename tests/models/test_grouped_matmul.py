"""Grouped products: the kernels against sums in numpy, their gradients, and that they lower."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tiny import mesh_of

from r1jax.models import grouped_matmul as kernels
from r1jax.models import kernels as own
from r1jax.models.decoding.few_rows import Turned
from r1jax.models.grouped_matmul import Tile, choose, grouped_matmul, product, tiles_of

ROWS, K, N, GROUPS = 70, 32, 64, 4
TILE = Tile(16, 32, 16, 4, 2)


@functools.cache
def drawn():
    rng = np.random.default_rng(0)
    shapes = ((ROWS, K), (GROUPS, K, N), (ROWS, N))
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


@functools.cache
def programs(how):
    """(x·w, g·wᵀ, xᵀ·g) of the kernels by Pallas' interpreter or of XLA."""
    if how == "interpreted":
        run = functools.partial(kernels.product, tile=TILE, interpret=True)
        matrices = functools.partial(kernels.of_matrices, tile=TILE, interpret=True)
        return jax.jit(
            lambda x, w, g, s: (run(x, w, s), run(g, w, s, turned=True), matrices(x, g, s))
        )

    def both(x, w, g, sizes):
        y, back = jax.vjp(lambda x, w: grouped_matmul(x, w, sizes, "xla"), x, w)
        return y, *back(g)

    return jax.jit(both)


def sums(x, w, g, sizes):
    """The same by numpy, group by group, in float64."""
    x, w, g = (a.astype(np.float64) for a in (x, w, g))
    y, dx, dw, begin = np.zeros_like(g), np.zeros_like(x), np.zeros_like(w), 0
    for i, size in enumerate(sizes):
        own = slice(begin, begin + size)
        y[own], dx[own], dw[i] = x[own] @ w[i], g[own] @ w[i].T, x[own].T @ g[own]
        begin += size
    return y, dx, dw


def sizes_of(cuts):
    """Sizes of groups between cuts among the rows; behind the last cut rows are of no group."""
    return np.diff(np.sort(cuts), prepend=0).astype(np.int32)


@functools.cache
def tiles(size):
    return jax.jit(lambda sizes: tiles_of(sizes, ROWS, size))


@pytest.mark.parametrize("how", ["interpreted", "xla"])
@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), min_size=GROUPS, max_size=GROUPS))
@example(cuts=[0, 0, 0, 0])
@example(cuts=[0, 0, 0, ROWS])
@example(cuts=[ROWS, ROWS, ROWS, ROWS])
@example(cuts=[16, 32, 48, 64])
@example(cuts=[1, 2, 19, ROWS])
def test_each_row_meets_the_matrix_of_its_group(how, cuts):
    sizes = sizes_of(cuts)
    found = programs(how)(*drawn(), sizes)
    for got, wanted in zip(found, sums(*drawn(), sizes), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_a_group_knows_nothing_of_anothers_numbers():
    x, w, g = (a.copy() for a in drawn())
    sizes = np.array([20, 0, 13, 30], np.int32)
    x[20:33], g[20:33], w[2], w[1] = np.nan, np.nan, np.nan, np.nan
    y, dx, dw = programs("interpreted")(x, w, g, sizes)
    own = np.r_[0:20, 33:70]
    assert np.isfinite(np.asarray(y)[own]).all() and np.isfinite(np.asarray(dx)[own]).all()
    assert np.isfinite(np.asarray(dw)[[0, 1, 3]]).all() and np.isnan(np.asarray(dw)[2]).all()


def test_the_kernels_are_one_function_with_its_gradient(monkeypatch):
    for name in ("product", "of_matrices"):
        run = functools.partial(getattr(kernels, name), tile=TILE, interpret=True)
        monkeypatch.setattr(kernels, name, run)
    (x, w, g), sizes = drawn(), np.array([20, 0, 1, 30], np.int32)

    def both(x, w, g):
        y, back = jax.vjp(lambda x, w: grouped_matmul(x, w, sizes, "triton"), x, w)
        return y, *back(g)

    for got, wanted in zip(jax.jit(both)(x, w, g), sums(x, w, g, sizes), strict=True):
        np.testing.assert_allclose(got, wanted, atol=2e-5)


def test_matrices_that_decoding_has_turned_give_the_same(monkeypatch):
    monkeypatch.setattr(kernels, "product", functools.partial(product, tile=TILE, interpret=True))
    (x, w, g), sizes = drawn(), np.array([20, 0, 1, 30], np.int32)
    turned = Turned(np.swapaxes(w, 1, 2).copy())
    got = jax.jit(lambda x, w: grouped_matmul(x, w, sizes, "triton"))(x, turned)
    np.testing.assert_allclose(got, sums(x, w, g, sizes)[0], atol=2e-5)


@pytest.mark.parametrize("size", [1, 16, 128])
@settings(max_examples=50, deadline=None)
@given(cuts=st.lists(st.integers(0, ROWS), min_size=GROUPS, max_size=GROUPS))
def test_tiles_have_every_row_once(size, cuts):
    sizes = sizes_of(cuts)
    owner = np.repeat(np.arange(GROUPS + 1), [*sizes, ROWS - sizes.sum()])
    seen = []
    for group, begin, end in zip(*map(np.asarray, tiles(size)(sizes)), strict=True):
        seen += [(row, group) for row in range(begin, end)]
        assert end - begin <= size
    assert sorted(seen) == list(enumerate(owner))


@pytest.mark.parametrize(
    ("rows", "groups", "k", "n"),
    [(131_072, 64, 2048, 512), (512, 64, 512, 2048), (2**20, 32, 7168, 2048)],
    ids=["training", "few rows", "beyond 32 bits"],
)
def test_product_and_gradients_lower_for_cuda(rows, groups, k, n):
    def both(x, w, sizes, g):
        y, back = jax.vjp(lambda x, w: grouped_matmul(x, w, sizes, "triton"), x, w)
        return y, *back(g)

    shapes = ((rows, k), (groups, k, n), (groups,), (rows, n))
    types = (jnp.bfloat16, jnp.bfloat16, jnp.int32, jnp.bfloat16)
    given = [jax.ShapeDtypeStruct(*of) for of in zip(shapes, types, strict=True)]
    device = jax.sharding.AbstractDevice("NVIDIA H200", 132, "gpu")
    kinds = (jax.sharding.AxisType.Auto,)
    mesh = jax.sharding.AbstractMesh((1,), ("data",), kinds, abstract_device=device)
    with jax.sharding.use_abstract_mesh(mesh):
        text = jax.jit(both).trace(*given).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("xla.gpu.triton") == 3


def test_the_kernel_is_chosen_by_the_mesh(monkeypatch):
    mesh = mesh_of()
    assert choose(mesh, jnp.bfloat16, (64, 128)) == choose(None, jnp.bfloat16, (64, 128)) == "xla"
    monkeypatch.setattr(own, "platform", lambda mesh: "gpu")
    monkeypatch.setattr(own, "capability", lambda mesh: "9.0")
    assert choose(mesh, jnp.bfloat16, (64, 128)) == "triton"
    assert choose(mesh, jnp.float32, (64, 128)) == choose(mesh, jnp.bfloat16, (64, 96)) == "xla"
    monkeypatch.setattr(own, "capability", lambda mesh: "8.9")
    assert own.own_kernels(mesh) and choose(mesh, jnp.bfloat16, (64, 128)) == "xla"


@pytest.mark.gpu
@pytest.mark.parametrize("sizes", [[700, 0, 1, 299], [0, 0, 0, 0], [128, 256, 512, 128]])
def test_on_a_gpu_the_kernel_equals_xla(sizes):
    if jax.default_backend() != "gpu":
        pytest.skip("needs a CUDA device")
    rng = np.random.default_rng(0)
    shapes = ((1024, 256), (4, 256, 512), (1024, 512))
    x, w, g = (jnp.asarray(rng.normal(size=shape), jnp.bfloat16) for shape in shapes)
    found = []
    for kernel in ("triton", "xla"):
        y, back = jax.vjp(lambda x, w: grouped_matmul(x, w, jnp.asarray(sizes), kernel), x, w)  # noqa: B023
        found.append((y, *back(g)))
    for got, want in zip(*found, strict=True):
        got, want = (np.asarray(a, np.float32) for a in (got, want))
        assert np.linalg.norm(got - want) <= 1e-2 * np.linalg.norm(want)
