"""The laws of the loss contract: shares add up, and neither padding nor packing can be seen.

Every combination of options is held against an oracle that knows no batch: a plain loop over the
sequences in float64. Sequences are packed at random shapes and in random order and split further
into single rows; the shares must sum to the oracle's loss.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from types import SimpleNamespace
from typing import get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from loss_oracle import (
    MAX_TOKENS,
    OPTIONS,
    label,
    make_rollout,
    oracle,
    pack_scored,
    rows_of,
)

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.errors import UserError
from r1jax.losses import GRPO, grpo
from r1jax.losses.config import Objective
from r1jax.training.metrics import combine, finish
from r1jax.types import MissingColumn

SHAPES = [(2, 24, 3), (3, 24, 8)]  # rows, width, max_segments; single rows are of one shape


@pytest.mark.parametrize("config", OPTIONS, ids=label)
@settings(max_examples=2, deadline=None)
@given(data=st.data())
def test_shares_sum_to_the_loss_of_the_update(config, data):
    n, seed = data.draw(st.integers(1, 7)), data.draw(st.integers(0, 99))
    rollout, shape = make_rollout(n, seed), data.draw(st.sampled_from(SHAPES))
    order = np.array(data.draw(st.permutations(range(n))))
    scored, loss, wanted = pack_scored(rollout, shape, order), grpo(config), oracle(config, rollout)
    assert sum(loss(*pair)[0] for pair in scored) == pytest.approx(wanted, rel=1e-4, abs=1e-5)
    split = [row for pair in scored for row in rows_of(*pair)]
    assert sum(loss(*pair)[0] for pair in split) == pytest.approx(wanted, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize("objective", get_args(Objective))
def test_what_a_loss_calls_idle_changes_nothing_and_what_it_does_not_does(objective):
    rollout = make_rollout(7, seed=3)
    ((stats, batch),) = pack_scored(rollout, (7, 24, 8))

    def share(config):
        return float(grpo.__wrapped__(config)(stats, batch)[0])

    changes = {"clip_low": 1e-3, "clip_high": 2e-3, "kl_estimator": "k1"}
    changes |= {"importance": "token_mask"}
    for own in ({}, {"beta": 0.5}, {"importance_cap": 1.1}):
        config = GRPO(**{"objective": objective, "importance_cap": None} | own)
        plain = share(config)
        for name, value in changes.items():
            changed = share(replace(config, **{name: value})) != plain
            assert changed == (name not in config.idle), (own, name)


def without(sequences, name):
    """The sequences without a column."""
    return replace(sequences, columns={k: v for k, v in sequences.columns.items() if k != name})


def combined(loss, scored):
    """Metrics of an update from those of its micro-batches, as a trainer combines them."""
    return finish(functools.reduce(combine, (loss(*pair)[1] for pair in scored)))


def test_metrics_add_up_and_mean_what_they_say():
    rollout = make_rollout(7, seed=3)
    sequences, logp, entropy = rollout
    inside = np.arange(MAX_TOKENS) < sequences.lengths[:, None]
    of = SimpleNamespace(**sequences.columns)
    ratio = np.exp(logp - of.old_logp)[inside]
    advantage = np.broadcast_to(of.advantages[:, None], logp.shape)[inside]
    d, d_mu = (of.ref_logp - logp)[inside], (of.old_logp - of.sampler_logp)[inside]
    difference = np.abs(of.old_logp - of.sampler_logp)[inside]
    weight = np.minimum(np.exp((of.old_logp - of.sampler_logp)[inside]), 1.1)
    low, high = (ratio < 0.8) & (advantage < 0), (ratio > 1.28) & (advantage > 0)
    assert low.any() and high.any()
    wanted = {
        "policy/ratio_mean": ratio.mean(),
        "policy/clip_frac": (low | high).mean(),
        "policy/clip_low_frac": low.mean(),
        "policy/clip_high_frac": high.mean(),
        "policy/entropy": entropy[inside].mean(),
        "policy/logp_diff_mean": difference.mean(),
        "policy/logp_diff_max": difference.max(),
        "policy/sampler_ratio_max": np.exp(of.old_logp - of.sampler_logp)[inside].max(),
        "policy/sampler_kl": (np.exp(d_mu) - d_mu - 1).mean(),
        "policy/importance_mean": weight.mean(),
        "policy/kl_ref": (np.exp(d) - d - 1).mean(),
    }
    loss = grpo(GRPO(beta=0.1, kl_estimator="k1", importance_cap=1.1))
    for shape in SHAPES:
        got = combined(loss, pack_scored(rollout, shape))
        p99 = np.quantile(difference, 0.99, method="inverted_cdf")
        assert p99 <= got.pop("policy/logp_diff_p99") <= p99 * 10**0.05
        assert got == pytest.approx(wanted, rel=1e-5)


def test_metrics_of_sequence_options():
    sequences, logp, _ = rollout = make_rollout(7, seed=3)
    inside = np.arange(MAX_TOKENS) < sequences.lengths[:, None]
    of = SimpleNamespace(**sequences.columns)

    def mean_by_sequence(x):
        return (np.where(inside, x, 0).sum(1) / sequences.lengths)[:, None] + 0 * x

    ratio = np.exp(mean_by_sequence(logp - of.old_logp))
    drift = mean_by_sequence(of.sampler_logp - logp)
    product = np.exp(mean_by_sequence(of.old_logp - of.sampler_logp) * sequences.lengths[:, None])
    dropped = (of.advantages[:, None] < 0) & (drift > 0.05)
    high = (ratio > 1.05) & (of.advantages[:, None] > 0)
    assert 0 < dropped[inside].mean() < 1 and high[inside].any() and (product[inside] > 3).any()
    config = GRPO(
        ratio="sequence",
        clip_high=0.05,
        importance="sequence_mask",
        importance_cap=3.0,
        off_policy_limit=0.05,
    )
    for shape in SHAPES:
        got = combined(grpo(config), pack_scored(rollout, shape))
        for name, wanted in {
            "ratio_mean": ratio[inside].mean(),
            "clip_high_frac": high[inside].mean(),
            "importance_mean": np.where(product <= 3, product, 0)[inside].mean(),
            "off_policy_frac": dropped[inside].mean(),
        }.items():
            assert got[f"policy/{name}"] == pytest.approx(wanted, rel=1e-5)


def test_options_that_are_off_leave_no_metric_and_read_nothing():
    sequences, logp, entropy = make_rollout(4, seed=1)
    unmeasured = without(sequences, "ref_logp")
    stats, _ = pack_scored((sequences, logp, entropy), SHAPES[1])[0]
    batch = pack(unmeasured, *SHAPES[1], Denominators.of(unmeasured, MAX_TOKENS))[0]
    share, metrics = grpo(GRPO(beta=0.0, importance_cap=None))(stats, batch)
    assert jnp.isfinite(share)
    assert "policy/kl_ref" not in metrics and "policy/importance_mean" not in metrics
    with pytest.raises(MissingColumn, match="reads the column ref_logp .* there are: advantages, "):
        grpo(GRPO(beta=0.1))(stats, batch)


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "constant"])
def test_on_policy_ratio_is_one_and_the_gradient_is_that_of_the_policy(reduction):
    """d share / d logp = −A · (weight of the token), the plain policy gradient."""
    sequences, logp, entropy = make_rollout(3, seed=2)
    rollout = without(sequences, "old_logp"), logp, entropy
    measured = sequences.with_columns(old_logp=logp)
    config = GRPO(reduction=reduction, importance_cap=None)
    loss = grpo(config, on_policy=True)
    ((stats, batch),) = pack_scored(rollout, (3, 24, 8))
    (share, metrics), slope = jax.value_and_grad(
        lambda x: loss(stats.replace(logp=x), batch), has_aux=True
    )(stats.logp)
    assert float(metrics["policy/ratio_mean"].sum) == sequences.lengths.sum()
    assert float(metrics["policy/clip_frac"].sum) == 0
    assert share == pytest.approx(oracle(config, (measured, logp, entropy)))
    length = np.take_along_axis(batch.lengths, np.maximum(batch.segment_ids - 1, 0), axis=1)
    weight = {
        "sequence_mean": 1 / (3 * np.maximum(length, 1)),
        "token_mean": 1 / sequences.lengths.sum(),
        "constant": 1 / (3 * MAX_TOKENS),
    }[reduction]
    advantages = np.where(batch.mask > 0, batch.advantages, 0)
    np.testing.assert_allclose(slope, -advantages * weight, rtol=1e-5, atol=1e-8)


def test_importance_weights_scale_the_policy_term_and_not_the_kl():
    """One token, A = 3: loss = −w · 3 + β · k3 with w = min(e, 2) and k3 = e − 2."""
    one = np.array([[0.0]], np.float32)
    sequences = Sequences(
        tokens=np.array([[5, 6]]),
        prompt_lengths=np.array([1]),
        lengths=np.array([1]),
        columns={
            "advantages": np.array([3.0]),
            "old_logp": one - 1,
            "sampler_logp": one - 2,
            "ref_logp": one,
        },
    )
    ((stats, batch),) = pack_scored((sequences, one - 1, one), (1, 2, 1))
    for cap, weight in [(2.0, 2.0), (9.0, np.e), (None, 1.0)]:
        config = GRPO(reduction="token_mean", beta=0.5, importance_cap=cap)
        share, _ = grpo(config)(stats, batch)
        assert share == pytest.approx(-3 * weight + 0.5 * (np.e - 2), rel=1e-6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clip_low": -0.1}, r"--loss.clip-low -0.1: must be at least 0"),
        ({"beta": -1.0}, r"--loss.beta -1.0"),
        ({"dual_clip": 1.0}, r"--loss.dual-clip 1.0: must be above 1"),
        ({"importance_cap": 0.0}, r"--loss.importance-cap 0.0: must be above 0"),
        ({"entropy_bonus": "much"}, r"--loss.entropy-bonus much: must be a finite number"),
        ({"ratio": "word"}, r"--loss.ratio word: must be one of token, sequence, sequence_token"),
        ({"kl_estimator": "k4"}, r"--loss.kl-estimator k4: must be one of k1, abs, k2, k3"),
        ({"importance_floor": 2.0}, r"--loss.importance-floor 2.0: must be below importance_cap"),
        ({"importance_cap": None, "importance_floor": 0.5}, r"--loss.importance-floor 0.5"),
        ({"off_policy_limit": -0.1}, r"--loss.off-policy-limit -0.1: must be at least 0"),
        ({"objective": "cispo", "dual_clip": 3.0}, r"--loss.dual-clip 3.0: must be None with"),
        (
            {"kl_as": "reward", "kl_gradient": "importance"},
            r"--loss.kl-gradient importance: must be plain with kl_as reward",
        ),
        (
            {"advantage_baseline": "none", "advantage_std": "population"},
            r"--loss.advantage-std population: must be none with advantage_baseline none",
        ),
    ],
)
def test_impossible_settings_are_refused(wrong, message):
    with pytest.raises(UserError, match=message):
        GRPO(**wrong)
