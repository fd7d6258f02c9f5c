"""Attention over packed rows: segments against a loop over sequences, cuDNN's offsets."""

from __future__ import annotations

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import largest_difference, on_device

from r1jax.errors import UserError
from r1jax.models.attention import Segments, attention, choose_kernel, segment_starts

IDS = np.array([[1, 1, 2, 3, 3, 0], [1, 1, 1, 1, 1, 1], [0] * 6], np.int32)


def oracle(q, k, v, scale=None, window=10**6):
    """Causal attention of one sequence in float64: q[T, heads, h], k and v[T, kv_heads, ·]."""
    k, v = (np.repeat(x, q.shape[1] // k.shape[1], axis=1) for x in (k, v))
    out = np.zeros((*q.shape[:2], v.shape[-1]))
    for t in range(len(q)):
        seen = slice(max(t + 1 - window, 0), t + 1)
        z = np.einsum("nh,snh->ns", q[t], k[seen]) * (scale or 1 / np.sqrt(q.shape[-1]))
        w = np.exp(z - z.max(axis=1, keepdims=True))
        out[t] = np.einsum("ns,snh->nh", w / w.sum(axis=1, keepdims=True), v[seen])
    return out


def tensors(seed, t, heads, kv_heads, h, rows=3):
    rng = np.random.default_rng(seed)
    return tuple(rng.normal(size=(rows, t, n, h)) for n in (heads, kv_heads, kv_heads))


@pytest.mark.parametrize(("kv_heads", "window"), [(1, 0), (2, 0), (4, 0), (2, 1), (2, 3)])
def test_segments_see_only_themselves_and_padding_is_zero(kv_heads, window):
    q, k, v = tensors(0, 6, 4, kv_heads, 8)
    given = (on_device(x, jnp.float32) for x in (q, k, v))
    out = attention(*given, Segments(IDS, 3), "xla", window=window)
    wanted = np.zeros_like(q)
    for row, ids in enumerate(IDS):
        for segment in range(1, ids.max() + 1):
            at = np.flatnonzero(ids == segment)
            wanted[row, at] = oracle(q[row, at], k[row, at], v[row, at], window=window or 6)
    np.testing.assert_allclose(out, wanted, atol=1e-5)


def test_values_may_be_of_another_width_and_scores_of_another_scale():
    (q, k, _), (_, _, v) = tensors(0, 6, 4, 2, 8, rows=1), tensors(1, 6, 4, 2, 3, rows=1)
    given = (on_device(x, jnp.float32) for x in (q, k, v))
    out = attention(*given, Segments(np.ones((1, 6), np.int32)), scale=0.7)
    np.testing.assert_allclose(out[0], oracle(q[0], k[0], v[0], 0.7), atol=1e-5)


@pytest.mark.parametrize(
    ("platform", "dtype", "widths", "kernel"),
    [
        ("gpu", jnp.bfloat16, (128, 64), "cudnn"),
        ("gpu", jnp.bfloat16, (136, 64), "xla"),
        ("gpu", jnp.bfloat16, (64, 60), "xla"),
        ("gpu", jnp.float32, (64,), "xla"),
        ("tpu", jnp.bfloat16, (64,), "xla"),
    ],
)
def test_the_kernel_is_that_of_the_meshs_devices_not_of_this_machine(
    platform, dtype, widths, kernel
):
    mesh = SimpleNamespace(devices=np.array([[SimpleNamespace(platform=platform)]]))
    assert choose_kernel(mesh, dtype, *widths) == kernel
    assert choose_kernel(None, dtype, *widths) == "xla"


@pytest.mark.slow
@pytest.mark.parametrize("window", [0, 37])
def test_splash_equals_xla(window):
    """In the interpreter; test_aot.py compiles it."""
    rng = np.random.default_rng(4)
    q, k, v = (on_device(rng.normal(size=(1, 256, n, 8)), jnp.float32) for n in (4, 2, 2))
    ids = on_device(np.repeat([1, 2, 3, 0], [100, 50, 90, 16]))[None]

    def total(q, k, v, kernel):
        out = attention(q, k, v, Segments(ids, 3), kernel, window=window)
        return jnp.sum(jnp.sin(out)), out

    runs = [jax.grad(total, (0, 1, 2), has_aux=True)(q, k, v, n) for n in ("splash", "xla")]
    assert largest_difference(*runs) < 1e-5


def test_splash_takes_rows_of_whole_blocks():
    q = jnp.ones((1, 130, 2, 8))
    said = (
        r"\A--train.kernel splash: rows of 130 tokens do not divide by 128; use --train.width 256\Z"
    )
    with pytest.raises(UserError, match=said):
        attention(q, q, q, Segments(jnp.ones((1, 130), jnp.int32)), "splash")


def test_segment_starts_are_what_cudnn_wants():
    starts, lengths = jax.jit(segment_starts, static_argnums=1)(IDS, 3)
    np.testing.assert_array_equal(starts, [[0, 2, 3, -1], [0, -1, -1, -1], [-1, -1, -1, -1]])
    np.testing.assert_array_equal(lengths, [[2, 1, 2], [6, -1, -1], [-1, -1, -1]])


@pytest.mark.gpu
@pytest.mark.parametrize("window", [0, 2, 7, 64])
def test_cudnn_packed_equals_xla(window):
    if jax.default_backend() != "gpu":
        pytest.skip("needs a CUDA device")
    ids = np.zeros((3, 128), np.int32)
    ids[0, :50], ids[0, 50:90], ids[1, :128] = 1, 2, 1
    segments = Segments(on_device(ids), 4)
    q, k, v = (on_device(x, jnp.bfloat16) for x in tensors(2, 128, 4, 2, 64))

    def total(kernel, *qkv):
        out = attention(*qkv, segments, kernel, window=window)
        return jnp.sum(jnp.sin(out.astype(jnp.float32)))

    for kernel, exact in (("cudnn", "xla"),):
        got = jax.grad(lambda *a, n=kernel: total(n, *a), (0, 1, 2))(q, k, v)
        want = jax.grad(lambda *a, n=exact: total(n, *a), (0, 1, 2))(q, k, v)
        for a, b in zip(got, want, strict=True):
            a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
            assert np.linalg.norm(a - b) <= 2e-2 * np.linalg.norm(b)
