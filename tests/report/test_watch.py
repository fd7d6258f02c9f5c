"""The watch: when a reward model's score and the rules part, and when they do not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from r1jax.report import watch
from r1jax.report.page import write_report

UP, DOWN, FLAT = np.linspace(0, 1, 60), np.linspace(1, 0, 60), np.ones(60)


def noise(seed, size=60, scale=0.02):
    return np.random.default_rng(seed).normal(0, scale, size)


@pytest.mark.parametrize(
    ("accuracy", "score", "found"),
    [
        (DOWN + noise(0), UP + noise(1), [(0, 59)]),
        (UP + noise(0), UP + noise(1), []),
        (DOWN + noise(0), DOWN + noise(1), []),
        (FLAT, UP + noise(1), []),
        (DOWN[:19], UP[:19], []),  # fewer than a window
        (DOWN[:20], UP[:20], [(0, 19)]),
    ],
)
def test_they_part_where_the_score_rises_and_accuracy_falls(accuracy, score, found):
    assert watch.parted(accuracy, score) == found


def test_only_the_stretch_is_named():
    accuracy = np.concatenate([UP, DOWN]) + noise(0, 120, 0.01)
    (stretch,) = watch.parted(accuracy, np.linspace(0, 2, 120) + noise(1, 120, 0.01))
    assert 45 < stretch[0] < 62 and stretch[1] == 119


def test_noise_alone_does_not_cry_wolf():
    """Two independent walks without a trend, 100 times: rare, though windows are many."""
    cries = [bool(watch.parted(noise(2 * s, 40), noise(2 * s + 1, 40))) for s in range(100)]
    assert np.mean(cries) < 0.1


def test_the_slope_counts_its_standard_errors():
    assert watch.slope([1.0, 1.0, 1.0]) == 0.0
    assert watch.slope([1.0, 2.0, 3.0]) == np.inf and watch.slope([3.0, 2.0, 1.0]) == -np.inf
    # y = 0, 1, 1: slope 1/2, residuals -1/6, 1/3, -1/6; error = sqrt(1/6 / 1 / 2).
    assert watch.slope([0.0, 1.0, 1.0]) == pytest.approx(0.5 / np.sqrt(1 / 12))


def test_the_report_plots_both_and_warns(tmp_path):
    config = {"reward": {"model": ["runs/helpful?view=summary=0.5", "runs/safe/checkpoints=1"]}}
    assert watch.model_names(config) == ["helpful", "safe"]
    rows = [
        {"update": i + 1, "reward/accuracy": float(a), "reward/helpful": float(s)}
        for i, (a, s) in enumerate(zip(DOWN + noise(0), UP + noise(1), strict=True))
    ]
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    page = write_report(tmp_path).read_text()
    assert "updates 1 to 60: the score of reward model helpful rises" in page
    assert (tmp_path / "plots" / "watch_helpful.png").exists()
    assert not (tmp_path / "plots" / "watch_safe.png").exists()
    good = [row | {"reward/accuracy": row["reward/helpful"]} for row in rows]
    assert watch.charts(good, config) and watch.warnings(good, config) == []
    assert watch.charts(good, {}) == []
