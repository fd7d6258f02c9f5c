"""The baseline of every token (OTB) against its formula in loops, and against what it weighs by."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.pages.losses import advantages
from r1jax.advantages import rollout_advantages
from r1jax.advantages.token_baseline import logit_energy
from r1jax.errors import UserError
from r1jax.losses import GRPO

OTB = GRPO(advantage_baseline="token")
LENGTHS = np.array([2, 5, 3, 1, 4, 4, 3])
GROUPS = np.array([0, 1, 0, 1, 0, 0, 1])
REWARDS = np.array([1.0, 0.0, 0.5, 1.0, 0.0, 0.0, np.nan])
OWN = np.arange(5) < LENGTHS[:, None]


def test_the_batch_of_the_page_gets_the_numbers_of_the_formula():
    """Written out in float64 apart from this code, with Σ π² = π² + (1 − π)²/2."""
    wanted = [
        [0.7619, 0.7348, 0, 0], [-0.2381, -0.2652, 0, 0], [-0.2381, -0.2652, 0, 0],
        [0.3012, 0, 0, 0], [0.3012, 0.6206, 0.5547, 0], [-0.6988, -0.3794, -0.4453, 0],
    ]  # fmt: skip
    np.testing.assert_allclose(advantages(OTB), wanted, atol=5.1e-5)


def made(seed=0):
    """(logits, token, temperature -> log p) of every token; NaN beyond the end of a completion."""
    rng = np.random.default_rng(seed)
    logits, tokens = rng.normal(0, 2, (*OWN.shape, 6)), rng.integers(0, 6, OWN.shape)

    def logp(temperature):
        z = logits / temperature
        z = z - np.log(np.exp(z).sum(axis=-1, keepdims=True))
        found = np.take_along_axis(z, tokens[..., None], axis=-1)[..., 0]
        return np.where(OWN, found, np.nan)

    return logits, tokens, logp


def test_a_weight_is_the_squared_norm_of_the_gradient_by_the_logits():
    """By finite differences of log p at a temperature; only two log-probabilities tell it."""
    logits, tokens, logp = made()
    temperature, step = 0.7, 1e-5
    norms = np.zeros(OWN.shape)
    for at in zip(*np.nonzero(OWN), strict=True):

        def of_token(move, at=at):
            z = logits[at] / temperature + move
            return z[tokens[at]] - np.log(np.exp(z).sum())

        moves = step * np.eye(logits.shape[-1])
        norms[at] = sum(((of_token(m) - of_token(-m)) / (2 * step)) ** 2 for m in moves)
    found = logit_energy(logp(temperature), logp(temperature / 2))
    np.testing.assert_allclose(found[OWN], norms[OWN], rtol=1e-6)
    assert logit_energy(np.float32(-1e-9), np.float32(1e-7)) == 0.0  # certain, but for rounding


def by_hand(returns, energy, judged):
    """Gₜ − Σ G W / Σ W, a group and a token at a time."""
    wanted = np.zeros(OWN.shape)
    for group in set(GROUPS):
        for t in range(OWN.shape[1]):
            at = [i for i in range(len(GROUPS)) if GROUPS[i] == group and OWN[i, t] and judged[i]]
            weights = {i: energy[i, : t + 1].sum() for i in at}
            total = sum(weights.values())
            for i in at:
                mean = sum(weights[j] * returns[j, t] for j in at) / total
                wanted[i, t] = returns[i, t] - mean
    return wanted


def test_returns_are_compared_token_by_token():
    """Of the outcome, of what tokens earn, and of the KL that they pay, all still to come."""
    _, _, logp = made()
    old, sharp = logp(1.0), logp(0.5)
    energy, judged = logit_energy(old, sharp), ~np.isnan(REWARDS)
    outcome = np.broadcast_to(REWARDS[:, None], OWN.shape)
    known = REWARDS, GROUPS, LENGTHS, old
    found = rollout_advantages(OTB, *known, sharp_logp=sharp)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, by_hand(outcome, energy, judged), atol=1e-6)

    rng = np.random.default_rng(1)
    earned, ref = np.where(OWN, rng.normal(size=(2, *OWN.shape)), np.nan)
    earned[-1] = np.nan  # nothing judges the last one
    config = GRPO(advantage_baseline="token", beta=0.1, kl_estimator="k1", kl_as="return")
    paid = np.where(OWN, earned - 0.1 * (old - ref), 0.0)
    returns = outcome + np.cumsum(paid[:, ::-1], axis=1)[:, ::-1]
    found = rollout_advantages(config, *known, ref, token_rewards=earned, sharp_logp=sharp)
    np.testing.assert_allclose(found, by_hand(returns, energy, judged), atol=1e-6)
    # A part of the group alone would have another baseline; all of another group changes nothing.
    kept = GROUPS == 0
    alone = rollout_advantages(
        OTB, REWARDS[kept], GROUPS[kept], LENGTHS[kept], old[kept], sharp_logp=sharp[kept]
    )
    whole = rollout_advantages(OTB, *known, sharp_logp=sharp)[kept]
    np.testing.assert_allclose(alone, whole[:, : alone.shape[1]], atol=1e-7)


def test_equal_returns_and_a_token_that_nobody_else_has_teach_nothing():
    _, _, logp = made()
    old, sharp = logp(1.0), logp(0.5)
    found = rollout_advantages(OTB, np.full(7, 0.1), GROUPS, LENGTHS, old, sharp_logp=sharp)
    assert not found.any()
    found = rollout_advantages(OTB, REWARDS, GROUPS, LENGTHS, old, sharp_logp=sharp)
    assert not found[1, 1:].any() and found[1, 0] < 0 < found[3, 0]
    certain = np.where(OWN, 0.0, np.nan)  # no token was uncertain: the plain mean
    found = rollout_advantages(OTB, REWARDS, GROUPS, LENGTHS, certain, sharp_logp=certain)
    np.testing.assert_allclose(found[GROUPS == 0, 0], [0.625, 0.125, -0.375, -0.375], atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"advantage_std": "population"}, {"advantage_of": "each"}], ids=str
)
def test_what_a_baseline_of_tokens_would_not_read_is_refused(wrong):
    with pytest.raises(UserError, match="must be (none|total) with advantage_baseline token"):
        GRPO(advantage_baseline="token", **wrong)
