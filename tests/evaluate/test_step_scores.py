"""What scores of steps are used for, by numbers worked out by hand."""

from __future__ import annotations

import pytest

from r1jax.evaluate.statistics import vote
from r1jax.evaluate.steps import best_of, first_wrong, process_bench, reduced


def test_process_bench_by_hand():
    assert [first_wrong(s) for s in ([0.9, 0.4, 0.1], [0.5, 0.6], [])] == [1, -1, -1]
    # Errors at 1, 0, 2: two of three told exactly. Without an error: one of two left alone.
    found = process_bench([1, 0, 1, -1, 0], [1, 0, 2, -1, -1])
    assert found["error_accuracy"] == pytest.approx(2 / 3)
    assert found["correct_accuracy"] == pytest.approx(1 / 2)
    assert found["f1"] == pytest.approx(2 * (2 / 3) * (1 / 2) / (2 / 3 + 1 / 2))
    assert process_bench([0], [-1])["f1"] == 0.0


def test_a_solution_is_as_good_as_its_worst_last_or_all_steps():
    scores = [0.5, 0.25, 0.8]
    assert reduced(scores, "min") == 0.25 and reduced(scores, "last") == 0.8
    assert reduced(scores, "product") == pytest.approx(0.1) and reduced([], "min") == 0.0


def test_the_best_and_the_weighted_vote():
    assert best_of([0.2, 0.9, 0.1], [1, 0, 1]) == 0.0
    assert best_of([0.9, 0.9], [1, 0]) == 0.5  # one of them is drawn
    answers, right = ["5", "5", "7", None], [False, False, True, False]
    assert vote(answers, right) == 0.0  # the plain majority
    assert vote(answers, right, [0.1, 0.2, 0.9, 5.0]) == 1.0
    assert vote(answers, right, [0.25, 0.5, 0.75, 5.0]) == 0.5  # equal sums
    assert vote([None], [False], [1.0]) == 0.0
