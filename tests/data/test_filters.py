"""The filters of data to be learnt, against texts counted by hand."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.data.curation.filters import (
    FilterConfig,
    Text,
    complete,
    first_reason,
    length,
    make_filters,
    no_code,
    one_script,
    repeated,
    repetition,
    same_language,
    short_paragraphs,
    words,
)
from r1jax.errors import UserError

ASKED = "How many apples are left at the end of the day?"
THOUGHT = "I start with ten apples and give away three of them."
GOOD = f"<think> {THOUGHT} So 10-3=7. </think> <answer> 7 </answer>"


def of(text, question=ASKED):
    return Text.of(question, text)


def thinking(thought, question=ASKED, summary="7"):
    return of(f"<think> {thought} </think> <answer> {summary} </answer>", question)


@pytest.mark.parametrize(
    "text, thought, summary",
    [
        (GOOD, f"{THOUGHT} So 10-3=7.", "7"),
        ("<think>\na\n</think>\n\nThe result is \\boxed{7}.", "a", "The result is \\boxed{7}."),
        ("<think> a </think>", "a", ""),
        ("<think> a <answer> 7 </answer>", "a", ""),
        ("no tags", "", ""),
    ],
)
def test_thought_and_summary(text, thought, summary):
    assert of(text)[1:3] == (thought, summary)


@pytest.mark.parametrize(
    "text, reason",
    [
        (GOOD, None),
        ("<think> </think> <answer> 7 </answer>", "incomplete"),
        ("<think> a </think>", "incomplete"),
        ("7", "incomplete"),
    ],
)
def test_both_parts_must_be_there(text, reason):
    assert complete(of(text)) == reason


@pytest.mark.parametrize(
    "text, reason",
    [
        (GOOD, None),
        (f"{GOOD} done", "format"),
        (GOOD.replace("<answer> 7 </answer>", "7"), "format"),
    ],
)
def test_the_strict_envelope_can_be_asked_for(text, reason):
    assert first_reason(make_filters(FilterConfig(strict=True)), of(text)) == reason
    assert first_reason(make_filters(FilterConfig()), of(text)) is None


@pytest.mark.parametrize(
    "text, count",
    [("", 0), ("a bc  d\ne", 4), ("先算88+15=103。", 3), ("ひらがなkana", 5), ("1+1=2.", 1)],
)
def test_words(text, count):
    assert words(text) == count


@pytest.mark.parametrize("count, reason", [(2, "short"), (3, None), (5, None), (6, "long")])
def test_the_window_of_lengths_holds_both_ends(count, reason):
    assert length(3, 5)(thinking("x " * count)) == reason


@pytest.mark.parametrize(
    "text, share",
    [
        ("a b c d", 0.0),  # one 4-gram
        ("a b c d a b c d", 0.2),  # 5 4-grams, abcd twice
        ("a a a a a", 0.5),  # 2, equal
        ("a b c", 0.0),
        ("A b c d. a B c d.", 0.2),  # capitals do not count
        ("先算先算先算", 1 / 3),  # 3 4-grams, the first twice
    ],
)
def test_repeated_4_grams(text, share):
    assert repeated(text) == pytest.approx(share)
    assert repetition(share + 1e-9)(of(text)) is None
    assert repetition(max(share - 1e-9, 1e-9))(of(text)) == ("repetition" if share else None)


@pytest.mark.parametrize(
    "english, chinese, reason",
    [
        (19, 1, None),  # 0.95
        (18, 1, "mixed_script"),  # 0.947
        (1, 19, None),
        (10, 10, "mixed_script"),
        (0, 0, None),
    ],
)
def test_one_script_has_at_least_the_share(english, chinese, reason):
    thought = " ".join(["word"] * english + ["我们"] * chinese) + " 1+1=2"
    assert one_script(0.95)(thinking(thought)) == reason


def test_one_script_looks_at_the_summary_and_takes_japanese_as_one():
    assert one_script(0.95)(thinking("I think so", summary="答案是七")) == "mixed_script"
    assert one_script(0.95)(thinking("りんごを三つ食べました。残りは七つです。")) is None


@pytest.mark.parametrize(
    "question, thought, summary, reason",
    [
        (ASKED, THOUGHT, "7", None),
        (ASKED, "我们先算十减三。", "7", "language"),
        (ASKED, THOUGHT, "答案是七", "language"),
        ("还剩多少个苹果？", "我们先算十减三。", "答案是七", None),
        ("还剩多少个苹果？", THOUGHT, "7", "language"),
        (ASKED, "10-3=7", "7", None),  # no words, no language
    ],
)
def test_thought_and_summary_are_in_the_questions_language(question, thought, summary, reason):
    assert same_language(thinking(thought, question, summary)) == reason


def test_code_blocks_count_in_the_thought_alone():
    fenced = "```python\nprint(7)\n```"
    assert no_code(thinking(f"I run {fenced}")) == "code"
    assert no_code(thinking(THOUGHT, summary=fenced)) is None
    assert no_code(thinking("the code `x` is inline")) is None


@pytest.mark.parametrize(
    "thought, reason",
    [
        ("w " * 10, None),
        ("w " * 11, "paragraph"),
        ("w " * 6 + "\n\n" + "w " * 6, None),
        ("w " * 6 + "\n  \n" + "w " * 6, None),
        ("w " * 6 + "\n" + "w " * 6, "paragraph"),  # one line break is no new paragraph
        ("我" * 11, "paragraph"),
    ],
)
def test_paragraphs_between_empty_lines(thought, reason):
    assert short_paragraphs(10)(thinking(thought)) == reason


@pytest.mark.parametrize(
    "text, reason",
    [
        (GOOD, None),
        ("7", "incomplete"),
        (of("<think> 1 </think> 7").text, "short"),
        ("<think> " + "so it is done " * 20 + "</think> 7", "repetition"),
        ("<think> I start 我们先算 with ten 苹果 and give three </think> 7", "mixed_script"),
        ("<think> 我们先算十减三等于七。 </think> 7", "language"),
        (f"<think> {THOUGHT} ```x``` </think> 7", "code"),
        ("<think> " + " ".join(f"word{i}" for i in range(401)) + " </think> 7", "paragraph"),
    ],
)
def test_the_default_filters_give_their_reasons(text, reason):
    assert first_reason(make_filters(FilterConfig()), of(text)) == reason


def test_filters_can_be_switched_off():
    free = FilterConfig(1.1, 0.0, False, False, False, 0, 10**6, 10**6, True)
    worst = "```" + "so 我们 so 我们 " * 500
    assert first_reason(make_filters(free), of(worst)) is None
    assert first_reason(make_filters(FilterConfig()), of(worst)) is not None


def test_each_text_has_its_own_reason():
    filters = make_filters(FilterConfig())
    reasons = [first_reason(filters, of(text)) for text in (GOOD, "7", GOOD, "8", "")]
    assert reasons == [None, "incomplete", None, "incomplete", "incomplete"]


@given(st.text(alphabet="ab `\n中<think>/", max_size=60))
def test_any_text_has_a_share_and_a_reason_that_some_filter_gives(text):
    assert 0 <= repeated(text) < 1
    filters = make_filters(FilterConfig())
    reason = first_reason(filters, of(text))
    assert reason in {f(of(text)) for f in filters}


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"repetition": 0}, "--filters.repetition 0"),
        ({"script": 1.5}, "--filters.script 1.5"),
        ({"shortest": 9, "longest": 8}, "no length fits both"),
        ({"paragraph": 0}, "--filters.paragraph 0"),
    ],
)
def test_wrong_settings_are_one_line(fields, said):
    with pytest.raises(UserError, match=said):
        FilterConfig(**fields)
