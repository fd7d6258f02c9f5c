"""Everyday wording around an answer: number words, bold, notes, bounds, times of day."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy
from r1jax.rewards.answers.choice import choice_letters
from r1jax.rewards.answers.clock import same_time
from r1jax.rewards.answers.spelled import spelled
from r1jax.rewards.answers.stated import miscounted
from r1jax.rewards.answers.wording import emphasized, worded


def reward(gold: str, text: str, grader: str = "math", question: str = "") -> float | None:
    problem = Problem("w", question, gold, grader=grader)
    return accuracy()([problem], [Completion.parse(text)], RewardContext())[0]


WORDS = {
    "seventeen": "17", "twenty-one": "21", "one hundred and ten": "110", "zero": "0",
    "two thousand five hundred": "2500", "three quarters": "3/4", "十七": "17", "两千四百": "2400",
    "一百零五": "105", "一万二千": "12000", "三分之二": "2/3",
    "She has seventeen apples.": "She has 17 apples.",
}  # fmt: skip
NO_NUMBERS = [
    "No one knows.", "One finds that it is so.", "the seventeenth", "the twenty-first",
    "a two-digit one",
    "这是一个问题。", "17 is the only one.", "one two",
]  # fmt: skip


@pytest.mark.parametrize("words", WORDS)
def test_number_words_are_digits_where_they_are_the_answer(words):
    assert spelled(words) == WORDS[words]


@pytest.mark.parametrize("words", NO_NUMBERS)
def test_words_that_count_nothing_stay(words):
    assert spelled(words) == words


@given(st.integers(0, 9999))
@settings(max_examples=50, deadline=None)
def test_every_number_can_be_said(n):
    assert spelled(_said(n)) == str(n)


def _said(n: int) -> str:
    ones = "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    ones += "fifteen sixteen seventeen eighteen nineteen"
    tens = "twenty thirty forty fifty sixty seventy eighty ninety".split()
    if n < 20:
        return ones.split()[n]
    if n < 100:
        return tens[n // 10 - 2] + (f"-{_said(n % 10)}" if n % 10 else "")
    size, name = (100, "hundred") if n < 1000 else (1000, "thousand")
    rest = f" {'and ' if size == 100 else ''}{_said(n % size)}" if n % size else ""
    return f"{_said(n // size)} {name}{rest}"


def test_bold_marks_the_answer_of_a_sentence_that_goes_on():
    assert emphasized("He planted **72 trees** in 2 gardens.") == "He planted  72 trees"
    for open_text in ("**17** or **18**", "**17** or 18", "**17** is wrong", "**Step 2:** 17"):
        assert emphasized(open_text) == open_text
    assert reward("72", "He planted **70 trees** in his 72 gardens.", "number") == 0


def test_a_false_equality_in_the_last_sentence_spoils_it():
    assert miscounted("2+4=7, so 6") and miscounted("$2+4=7$, so 6") and miscounted("3 × 4 = 13")
    for fine in ("2+4=6, so 6", "10/3 = 3.33", "11+3=2 o'clock", "3*5 = 1 mod 7",
                 "1,000 + 200 = 1,200",
                 "2 + 3x = 7", "f(2)=7", "2+4=7. So 6"):  # fmt: skip
        assert not miscounted(fine), fine


def test_the_least_that_is_needed_is_an_answer_and_a_bound_is_none():
    for text in ("So she needs at least 17 coins.", "At most 17 bishops can be placed.",
                 "You can buy at most 17 pens.", "因此她至少需要17枚硬币。",
                 "最多能买17支。"):  # fmt: skip
        assert reward("17", text) == reward("17", text, "number") == 1, text
    for text in (
        "at least 17",
        "x must be at least 17",
        "She has at least 17 coins.",
        "答案至少是17。",
    ):
        assert reward("17", f"<answer>{text}</answer>") == 0, text
        assert reward("17", text, "number") == 0, text


def test_notes_in_brackets_are_read_past():
    assert worded("12π（立方厘米）") == "12π 立方厘米"
    assert worded("8/3 小时（即2小时40分）") == "8/3 小时"
    assert worded("17 (or 18)") == "17 (or 18)"


def test_times_of_day():
    assert same_time("14:30", "2:30 p.m.") and same_time("2:30", "2:30 PM")
    assert same_time("14:30", "2:30 a.m.") is False
    assert same_time("13:20", "1:20") is None  # ratios, for all we know
    assert reward("2:30 p.m.", "会议下午2点30分结束") == 1


def test_several_letters_are_right_together():
    assert choice_letters("故选:AC") == choice_letters("The answers are (C) and (A).") == "AC"
    assert choice_letters("A") is None
    for text, right in (("答案：A、C", 1), ("\\boxed{AC}", 1), ("ABC", 0), ("A", 0)):
        assert reward("AC", text, "choice") == right
    assert reward("A", "故选:AC", "choice") == 0


@pytest.mark.parametrize("word", ["for", "in", "over", "within"])
def test_a_span_of_time_before_a_comma_is_no_part_of_the_answer(word):
    assert "3" not in worded(f"He saves $42 {word} 3 years, all of it in cash")


def test_what_the_question_asks_for_may_be_named_by_its_formula():
    assert reward("204", "Hence $m+n=204$.", question="Find $m+n$.") == 1
    assert reward("204", "Hence $m+n=204$.", question="Find $mn$.") == 0
    chain = "$m+n = 200+4 = 204$"
    assert reward("204", chain, question="Find $m+n$.") == 1
    assert reward("204", chain, question="Find $mn$.") == 0
    assert reward("204", "$m+n = 200+5 = 204$", question="Find $m+n$.") == 0
    assert reward("12", "15 = 12", question="Of 15 apples, how many?") == 0


@pytest.mark.parametrize("unit", ["\\mbox{ square feet}", "\\text { square feet}", " sq. ft"])
def test_a_unit_of_several_words_belongs_to_its_number(unit):
    for text in ("164 \\pi " + unit, f"<answer>164 \\pi {unit}</answer>"):
        assert reward("164 \\pi \\mbox{ square feet}", text) == 1


@pytest.mark.parametrize("tag", ["ANSWER", "Answer"])
def test_tags_in_capitals_are_tags(tag):
    assert reward("17", f"<think>w</think><{tag}>17</{tag}> of 18") == 1
    assert reward("18", f"<think>w</think><{tag}>17</{tag}> of 18") == 0


@pytest.mark.parametrize("grader", ["math", "number"])
@pytest.mark.parametrize(
    "text", ["17 \\ldots", "17...", "17, 17", "x=16\nx=17", "16. 17.", "Step 17", "17x", "n > 17"]
)
def test_what_is_more_than_one_value_or_none_is_no_answer(grader, text):
    assert reward("17", f"<answer>{text}</answer>", grader) == 0
