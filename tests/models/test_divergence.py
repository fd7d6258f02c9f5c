"""Divergence from a teacher: a direct oracle, its gradient, the top-k bound, sharding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import largest_difference, mesh_of

from r1jax.models.divergence import divergence

V = 23
# (temperature, top_k)
CASES = [(0.7, 0), (2.0, 4), (1.0, 0), (1.0, 1), (1.0, V - 1)]


def inputs(seed=0, rows=2, t=10, scale=1.0):
    """Student and teacher of different widths: hidden, head, hidden, head."""
    keys = jax.random.split(jax.random.key(seed), 4)
    shapes = ((rows, t, 8), (8, V), (rows, t, 5), (5, V))
    return [scale * jax.random.normal(k, shape) for k, shape in zip(keys, shapes, strict=True)]


def direct(hidden, head, other, other_head, kind="forward", temperature=1.0, top_k=0):
    """From whole distributions; beyond the k likeliest tokens, of the sums."""
    q = jax.nn.softmax(hidden @ head / temperature)
    p = jax.nn.softmax(other @ other_head / temperature)
    if top_k:
        order = jnp.argsort(-p, axis=-1)
        p, q = (jnp.take_along_axis(x, order, axis=-1) for x in (p, q))
        p, q = (
            jnp.concatenate([x[..., :top_k], x[..., top_k:].sum(-1, keepdims=True)], -1)
            for x in (p, q)
        )
    a, b = (p, q) if kind == "forward" else (q, p)
    return jnp.sum(jnp.where(a > 0, a * (jnp.log(a) - jnp.log(b)), 0.0), axis=-1)


def values_and_gradients(run, hidden, head, other, other_head):
    weights = jax.random.normal(jax.random.key(9), hidden.shape[:2])

    def total(*own):
        found = run(*own, other, other_head)
        return jnp.sum(weights * found), found

    return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(hidden, head)


@pytest.mark.parametrize("kind", ["forward", "reverse"])
@pytest.mark.parametrize(
    "temperature, top_k, chunk",
    [
        *[(*case, 3) for case in CASES[:2]],
        *[pytest.param(*case, 3, marks=pytest.mark.slow) for case in CASES[2:]],
        (1.0, 1, 10),
        *[pytest.param(*case, 10, marks=pytest.mark.slow) for case in CASES if case != (1.0, 1)],
    ],
)
def test_it_is_the_divergence_of_the_whole_distributions(kind, temperature, top_k, chunk):
    how = {"kind": kind, "temperature": temperature, "top_k": top_k}
    got = values_and_gradients(lambda *x: divergence(*x, chunk=chunk, **how), *inputs())
    want = values_and_gradients(lambda *x: direct(*x, **how), *inputs())
    assert largest_difference(got, want) < 2e-5


@pytest.mark.parametrize("kind", ["forward", "reverse"])
def test_by_hand(kind):
    """p = (1/2, 1/2), q = (1/4, 3/4)."""
    own, other = jnp.log(jnp.array([[[1.0, 3.0]]])), jnp.zeros((1, 1, 2))
    eye = jnp.eye(2)
    found = divergence(own, eye, other, eye, kind=kind)
    forward = 0.5 * np.log(2) + 0.5 * np.log(2 / 3)
    reverse = 0.25 * np.log(1 / 2) + 0.75 * np.log(3 / 2)
    np.testing.assert_allclose(found, [[forward if kind == "forward" else reverse]], rtol=1e-6)


@given(st.integers(0, 50), st.sampled_from(["forward", "reverse"]), st.sampled_from([0.3, 3.0]))
@settings(max_examples=8)
def test_fewer_tokens_apart_never_say_more(seed, kind, temperature):
    run = jax.jit(divergence, static_argnames=("kind", "temperature", "top_k"))
    found = [run(*inputs(seed), kind=kind, temperature=temperature, top_k=k) for k in (1, 3, 9, 0)]
    assert np.all(np.asarray(found[0]) > -1e-6)
    for less, more in zip(found, found[1:], strict=False):
        assert np.all(np.asarray(less) <= np.asarray(more) + 1e-5)


@pytest.mark.parametrize("kind", ["forward", "reverse"])
@pytest.mark.parametrize("top_k", [0, 3])
def test_a_student_like_its_teacher_has_nothing_to_learn(kind, top_k):
    hidden, head, *_ = inputs()
    run = lambda h, w: jnp.sum(divergence(h, w, hidden, head, kind=kind, top_k=top_k))  # noqa: E731
    value, slopes = jax.jit(jax.value_and_grad(run, argnums=(0, 1)))(hidden, head)
    assert abs(float(value)) < 1e-5
    assert max(np.abs(slope).max() for slope in slopes) < 1e-5


def test_no_gradient_reaches_the_teacher():
    hidden, head, other, other_head = inputs()
    run = lambda g, w: jnp.sum(divergence(hidden, head, g, w))  # noqa: E731
    found = jax.jit(jax.grad(run, argnums=(0, 1)))(other, other_head)
    assert all(not np.any(x) for x in found)


@pytest.mark.parametrize(
    "axes", [pytest.param({"data": 4, "fsdp": 2}, marks=pytest.mark.slow), {"fsdp": 2, "tensor": 2}]
)
def test_a_mesh_changes_nothing(axes):
    parts = inputs(rows=8)
    alone, together = (
        values_and_gradients(lambda *x, m=m: divergence(*x, chunk=4, top_k=5, mesh=m), *parts)
        for m in (None, mesh_of(**axes))
    )
    assert largest_difference(alone, together) < 1e-5


def test_distributions_far_apart_stay_finite():
    found, gradients = None, None
    for kind in ("forward", "reverse"):
        for top_k in (0, 2):
            run = lambda *x, k=kind, n=top_k: divergence(*x, kind=k, top_k=n)  # noqa: E731
            gradients, found = values_and_gradients(run, *inputs(scale=30.0))
            assert all(np.isfinite(x).all() for x in (found, *gradients)), (kind, top_k)
