"""Intervals, points left out and sets of integers: what has no value, and bounds of any kind."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy
from r1jax.rewards.answers import arithmetic, formula
from r1jax.rewards.answers.attached import detached


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
        ("(-1,0)\\cup(0,\\infty)", "$x>-1$ 且 $x\\ne 0$", 1),
        ("(-1,0)\\cup(0,\\infty)", "$x\\ge -1$ 且 $x\\ne 0$", 0),
        ("(-1,0)\\cup(0,\\infty)", "$x>-1$, $x\\ne -2$", 0),
        ("(1,3)", "$x>1, x<3$", 1),
        ("(1,3)", "$x<3$ and $x\\ge 1$", 0),
        ("(1,3)", "$x>1$ or $x<3$", 0),
        ("(-\\infty,1)\\cup(3,\\infty)", "$x<1$ or $x>3$", 1),
        ("(-\\infty,1)\\cup(3,\\infty)", "$x>1, x<3$", 0),
    ],
)
def test_points_left_out_and_integers(gold, text, right):
    assert reward(gold, text) == right


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        ("(2,-1)", "2i-j", 1),
        ("(2,-1)", "$2\\mathbf{i}+\\mathbf{j}$", 0),
        ("3i+4j", "$(3,4)$", 1),
        ("3i+4j", "$(4,3)$", 0),
        ("(1,0,-2)", "$\\mathbf{i}-2\\mathbf{k}$", 1),
        ("(1,0)", "$\\mathbf{i}-2\\mathbf{k}$", 0),
        ("\\begin{pmatrix}3/5\\\\4/5\\end{pmatrix}", "$\\frac15(3,4)$", 1),
        ("\\begin{pmatrix}3/5\\\\4/5\\end{pmatrix}", "$\\frac15(4,3)$", 0),
        ("(-2,4)", "$-2(1,-2)$", 1),
        ("\\begin{pmatrix}1\\\\2\\end{pmatrix}", "$(1,2)^T$", 1),
        ("1:\\sqrt{3}:2", "$2:2\\sqrt{3}:4$", 1),
        ("1:\\sqrt{3}:2", "$1:2:\\sqrt{3}$", 0),
        ("x\\equiv 3\\pmod 7", "$x\\equiv 3\\pmod 5$", 0),
        ("\\frac13", "$\\frac{C_4^2}{C_{6}^{2}+3}$", 1),
        ("\\frac13", "$\\frac{A_3^1}{A_{9}^1}$", 1),
        ("\\frac13", "$\\frac{A_3^2}{A_{9}^1}$", 0),
        ("200\\text{ N}", "$200\\text{ J}$", 0),
        ("2k\\pi, k\\in\\mathbb{Z}", "$2n\\pi, n\\in\\mathbb{Z}$", 1),
        ("2k\\pi, k\\in\\mathbb{Z}", "$n\\pi, n\\in\\mathbb{Z}$", 0),
    ],
)  # fmt: skip
def test_vectors_ratios_and_letters_of_integers(gold, text, right):
    assert reward(gold, text) == right


@pytest.mark.parametrize(
    ("gold", "text", "right"),
    [
        ("10", "The minimum value is 10, attained at x = 2.", 1),
        ("2", "The minimum value is 10, attained at x = 2.", 0),
        ("10", "最小值为10，当且仅当x=2时取等号。", 1),
        ("2", "最小值为10，当且仅当x=2时取等号。", 0),
        ("17", "There are 17 ways to do this, of which 5 are symmetric.", 1),
        ("5", "There are 17 ways to do this, of which 5 are symmetric.", 0),
        ("84", "There are exactly 84 such triples $(a,b,c)$.", 1),
        ("6", "$6 \\quad (x>0)$", 1),
        ("2x", "$3x \\quad (x>0)$", 0),
        ("1500", "He now has 15k followers.", 0),
        ("1.5k", "$\\frac{3}{2}k$", 1),
        ("1500k", "$1.5k$", 0),
        ("\\sqrt{8}", "The length is $\\sqrt{8}$, approximately $2.83$.", 1),
        ("\\sqrt{8}", "The length is $\\sqrt{8}$, approximately $3.83$.", 0),
    ],
)
def test_what_is_attached_to_a_value_is_no_other_value(gold, text, right):
    assert reward(gold, text) == right


@given(
    st.text(
        "最小值为10，当且仅当x=2时取等号。 approximately or of which () at attained", max_size=60
    )
)
@settings(max_examples=60, deadline=None)
def test_what_is_detached_only_leaves_things_out(text):
    rest = iter(text)
    assert all(sign in rest for sign in detached(text).replace(" \\approx ", ""))
