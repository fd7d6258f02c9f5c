"""Advantages as settings ask for them: whitening, KL in the reward, returns; numbers by hand."""

from __future__ import annotations

from dataclasses import replace

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.advantages import group_advantages, rollout_advantages, token_returns, whiten
from r1jax.losses import ESTIMATORS, GRPO, PRESETS

# Two groups; k1 of the old policy per token: 1 2 | 3 | 0.5 0.5 0.5 | −1
LENGTHS = np.array([2, 1, 3, 1])
GROUPS = np.array([0, 0, 1, 1])
REWARDS = np.array([1.0, 0.0, 1.0, 1.0])
K1 = np.array([[1, 2, 9], [3, 9, 9], [0.5, 0.5, 0.5], [-1, 9, 9]])
OLD = np.full((4, 3), -4.0)
LOGPS = {"old_logp": OLD, "ref_logp": OLD - K1}


def test_defaults_are_group_advantages():
    for config in (GRPO(), PRESETS["r1-zero"], PRESETS["trl"], PRESETS["maxrl"]):
        got = rollout_advantages(config, REWARDS, GROUPS, LENGTHS)
        wanted = group_advantages(REWARDS, GROUPS, config.advantage_std, config.advantage_epsilon)
        np.testing.assert_array_equal(got, wanted)
        assert got.dtype == np.float32


def test_kl_in_the_reward_comes_before_the_baseline():
    """Σ k1: 3 3 1.5 −1; r − 0.1 Σ: 0.7 −0.3 | 0.85 1.1; less the means 0.2 and 0.975."""
    config = GRPO(beta=0.1, kl_estimator="k1", kl_as="reward")
    got = rollout_advantages(config, REWARDS, GROUPS, LENGTHS, **LOGPS)
    np.testing.assert_allclose(got, [0.5, -0.5, -0.125, 0.125], atol=1e-6)
    rloo = replace(config, advantage_baseline="others")
    got = rollout_advantages(rloo, REWARDS, GROUPS, LENGTHS, **LOGPS)
    np.testing.assert_allclose(got, [1.0, -1.0, -0.25, 0.25], atol=1e-6)


def test_kl_in_the_return_is_paid_by_what_comes_before():
    """Outcomes ½ −½ 0 0; minus 0.1 times the k1 still to come: 3 2 | 3 | 1.5 1 0.5 | −1."""
    config = GRPO(beta=0.1, kl_estimator="k1", kl_as="return")
    got = rollout_advantages(config, REWARDS, GROUPS, LENGTHS, **LOGPS)
    wanted = [[0.2, 0.3, 0], [-0.8, 0, 0], [-0.15, -0.1, -0.05], [0.1, 0, 0]]
    np.testing.assert_allclose(got, wanted, atol=1e-6)


def test_reinforce_plus_plus_whitens_the_returns_of_all_tokens():
    config = replace(PRESETS["reinforce++"], beta=0.1)
    got = rollout_advantages(config, REWARDS, GROUPS, LENGTHS, **LOGPS)
    flat = np.array([0.7, 0.8, -0.3, 0.85, 0.9, 0.95, 1.1])
    inside = np.arange(3) < LENGTHS[:, None]
    wanted = (flat - flat.mean()) / np.sqrt(flat.var(ddof=1) + 1e-8)
    np.testing.assert_allclose(got[inside], wanted, rtol=1e-5)
    assert not got[~inside].any()


def test_whitening_by_hand():
    """Values 3 once and 0 three times: mean ¾, Bessel's variance 2.25, std 1.5."""
    got = whiten(np.array([3.0, 0.0]), np.array([1, 3]))
    np.testing.assert_allclose(got, [1.5, -0.5], rtol=1e-6)
    per_token = np.array([[3.0, 99, 99], [0.0, 0, 0]])
    got = whiten(per_token, np.array([1, 3]))
    np.testing.assert_allclose(got, [[1.5, 0, 0], [-0.5, -0.5, -0.5]], rtol=1e-6)
    assert not whiten(np.array([5.0]), np.array([1])).any()  # where verl raises
    assert not whiten(np.array([5.0, 5.0]), np.array([2, 2])).any()


def test_token_returns_by_hand():
    got = token_returns(np.array([10.0, 1.0]), np.array([[1, 2, 4], [8, np.nan, 8]]), [3, 1])
    np.testing.assert_array_equal(got, [[17, 16, 14], [9, 0, 0]])


@pytest.mark.parametrize("kl_as", ["loss", "reward", "return"])
@pytest.mark.parametrize("whitened", [False, True])
def test_unjudged_completions_get_nothing_and_change_nothing(kl_as, whitened):
    config = GRPO(beta=0.1, kl_estimator="k1", kl_as=kl_as, advantage_whiten=whitened)
    rewards = np.array([1.0, np.nan, 0.0, 1.0, 0.0])
    groups, lengths = np.array([0, 0, 0, 1, 1]), np.array([2, 3, 1, 3, 1])
    logps = {k: np.vstack([v[:1], v]) for k, v in LOGPS.items()}
    got = rollout_advantages(config, rewards, groups, lengths, **logps)
    assert not got[1].any() and got[0].any()
    kept = np.array([0, 2, 3, 4])
    alone = rollout_advantages(
        config, rewards[kept], groups[kept], lengths[kept], **{k: v[kept] for k, v in logps.items()}
    )
    np.testing.assert_allclose(got[kept], alone, rtol=1e-6)


