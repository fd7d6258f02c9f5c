"""Attention over packed rows: segments against a loop over sequences, cuDNN's offsets."""

from __future__ import annotations

import re
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
    ("platform", "capability", "dtype", "shape", "kernel"),
    [
        ("gpu", "9.0", jnp.bfloat16, (100, 128, 64), "cudnn"),
        ("gpu", "9.0", jnp.bfloat16, (100, 192, 128), "cudnn"),
        ("gpu", "9.0", jnp.bfloat16, (100, 264, 128), "xla"),
        ("gpu", "9.0", jnp.bfloat16, (100, 64, 60), "xla"),
        ("gpu", "9.0", jnp.float32, (100, 64), "xla"),
        ("gpu", "10.0", jnp.float16, (100, 128), "cudnn"),
        ("gpu", "10.0", jnp.bfloat16, (100, 192, 128), "xla"),
        ("gpu", "8.0", jnp.bfloat16, (100, 64), "xla"),  # has no packed layout
        ("gpu", "gfx942", jnp.bfloat16, (100, 64), "xla"),
        ("tpu", None, jnp.bfloat16, (256, 192, 128), "splash"),
        ("tpu", None, jnp.float32, (128, 64), "splash"),
        ("tpu", None, jnp.bfloat16, (130, 64), "xla"),
        ("cpu", None, jnp.bfloat16, (128, 64), "xla"),
    ],
)
def test_the_kernel_is_that_of_the_meshs_devices_not_of_this_machine(
    platform, capability, dtype, shape, kernel
):
    device = SimpleNamespace(platform=platform, compute_capability=capability)
    mesh = SimpleNamespace(devices=np.array([[device]]))
    assert choose_kernel(mesh, dtype, *shape) == kernel
    assert choose_kernel(None, dtype, *shape) == "xla"


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


def as_cudnn_reads(q, k, v, q_seqlen, kv_seqlen, q_offsets, kv_offsets, scale, **_):
    """What cuDNN makes of packed arrays: each one flat, a segment where the offsets say.

    jax multiplies offsets by the heads of queries and their width, of all arrays alike
    (`_fix_seqlen_offsets`), so that only arrays of one stride are read where they lie.
    """
    q, k, v, starts, lengths = (np.asarray(x) for x in (q, k, v, q_offsets, q_seqlen))
    (_, t, heads, h), out = q.shape, np.zeros((*q.shape[:3], v.shape[-1]))
    for row, segment in zip(*np.nonzero(lengths >= 0), strict=True):
        n, at = lengths[row, segment], (row * t + starts[row, segment]) * heads * h
        own = lambda x: x.ravel()[at : at + n * heads * x.shape[-1]]  # noqa: B023, E731
        out.ravel()[at : at + n * heads * v.shape[-1]] = oracle(
            *(own(x).reshape(n, heads, -1) for x in (q, k, v)), scale
        ).ravel()
    return jnp.asarray(out, jnp.float32)


@pytest.mark.parametrize("widths", [(24, 16), (8, 16), (16, 16)], ids=str)
def test_what_cudnn_is_given_is_read_as_xla_computes_it(widths, monkeypatch):
    """Keys of another width than values, as latent attention has them, and grouped heads."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    monkeypatch.setattr(cudnn, "dot_product_attention", as_cudnn_reads)
    rng = np.random.default_rng(5)
    shapes = [(3, 6, 4, widths[0]), (3, 6, 2, widths[0]), (3, 6, 2, widths[1])]
    q, k, v = (on_device(rng.normal(size=shape), jnp.float32) for shape in shapes)
    got, want = (
        attention(q, k, v, Segments(on_device(IDS), 3), kernel, scale=0.3)
        for kernel in ("cudnn", "xla")
    )
    np.testing.assert_allclose(got, want, atol=1e-5)


def test_latent_heads_reach_cudnn_in_one_width(monkeypatch):
    """As a CUDA program gets them, forward and backward; a device runs it under `gpu`."""
    from jax._src.cudnn import fused_attention_stablehlo as cudnn

    monkeypatch.setattr(cudnn, "check_compute_capability", lambda asked: True)
    monkeypatch.setattr(cudnn, "check_cudnn_version", lambda: 91000)
    q, k, v = (jax.ShapeDtypeStruct((2, 128, 4, w), jnp.bfloat16) for w in (192, 192, 128))
    ids = jax.ShapeDtypeStruct((2, 128), jnp.int32)

    def total(q, k, v, ids):
        return jnp.sum(attention(q, k, v, Segments(ids, 3), "cudnn").astype(jnp.float32))

    slopes = jax.jit(jax.grad(total, (0, 1, 2)))
    assert [x.shape[-1] for x in jax.eval_shape(slopes, q, k, v, ids)] == [192, 192, 128]
    text = slopes.trace(q, k, v, ids).lower(lowering_platforms=("cuda",)).as_text()
    calls = re.findall(r"__cudnn\$fmhaSoftmax\w*\(?.*? : \((.*?)\) ->", text)
    given = "tensor<2x128x4x192xbf16>"
    assert len(calls) == 2 and all(call.startswith(", ".join([given] * 3)) for call in calls)


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("window", "widths"), [(0, (64, 64)), (2, (64, 64)), (7, (64, 64)), (64, (64, 64)),
                           (0, (192, 128)), (0, (64, 128))], ids=str
)  # fmt: skip
def test_cudnn_packed_equals_xla(window, widths):
    if jax.default_backend() != "gpu":
        pytest.skip("needs a CUDA device")
    ids = np.zeros((3, 128), np.int32)
    ids[0, :50], ids[0, 50:90], ids[1, :128] = 1, 2, 1
    segments = Segments(on_device(ids), 4)
    rng = np.random.default_rng(2)
    shapes = [(3, 128, 4, widths[0]), (3, 128, 2, widths[0]), (3, 128, 2, widths[1])]
    q, k, v = (on_device(rng.normal(size=shape), jnp.bfloat16) for shape in shapes)

    def total(kernel, *qkv):
        out = attention(*qkv, segments, kernel, window=window)
        return jnp.sum(jnp.sin(out.astype(jnp.float32)))

    for kernel, exact in (("cudnn", "xla"),):
        got = jax.grad(lambda *a, n=kernel: total(n, *a), (0, 1, 2))(q, k, v)
        want = jax.grad(lambda *a, n=exact: total(n, *a), (0, 1, 2))(q, k, v)
        for a, b in zip(got, want, strict=True):
            a, b = np.asarray(a, np.float32), np.asarray(b, np.float32)
            assert np.linalg.norm(a - b) <= 2e-2 * np.linalg.norm(b)
