"""Reductions, clipping, importance weights: numbers by hand, gradients by analysis.

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
    REDUCTIONS,
    cispo,
    clipped_tokens,
    importance_weights,
    on_policy_enough,
    segment_length,
    segment_mean,
    segment_sum,
    surrogate,
)
from r1jax.types import Batch

RATIOS = np.array([[1.5, 1.0, 0.5], [1.1, 0.5, 7.0]])
ADVANTAGES = np.array([[1.0, 1.0, 1.0], [-2.0, -2.0, 9.0]])
LOSSES = np.array([[-1.28, -1.0, -0.5], [2.2, 1.6, np.nan]])


def example_batch(**overrides):
    mask = np.array([[1, 1, 1], [1, 1, 0]], np.float32)
    zeros = np.zeros(overrides.get("mask", mask).shape, np.float32)
    fields = {
        "tokens": zeros.astype(np.int32),
        "positions": zeros.astype(np.int32),
        "segment_ids": mask.astype(np.int32),
        "mask": mask,
        "columns": {},
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
        ("sequence_sum", (-2.78 + 3.8) / 2),
        ("token_sum", (-2.78 + 3.8) / 4),
    ],
)
def test_reductions_by_hand(reduction, share):
    # The NaN under the padding must not be seen.
    got = REDUCTIONS[reduction](LOSSES, example_batch())
    np.testing.assert_allclose(got, share, rtol=1e-6)


@pytest.mark.parametrize("reduction", [name for name in REDUCTIONS if name != "token_sum"])
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


def test_cispo_by_hand():
    """Weights 1.28, 0.9, 0.8 on −A log p; ∂/∂log p = −weight · A."""
    log_ratio, logp = jnp.log(jnp.array([1.5, 0.9, 0.5])), jnp.array([-1.0, -2.0, -3.0])
    advantages = jnp.array([1.0, -2.0, 1.0])
    value, slope = jax.value_and_grad(
        lambda x: cispo(log_ratio + x - logp, x, advantages, 0.8, 1.28).sum()
    )(logp)
    # The terms are up to 3.6 in float32 and nearly cancel, so the bound is absolute.
    np.testing.assert_allclose(value, 1.28 - 2 * 0.9 * 2 + 0.8 * 3, atol=1e-6)
    np.testing.assert_allclose(slope, [-1.28, 1.8, -0.8], rtol=1e-6)


PACKED = {  # a row of two segments with an unscored token each, and a row of one
    "mask": np.array([[0, 1, 1, 0, 1, 0], [1, 1, 1, 1, 0, 0]], np.float32),
    "segment_ids": np.array([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 0, 0]], np.int32),
    "lengths": np.array([[2, 1, 0], [4, 0, 0]], np.float32),
}


def test_segment_sums_by_hand():
    batch = example_batch(**PACKED)
    values = np.array([[9, 1, 2, 9, 5, np.nan], [1, 2, 3, 4, 9, 9]], np.float32)
    got = segment_sum(values, batch)
    np.testing.assert_array_equal(got, [[3, 3, 3, 5, 5, 0], [10, 10, 10, 10, 0, 0]])
    got = segment_mean(values, batch)
    np.testing.assert_array_equal(got, [[1.5, 1.5, 1.5, 5, 5, 0], [2.5, 2.5, 2.5, 2.5, 0, 0]])
    got = segment_length(batch)
    np.testing.assert_array_equal(got, [[2, 2, 2, 1, 1, 0], [4, 4, 4, 4, 0, 0]])


RATIO_TO_SAMPLER = np.array([[1, 2.5, 1.5, 1, 0.4, 1], [1.5, 1, 0.5, 1.2, 1, 1]])
SCORED = PACKED["mask"] > 0


@pytest.mark.parametrize(
    ("mode", "cap", "floor", "weights"),
    [  # products over the sequences: 3.75, 0.4 and 0.9
        ("token_truncate", 2.0, 0.0, [2.0, 1.5, 0.4, 1.5, 1, 0.5, 1.2]),
        ("token_truncate", 9.0, 0.8, [2.5, 1.5, 0.8, 1.5, 1, 0.8, 1.2]),
        ("token_mask", 2.0, 0.45, [0.0, 1.5, 0.0, 1.5, 1, 0.5, 1.2]),
        ("sequence_truncate", 3.0, 0.0, [3, 3, 0.4, 0.9, 0.9, 0.9, 0.9]),
        ("sequence_truncate", 3.0, 0.5, [3, 3, 0.5, 0.9, 0.9, 0.9, 0.9]),
        ("sequence_mask", 3.0, 0.0, [0, 0, 0.4, 0.9, 0.9, 0.9, 0.9]),
        ("sequence_mask", 4.0, 0.5, [3.75, 3.75, 0, 0.9, 0.9, 0.9, 0.9]),
    ],
)
def test_importance_weights_by_hand(mode, cap, floor, weights):
    batch = example_batch(**PACKED)
    old = jnp.full((2, 6), -3.0)
    arguments = (old - np.log(RATIO_TO_SAMPLER), batch, mode, cap, floor)
    got = importance_weights(old, *arguments)
    np.testing.assert_allclose(got[SCORED], weights, rtol=1e-5)
    slope = jax.grad(lambda x: importance_weights(x, *arguments).sum())(old)
    np.testing.assert_array_equal(slope, 0.0)


def test_off_policy_mask_by_hand():
    """Mean log(sampler/π): 0.5, 0.2 and −0.3; only a negative advantage can be left out."""
    batch = example_batch(**PACKED)
    drift = np.array([[9, 0.1, 0.9, 9, 0.2, 9], [-0.3, -0.3, -0.5, -0.1, 9, 9]])
    logp = jnp.full((2, 6), -2.0)
    for advantage, kept in [(-1.0, [0, 0, 1, 1, 1, 1, 1]), (1.0, [1] * 7), (0.0, [1] * 7)]:
        got = on_policy_enough(logp, logp + drift, np.full((2, 6), advantage), batch, 0.2 + 1e-6)
        np.testing.assert_array_equal(got[SCORED], kept)
