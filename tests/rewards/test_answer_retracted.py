"""What a text takes back, and laws between the strict and the lenient reading of one text."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy
from r1jax.rewards.answers.qualifiers import assigned_lines
from r1jax.rewards.answers.retracted import settled, standing, unanswered
from r1jax.rewards.answers.units import measured

ANSWERS = {
    "number": ["7", "-5", "1,234", "0.5", "3/4", "$18", "60 minutes", "seventeen", "50%"],
    "math": [
        "7", "-5", "\\frac{1}{2}", "$2\\sqrt{3}$", "x^2+1", "(1,2)", "[1,2)", "\\{1,2\\}", "x=5",
        "\\boxed{7}", "90^\\circ", "Tuesday", "y=2x+1", "|x|>2", "1, 2", "x=1\ny=2",
    ],
    "choice": ["A", "(B)", "C. Paris", "\\boxed{D}", "option B"],
    "countdown": ["25+3*4", "(25+3*4)", "3*4+25 = 37", "37 = 25+3*4", "25 + 3 × 4"],
}  # fmt: skip
GOLDS = {"countdown": "37", "choice": "ABCD"}
THOUGHTS = ["", "w", "first 3, then 4", "so \\boxed{9}", "The answer is 9.", "I pick E.", "9+9=18"]
FORMATS = [
    "<think>{t}</think><answer>{a}</answer>", "<think>{t}</think>\n<answer>\n{a}\n</answer>\n",
    "{t}</think><answer>{a}</answer>", "{t}\n<answer>{a}</answer>", "<answer>{a}</answer> {t}",
    "<think>{t}</think>so <answer>{a}</answer>\nIt took 3 steps.",
    "<think>{t}<answer>{a}</answer>", "<think>{t}</think><ANSWER>{a}</ANSWER>",
    "<think>{t}</think><answer>The answer is {a}</answer>",
    "<think>{t}</think><answer>**{a}**</answer>", "<answer></answer>{t}<answer>{a}</answer>",
]  # fmt: skip


def reward(gold: str, text: str, grader: str = "math", policy: str = "auto") -> float | None:
    data = {"numbers": [25, 3, 4], "target": 37} if grader == "countdown" else {}
    problem = Problem("r", "", gold, grader=grader, metadata=data)
    return accuracy(policy=policy)([problem], [Completion.parse(text)], RewardContext())[0]


@given(st.data(), st.sampled_from(sorted(ANSWERS)), st.sampled_from(FORMATS))
@settings(max_examples=150, deadline=None)
def test_the_lenient_reading_is_never_stricter_than_the_strict_one(data, grader, form):
    gold = data.draw(st.sampled_from(ANSWERS[grader]))
    answer = data.draw(st.sampled_from(ANSWERS[grader] + [gold] * 10))
    gold = "37" if grader == "countdown" else gold.replace("option ", "")
    text = form.format(t=data.draw(st.sampled_from(THOUGHTS)), a=answer)
    strict = reward(gold, text, grader, "answer_tag")
    assert strict is not None and reward(gold, text, grader, "last") >= strict
    assert reward(gold, text, grader, "auto") >= strict


def test_the_law_is_about_right_answers():
    for grader, answers in ANSWERS.items():
        golds = ["37" if grader == "countdown" else a.replace("option ", "") for a in answers]
        strict = [
            reward(gold, f"<think>w</think><answer>{a}</answer>", grader, "answer_tag")
            for gold, a in zip(golds, answers, strict=True)
        ]
        assert sum(filter(None, strict)) >= 0.7 * len(answers), grader


TAKEN_BACK = [
    # text, what stands, what does not
    ("The answer is 70. Wait, no, actually it's 72.", "72", "70"),
    ("**Answer**: \\boxed{70}\n\nWait, no. I misread it; it should be \\boxed{71}.", "71", "70"),
    ("First I got 60. Oops. It should be 70.", "70", "60"),
    ("答案是60。等等，不对，应该是70。", "70", "60"),
    ("答案是60。更正：70。", "70", "60"),
    ("~~16~~ 17", "17", "16"),
    ("$x=12$ 或 $x=-12$（舍去）。", "12", "-12"),
    ("x=12 or x=-12 (rejected)", "12", "-12"),
    ("The answer is 70. Wait, no, that is fine.", "70", "72"),
    ("I made a mistake at first and got 60, but the answer is 70.", "70", "60"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "stands", "gone"), TAKEN_BACK)
def test_what_is_taken_back_is_no_answer(text, stands, gone):
    for shape in ("{}", "<think>w</think><answer>{}</answer>"):
        for grader in ("math", "number"):
            assert reward(stands, shape.format(text), grader) == 1.0
            assert reward(gone, shape.format(text), grader) == 0.0


def test_a_correction_without_a_new_answer_leaves_the_old_one():
    assert settled("It is 5. Wait, no, that is right.") == "It is 5. Wait, no, that is right."
    assert settled("The answer is B... no wait, C.") == ", C."
    assert reward("C", "The answer is B... no wait, C.", "choice") == 1.0
    assert standing("x = 3, x = 5 (extraneous)") == "x = 3"


@pytest.mark.parametrize("grader", ["math", "number"])
@pytest.mark.parametrize(
    "text", ["I don't know. There are 3 unknowns.", "I cannot determine the answer. 3",
             "我不知道答案。可能有3种情况。", "Is it 3? No."],
)  # fmt: skip
def test_who_says_that_he_cannot_tell_has_not_answered(grader, text):
    assert unanswered(text)
    assert reward("3", text, grader) == 0.0


def test_who_concludes_after_all_has_answered():
    assert reward("70", "I don't know how to do it in general, but here x = 70.") == 1.0
    assert reward("70", "There is not enough information about y, so take x = 70.") == 1.0


@pytest.mark.parametrize("grader", ["math", "number"])
def test_a_ladder_of_answers_is_a_guess(grader):
    for text in ("The answer is 72. The answer is 73.", "Answer 1: 72\nAnswer 2: 73"):
        assert reward("72", text, grader) == reward("73", text, grader) == 0.0
    assert reward("72", "The answer is 72.\nThe answer is 72.", grader) == 1.0


def test_lines_that_assign_are_a_point_in_the_order_of_their_names():
    assert assigned_lines("So\n- x = 2\n- y = -1") == "x = 2, y = -1"
    assert assigned_lines("x = 2\nx = 3") == ""
    for text in ("x = 2\ny = -1", "y = -1\nx = 2", "y = -1, x = 2", "<answer>x=2\ny=-1</answer>"):
        assert reward("(2,-1)", text) == 1.0
        assert reward("(-1,2)", text) == 0.0


def test_two_units_are_one_measure():
    assert measured("1 hour and 20 minutes") == "80 minutes"
    assert measured("3元5角 5 feet 3 inches") == "3.5元 63 inches"
    assert measured("2 apples and 3 pears, 20 minutes 1 hour") == (
        "2 apples and 3 pears, 20 minutes 1 hour"
    )
    assert reward("90^\\circ", "The angle is 90'.") == 0.0
    assert reward("5 \\text{ m/s}", "5 km/h") == 0.0 < reward("5 \\text{ m/s}", "18 km/h")
