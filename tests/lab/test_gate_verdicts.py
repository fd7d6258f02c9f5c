"""Means, intervals and words of studies: numbers by hand, tables of Student's t, coverage."""

from __future__ import annotations

import numpy as np
import pytest

from experiments.gates.verdicts import Estimate, crossed, holm, over_units, word

pytestmark = pytest.mark.lab
UNIT = [v / 2.5**0.5 for v in (-2, -1, 0, 1, 2)]
"""Mean 0, standard deviation 1."""


def test_units_by_a_table():
    # t = 2.7764 with 4 degrees of freedom is p = .05 (any table of Student's t).
    found = over_units([v + 2.7764 / 5**0.5 for v in UNIT])
    assert found == (pytest.approx(2.7764 / 5**0.5), pytest.approx(1 / 5**0.5), 4)
    assert found.p_value() == pytest.approx(0.05, abs=1e-4)
    assert found.interval()[0] == pytest.approx(0, abs=1e-4)
    assert found.p_value(null=found.mean) == pytest.approx(1.0)
    # 90 %: t = 2.1318
    low, high = found.interval(0.9)
    assert high - low == pytest.approx(2 * 2.1318 / 5**0.5, abs=1e-4)


def test_values_without_spread_are_certain():
    assert over_units([3.0, 3.0]).p_value() == 0.0
    assert over_units([0.0, 0.0]).p_value() == 1.0
    assert over_units([3.0, 3.0]).interval() == (3.0, 3.0)
    assert crossed([[1.0, 1.0], [1.0, 1.0]]) == (1.0, 0.0, 1)


def test_what_lies_beyond_a_margin():
    estimate = Estimate(mean=5.0, error=1.0, df=4)
    assert estimate.p_beyond(5.0) == 1.0
    assert estimate.p_beyond(3.0) == pytest.approx(estimate.p_value(3.0))
    assert Estimate(-5.0, 1.0, 4).p_beyond(3.0) == pytest.approx(estimate.p_beyond(3.0))


def test_units_and_problems_by_hand():
    # Means by unit 2 and 4, by problem 1.5 and 4.5, 3 in all; rests +-0.5, their mean square 1.
    found = crossed([[1.0, 3.0], [2.0, 6.0]])
    assert found.mean == 3.0
    assert found.error**2 == pytest.approx(2 / 2 + 4.5 / 2 - 1 / 4)
    assert found.df == pytest.approx(3**2 / (1 + 2.25**2 + 0.25**2))


def test_the_variance_is_never_less_than_that_of_either():
    # Nothing but rest: the means by unit and by problem are all alike but for it.
    data = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert crossed(data.tolist()).error == 0.0
    apart = crossed((data + np.array([[0.0], [0.2]])).tolist())
    assert apart.error == pytest.approx(over_units([0.0, 0.2]).error)


@pytest.mark.parametrize(
    "of_bases, of_problems, rest, problems",
    [(1.0, 0.0, 1.0, 32), (1.0, 8.0, 4.0, 32), (0.0, 4.0, 8.0, 32), (4.0, 25.0, 25.0, 256)],
)
def test_intervals_hold_the_truth_as_often_as_they_say(of_bases, of_problems, rest, problems):
    """Five bases and the problems drawn; over bases alone the middle two hold less than 90 %."""
    rng, times, bases = np.random.default_rng(0), 3000, 5
    held = np.zeros(2)
    for _ in range(times):
        data = of_bases * rng.normal(size=(bases, 1)) + of_problems * rng.normal(size=problems)
        data = data + rest * rng.normal(size=(bases, problems))
        for i, found in enumerate((crossed(data), over_units(data.mean(1)))):
            low, high = found.interval()
            held[i] += low <= 0 <= high
    held /= times
    assert (0.94 if problems == 32 else 0.935) <= held[0] <= 0.99
    assert of_problems < of_bases or held[1] < (0.9 if problems == 32 else 0.935)


def test_holm_steps_down():
    steps = holm({"a": 0.02, "b": 1e-4, "c": 0.9}, 3)
    assert [steps[n][0] for n in "bac"] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05])
    assert [steps[n][1] for n in "bac"] == [True, True, False]
    # As the smallest of three .02 does not pass, and what lies behind it fails too.
    steps = holm({"a": 0.02, "b": 0.024, "c": 0.9}, 3)
    assert not any(rejected for _, rejected in steps.values())
    # After the stop the level is that which failed: there no interval excludes its null.
    assert holm({"a": 0.038, "b": 0.0285}, 2) == {"a": (0.025, False), "b": (0.025, False)}
    # Lines of the family that cannot be tested count.
    assert holm({"a": 0.02}, 3)["a"] == (pytest.approx(0.05 / 3), False)


@pytest.mark.parametrize(
    "mean, rejected, short, said",
    [
        (2.0, True, False, "supported"),
        (1.9, True, False, "smaller than claimed"),
        (-3.0, True, True, "of the other sign"),
        (0.3, False, True, "smaller than claimed"),
        (-0.3, False, True, "smaller than claimed"),
        (3.0, False, False, "inconclusive"),
    ],
)
def test_words(mean, rejected, short, said):
    assert word(mean, 2.0, rejected, short) == said
