"""PRIME: rewards implicit in log-probabilities; laws, and numbers found elsewhere."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from experiments.pages.losses import (
    GROUPS,
    LENGTHS,
    MAX_TOKENS,
    REFERENCE,
    REWARDS,
    batch_of,
    padded,
)
from r1jax.advantages import pairs_ordered, process_gains, rollout_advantages, token_returns
from r1jax.errors import UserError
from r1jax.losses import GRPO, PrimeConfig, implicit_loss
from r1jax.types import Stats

INSIDE = np.arange(MAX_TOKENS) < LENGTHS[:, None]
RATIOS = np.log(padded([*REFERENCE[:2], [1.0, 0.9, 1.0], *REFERENCE[3:]]))
RLOO = GRPO(advantage_baseline="others", advantage_whiten=True)
ALL = np.ones(6, bool)
# Of the batch of docs/losses.md with one other π/π_ref, taken as φ/π_ref: computed in float64 apart
# from this code. σ(β Σ q), the sums to come of what tokens gain, advantages.
TOLD = [0.5, 0.5173, 0.4987, 0.5, 0.5006, 0.4535]
GAINED = [[-0.0796, -0.1254, 0, 0], [0.3723, 0.1464, 0.1862, 0.4917],
          [-0.1598, -0.12, -0.0398, 0], [0.1171, 0, 0, 0], [0.37, 0.0974, 0.1171, 0],
          [-0.9617, -1.1487, -0.1171, 0.1171]]  # fmt: skip
WHITENED = [[1.2382, 1.1898, 0, 0], [0.1287, -0.1105, -0.0684, 0.2551],
            [-0.4347, -0.3925, -0.3076, 0], [0.9172, 0, 0, 0], [1.1849, 0.8963, 0.9172, 0],
            [-1.813, -2.0109, -0.9188, -0.6709]]  # fmt: skip


def gains(ratios=RATIOS, judged=ALL, **changes):
    return process_gains(PrimeConfig(**{"weight": 1.0} | changes), ratios, GROUPS, LENGTHS, judged)


def advantages(gained, rewards=REWARDS):
    return rollout_advantages(RLOO, rewards, GROUPS, LENGTHS, gained=gained)


def to_come(gained):
    return token_returns(np.zeros(6), gained, LENGTHS)


def with_outcomes(batch, **columns):
    right = np.broadcast_to(REWARDS[:, None], INSIDE.shape).astype(float)
    return batch.replace(columns={"outcome": np.where(INSIDE, right, np.nan)} | columns)


def test_gains_and_advantages_are_the_published_numbers():
    np.testing.assert_allclose(to_come(gains()), GAINED, atol=6e-5)
    np.testing.assert_allclose(advantages(gains()), WHITENED, atol=6e-5)


def test_the_loss_is_the_published_number_and_its_gradient_beta_times_the_error():
    batch = batch_of(GRPO(), REWARDS)
    ref = batch.columns["ref_logp"]
    batch, logp = with_outcomes(batch, ref_logp=ref), np.where(INSIDE, ref + RATIOS, np.nan)
    with jax.enable_x64(True):

        def loss(logp):
            return implicit_loss(0.05)(Stats(logp, logp), batch)

        (value, metrics), slope = jax.value_and_grad(loss, has_aux=True)(logp)
        assert value == pytest.approx(0.6836, abs=6e-5)
        wanted = 0.05 * (np.array(TOLD) - REWARDS) / 6
        np.testing.assert_allclose(slope, np.where(INSIDE, wanted[:, None], 0.0), atol=5e-7)
        for at in [(0, 1), (1, 3), (5, 0)]:
            move = np.zeros_like(logp)
            move[at] = 1e-6
            numeric = (loss(logp + move)[0] - loss(logp - move)[0]) / 2e-6
            assert slope[at] == pytest.approx(float(numeric), rel=1e-5)
        told = metrics["prime/accuracy"]
        # Three are told: σ = 0.5 is no word for right, but for the first, where rounding decides.
        assert float(told.sum) in (3, 4) and int(told.count) == 6


@pytest.mark.parametrize("changes", [{}, {"norm": "none"}, {"last_token": False}])
def test_a_tower_that_is_its_reference_leaves_rloo_with_whitening(changes):
    alone = rollout_advantages(RLOO, REWARDS, GROUPS, LENGTHS)
    found = advantages(gains(np.zeros_like(RATIOS), **changes))
    np.testing.assert_allclose(found, np.where(INSIDE, alone[:, None], 0.0), rtol=1e-6)


def test_the_two_published_readings_by_hand():
    """verl: r = β q, none at the last token, which counts among those of the mean; 5 and 5."""
    earned = np.where(INSIDE, 0.05 * RATIOS, 0.0)
    earned[np.arange(6), LENGTHS - 1] = 0.0
    largest = np.abs(np.cumsum(earned[:, ::-1], axis=1)).max()
    means = (earned / (largest + 1e-6)).sum(1) / LENGTHS
    wanted = np.zeros_like(earned)
    for i in range(6):
        others = [means[j] for j in range(6) if GROUPS[j] == GROUPS[i]]
        wanted[i] = 1.5 * earned[i] / (largest + 1e-6) - sum(others) / 2
    verl = gains(weight=5.0, times_beta=True, last_token=False)
    np.testing.assert_allclose(verl, 5 * np.where(INSIDE, wanted, 0.0), atol=1e-12)
    assert not np.allclose(verl / 5, gains())
    plain = gains(norm="none")
    np.testing.assert_allclose(gains(norm="none", times_beta=True), 0.05 * plain, rtol=1e-12)
    np.testing.assert_allclose(to_come(plain), 3.9120 * np.array(GAINED), atol=3e-4)


def test_what_no_rule_judged_is_no_part_of_its_group():
    judged = np.array([True, True, False, True, False, False])
    found = gains(judged=judged, norm="none")
    pair = 2 * RATIOS[0, :2] - RATIOS[0, :2].mean() - RATIOS[1].mean()
    np.testing.assert_allclose(found[0, :2], pair, rtol=1e-12)
    assert not found[2].any() and not found[3:].any()  # one alone has nothing to be better than
    assert not advantages(found, np.where(judged, REWARDS, np.nan))[[2, 4, 5]].any()


def test_pairs_in_order_by_hand():
    scores = np.array([1.0, 0.0, 2.0, 5.0, 5.0, 4.0])
    assert pairs_ordered(scores, REWARDS, GROUPS) == pytest.approx((0.5 + 1.0) / 2)
    assert pairs_ordered(np.zeros(6), REWARDS, GROUPS) == 0.5
    assert np.isnan(pairs_ordered(scores, np.ones(6), GROUPS))
    some = np.where(np.arange(6) == 2, np.nan, REWARDS)  # NaN: nobody's pair
    assert pairs_ordered(scores, some, GROUPS) == 1.0


def test_settings_out_of_range_are_refused():
    for wrong in ({"beta": 0.0}, {"weight": -1.0}, {"parts": 0}, {"clip": 0.0}):
        (name,) = wrong
        with pytest.raises(UserError, match=f"--prime.{name} "):
            PrimeConfig(**wrong)
