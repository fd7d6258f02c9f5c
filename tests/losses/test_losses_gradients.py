"""Gradients of every option: by finite differences in float64, and by analysis where papers differ.

A stop-gradient cannot be seen in a value. The oracle therefore takes the policy twice, and only
the one outside of every stop-gradient is moved.
"""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from loss_oracle import OPTIONS, label, make_rollout, objective, pack_scored

from r1jax.losses import GRPO, PRESETS, grpo

ROLLOUT = make_rollout(5, seed=8)
WIDE, NARROW = (6, 40, 5), (2, 18, 3)  # rows, width, max_segments; WIDE leaves rows empty


def double(tree):
    return jax.tree.map(lambda a: np.asarray(a, np.float64) if a.dtype == np.float32 else a, tree)


def slopes(config, batch_pair, on_policy=False, **overrides):
    """(d share / d logp, d share / d entropy) of one batch in float64."""
    with jax.enable_x64(True):
        stats, batch = double(batch_pair)
        batch = batch.replace(columns=batch.columns | overrides)
        share = lambda s: grpo(config, on_policy)(s, batch)[0]  # noqa: E731
        found = jax.grad(share)(stats)
    assert found.logp.dtype == np.float64
    assert not np.asarray(found.logp)[batch.mask == 0].any()
    return np.asarray(found.logp), np.asarray(found.entropy)


def by_token(values, batch, rollout):
    """f64[N, C]: values of a batch at the tokens of completions, which old_logp tells apart."""
    sequences = rollout[0]
    found = np.full(rollout[1].shape, np.nan)
    for row, column in zip(*np.nonzero(batch.mask), strict=True):
        at = np.nonzero(sequences.columns["old_logp"] == batch.old_logp[row, column])
        assert len(at[0]) == 1
        found[at] = values[row, column]
    return found


@pytest.mark.parametrize("config", OPTIONS, ids=label)
def test_gradient_by_finite_differences(config):
    sequences, logp, entropy = ROLLOUT
    (pair,) = pack_scored(ROLLOUT, WIDE)
    by_logp, by_entropy = (by_token(x, pair[1], ROLLOUT) for x in slopes(config, pair))
    logp, step = logp.astype(np.float64), 1e-5
    for i, n in enumerate(sequences.lengths):
        for t in {0, n // 2, n - 1}:
            move = np.zeros_like(logp)
            move[i, t] = step
            up, down = (
                objective(config, sequences, logp + s * move, entropy, still=logp) for s in (1, -1)
            )
            assert by_logp[i, t] == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)
            up = objective(config, sequences, logp, entropy + move, still=logp)
            here = objective(config, sequences, logp, entropy, still=logp)
            assert by_entropy[i, t] == pytest.approx((up - here) / step, rel=1e-4, abs=1e-8)


@pytest.mark.parametrize(
    "config",
    [PRESETS["research"], PRESETS["r1-zero"], PRESETS["gspo"], replace(PRESETS["trl"], beta=0.1)],
    ids=["research", "r1-zero", "gspo", "trl"],
)
def test_gradients_do_not_see_packing_or_empty_rows(config):
    found = []
    for shape in (WIDE, NARROW):
        whole = np.full(ROLLOUT[1].shape, np.nan)
        for pair in pack_scored(ROLLOUT, shape):
            assert shape == NARROW or not pair[1].mask[-1].any()
            part = by_token(slopes(config, pair)[0], pair[1], ROLLOUT)
            whole = np.where(np.isnan(part), whole, part)
        assert np.count_nonzero(~np.isnan(whole)) == ROLLOUT[0].lengths.sum()
        found.append(whole)
    for whole in found[1:]:
        np.testing.assert_allclose(whole, found[0], rtol=1e-10, atol=1e-14)


FORMS = [GRPO(ratio=form, importance_cap=None) for form in ("sequence", "sequence_token")]


@pytest.mark.parametrize("reduction", ["sequence_mean", "token_mean", "constant"])
def test_gspo_forms_agree_where_a_sequence_has_one_advantage(reduction):
    """Under every reduction: a token's weight is the same all over its sequence."""
    (pair,) = pack_scored(ROLLOUT, WIDE)
    one, other = (slopes(replace(c, reduction=reduction), pair)[0] for c in FORMS)
    assert np.abs(one).max() > 1e-3
    np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("weighted", [False, True])
def test_gspo_forms_differ_where_tokens_differ(weighted):
    """With an advantage or a weight per token the values agree and the gradients do not."""
    (pair,) = pack_scored(ROLLOUT, WIDE)
    batch = pair[1]
    given = batch.advantages if weighted else 1.5 + np.sin(np.arange(40)) * batch.mask
    wide = {"clip_low": 9.0, "clip_high": 9.0, "importance_cap": 9.0 if weighted else None}
    one, other = (slopes(replace(c, **wide), pair, advantages=given)[0] for c in FORMS)
    batch = batch.replace(columns=batch.columns | {"advantages": given})
    values = [grpo(replace(c, **wide))(pair[0], batch)[0] for c in FORMS]
    assert values[0] == pytest.approx(float(values[1]), rel=1e-5)
    assert np.abs(one - other).max() > 1e-3
    # What the sequence gets in all is the same; how its tokens share it is not.
    for k in range(1, 6):
        own = batch.segment_ids == k
        np.testing.assert_allclose((one * own).sum(1), (other * own).sum(1), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("objective_name", "high", "bounds"),
    [("cispo", 0.28, (0.8, 1.28)), ("cispo_cap", 1.28, (0.0, 1.28)), ("cispo_cap", 5.0, (0, 5.0))],
)
def test_cispo_weighs_every_token_and_clips_only_the_weight(objective_name, high, bounds):
    """∂/∂logp = −sg(clip(ρ)) · A, not −A·ρ(1 + logp) as without the stop-gradient."""
    (pair,) = pack_scored(ROLLOUT, WIDE)
    config = GRPO(
        objective=objective_name, clip_high=high, importance_cap=None, reduction="token_mean"
    )
    slope, (stats, batch) = slopes(config, pair)[0], pair
    ratio = np.exp(np.where(batch.mask > 0, stats.logp - batch.old_logp, 0).astype(np.float64))
    assert (ratio > 1.28).any() and (ratio < 0.8).any()
    wanted = -np.clip(ratio, *bounds) * batch.advantages * batch.mask / batch.n_tokens
    np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-12)
    assert (slope[batch.mask > 0] != 0).all()


@pytest.mark.parametrize("ratio", ["token", "sequence", "sequence_token"])
@pytest.mark.parametrize("objective_name", ["clip", "cispo"])
def test_on_policy_gradients_of_all_forms_are_the_policy_gradient(ratio, objective_name):
    """Where new and old policy are one, every ratio is 1 and every form has gradient −A."""
    ((stats, batch),) = pack_scored(ROLLOUT, WIDE)
    config = GRPO(
        ratio=ratio, objective=objective_name, importance_cap=None, reduction="token_mean"
    )
    slope = slopes(config, (stats, batch), on_policy=True, old_logp=np.full((6, 40), np.nan))[0]
    wanted = -np.where(batch.mask > 0, batch.advantages, 0) / batch.n_tokens
    np.testing.assert_allclose(slope, wanted, rtol=1e-6, atol=1e-12)
