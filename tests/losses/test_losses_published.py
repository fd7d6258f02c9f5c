"""Objectives published since GRPO give the numbers of their formulas, computed elsewhere.

The batch is that of docs/losses.md. The literals come from each formula written out in float64
apart from this code: loss, norm of the gradient, its entries at ρ = 1.25 and at ρ = 4.
"""

from __future__ import annotations

import numpy as np
import pytest

from experiments.pages.losses import (
    GROUPS,
    LENGTHS,
    REWARDS,
    SPOTLIGHTS,
    STYLE,
    evaluate,
    logps,
)
from experiments.pages.losses_text import CHOICES, PROJECTS
from r1jax.advantages import entropy_weight, group_advantages, rollout_advantages, token_marks
from r1jax.errors import UserError
from r1jax.losses import GRPO

ROWS = {row.name: row.config for rows in [PROJECTS, *CHOICES.values()] for row in rows}
PUBLISHED = {
    "DPPO-TV": (-0.4179, 0.1385, -0.0245, 0.0784),
    "DPPO-TV, as −ρA": (0.2010, 0.1385, -0.0245, 0.0784),
    "DPPO-KL": (-0.3807, 0.1372, -0.0245, 0.0784),
    "`prime-rl-loss`": (0.2097, 0.1390, -0.0269, 0.0629),
    "IPO, to the sampler": (0.0545, 0.0952, 0.0, 0.0001),
    "SAPO": (-0.0275, 0.1298, -0.0228, 0.0088),
    "GMPO": (-0.0008, 0.1060, -0.0177, 0.0177),
    "VESPO": (-0.1128, 0.0765, -0.0218, 0.0214),
    "DRO": (-0.3408, 0.1151, -0.0190, 0.0237),
    "LUSPO": (0.4463, 0.1938, -0.0531, 0.0659),
    "decoupled, truncated": (0.2341, 0.1337, 0.0, 0.0627),
    "decoupled, masked": (0.1910, 0.1266, 0.0, 0.0627),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_objective_gives_its_numbers(name):
    loss, slope = evaluate(ROWS[name])
    found = (loss, np.linalg.norm(slope), *(slope[at] for at in SPOTLIGHTS))
    np.testing.assert_allclose(found, PUBLISHED[name], atol=5.1e-5)


@pytest.mark.parametrize(
    ("name", "dropped"),
    [("geometric mask 0.01", [1, 2, 4, 5]), ("k3 mask 0.05", [1, 2]), ("worst token 0.75", [5])],
)
def test_a_sequence_mask_drops_whole_sequences(name, dropped):
    slope, base = (evaluate(ROWS[which])[1] for which in (name, "no weights"))
    gone = np.isin(np.arange(len(LENGTHS)), dropped)
    assert not slope[gone].any()
    np.testing.assert_array_equal(slope[~gone], base[~gone])  # the denominator is as it was


def test_the_baseline_weighed_by_length():
    """Σ l r / Σ l is 2/9 and 4/8."""
    given = group_advantages(REWARDS, GROUPS, baseline="length", lengths=LENGTHS)
    np.testing.assert_allclose(given, REWARDS - np.repeat([2 / 9, 0.5], 3), rtol=1e-6)
    without = np.array([1.0, np.nan, 0.0, 1.1, 1.1, 1.1])  # one not judged, and equals
    given = group_advantages(without, GROUPS, baseline="length", lengths=LENGTHS)
    np.testing.assert_allclose(given, [1 - 2 / 5, 0, -2 / 5, 0, 0, 0], rtol=1e-6)


def test_only_the_best_of_a_group_has_a_lead():
    rewards, group = (
        np.array([0.2, 0.9, 0.5, np.nan, 1.0, 1.0, 0.0]),
        np.array([0, 0, 0, 0, 1, 1, 1]),
    )
    given = group_advantages(rewards, group, baseline="second")
    np.testing.assert_allclose(given, [0, 0.4, 0, 0, 0, 0, 0], atol=1e-6)
    alone = group_advantages(np.array([1.0]), np.array([0]), baseline="second")
    np.testing.assert_array_equal(alone, [0.0])


@pytest.mark.parametrize(
    ("whiten", "wanted"),
    [
        (False, [1.732, 0.0, -1.732, 0.0, 1.732, -1.732]),
        (True, [1.3034, 0.1372, -1.029, 0.1372, 1.3034, -1.029]),
    ],
)
def test_each_reward_is_compared_alone(whiten, wanted):
    config = GRPO(advantage_of="each", advantage_std="unbiased", advantage_whiten=whiten)
    arguments = (config, REWARDS + STYLE, GROUPS, LENGTHS)
    given = rollout_advantages(*arguments, terms=[(1.0, REWARDS), (1.0, STYLE)])
    np.testing.assert_allclose(given, wanted, atol=5e-4 if not whiten else 5e-5)
    twice = rollout_advantages(*arguments, terms=[(2.0, REWARDS), (0.0, STYLE)])
    if not whiten:  # the weight comes after the comparison
        once = group_advantages(REWARDS, GROUPS, "unbiased")
        np.testing.assert_allclose(twice, 2 * once, rtol=1e-6)


def marked(**fields):
    """Marks of the batch, whose entropies are −log π_old."""
    old, given = logps()["old_logp"], group_advantages(REWARDS, GROUPS)
    return token_marks(GRPO(**fields), LENGTHS, given, old, -old, (0, 1))


def test_the_tokens_of_highest_entropy_teach():
    """A fifth of 17: the four with the least π_old, 0.02, 0.1 and twice 0.2."""
    rows, columns = np.nonzero(marked(top_entropy=0.2)["token_keep"])
    assert {*zip(rows.tolist(), columns.tolist(), strict=True)} == {(1, 1), (1, 3), (2, 0), (5, 1)}
    assert marked() == {}


def test_covariance_marks_the_tokens_whose_advantage_and_probability_go_together():
    old, given = logps()["old_logp"], group_advantages(REWARDS, GROUPS)
    inside = np.arange(4) < LENGTHS[:, None]
    spread = np.where(inside, given[:, None], 0.0)
    parts = (x - x[inside].mean() for x in (spread, np.where(inside, old, 0.0)))
    covariance = np.where(inside, np.prod([*parts], axis=0), -np.inf)
    pulled = marked(covariance="kl", covariance_share=0.13)  # 2 of 17
    assert set(pulled) == {"token_pull"}
    most = np.argsort(covariance.ravel())[-2:]
    np.testing.assert_array_equal(np.flatnonzero(pulled["token_pull"]), np.sort(most))
    clip = {"covariance": "clip", "covariance_low": 0.05, "covariance_high": 0.5}
    within = (covariance > 0.05) & (covariance < 0.5)
    silent = inside & (marked(**clip, covariance_share=0.13)["token_keep"] == 0)
    assert silent.sum() == 2 < within.sum() and within[silent].all()
    every = inside & (marked(**clip, covariance_share=1.0)["token_keep"] == 0)
    np.testing.assert_array_equal(every, within)


def test_the_entropy_bonus_follows_the_entropy():
    config = GRPO(entropy_target=0.5, entropy_step=0.25)
    assert entropy_weight(config, 0.25, None) == (0.25, 0.25)
    assert entropy_weight(config, 0.25, 0.4) == (0.5, 0.5)
    assert entropy_weight(config, 0.5, 0.6) == (0.25, 0.0)  # too high: it falls, and counts for 0
    assert entropy_weight(config, 0.0, 0.6) == (0.0, 0.0)
    assert entropy_weight(config, 0.9, 0.4) == (1.0, 1.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            {"objective": "dppo_tv", "ratio": "sequence"},
            r"--loss.ratio sequence: must be token with",
        ),
        ({"objective": "sapo", "dual_clip": 3.0}, r"--loss.dual-clip 3.0: must be None with"),
        ({"ratio_to": "sampler"}, r"--loss.importance-cap 2.0: must be None with ratio_to sampler"),
        ({"advantage_of": "each", "beta": 0.1, "kl_as": "reward"}, r"--loss.kl-as reward: must be"),
        ({"covariance_low": 6.0}, r"--loss.covariance-low 6.0: must be below covariance_high"),
        ({"top_entropy": 0.0}, r"--loss.top-entropy 0.0: must be above 0"),
        ({"veto": 1.0}, r"--loss.veto 1.0: must be"),
        (
            {"gate_positive": 2.0},
            r"--loss.gate-positive 2.0: must be 1.0: only objective sapo reads",
        ),
        (
            {"covariance_share": 0.1},
            r"--loss.covariance-share 0.1: must be .*: only covariance reads",
        ),
        (
            {"covariance": "kl", "covariance_low": 0.5},
            r"0.5: must be 1.0: only covariance clip reads",
        ),
        ({"covariance": "clip", "covariance_weight": 2.0}, r"only covariance kl reads it"),
        (
            {"entropy_step": 0.1},
            r"--loss.entropy-step 0.1: must be 0.005: only entropy_target reads",
        ),
    ],
)
def test_contradictions_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        GRPO(**wrong)
