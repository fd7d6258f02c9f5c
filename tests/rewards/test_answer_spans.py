"""Intervals, points left out and sets of integers: what has no value, and bounds of any kind."""

import pytest

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy
from r1jax.rewards.answers import arithmetic, formula


def reward(gold: str, text: str) -> float | None:
    problem = Problem("s", "", gold, "math")
    return accuracy()([problem], [Completion.parse(text)], RewardContext())[0]


@pytest.mark.parametrize("text", ["\\ln 0", "\\log_{2} 0", "-\\ln 0", "\\frac{1}{\\ln 1}"])
def test_what_has_no_finite_value_is_unreadable(text):
    with pytest.raises(formula.Unreadable):
        arithmetic.value(formula.parse(text))


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        ("(-\\infty,1)\\cup(1,\\sqrt{2})\\cup(\\sqrt{2},\\infty)", "$x\\ne \\sqrt{2}, x\\ne 1$", 1),
        ("(-\\infty,1)\\cup(1,\\sqrt{3})\\cup(\\sqrt{3},\\infty)", "$x\\ne \\sqrt{2}, x\\ne 1$", 0),
        ("(-\\infty,1)\\cup(1,\\infty)", "$x\\ne 1, x\\ne \\ln 0$", 0),
        ("\\{1,2\\}", "$\\{x\\in\\mathbb{Z}: \\ln 0<x<3\\}$", 0),
        ("\\{1,2\\}", "{x∈Z: 0<x<√5}", 1),
        ("\\{1,2\\}", "{x∈Z | 0<x<√3}", 0),
        ("\\{1,2\\}", "\\boxed{\\{x\\in\\mathbb{Z}: 0<x<\\sqrt{5}\\}}", 1),
        ("\\{x\\in Z: 0<x<\\sqrt{5}\\}", "\\{1, 2\\}", 1),
        ("\\{x\\in Z: 0<x<\\sqrt{5}\\}", "\\{0, 1, 2\\}", 0),
        ("\\text{all real numbers except } 1", "x \\ne 1", 1),
        ("\\text{all real numbers except } 1", "The domain is all real numbers except 1.", 1),
        ("\\text{all real numbers except } 1", "The domain is all real numbers except 2.", 0),
    ],
)
def test_points_left_out_and_integers(gold, text, right):
    assert reward(gold, text) == right
