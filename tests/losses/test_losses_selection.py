"""Which completions are learnt from, and how the reference follows the policy."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.advantages import first_groups, mixed_groups, without_truncated
from r1jax.losses import follow

NAN = np.nan


def test_mixed_groups_by_hand():
    accuracy = np.array([1, 1, 0, 1, 0, 0, NAN, 0, NAN, 1, 0, NAN, NAN])
    groups = np.array([5, 5, 2, 2, 9, 9, 9, 7, 7, 8, 8, 1, 1])
    got = mixed_groups(accuracy, groups)
    np.testing.assert_array_equal(got, np.isin(groups, [2, 8]))
    assert mixed_groups(np.array([]), np.array([], int)).shape == (0,)


def test_format_points_do_not_make_a_group_mixed():
    """Raw accuracy decides: both are wrong, whatever one of them earned for its format."""
    accuracy, reward = np.array([0.0, 0.0]), np.array([0.1, 0.0])
    groups = np.array([0, 0])
    assert not mixed_groups(accuracy, groups).any()
    assert mixed_groups(reward, groups).all()


def test_first_groups_come_in_the_order_of_sampling():
    groups = np.array([30, 10, 30, 20, 10, 20, 40])
    keep = np.array([1, 1, 1, 0, 1, 0, 1], bool)
    assert first_groups(keep, groups, 1).tolist() == [0, 2]
    assert first_groups(keep, groups, 2).tolist() == [0, 1, 2, 4]
    assert first_groups(keep, groups, 9).tolist() == [0, 1, 2, 4, 6]
    assert first_groups(~keep & keep, groups, 2).tolist() == []


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 5), st.sampled_from([0.0, 1.0])), min_size=1, max_size=24),
    st.integers(1, 6),
)
def test_refilling_in_rounds_chooses_what_one_round_would(members, wanted):
    """Judging a first half, then all: what was full stays, what is added comes after."""
    groups, accuracy = (np.array(column) for column in zip(*members, strict=True))
    order = np.argsort(groups, kind="stable")
    groups, accuracy = groups[order], accuracy[order]
    keep = mixed_groups(accuracy, groups)
    whole = first_groups(keep, groups, wanted)
    for group in set(groups[whole]):
        assert len(set(accuracy[groups == group])) == 2
        assert (groups[whole] == group).sum() == (groups == group).sum()
    cut = np.searchsorted(groups, groups[len(groups) // 2])  # rounds end between groups
    part = first_groups(keep[:cut], groups[:cut], wanted)
    assert whole[: len(part)].tolist() == part.tolist()


def test_truncated_completions_lose_their_tokens():
    got = without_truncated(np.array([3, 5, 2]), np.array([False, True, False]))
    assert got.tolist() == [3, 0, 2] and got.dtype == np.int64


TREE = {"a": jnp.array([1.0, 2.0]), "stacks": ({"w": jnp.array([[4.0]], jnp.bfloat16)},)}
OTHER = {"a": jnp.array([3.0, -2.0]), "stacks": ({"w": jnp.array([[8.0]], jnp.float32)},)}


@pytest.mark.parametrize(
    ("rate", "a", "w"), [(1.0, [3.0, -2.0], 8.0), (0.5, [2.0, 0.0], 6.0), (0.25, [1.5, 1.0], 5.0)]
)
def test_reference_follows_the_policy(rate, a, w):
    got = jax.jit(follow, static_argnums=2)(TREE, OTHER, rate)
    np.testing.assert_array_equal(got["a"], a)
    np.testing.assert_array_equal(got["stacks"][0]["w"].astype(np.float32), [[w]])
    assert got["stacks"][0]["w"].dtype == jnp.bfloat16


def test_hard_reset_is_a_copy_that_outlives_the_policy():
    policy = {"a": jnp.array([3.0, 4.0])}
    got = follow({"a": jnp.full(2, jnp.nan)}, policy)
    policy["a"].delete()
    np.testing.assert_array_equal(got["a"], [3.0, 4.0])
