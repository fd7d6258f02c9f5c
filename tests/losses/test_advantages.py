"""Group advantages against hand-computed tables, and what they must not depend on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.advantages import group_advantages, zero_std_frac
from r1jax.errors import UserError


def binary(size, correct):
    return np.array([1.0] * correct + [0.0] * (size - correct)), np.zeros(size, int)


@pytest.mark.parametrize(
    ("size", "correct", "std", "right", "wrong"),
    [
        (16, 1, "population", 3.873, -0.258),
        (16, 2, "population", 2.646, -0.378),
        (16, 8, "population", 1.000, -1.000),
        (16, 15, "population", 0.258, -3.873),
        (8, 1, "population", 2.646, -0.378),
        (16, 1, "unbiased", 3.750, -0.250),
        (16, 2, "unbiased", 2.562, -0.366),
        (16, 8, "unbiased", 0.968, -0.968),
        (16, 15, "unbiased", 0.250, -3.750),
        (8, 1, "unbiased", 2.475, -0.354),
        (8, 1, "none", 0.875, -0.125),
        (4, 3, "none", 0.250, -0.750),
    ],
)
def test_worked_values_of_a_binary_reward(size, correct, std, right, wrong):
    got = group_advantages(*binary(size, correct), std)
    np.testing.assert_allclose(got, [right] * correct + [wrong] * (size - correct), atol=6e-4)
    assert got.dtype == np.float32


def test_epsilon_is_added_to_the_std():
    # deviations ±1, std 1, so 1 / (1 + 3).
    got = group_advantages(np.array([2.0, 0.0]), np.array([5, 5]), "population", epsilon=3.0)
    np.testing.assert_allclose(got, [0.25, -0.25])


def test_groups_may_be_interleaved_and_numbered_anyhow():
    rewards, ids = np.array([1.0, 10.0, 3.0, 30.0, 2.0]), np.array([7, -2, 7, -2, 7])
    np.testing.assert_allclose(group_advantages(rewards, ids), [-1, -10, 1, 10, 0])


@pytest.mark.parametrize("std", ["none", "population", "unbiased"])
@pytest.mark.parametrize("epsilon", [0.0, 1e-6])
def test_equal_rewards_give_exactly_nothing(std, epsilon):
    # The mean of seven times 1.1 is not 1.1 in floating point.
    rewards, ids = np.array([1.1] * 7 + [0.3]), np.array([0] * 7 + [1])
    assert not group_advantages(rewards, ids, std, epsilon).any()


@pytest.mark.parametrize("std", ["none", "population", "unbiased"])
def test_unjudged_completions_get_nothing_and_leave_the_group(std):
    rewards = np.array([1.0, np.nan, 0.0, 0.0, np.nan, np.nan, 4.0])
    ids = np.array([0, 0, 0, 0, 1, 1, 2])
    got = group_advantages(rewards, ids, std)
    kept = np.array([0, 2, 3])
    np.testing.assert_array_equal(got[kept], group_advantages(rewards[kept], ids[kept], std))
    assert got[0] > 0
    assert not got[[1, 4, 5, 6]].any()


def test_zero_std_frac_counts_groups():
    rewards = np.array([1.0, 1.0, 0.0, 1.0, np.nan, 2.0, np.nan, 0.0])
    ids = np.array([0, 0, 1, 1, 2, 2, 3, 1])
    assert zero_std_frac(rewards, ids) == 0.75
    assert zero_std_frac(np.array([0.0, 1.0]), np.array([0, 0])) == 0.0


def test_no_completions():
    nothing = np.array([])
    assert group_advantages(nothing, nothing.astype(int), "unbiased").shape == (0,)
    assert zero_std_frac(nothing, nothing.astype(int)) == 0.0


reward_lists = st.lists(
    st.tuples(
        st.integers(0, 4), st.floats(-3, 3, allow_subnormal=False).map(lambda x: round(x, 2))
    ),
    min_size=1,
    max_size=30,
)


@settings(max_examples=60, deadline=None)
@given(reward_lists, st.sampled_from(["none", "population", "unbiased"]), st.randoms())
def test_group_sums_vanish_and_order_does_not_matter(members, std, random):
    ids, rewards = (np.array(column) for column in zip(*members, strict=True))
    got = group_advantages(rewards, ids, std)
    for group in set(ids):
        assert abs(got[ids == group].sum()) < 1e-4
        assert (
            (rewards[ids == group] > rewards[ids == group].mean() + 1e-9) == (got[ids == group] > 0)
        ).all()
    order = np.array(random.sample(range(len(ids)), len(ids)))
    again = group_advantages(rewards[order], ids[order], std)
    np.testing.assert_allclose(again, got[order], rtol=1e-5, atol=1e-6)
    shifted = group_advantages(rewards + 1.5, ids, std)
    np.testing.assert_allclose(shifted, got, rtol=1e-4, atol=1e-5)


def test_leave_one_out_is_the_reward_less_the_mean_of_the_others():
    rewards, ids = np.array([1.0, 0.0, 2.0, 5.0, 1.0]), np.array([0, 0, 0, 1, 2])
    got = group_advantages(rewards, ids, baseline="others")
    np.testing.assert_allclose(got, [0.0, -1.5, 1.5, 0.0, 0.0], atol=1e-6)
    mean = group_advantages(rewards, ids)
    np.testing.assert_allclose(got[:3], mean[:3] * 3 / 2, rtol=1e-6)


def test_no_baseline_keeps_the_reward_of_equals_too():
    rewards = np.array([1.0, 1.0, np.nan, -0.5])
    got = group_advantages(rewards, np.array([0, 0, 1, 1]), baseline="none")
    np.testing.assert_array_equal(got, [1.0, 1.0, 0.0, -0.5])


def test_batch_std_is_one_for_all_groups():
    """Deviations ±½ and ±3 over the unbiased std of 1 0 6 0, which is 2.8723."""
    rewards, ids = np.array([1.0, 0.0, 6.0, 0.0, np.nan]), np.array([0, 0, 1, 1, 1])
    got = group_advantages(rewards, ids, "batch", epsilon=0.0)
    np.testing.assert_allclose(got, np.array([0.5, -0.5, 3, -3, 0]) / 2.872281, rtol=1e-6)
    assert not group_advantages(np.array([2.0]), np.array([0]), "batch").any()


def test_maxrl_divides_by_the_mean():
    rewards, ids = np.array([1.0, 0, 0, 0, 1, 1, 0, 0]), np.array([0, 0, 0, 0, 1, 1, 2, 2])
    np.testing.assert_allclose(
        group_advantages(rewards, ids, "mean"), [3, -1, -1, -1, 0, 0, 0, 0], rtol=1e-6
    )
    with pytest.raises(UserError, match="--loss.advantage_std mean: .* negative, got -0.5"):
        group_advantages(np.array([1.0, -0.5]), np.array([0, 0]), "mean")
