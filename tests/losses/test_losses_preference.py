"""Losses on judged responses: numbers by hand, gradients by differences, shares that add up."""

from __future__ import annotations

import math
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import on_device, random_sequences

from r1jax.data.examples.judged import pack_pairs
from r1jax.data.packing import Denominators, pack
from r1jax.errors import UserError
from r1jax.losses.preference import DPOConfig, PairwiseConfig, dpo, pairwise, pointwise, process
from r1jax.types import Batch, MissingColumn, Stats

SEQUENCES = random_sequences([3, 3, 2, 2, 4, 4], [4, 6, 1, 3, 5, 2])
KINDS = [
    DPOConfig(beta=0.3),
    DPOConfig(beta=0.3, label_smoothing=0.1),
    DPOConfig(beta=0.3, kind="ipo"),
    DPOConfig(beta=0.3, kind="hinge"),
    DPOConfig(beta=0.3, reference_free=True),
]


def label(config):
    return f"{config.kind}-{config.label_smoothing}-{config.reference_free}"


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def batch_of(scores, labels=None):
    """One row; the i-th of its segments is one learnt token with the i-th score."""
    n = len(scores)
    ids = np.arange(1, n + 3, dtype=np.int32)[None] * (np.arange(n + 2) < n)
    mask = (ids > 0).astype(np.float32)
    label = np.zeros((1, n + 2), np.float32)
    label[0, :n] = np.zeros(n) if labels is None else labels
    lengths = np.concatenate([np.ones((1, n)), np.zeros((1, 2))], axis=1).astype(np.float32)
    return on_device([[*scores, 0.0, 0.0]]), Batch(
        tokens=ids, positions=ids, segment_ids=ids, mask=mask, columns={"label": label},
        lengths=lengths,
        n_tokens=np.float32(n), n_sequences=np.float32(n), max_tokens=np.float32(1),
    )  # fmt: skip


def read(metrics):
    return {k: float(m.sum) / max(float(m.count), 1e-9) for k, m in metrics.items()}


@pytest.mark.parametrize(
    ("config", "wanted"),
    [
        (PairwiseConfig(), (-math.log(sigmoid(2)) - math.log(sigmoid(-0.5))) / 2),
        (PairwiseConfig(margin=1), (-math.log(sigmoid(1)) - math.log(sigmoid(-1.5))) / 2),
        (
            PairwiseConfig(center=0.1),
            (-math.log(sigmoid(2)) - math.log(sigmoid(-0.5)) + 0.1 * (4**2 + 0.5**2)) / 2,
        ),
    ],
)
def test_pairwise_by_hand(config, wanted):
    share, metrics = pairwise(config)(*batch_of([3.0, 1.0, 0.0, 0.5]))
    assert float(share) == pytest.approx(wanted, rel=1e-6)
    assert read(metrics) == pytest.approx({
        "preference/accuracy": 0.5, "preference/margin": 0.75,
        "preference/chosen": 1.5, "preference/rejected": 0.75,
    })  # fmt: skip


def test_equal_scores_count_half_and_cost_log_2():
    share, metrics = pairwise(PairwiseConfig())(*batch_of([1.0, 1.0]))
    assert float(share) == pytest.approx(math.log(2))
    assert read(metrics)["preference/accuracy"] == 0.5


def test_pointwise_by_hand():
    share, metrics = pointwise(*batch_of([2.0, -1.0, 0.5], [1, 0, 0]))
    wanted = -math.log(sigmoid(2)) - math.log(1 - sigmoid(-1)) - math.log(1 - sigmoid(0.5))
    assert float(share) == pytest.approx(wanted / 3, rel=1e-6)
    assert read(metrics) == pytest.approx({
        "preference/accuracy": 2 / 3, "preference/score_safe": 2.0,
        "preference/score_unsafe": -0.25,
    })  # fmt: skip


