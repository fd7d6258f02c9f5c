"""Extraction: a table of what each policy finds, and that it stays linear on hostile text."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rewards import GRADERS
from r1jax.rewards.answers.extract import extract, last_expression, unwrap
from r1jax.rewards.answers.numeric import last_number, parse_number
from r1jax.rewards.format import is_strict_format

NUMBER = Problem("n", "?", "42", "number")
COUNTDOWN = Problem("c", "?", "37", "countdown", {"numbers": [25, 3, 4], "target": 37})
CHOICE = Problem("l", "?", "B", "choice")
WORDS = Problem("w", "?", "x^2", "math")

TAGGED = "<think>7 or 8</think><answer> 42 </answer>"

TABLE = [
    # policy, problem, text, found
    ("answer_tag", NUMBER, TAGGED, "42"),
    ("answer_tag", NUMBER, "<answer>1</answer> no, <answer>2</answer>", ""),
    ("answer_tag", NUMBER, "<answer><answer>3</answer></answer>", "3"),
    ("answer_tag", NUMBER, "<answer>42", None),
    ("answer_tag", NUMBER, "42</answer>", None),
    ("answer_tag", NUMBER, "</answer>1<answer>", None),
    ("answer_tag", NUMBER, "the answer is 42", None),
    ("answer_tag", NUMBER, "<answer></answer>", ""),
    ("boxed", NUMBER, "so \\boxed{42}.", "42"),
    ("boxed", NUMBER, "\\boxed{1} then \\boxed{\\frac{1}{2}}", "\\frac{1}{2}"),
    ("boxed", NUMBER, "\\boxed{\\boxed{5}}", "5"),
    ("boxed", NUMBER, "\\boxed{1} and \\boxed{2", "1"),
    ("boxed", NUMBER, "\\boxed{\\{1,2\\}}", "\\{1,2\\}"),
    ("boxed", NUMBER, "\\fbox{9} \\boxed {8}", "8"),
    ("boxed", NUMBER, TAGGED, None),
    ("last", NUMBER, "The answer is 42.", "42"),
    ("last", NUMBER, "It costs $1,234.50.", "1234.50"),
    ("last", NUMBER, "1,234,567 people", "1234567"),
    ("last", NUMBER, "so 3/4 of it", "3/4"),
    ("last", NUMBER, "x = -5", "-5"),
    ("last", NUMBER, "x=-5", "-5"),
    ("last", NUMBER, "x = −5", "-5"),
    ("last", NUMBER, "-$12", "-12"),
    ("last", NUMBER, "10 - 5", "5"),
    ("last", NUMBER, "10-5", "5"),
    ("last", NUMBER, "(-5)", "-5"),
    ("last", NUMBER, "about 12%", "12"),
    ("last", NUMBER, "12\\% of \\$40", "40"),
    ("last", NUMBER, "\\frac{3}{4}", "3/4"),
    ("last", NUMBER, "10 m^2", "10"),
    ("last", NUMBER, "7 m2", "7"),
    ("last", NUMBER, "version x_1", None),
    ("last", NUMBER, "no number", None),
    ("last", NUMBER, "", None),
    ("last", NUMBER, TAGGED, "42"),
    ("last", NUMBER, "<answer>42</answer> or 43", "42"),
    ("last", NUMBER, "<answer>4</answer>2", "4"),
    ("last", NUMBER, "<answer>no number</answer> 42", "42"),
    ("last", NUMBER, "答案是42。", "42"),
    ("last", NUMBER, "答案是４２。", "42"),
    ("last", NUMBER, "一共有１，２３４个,即1,234个。", "1234"),
    ("last", NUMBER, "等于3。4不对", "4"),
    ("last", NUMBER, "所以小明有－７元", "-7"),
    ("last", NUMBER, "共￥３．５０。", "3.50"),
    ("last", NUMBER, "先是3,然后是百分之５０％", "50"),
    ("last", COUNTDOWN, "25+3*4=37", "25+3*4"),
    ("last", COUNTDOWN, "Try (25+3)*4 = 112. Then 25 + 3*4 = 37.", "25 + 3*4"),
    ("last", COUNTDOWN, "37 = 25+3*4", "25+3*4"),
    ("last", COUNTDOWN, "25 + 3*4 = 25 + 12 = 37", "25 + 3*4"),
    ("last", COUNTDOWN, "- 25 + 3 * 4", "25 + 3 * 4"),
    ("last", COUNTDOWN, "2. 25 + 3 * 4", "25 + 3 * 4"),
    ("last", COUNTDOWN, "so (25+3*4) it is", "(25+3*4)"),
    ("last", COUNTDOWN, "(I think 25+3*4)", "25+3*4"),
    ("last", COUNTDOWN, "25 + 3 × 4", "25 + 3 * 4"),
    ("last", COUNTDOWN, "25 + 3 x 4", "25 + 3*4"),
    ("last", COUNTDOWN, "算式是２５＋３×４＝３７。", "25+3*4"),
    ("last", COUNTDOWN, "<answer>25+3*4</answer> hm", "25+3*4"),
    ("last", COUNTDOWN, "it is 37", None),
    ("last", CHOICE, "I say (B).", "B"),
    ("last", CHOICE, "A is wrong, C is right", "C"),
    ("last", CHOICE, "答案选Ｄ。", "D"),
    ("last", WORDS, "We get\n x^2 + 1\n", "x^2 + 1"),
    ("last", WORDS, "We get \\boxed{x^2}\n done", "x^2"),
    ("auto", NUMBER, "\\boxed{1} <answer>2</answer> 3", "2"),
    ("auto", NUMBER, "\\boxed{1} <answer>2 3", "1"),
    ("auto", NUMBER, "one 2 three 3", "3"),
    ("auto", COUNTDOWN, "25+3*4=37", "25+3*4"),
]


@pytest.mark.parametrize(("policy", "problem", "text", "found"), TABLE)
def test_table(policy, problem, text, found):
    assert extract(text, policy, problem) == found


def test_an_unknown_policy_is_refused():
    with pytest.raises(UserError, match="'first' is unknown; use one of answer_tag, boxed"):
        extract("42", "first")


PARSED = [
    ("42", 42),
    ("42.0", 42),
    ("1,234.50", 1234.5),
    ("$1,234", 1234),
    (".5", 0.5),
    ("-3/4", -0.75),
    ("\\frac{3}{4}", 0.75),
    ("1e3", 1000),
    ("12%", 12),
    ("3 apples", 3),
    ("x = 7", 7),
    ("25 + 3*4 = 37", 37),
    ("3 dozens make 36", 36),
    ("5+3", None),
    ("x + 3", None),
    ("x - 3", None),
    ("5!", None),
    ("2^5", None),
    ("3, 4", None),
    ("3 or 4", None),
    ("3或4", None),
    ("3:4", None),
    ("1/0", None),
    ("1e401", None),
    ("9" * 401, None),
    ("none", None),
    ("", None),
]


@pytest.mark.parametrize(("text", "value"), PARSED)
def test_parse_number(text, value):
    assert parse_number(text) == value


@pytest.mark.parametrize("dressed", ["$7$", "$$7$$", "\\(7\\)", "\\[ 7 \\]", "\\boxed{7}", " 7 "])
def test_unwrap(dressed):
    assert unwrap(dressed) == "7"


@given(st.integers(-(10**12), 10**12))
def test_a_number_survives_thousands_commas_and_full_width_digits(n):
    wide = str(n).translate({ord(c): ord(c) + 0xFEE0 for c in "0123456789"})
    assert last_number(f"so it is {n:,}.") == str(n)
    assert last_number(f"答案是{wide}。") == str(n)
    assert parse_number(f"{n:,}") == n


@settings(max_examples=40)
@given(st.text() | st.text(alphabet="0123456789+-*/()=.,<>{}\\ answerboxedthink"))
def test_no_text_raises(text):
    for problem in (NUMBER, COUNTDOWN, CHOICE, WORDS):
        for policy in ("answer_tag", "boxed", "last", "auto"):
            found = extract(text, policy, problem)
            assert found is None or isinstance(found, str)


LONG = 50_000
REPEATED = [
    "<answer>", "</answer>", "<think>", "\\boxed{", "\\boxed{1}", "(", "1+(", "((1", "9", "1,",
    "111,", "1 ", "1=1+", "-", "--1", "\\frac{", "\\frac{1}{", "{", "1/", "1 / ", ".", "1.", "1e",
    "A or ", "answer is ", "(A) ", "(1)/", "1 x ", " ", "\n", "$", "\\[", "一", "，1",
]  # fmt: skip


@pytest.mark.parametrize("piece", REPEATED)
def test_time_is_linear(piece):
    text = "1" + piece * (LONG // len(piece)) + "x"
    start = time.process_time()
    for problem in (NUMBER, COUNTDOWN, CHOICE, WORDS):
        extract(text, "auto", problem)
        extract(text, "last", problem)
        if problem is not WORDS:
            GRADERS[problem.grader](problem, text)
    is_strict_format(text)
    last_expression(text)
    assert time.process_time() - start < 1.0
