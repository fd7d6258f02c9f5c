"""Reductions, KL, clipping, importance weights: numbers by hand, gradients by analysis.

The example is two rows of three tokens. Ratios and advantages:

    row 0 (A = +1): 1.5  1.0  0.5        row 1 (A = −2): 1.1  0.5  (padding)
    −min(ρA, clip(ρ, 0.8, 1.28) A):
                  −1.28 −1.0 −0.5                        2.2  1.6
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.losses import (
    ESTIMATORS,
    REDUCTIONS,
    clipped_tokens,
    importance_weights,
    surrogate,
)
from r1jax.types import Batch

RATIOS = np.array([[1.5, 1.0, 0.5], [1.1, 0.5, 7.0]])
ADVANTAGES = np.array([[1.0, 1.0, 1.0], [-2.0, -2.0, 9.0]])
LOSSES = np.array([[-1.28, -1.0, -0.5], [2.2, 1.6, np.nan]])


def example_batch(**overrides):
    mask = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    zeros = np.zeros((2, 3), np.float32)
    fields = {
        "tokens": zeros.astype(np.int32),
        "positions": zeros.astype(np.int32),
        "segment_ids": mask.astype(np.int32),
        "mask": mask,
        **{name: zeros for name in ("advantages", "old_logp", "ref_logp", "sampler_logp")},
        "lengths": np.array([[3, 0], [2, 0]], np.float32),
        "n_tokens": np.float32(5),
        "n_sequences": np.float32(2),
        "max_tokens": np.float32(4),
    }
    return Batch(**(fields | overrides))


@pytest.mark.parametrize(
    ("reduction", "share"),
    [
        ("token_mean", (-2.78 + 3.8) / 5),
        ("sequence_mean", (-2.78 / 3 + 3.8 / 2) / 2),
        ("constant", (-2.78 + 3.8) / (2 * 4)),
    ],
)
def test_reductions_by_hand(reduction, share):
    # The NaN under the padding must not be seen.
    got = REDUCTIONS[reduction](LOSSES, example_batch())
    np.testing.assert_allclose(got, share, rtol=1e-6)


@pytest.mark.parametrize("reduction", REDUCTIONS)
def test_reductions_divide_by_the_update_not_by_what_is_at_hand(reduction):
    full = REDUCTIONS[reduction](LOSSES, example_batch())
    larger = example_batch(n_tokens=np.float32(50), n_sequences=np.float32(20))
    np.testing.assert_allclose(REDUCTIONS[reduction](LOSSES, larger), full / 10, rtol=1e-6)


def test_two_segments_of_a_row_have_their_own_lengths():
    ids = np.array([[1, 2, 2], [1, 1, 0]], np.int32)
    lengths = np.array([[1, 2], [2, 0]], np.float32)
    batch = example_batch(segment_ids=ids, lengths=lengths, n_sequences=np.float32(3))
    got = REDUCTIONS["sequence_mean"](LOSSES, batch)
    np.testing.assert_allclose(got, (-1.28 / 1 - 1.5 / 2 + 3.8 / 2) / 3, rtol=1e-6)


def test_surrogate_by_hand():
    got = surrogate(np.log(RATIOS), ADVANTAGES, 0.2, 0.28)
    np.testing.assert_allclose(got[0], LOSSES[0], rtol=1e-6)
    np.testing.assert_allclose(got[1, :2], LOSSES[1, :2], rtol=1e-6)


def test_dual_clip_by_hand():
    log_ratio, advantages = np.log([[5.0, 2.0, 5.0]]), np.array([[-2.0, -2.0, 2.0]])
    np.testing.assert_allclose(
        surrogate(log_ratio, advantages, 0.2, 0.28, dual_clip=3.0), [[6.0, 4.0, -2.56]], rtol=1e-6
    )
    np.testing.assert_allclose(
        surrogate(log_ratio, advantages, 0.2, 0.28), [[10.0, 4.0, -2.56]], rtol=1e-6
    )


# (ratio, advantage, dual_clip, d loss / d logp): −ρA where nothing binds, else exactly 0.
GRADIENTS = [
    (1.0, 1.0, None, -1.0),
    (1.0, -2.0, None, 2.0),
    (1.2, 1.0, None, -1.2),
    (1.3, 1.0, None, 0.0),
    (0.5, 1.0, None, -0.5),
    (0.9, -2.0, None, 1.8),
    (0.7, -2.0, None, 0.0),
    (4.0, -2.0, None, 8.0),
    (4.0, -2.0, 3.0, 0.0),
    (2.9, -2.0, 3.0, 5.8),
    (4.0, 2.0, 3.0, 0.0),
    (1.0, 0.0, None, 0.0),
]


@pytest.mark.parametrize(("ratio", "advantage", "dual_clip", "slope"), GRADIENTS)
def test_gradient_of_the_clip(ratio, advantage, dual_clip, slope):
    with jax.enable_x64(True):
        clip = (0.2, 0.28, dual_clip)
        got = jax.grad(lambda x: surrogate(x, jnp.float64(advantage), *clip))(jnp.log(ratio))
        assert got.dtype == jnp.float64
        np.testing.assert_allclose(got, slope, rtol=1e-12)
        flat = clipped_tokens(jnp.log(ratio), jnp.float64(advantage), *clip)
    assert any(map(bool, flat)) == (slope == 0.0 and advantage != 0.0)


def test_clipped_tokens_tells_the_sides_apart():
    ratio, advantages = np.array([0.5, 0.5, 1.5, 1.5, 4.0]), np.array([-1.0, 1, 1, -1, -1])
    low, high, dual = clipped_tokens(np.log(ratio), advantages, 0.2, 0.28, 3.0)
    np.testing.assert_array_equal(low, [1, 0, 0, 0, 0])
    np.testing.assert_array_equal(high, [0, 0, 1, 0, 0])
    np.testing.assert_array_equal(dual, [0, 0, 0, 0, 1])


def test_an_absurd_ratio_keeps_gradients_finite():
    slope = jax.grad(lambda x: surrogate(x, jnp.float32(1.0), 0.2, 0.28))
    assert slope(jnp.float32(200.0)) == 0.0
    assert slope(jnp.float32(-200.0)) == 0.0


@pytest.mark.parametrize(("name", "value"), [("k1", -0.693147), ("k2", 0.240227), ("k3", 0.306853)])
def test_kl_by_hand(name, value):
    # The reference gives the token twice the policy's probability.
    np.testing.assert_allclose(ESTIMATORS[name](jnp.log(0.2), jnp.log(0.4)), value, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("k1", lambda logp, ref: 1.0),
        ("k2", lambda logp, ref: logp - ref),
        ("k3", lambda logp, ref: 1.0 - np.exp(ref - logp)),
    ],
)
@pytest.mark.parametrize(("logp", "ref"), [(-1.0, -3.0), (-3.0, -1.0), (-0.5, -0.5), (-9.0, -0.1)])
def test_gradient_of_the_kl_estimators(name, slope, logp, ref):
    with jax.enable_x64(True):
        got = jax.grad(ESTIMATORS[name])(jnp.float64(logp), jnp.float64(ref))
        np.testing.assert_allclose(got, slope(logp, ref), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "biased"), [("k1", False), ("k2", True), ("k3", False)])
def test_expected_value_and_gradient_under_the_policy(name, biased):
    """Σ π·k over a whole distribution: the KL itself for k1 and k3; E[∂k1] = 0, E[∂k2] = ∂KL."""
    with jax.enable_x64(True):
        logits, ref_logits = jnp.array([0.3, -1.0, 0.8, 0.1]), jnp.array([0.0, 0.4, -0.2, 0.6])
        ref = jax.nn.log_softmax(ref_logits)

        def kl(z):
            logp = jax.nn.log_softmax(z)
            return jnp.sum(jnp.exp(logp) * (logp - ref))

        def expected(z):
            logp = jax.nn.log_softmax(z)
            return jnp.sum(jax.lax.stop_gradient(jnp.exp(logp)) * ESTIMATORS[name](logp, ref))

        assert bool(jnp.isclose(expected(logits), kl(logits), rtol=1e-9)) != biased
        slope = jax.grad(expected)(logits)
        if name == "k1":
            np.testing.assert_allclose(slope, 0.0, atol=1e-12)
        if name == "k2":
            np.testing.assert_allclose(slope, jax.grad(kl)(logits), rtol=1e-9)


def test_k3_keeps_its_digits_near_zero_and_is_finite_far_away():
    small = ESTIMATORS["k3"](jnp.float32(-1e-3), jnp.float32(0.0))
    np.testing.assert_allclose(small, 0.5e-6, rtol=1e-3)
    far, slope = jax.value_and_grad(ESTIMATORS["k3"])(jnp.float32(-300.0), jnp.float32(-1.0))
    assert jnp.isfinite(far) and slope == 0.0


def test_importance_weights_by_hand():
    old, sampler = jnp.log(jnp.array([0.6, 0.1, 0.3])), jnp.log(jnp.array([0.2, 0.2, 0.3]))
    np.testing.assert_allclose(importance_weights(old, sampler, 2.0), [2.0, 0.5, 1.0], rtol=1e-6)
    np.testing.assert_allclose(importance_weights(old, sampler, 9.0), [3.0, 0.5, 1.0], rtol=1e-6)
    slope = jax.grad(lambda x: importance_weights(x, sampler, 9.0).sum())(old)
    np.testing.assert_array_equal(slope, 0.0)
