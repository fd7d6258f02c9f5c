"""Calibration, ranking and clustered intervals, against numbers by hand."""

from __future__ import annotations

import numpy as np
import pytest

from r1jax.evaluate.calibration import (
    auc,
    clustered_interval,
    expected_calibration_error,
    reliability,
)

STATED = np.asarray([0.05, 0.15, 0.85, 0.95, 0.95, 1.0])
HAPPENED = np.asarray([0, 1, 1, 1, 0, 1.0])


def test_reliability_by_hand():
    rows = reliability(STATED, HAPPENED)
    assert [row["count"] for row in rows] == [1, 1, 1, 3]
    assert rows[-1] == pytest.approx(
        {"low": 0.9, "high": 1.0, "count": 3, "stated": 2.9 / 3, "happened": 2 / 3}
    )
    wanted = (0.05 + 0.85 + 0.15 + 3 * abs(2.9 / 3 - 2 / 3)) / 6
    assert expected_calibration_error(STATED, HAPPENED) == pytest.approx(wanted)


def test_bins_may_begin_at_one_half():
    rows = reliability(np.asarray([0.5, 0.54, 0.56]), np.asarray([1, 0, 1.0]), low=0.5)
    assert [(row["low"], row["count"]) for row in rows] == [(0.5, 2), (pytest.approx(0.55), 1)]


def test_a_judge_that_states_what_happens_is_calibrated():
    rng = np.random.default_rng(0)
    stated = rng.uniform(0, 1, 100_000)
    happened = (rng.uniform(0, 1, 100_000) < stated).astype(float)
    assert expected_calibration_error(stated, happened) < 0.01
    assert expected_calibration_error(stated**2, happened) > 0.1


@pytest.mark.parametrize(
    ("scores", "labels", "wanted"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0),
        ([1, 2, 3, 4], [1, 1, 0, 0], 0.0),
        ([1, 3, 2, 4], [0, 0, 1, 1], 0.75),
        ([1, 1, 1], [0, 1, 1], 0.5),
    ],
)
def test_auc_by_hand(scores, labels, wanted):
    assert auc(np.asarray(scores, float), np.asarray(labels, float)) == wanted


def test_auc_needs_both_labels():
    assert np.isnan(auc(np.asarray([1.0, 2.0]), np.asarray([1.0, 1.0])))


def test_cases_of_one_prompt_are_drawn_together():
    """Copies of a case say nothing new: the interval is that of the prompts."""
    values = np.random.default_rng(0).normal(size=50)
    once = clustered_interval(lambda i: values[i].mean(), np.arange(50))
    many = np.repeat(values, 20)
    together = clustered_interval(lambda i: many[i].mean(), np.repeat(np.arange(50), 20))
    assert together == pytest.approx(once)
    apart = clustered_interval(lambda i: many[i].mean(), np.arange(1000))
    assert apart[1] - apart[0] < 0.4 * (once[1] - once[0])
    assert once[0] < values.mean() < once[1]


def test_what_some_resample_cannot_say_has_no_interval():
    scores, labels = np.asarray([1.0, 2.0]), np.asarray([0.0, 1.0])
    assert clustered_interval(lambda i: auc(scores[i], labels[i]), np.arange(2)) is None
