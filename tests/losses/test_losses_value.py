"""Generalised advantage estimation and the value loss: laws, and numbers found elsewhere."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from experiments.pages.losses import (
    LENGTHS,
    MAX_TOKENS,
    RATIO,
    REFERENCE,
    REWARDS,
    batch_of,
    logps,
    padded,
)
from r1jax.advantages import critic_advantages, explained_variance, gae
from r1jax.errors import UserError
from r1jax.losses import GRPO, CriticConfig, value_loss
from r1jax.losses.value import value_of_score, value_regression

INSIDE = np.arange(MAX_TOKENS) < LENGTHS[:, None]
VALUES = padded([[0.5, 0.6], [0.2, 0.1, 0.3, 0.0], [0.4, 0.4, 0.1], [0.9], [0.3, 0.7, 0.8],
                 [0.1, 0.2, 0.3, 0.4]])  # fmt: skip
# Of the batch of docs/losses.md with KL 0.1 · k1 per token of π_old, and one other π/π_ref:
# computed in float64 apart from this code. λ -> advantages, returns, whitened advantages.
PUBLISHED = {
    1.0: (
        [[0.5405, 0.4223, 0, 0], [-0.2703, -0.0317, -0.2412, 0], [-0.386, -0.4, -0.1, 0],
         [0.0837, 0, 0, 0], [0.6818, 0.3, 0.2, 0], [0.1526, 0.0708, -0.3981, -0.4693]],
        [[1.0405, 1.0223, 0, 0], [-0.0703, 0.0683, 0.0588, 0], [0.014, 0, 0, 0],
         [0.9837, 0, 0, 0], [0.9818, 1, 1, 0], [0.2526, 0.2708, -0.0981, -0.0693]],
        [[1.5304, 1.1899, 0, 0], [-0.8047, -0.1175, -0.721, -0.0263], [-1.138, -1.1782, -0.3143, 0],
         [0.2149, 0, 0, 0], [1.9371, 0.8377, 0.5497, 0], [0.4131, 0.1776, -1.1727, -1.3778]],
    ),
    0.95: (
        [[0.5194, 0.4223, 0, 0], [-0.2573, -0.0196, -0.2412, 0], [-0.3613, -0.395, -0.1, 0],
         [0.0837, 0, 0, 0], [0.6573, 0.29, 0.2, 0], [0.1891, 0.113, -0.3746, -0.4693]],
        [[1.0194, 1.0223, 0, 0], [-0.0573, 0.0804, 0.0588, 0], [0.0387, 0.005, 0, 0],
         [0.9837, 0, 0, 0], [0.9573, 0.99, 1, 0], [0.2891, 0.313, -0.0746, -0.0693]],
        [[1.4881, 1.2015, 0, 0], [-0.8036, -0.1024, -0.7563, -0.0445], [-1.1105, -1.21, -0.3396, 0],
         [0.2026, 0, 0, 0], [1.8948, 0.8111, 0.5456, 0], [0.5135, 0.2889, -1.1499, -1.4293]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("lam", PUBLISHED)
def test_advantages_and_returns_are_the_published_numbers(lam):
    old, to_reference = logps()["old_logp"], [*REFERENCE]
    to_reference[2] = [1.0, 0.9, 1.0]
    ref = old + np.log(padded(RATIO)) - np.log(padded(to_reference))
    critic = CriticConfig(gamma=1.0, lam=lam)
    given = (critic, REWARDS, LENGTHS, VALUES, old, ref)
    kl = {"advantage_baseline": "critic", "beta": 0.1, "kl_estimator": "k1", "kl_as": "return"}
    advantages, returns = critic_advantages(GRPO(**kl), *given)
    whitened, same = critic_advantages(GRPO(advantage_whiten=True, **kl), *given)
    for found, wanted in zip((advantages, returns, whitened), PUBLISHED[lam], strict=True):
        np.testing.assert_allclose(found, wanted, atol=6e-5)
    np.testing.assert_array_equal(returns, same)  # what values learn is not whitened


def test_perfect_values_leave_no_advantage():
    """A completion that earns r at its end is worth r at every token, less what γ takes."""
    rewards = np.full(6, 0.7)
    to_go = np.maximum(LENGTHS[:, None] - 1 - np.arange(MAX_TOKENS), 0)
    for lam, gamma in [(1.0, 1.0), (0.95, 0.9), (0.0, 0.5)]:
        critic = CriticConfig(gamma=gamma, lam=lam)
        values = 0.7 * gamma**to_go
        advantages, returns = critic_advantages(GRPO(), critic, rewards, LENGTHS, values)
        np.testing.assert_allclose(advantages, 0.0, atol=1e-7)
        np.testing.assert_allclose(returns, np.where(INSIDE, values, 0), atol=1e-6)


def test_without_discount_it_is_the_reward_to_go_less_the_value():
    rng = np.random.default_rng(0)
    rewards, values = rng.normal(size=(2, 6, MAX_TOKENS))
    rewards = np.where(INSIDE, rewards, 0.0)
    to_go = np.cumsum(rewards[:, ::-1], axis=1)[:, ::-1]
    found = gae(rewards, values, INSIDE)
    np.testing.assert_allclose(found, np.where(INSIDE, to_go - values, 0.0), atol=1e-12)
    # A truncated answer is worth nothing after its last token: no value stands in for the rest.
    np.testing.assert_allclose(found[0, 1], rewards[0, 1] - values[0, 1])


def test_tokens_that_nobody_wrote_are_passed_by():
    """As if they were not there: what is left is the estimate of the rest alone."""
    rng = np.random.default_rng(1)
    rewards, values = rng.normal(size=(2, 3, 7))
    mask = np.array([1, 1, 0, 0, 1, 0, 1], bool)
    whole = gae(rewards, values, np.tile(mask, (3, 1)), 0.9, 0.8)
    rest = gae(rewards[:, mask], values[:, mask], np.ones((3, 4), bool), 0.9, 0.8)
    np.testing.assert_allclose(whole[:, mask], rest, rtol=1e-12)
    assert not whole[:, ~mask].any()


def test_what_nothing_judged_teaches_neither_policy_nor_critic():
    rewards = np.where(np.arange(6) == 2, np.nan, REWARDS)
    earned = np.full((6, MAX_TOKENS), np.nan)
    earned[0, 0] = 0.25
    known = (CriticConfig(), rewards, LENGTHS, VALUES)
    advantages, returns = critic_advantages(GRPO(), *known, token_rewards=earned)
    assert not advantages[2].any()
    np.testing.assert_allclose(returns[2, :3], VALUES[2, :3], rtol=1e-6)
    np.testing.assert_allclose(returns[0, :2], [1.25, 1.0])


def test_explained_variance_by_hand():
    returns = np.where(INSIDE, np.arange(MAX_TOKENS), 0.0)
    assert explained_variance(returns + 3.0, returns, LENGTHS) == pytest.approx(1.0)
    assert explained_variance(np.zeros_like(returns), returns, LENGTHS) == pytest.approx(0.0)
    assert explained_variance(-returns, returns, LENGTHS) == pytest.approx(-3.0)
    assert np.isnan(explained_variance(returns, np.ones_like(returns), LENGTHS))


@pytest.mark.parametrize("clip", [None, 0.2])
def test_value_loss_by_hand_and_its_gradient_by_finite_differences(clip):
    rng = np.random.default_rng(5)
    values, returns = VALUES + rng.normal(0, 0.4, VALUES.shape), rng.normal(size=VALUES.shape)
    batch = batch_of(GRPO(), REWARDS)
    batch = batch.replace(columns={"values": VALUES, "returns": np.where(INSIDE, returns, np.nan)})

    def by_hand(new):
        held = new if clip is None else np.clip(new, VALUES - clip, VALUES + clip)
        worst = np.maximum((new - returns) ** 2, (held - returns) ** 2)
        return 0.5 * worst[INSIDE].sum() / INSIDE.sum()

    with jax.enable_x64(True):
        loss = lambda v: value_loss(v, batch, clip, "token_mean")[0]  # noqa: E731
        value, slope = jax.value_and_grad(loss)(values)
        clipped = value_loss(values, batch, clip, "token_mean")[1]["critic/clip_frac"].sum
    assert value == pytest.approx(by_hand(values), rel=1e-12)
    assert (float(clipped) > 0) == (clip is not None)
    for at in zip(*np.nonzero(INSIDE), strict=True):
        move = np.zeros_like(values)
        move[at] = 1e-6
        wanted = (by_hand(values + move) - by_hand(values - move)) / 2e-6
        assert slope[at] == pytest.approx(wanted, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"advantage_std": "unbiased"},
            "--loss.advantage-std unbiased: must be none with advantage_baseline critic",
        ),
        ({"kl_as": "reward"}, "--loss.kl-as reward: must be loss or return with a critic"),
        ({"advantage_of": "each"}, "--loss.advantage-of each: must be total with advantage_base"),
    ],
)
def test_what_a_critic_has_no_use_for_is_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        GRPO(advantage_baseline="critic", **wrong)
    with pytest.raises(UserError, match="--critic.lam 1.5: must be"):
        CriticConfig(lam=1.5)


def test_the_regression_of_a_searchs_values_by_hand():
    """Only marked tokens count, whatever stands elsewhere; a value is 2σ(s) - 1."""
    scores, q = np.array([[0.3, -2.0, 9.0]]), np.array([[1.0, -0.5, np.nan]])
    batch = batch_of(GRPO(), REWARDS)
    batch = batch.replace(mask=np.array([[1.0, 1.0, 0.0]]), columns={"q": q}, n_tokens=2.0)
    stated = 2 / (1 + np.exp(-scores)) - 1
    np.testing.assert_allclose(value_of_score(scores), stated, rtol=1e-6)
    share, metrics = value_regression(scores, batch)
    wanted = np.mean((stated - q)[0, :2] ** 2)
    assert share == pytest.approx(wanted, rel=1e-6)
    loss = metrics["value/loss"]
    assert loss.sum / loss.count == pytest.approx(wanted, rel=1e-6)
