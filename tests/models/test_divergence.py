"""Divergence from a teacher: a direct oracle, its gradient, the top-k bound, sharding."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import largest_difference, mesh_of, on_device

from r1jax.models.divergence import divergence

V = 23
KINDS = ("forward", "jsd", "reverse")
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
    if kind == "jsd":
        m = 0.3 * p + 0.7 * q
        parts = 0.3 * p * jnp.log(p / m), 0.7 * q * jnp.log(q / m)
        return jnp.sum(parts[0] + parts[1], axis=-1)
    a, b = (p, q) if kind == "forward" else (q, p)
    return jnp.sum(jnp.where(a > 0, a * (jnp.log(a) - jnp.log(b)), 0.0), axis=-1)


def values_and_gradients(run, hidden, head, other, other_head):
    weights = jax.random.normal(jax.random.key(9), hidden.shape[:2])

    def total(*own):
        found = run(*own, other, other_head)
        return jnp.sum(weights * found), found

    return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(hidden, head)


@pytest.mark.parametrize("kind", KINDS)
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
    got = values_and_gradients(lambda *x: divergence(*x, chunk=chunk, beta=0.3, **how), *inputs())
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


@given(st.integers(0, 50), st.sampled_from(KINDS), st.sampled_from([0.3, 3.0]))
@settings(max_examples=8)
def test_fewer_tokens_apart_never_say_more(seed, kind, temperature):
    run = jax.jit(divergence, static_argnames=("kind", "temperature", "top_k"))
    found = [run(*inputs(seed), kind=kind, temperature=temperature, top_k=k) for k in (1, 3, 9, 0)]
    assert np.all(np.asarray(found[0]) > -1e-6)
    for less, more in zip(found, found[1:], strict=False):
        assert np.all(np.asarray(less) <= np.asarray(more) + 1e-5)


@pytest.mark.parametrize("kind", KINDS)
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
    for kind in KINDS:
        for top_k in (0, 2):
            run = lambda *x, k=kind, n=top_k: divergence(*x, kind=k, top_k=n)  # noqa: E731
            gradients, found = values_and_gradients(run, *inputs(scale=30.0))
            assert all(np.isfinite(x).all() for x in (found, *gradients)), (kind, top_k)


TEACHER, STUDENT = np.array([0.5, 0.25, 0.15, 0.07, 0.03]), np.array([0.2, 0.4, 0.1, 0.2, 0.1])


def between(logits, beta, top_k):
    """Float64: of softmax(logits) and TEACHER, whose likeliest come first, as GKD writes it."""
    q = np.exp(logits) / np.exp(logits).sum()
    p, q = (np.append(x[:top_k], x[top_k:].sum()) if top_k else x for x in (TEACHER, q))
    if beta in (0, 1):
        a, b = (p, q) if beta == 0 else (q, p)
        return np.sum(a * np.log(a / b))
    m = beta * p + (1 - beta) * q
    return np.sum(beta * p * np.log(p / m)) + np.sum((1 - beta) * q * np.log(q / m))


def test_from_forward_to_reverse_by_finite_differences():
    """Values and gradients by the logits, ends and middle; small shares near the ends are KLs."""
    eye, own = jnp.eye(5), np.log(STUDENT)
    hidden, other = (on_device(x, jnp.float32)[None, None] for x in (own, np.log(TEACHER)))
    for beta, top_k in [(0, 2), (0.1, 2), (0.5, 0), (0.9, 2), (1, 2)]:
        kind = {0: "forward", 1: "reverse"}.get(beta, "jsd")
        how = {"kind": kind, "top_k": top_k, "beta": beta}
        run = lambda h, how=how: divergence(h, eye, other, eye, **how)[0, 0]  # noqa: E731
        found, slope = jax.jit(jax.value_and_grad(run))(hidden)
        steps = 1e-5 * np.eye(5)
        ends = [between(own + x, beta, top_k) - between(own - x, beta, top_k) for x in steps]
        np.testing.assert_allclose(found, between(own, beta, top_k), rtol=1e-5)
        np.testing.assert_allclose(slope[0, 0], np.array(ends) / 2e-5, rtol=1e-4, atol=1e-6)
    for end in (0, 1):
        near = between(own, abs(end - 1e-6), 2) / 1e-6
        np.testing.assert_allclose(near, between(own, end, 2), rtol=1e-4)


@pytest.mark.parametrize(
    "kind",
    ["jsd", *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("forward", "reverse"))],
)
def test_a_teacher_of_whom_the_likeliest_tokens_alone_are_known(kind):
    hidden, head, other, other_head = inputs(3, scale=0.7)
    logp, ids = jax.lax.top_k(jax.nn.log_softmax(other @ other_head), 4)
    how = dict(kind=kind, beta=0.3, chunk=4)
    whole = values_and_gradients(
        lambda *w: divergence(*w, top_k=4, **how), hidden, head, other, other_head
    )
    known = values_and_gradients(
        lambda *w: divergence(*w[:2], (ids, logp), None, top_k=4, **how),
        hidden, head, other, other_head,
    )  # fmt: skip
    assert largest_difference(whole, known) < 1e-5
