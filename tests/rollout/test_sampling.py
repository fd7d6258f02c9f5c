"""Drawing tokens: the kept support, its mass, and frequencies that follow the distribution."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.rollout import sampling
from r1jax.rollout.sampling import Sampling, draw, kept, request_keys

SIZE = 6
keep = jax.jit(kept, static_argnums=1)
draw_jit = jax.jit(draw, static_argnums=3)


def sorted_support(z, sampling):
    """The oracle: sort, cut, and keep what ties with the last one kept."""
    keep = np.ones(len(z), bool)
    if sampling.top_k:
        keep = z >= np.sort(z)[::-1][min(sampling.top_k, len(z)) - 1]
    if sampling.top_p < 1:
        p = np.where(keep, np.exp(z - z.max()), 0)
        order = np.argsort(-z, kind="stable")
        mass = np.cumsum(p[order] / p.sum())
        assume(np.min(np.abs(mass - sampling.top_p)) > 1e-4)
        last = order[np.searchsorted(mass, sampling.top_p)]
        keep &= z >= z[last]
    return keep


# XLA takes subnormal numbers for 0.
values = st.sampled_from([-3.0, -0.5, -0.0, 0.0, 0.25, 2.0]) | st.floats(
    -8, 8, width=32, allow_subnormal=False
)


@given(
    z=st.lists(values, min_size=SIZE, max_size=SIZE),
    top_p=st.sampled_from([0.1, 0.35, 0.6, 0.85, 0.99, 1.0]),
    top_k=st.sampled_from([0, 1, 2, 5, 9]),
)
@settings(max_examples=100, deadline=None)
def test_the_support_is_that_of_a_sort(z, top_p, top_k):
    z = np.asarray(z, np.float32)
    sampling = Sampling(1.0, top_p, top_k)
    np.testing.assert_array_equal(keep(z[None], sampling)[0], sorted_support(z, sampling))


@pytest.mark.parametrize(
    ("p", "top_p", "top_k", "mass"),
    [
        ((0.5, 0.25, 0.15, 0.1), 0.7, 0, 0.75),
        ((0.5, 0.25, 0.15, 0.1), 0.4, 0, 0.5),
        ((0.5, 0.25, 0.15, 0.1), 1.0, 3, 0.9),
        # Top-p works on what top-k left: 0.5 / 0.9 is short of 0.8, 0.75 / 0.9 is not.
        ((0.5, 0.25, 0.15, 0.1), 0.8, 3, 0.75),
        # Tokens tied with the last one kept are kept too.
        ((0.4, 0.2, 0.2, 0.2), 0.5, 0, 1.0),
        ((0.4, 0.2, 0.2, 0.2), 1.0, 2, 1.0),
        ((0.4, 0.2, 0.2, 0.2), 0.3, 3, 0.4),
        ((0.5, 0.25, 0.15, 0.1), 1.0, 0, 1.0),
    ],
)
def test_log_mass_by_hand(p, top_p, top_k, mass):
    logits = jnp.log(jnp.asarray([p], jnp.float32))
    keys = request_keys(0, *(jnp.zeros(1, jnp.int32),) * 3)
    sampling, first = Sampling(1.0, top_p, top_k, told=3), jnp.zeros(1, jnp.int32)
    token, logp, log_mass, support = draw_jit(logits, keys, first, sampling)
    assert float(log_mass[0]) == pytest.approx(np.log(mass), abs=1e-6)
    assert float(logp[0]) == pytest.approx(np.log(p[int(token[0])]), abs=1e-6)
    inside = int(np.searchsorted(np.cumsum(p), mass - 1e-6)) + 1  # the likeliest come first in p
    if top_p == 1.0 and not top_k:
        assert support is None
    else:
        told = range(1, inside + 1) if inside < 4 else ()
        assert support.tolist() == [[*told, 0, 0, 0][:3]]


def counts(sampling, keys, index, logits):
    rows = len(keys)
    token, *_ = draw_jit(jnp.broadcast_to(logits, (rows, len(logits))), keys, index, sampling)
    return np.bincount(np.asarray(token), minlength=len(logits))


def chi_square(found, p):
    expected = found.sum() * p
    return float(np.sum((found - expected)[p > 0] ** 2 / expected[p > 0]))


@pytest.mark.parametrize("temperature", [0.6, 1.0, 2.0])
@pytest.mark.parametrize("vary", ["sample", "problem", "rollout", "position"])
def test_frequencies_follow_the_tempered_softmax(vary, temperature):
    logits = jnp.asarray([1.0, 0.5, 0.0, -1.0, -2.0])
    n = 4000
    numbers, fixed = jnp.arange(n, dtype=jnp.int32), jnp.full(n, 3, jnp.int32)
    parts = {name: fixed for name in ("rollout", "problem", "sample", "position")}
    parts[vary] = numbers
    keys = request_keys(7, parts["rollout"], parts["problem"], parts["sample"])
    found = counts(Sampling(temperature), keys, parts["position"], logits)
    # 18.47 is exceeded with probability 0.001 at 4 degrees of freedom.
    assert chi_square(found, np.asarray(jax.nn.softmax(logits / temperature))) < 18.47


def test_frequencies_of_a_cut_support_are_renormalised():
    logits = jnp.log(jnp.asarray([0.4, 0.3, 0.15, 0.1, 0.05]))
    numbers, fixed = jnp.arange(4000, dtype=jnp.int32), jnp.zeros(4000, jnp.int32)
    found = counts(Sampling(1.0, 0.65), request_keys(1, fixed, fixed, numbers), fixed, logits)
    p = np.array([4 / 7, 3 / 7, 0, 0, 0])
    assert found[2:].sum() == 0
    assert chi_square(found, p) < 10.83  # p = 0.001 at one degree of freedom


@pytest.mark.parametrize(
    ("temperature", "top_p"),
    [(0.7, 1.0), (1.0, 0.7), pytest.param(1.0, 1.0, marks=pytest.mark.slow)],
)
def test_a_large_vocabulary_is_drawn_from_in_two_steps(temperature, top_p):
    size = sampling.SMALL + 5  # the last tile is not full
    likely = np.array([3, 100, 130, 400, size - 1])
    logits = jnp.full(size, -30.0).at[likely].set(jnp.log(jnp.array([0.35, 0.3, 0.2, 0.1, 0.05])))
    numbers, fixed = jnp.arange(2000, dtype=jnp.int32), jnp.zeros(2000, jnp.int32)
    keys = request_keys(3, fixed, fixed, numbers)
    how = Sampling(temperature, top_p)
    found = counts(how, keys, fixed, logits)
    support = likely[:3] if top_p < 1 else likely
    p = np.zeros(size)
    p[support] = jax.nn.softmax(logits[support] / temperature)
    assert found.sum() == found[support].sum()
    assert chi_square(found, p) < 18.47  # p = 0.001 at 4 degrees of freedom
    z = logits / temperature
    token, logp, log_mass, told = draw_jit(jnp.tile(logits, (3, 1)), keys[:3], fixed[:3], how)
    assert told is None
    np.testing.assert_allclose(logp, jax.nn.log_softmax(z)[token], atol=1e-5)
    mass = jax.nn.softmax(z)[support].sum()
    np.testing.assert_allclose(log_mass, np.log(mass) if top_p < 1 else 0, atol=1e-5)


def test_greedy_takes_the_most_likely_and_reports_temperature_one():
    logits = jnp.asarray([[0.0, 2.0, 1.0], [5.0, 0.0, 0.0]])
    keys = request_keys(0, *(jnp.zeros(2, jnp.int32),) * 3)
    greedy = Sampling(0.0, 0.3, 1)
    token, logp, log_mass, _ = draw_jit(logits, keys, jnp.zeros(2, jnp.int32), greedy)
    assert token.tolist() == [1, 0]
    np.testing.assert_allclose(logp, jax.nn.log_softmax(logits).max(-1), atol=1e-6)
    assert log_mass.tolist() == [0, 0]


@pytest.mark.parametrize("wrong", [(-1.0,), (1.0, 0.0), (1.0, 1.5), (1.0, 1.0, -1)])
def test_values_outside_their_range_are_refused(wrong):
    with pytest.raises(UserError):
        Sampling(*wrong)
