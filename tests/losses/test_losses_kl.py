"""KL estimators and their corrected gradients: numbers by hand, gradients by analysis."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.losses import ESTIMATORS, importance_weighted, straight_through


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("k1", -0.693147),
        ("abs", 0.693147),
        ("k2", 0.240227),
        ("k3", 0.306853),
        ("k3_clamped", 0.306853),
    ],
)
def test_kl_by_hand(name, value):
    # The reference gives the token twice the policy's probability.
    np.testing.assert_allclose(ESTIMATORS[name](jnp.log(0.2), jnp.log(0.4)), value, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "slope"),
    [
        ("k1", lambda logp, ref: 1.0),
        ("abs", lambda logp, ref: np.sign(logp - ref)),
        ("k2", lambda logp, ref: logp - ref),
        ("k3", lambda logp, ref: 1.0 - np.exp(ref - logp)),
    ],
)
@pytest.mark.parametrize(("logp", "ref"), [(-1.0, -3.0), (-3.0, -1.0), (-9.0, -0.1)])
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


def test_k3_clamped_is_flat_above_ten_and_below_minus_twenty_nats():
    value, slope = jax.value_and_grad(ESTIMATORS["k3_clamped"])(jnp.log(0.01), jnp.log(0.2))
    assert (value, slope) == (10.0, 0.0)  # k3 = 20 − ln 20 − 1 = 16.0
    value, slope = jax.value_and_grad(ESTIMATORS["k3_clamped"])(jnp.log(0.05), jnp.log(0.5))
    np.testing.assert_allclose([value, slope], [9 - np.log(10), -9.0], rtol=1e-5)
    far = jax.grad(ESTIMATORS["k3_clamped"])(jnp.float32(-1.0), jnp.float32(-30.0))
    assert far == 0.0


@pytest.mark.parametrize(("logp", "old", "ref"), [(-1.0, -1.4, -3.0), (-3.0, -2.5, -1.0)])
def test_corrected_gradients_of_k3(logp, old, ref):
    """Straight-through: log(π/π_ref). ρ · k3: ρ log(π/π_ref)."""
    with jax.enable_x64(True):
        k3, x, r = ESTIMATORS["k3"], jnp.float64(logp), jnp.float64(ref)
        value, slope = jax.value_and_grad(lambda z: straight_through(k3(z, r), z, r))(x)
        np.testing.assert_allclose([value, slope], [k3(x, r), logp - ref], rtol=1e-12)
        value, slope = jax.value_and_grad(lambda z: importance_weighted(k3(z, r), z - old))(x)
        rho = np.exp(logp - old)
        np.testing.assert_allclose([value, slope], [rho * k3(x, r), rho * (logp - ref)], rtol=1e-12)


def test_expected_corrected_gradient_is_that_of_the_kl_under_old_samples():
    """Σ π_old ∂(ρ · k3) = ∂KL(π, π_ref); without ρ it is not."""
    with jax.enable_x64(True):
        old, ref = (jax.nn.log_softmax(jnp.array(z)) for z in ([1.0, 0.0, -1], [0.0, 0.7, 0.2]))
        z = jnp.array([0.3, -1.0, 0.8])

        def kl(z):
            logp = jax.nn.log_softmax(z)
            return jnp.sum(jnp.exp(logp) * (logp - ref))

        def expected(z, corrected):
            logp = jax.nn.log_softmax(z)
            value = ESTIMATORS["k3"](logp, ref)
            value = importance_weighted(value, logp - old) if corrected else value
            return jnp.sum(jnp.exp(old) * value)

        wanted = jax.grad(kl)(z)
        np.testing.assert_allclose(jax.grad(expected)(z, True), wanted, rtol=1e-9)
        assert np.abs(jax.grad(expected)(z, False) - wanted).max() > 0.05