def test_process_by_hand():
    """Two judged steps among five tokens, one of them half right by its continuations."""
    _, batch = batch_of([0.0, 0.0, 0.0])
    ids, nan = np.asarray([[1, 1, 1, 2, 0]], np.int32), np.nan
    batch = replace(
        batch, segment_ids=ids, mask=np.asarray([[0, 1, 0, 1, 0]], np.float32),
        columns={"label": np.asarray([[nan, 0.75, nan, 0.0, nan]], np.float32)},
        n_tokens=np.float32(2),
    )  # fmt: skip
    scores = on_device([[9.0, 2.0, 9.0, 0.5, 9.0]])
    share, metrics = process(scores, batch)
    first = -0.75 * math.log(sigmoid(2)) - 0.25 * math.log(1 - sigmoid(2))
    assert float(share) == pytest.approx((first - math.log(1 - sigmoid(0.5))) / 2, rel=1e-6)
    assert read(metrics) == pytest.approx({
        "process/accuracy": 0.5, "process/score_right": 2.0, "process/score_wrong": 0.5,
    })  # fmt: skip
    # d/ds = (σ(s) − y) / steps at judged tokens, 0 elsewhere.
    slope = jax.grad(lambda s: process(s, batch)[0])(scores)
    wanted = [0, (sigmoid(2) - 0.75) / 2, 0, sigmoid(0.5) / 2, 0]
    np.testing.assert_allclose(np.asarray(slope)[0], wanted, rtol=1e-5)


@pytest.mark.parametrize("config", KINDS, ids=label)
def test_dpo_by_hand(config):
    """One pair: chosen of 2 tokens, rejected of 1."""
    logp, ref = [-1.0, -2.0, -3.0], [-1.5, -2.5, -2.0]
    _, batch = batch_of([0.0, 0.0, 0.0])
    ids = np.asarray([[1, 1, 2, 0, 0]], np.int32)
    pad = lambda values: np.asarray([[*values, np.nan, np.nan]], np.float32)  # noqa: E731
    batch = replace(
        batch, segment_ids=ids, mask=(ids > 0).astype(np.float32), columns={"ref_logp": pad(ref)},
        lengths=np.asarray([[2, 1]], np.float32), n_sequences=np.float32(2),
    )  # fmt: skip
    share, metrics = dpo(config)(Stats(logp=pad(logp), entropy=pad(logp)), batch)
    chosen, rejected = (-3.0, -3.0) if config.reference_free else (1.0, -1.0)
    if config.kind == "ipo":
        chosen /= 2
    h, b, e = chosen - rejected, config.beta, config.label_smoothing
    wanted = {
        "sigmoid": -(1 - e) * math.log(sigmoid(b * h)) - e * math.log(sigmoid(-b * h)),
        "ipo": (h - 1 / (2 * b)) ** 2,
        "hinge": max(0.0, 1 - b * h),
    }[config.kind]
    assert float(share) == pytest.approx(wanted, rel=1e-5)
    found = read(metrics)
    assert found["preference/margin"] == pytest.approx(b * h)
    assert found["preference/accuracy"] == (0.5 if h == 0 else 1.0)
    assert (found["preference/logp_chosen"], found["preference/logp_rejected"]) == (-3.0, -3.0)


def stats_of(batches, seed=3):
    """Log-probabilities that belong to the tokens, so that any packing has the same."""
    values = np.random.default_rng(seed).uniform(-3, -0.1, 97).astype(np.float32)
    return [Stats(logp=values[b.tokens], entropy=values[b.tokens]) for b in batches]


@pytest.mark.parametrize("config", KINDS, ids=label)
def test_shares_of_dpo_add_up_over_any_packing(config):
    totals = Denominators.of(SEQUENCES, 1)
    loss, results = jax.jit(dpo(config)), []
    for rows, width, segments in [(1, 64, 6), (2, 20, 4), (1, 20, 2)]:
        batches = pack_pairs(SEQUENCES, rows, width, segments, totals)
        shares = [loss(s, b)[0] for s, b in zip(stats_of(batches), batches, strict=True)]
        results.append(float(sum(shares)))
    assert results[1:] == pytest.approx([results[0]] * 2, rel=1e-5)