def test_kl_in_the_reward_without_its_logps_is_a_programming_error():
    with pytest.raises(ValueError, match="kl_as reward needs old_logp and ref_logp"):
        rollout_advantages(GRPO(beta=0.1, kl_as="reward"), REWARDS, GROUPS, LENGTHS)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 6)), min_size=2, max_size=12))
def test_whitened_tokens_have_mean_zero_and_variance_one(members):
    values, lengths = (np.array(column) for column in zip(*members, strict=True))
    flat = np.repeat(whiten(values, lengths), lengths)
    if len(flat) < 2 or np.repeat(values, lengths).std() < 1e-2:
        return
    assert abs(flat.mean()) < 1e-6
    assert abs(flat.var(ddof=1) - 1) < 1e-3


# Of token rewards each is compared with those of its whole group; NaN: a token has none of its own.
STEPS = np.array([[1.0, 0.0, 9], [2.0, 9, 9], [np.nan, 1.0, np.nan], [np.nan, 9, 9]])


def test_token_rewards_are_paid_to_the_tokens_before_them():
    """Group 0: 1 0 | 2 less the mean 1: 0 −1 | 1, summed from the end: −1 −1 | 1. Group 1 has one
    reward: 0. Beside them the outcomes ½ −½ | 0 0."""
    got = rollout_advantages(GRPO(), REWARDS, GROUPS, LENGTHS, token_rewards=STEPS)
    np.testing.assert_allclose(got, [[-0.5, -0.5, 0], [0.5, 0, 0], [0, 0, 0], [0, 0, 0]], atol=1e-6)
    assert got.dtype == np.float32
    # With no baseline they are the rewards to come.
    plain = GRPO(advantage_baseline="none")
    got = rollout_advantages(plain, 0 * REWARDS, GROUPS, LENGTHS, token_rewards=STEPS)
    np.testing.assert_allclose(got, [[1, 0, 0], [2, 0, 0], [1, 1, 0], [0, 0, 0]], atol=1e-6)


def test_token_rewards_are_divided_by_the_deviation_of_their_group():
    """DeepSeekMath, 4.1.3: std over the three rewards of group 0 is √⅔, outcomes ½ −½ by ½."""
    config = GRPO(advantage_std="population", advantage_epsilon=0.0)
    got = rollout_advantages(config, REWARDS, GROUPS, LENGTHS, token_rewards=STEPS)
    z = np.sqrt(3 / 2)
    np.testing.assert_allclose(got[:2], [[1 - z, 1 - z, 0], [-1 + z, 0, 0]], atol=1e-6)


def test_token_rewards_and_the_kl_in_the_return_add_up_and_wide_arrays_are_cut():
    config = GRPO(beta=0.1, kl_estimator="k1", kl_as="return")
    kl = rollout_advantages(config, REWARDS, GROUPS, LENGTHS, **LOGPS)
    alone = rollout_advantages(GRPO(), 0 * REWARDS, GROUPS, LENGTHS, token_rewards=STEPS)
    wide = np.pad(STEPS, ((0, 0), (0, 4)), constant_values=7.0)
    both = rollout_advantages(config, REWARDS, GROUPS, LENGTHS, **LOGPS, token_rewards=wide)
    np.testing.assert_allclose(both, kl + alone, atol=1e-6)


def test_a_completion_that_only_its_tokens_judge_is_learnt_from():
    """No outcome for completions 0 and 2: 0 keeps what its tokens earn, 3 has nothing at all."""
    rewards = np.array([np.nan, 1.0, 1.0, np.nan])
    config = GRPO(advantage_whiten=True)
    got = rollout_advantages(config, rewards, GROUPS, LENGTHS, token_rewards=STEPS)
    flat = np.array([-1.0, -1.0, 1.0, 0, 0, 0])  # completion 3 has no part in mean and deviation
    wanted = (flat - flat.mean()) / np.sqrt(flat.var(ddof=1) + 1e-8)
    inside = np.arange(3) < LENGTHS[:, None]
    np.testing.assert_allclose(got[inside], [*wanted, 0], rtol=1e-5, atol=1e-7)


def test_the_kl_on_the_host_is_the_losss():
    rng = np.random.default_rng(2)
    old, ref = rng.normal(-3, 2, (2, 4, 3))
    for name, estimate in ESTIMATORS.items():
        host = estimate(old, ref)
        assert isinstance(host, np.ndarray) and host.dtype == np.float64
        np.testing.assert_allclose(
            host, estimate(jnp.asarray(old), jnp.asarray(ref)), rtol=1e-4, atol=1e-5, err_msg=name
        )