def test_shares_of_pointwise_add_up_over_any_packing():
    labelled = SEQUENCES.with_columns(label=np.asarray([1, 0, 0, 1, 1, 0], np.float32))
    scores = np.random.default_rng(0).normal(size=97).astype(np.float32)
    loss, results = jax.jit(pointwise), []
    for rows, width, segments in [(1, 64, 6), (2, 12, 3), (1, 10, 1)]:
        total = 0.0
        for b in pack(labelled, rows, width, segments, Denominators.of(labelled, 1)):
            firsts = np.zeros_like(b.lengths)
            for row, m in np.argwhere(b.lengths > 0).tolist():
                firsts[row, m] = scores[b.tokens[row][b.segment_ids[row] == m + 1][0]]
            total += float(loss(firsts, b)[0])
        results.append(total)
    assert results[1:] == pytest.approx([results[0]] * 2, rel=1e-5)


def in_float64(batch):
    wide = lambda x: on_device(x, jnp.float64 if x.dtype.kind == "f" else None)  # noqa: E731
    return jax.tree.map(wide, batch)


def differences(f, x, step=1e-6):
    found = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        moved = np.zeros_like(x)
        moved[at] = step
        found[at] = (float(f(x + moved)) - float(f(x - moved))) / (2 * step)
    return found


@pytest.mark.parametrize("config", KINDS, ids=label)
def test_gradients_of_dpo_by_differences(config):
    with jax.enable_x64(True):
        (batch,) = pack_pairs(SEQUENCES, 2, 24, 4, Denominators.of(SEQUENCES, 1))
        (stats,) = stats_of([batch])
        batch, logp = in_float64(batch), np.asarray(stats.logp, np.float64)

        @jax.jit
        def loss(x):
            return dpo(config)(Stats(logp=x, entropy=x), batch)[0]

        found = np.asarray(jax.jit(jax.grad(loss))(logp))
        np.testing.assert_allclose(found, differences(loss, logp), atol=1e-7)
        assert np.abs(found).max() > 1e-4
        assert not found[np.asarray(batch.mask) == 0].any()


@pytest.mark.parametrize(
    "loss", [pairwise(PairwiseConfig(margin=0.3, center=0.2)), pointwise], ids=["pairs", "labels"]
)
def test_gradients_of_score_losses_by_differences(loss):
    with jax.enable_x64(True):
        _, batch = batch_of([0.0] * 4, [1, 0, 1, 1])
        batch = in_float64(batch)
        scores = np.asarray([[0.3, -0.2, 1.4, 2.0, 5.0, -7.0]])
        share = jax.jit(lambda x: loss(x, batch)[0])
        found = np.asarray(jax.jit(jax.grad(share))(scores))
        np.testing.assert_allclose(found, differences(share, scores), atol=1e-8)
        assert np.abs(found[0, :4]).min() > 1e-3 and not found[0, 4:].any()


def test_a_reference_that_was_not_computed_cannot_go_unnoticed():
    bare = replace(SEQUENCES, columns={})
    (batch,) = pack_pairs(bare, 2, 24, 4, Denominators.of(bare, 1))
    (stats,) = stats_of([batch])
    with pytest.raises(MissingColumn, match="reads the column ref_logp .* there are: none; --loss"):
        dpo(DPOConfig())(stats, batch)
    assert np.isfinite(dpo(DPOConfig(reference_free=True))(stats, batch)[0])


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PairwiseConfig(margin=-1), "--loss.margin -1: must be at least 0"),
        (lambda: PairwiseConfig(center=-0.1), "--loss.center -0.1: must be at least 0"),
        (lambda: DPOConfig(beta=0), "--loss.beta 0: must be above 0"),
        (
            lambda: DPOConfig(label_smoothing=0.5),
            "0.5: must be at least 0 and below 0.5",
        ),
        (lambda: DPOConfig(kind="ipo", label_smoothing=0.1), "only with --loss.kind sigmoid"),
    ],
)
def test_values_that_mean_nothing_are_refused(make, said):
    with pytest.raises(UserError, match=said):
        make()
