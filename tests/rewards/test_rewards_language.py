"""Language consistency: hand-counted words, neutral text, targets, and the floor on words."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import language_consistency
from r1jax.rewards.language import LANGUAGES, count_words, language_of, thought_words
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.reward import RewardConfig

ENGLISH = "How many apples does Anna have after lunch?"
CHINESE = "小明有三个苹果,又买了五个,一共有多少个苹果?"


def share(text, question=ENGLISH, target="question", **metadata):
    problem = Problem("p", question, "3", metadata=metadata)
    completion = Completion.parse(text)
    return language_consistency(target)([problem], [completion], RewardContext())[0]


@pytest.mark.parametrize(
    "text, counts",
    [
        ("She buys two more apples.", {"latin": 5}),
        ("小明有三个苹果", {"han": 4}),  # seven characters in one run
        ("小明,有", {"han": 2}),
        ("so 总共 is 十二", {"latin": 2, "han": 2}),
        ("x + y = 12 a b", {}),
        ("12 km in 3 min, sin(x)", {"latin": 1}),
        ("the value $ab \\cdot cd$ and \\[ xy zz \\] \\frac{a}{b}", {"latin": 3}),
        ("run `print(total)` now ```python\nfoo bar\n``` done", {"latin": 3}),
        ("<think> yes </think> <answer> no </answer>", {"latin": 2}),
        ("Привет мир 안녕하세요 naïve", {"cyrillic": 2, "hangul": 1, "latin": 1}),
        ("", {}),
    ],
)
def test_words_are_counted_by_script(text, counts):
    assert {k: n for k, n in count_words(text).items() if n} == counts


@pytest.mark.parametrize(
    "question, language",
    [(ENGLISH, "en"), (CHINESE, "zh"), ("3+4=?", "en"), ("りんごはいくつありますか", "ja"),
     ("Сколько яблок осталось?", "ru"),
     ("写一个Python函数 def solve(n): return n", "zh"),
     ("def solve(numbers):\n    return sum(numbers)\n这个函数是做什么的?", "zh"),
     ("调用 numpy.linalg.norm 和 max_of_two(first, second)", "zh"),
     ("打开 https://example.org/some/long/path/of/words", "zh"),
     ("int main() {\n  return first_value + second;\n}\n补全代码", "zh"),
     ("求 $f(x)=\\text{the larger of both}$ 的值", "zh"),
     ("Complete def solve(n): return n, so that it gives twice its argument", "en"),
     ("What does `def f(x): return x` print, and why?", "en"),
     ("How would you say 谢谢 to a friend?", "en"),
     ("def solve(first, second): return first", "en")],
)  # fmt: skip
def test_the_language_of_a_question(question, language):
    assert language_of(question) == language


def test_the_share_of_target_words_in_the_thought():
    assert share("<think> one two three 总共 十二 </think> 答案是十二") == pytest.approx(3 / 5)
    assert share("<think> one two three four five </think> 答案") == 1.0
    assert share("<think> 一共 一共 一共 二 三 </think>", question=CHINESE) == 1.0
    assert share("<think> 一共 一共 一共 二 三 </think>") == 0.0
    assert share("no tags: one 二 three 四 five six") == pytest.approx(6 / 8)


def test_the_target_is_the_questions_language_unless_set():
    text = "<think> one two three four 总共 </think>"
    assert share(text, CHINESE) == pytest.approx(1 / 5)
    assert share(text, CHINESE, target="en") == pytest.approx(4 / 5)
    assert share(text, CHINESE, language="en") == pytest.approx(4 / 5)
    assert share(text, CHINESE, language="") == pytest.approx(1 / 5)


@pytest.mark.parametrize("tag", ["zh-CN", "zh_Hans", "ZH", "zh-Hant-TW", "Chinese", "zho", "中文"])
def test_a_language_is_known_by_its_tags_and_names(tag):
    text = "<think> one two three four 总共 </think>"
    assert share(text, language=tag) == pytest.approx(1 / 5)
    assert share(text, target=tag) == pytest.approx(1 / 5)
    assert share(text, CHINESE, language="EN") == share(text, CHINESE, language="en-GB") == 4 / 5


@pytest.mark.parametrize("tag", ["xx", "unheard of", "python", 5, ["zh"]])
def test_an_unknown_language_of_a_problem_is_refused(tag):
    line = "problem 'p': the column language says .*; it takes zh, ja"
    with pytest.raises(UserError, match=line):
        share("<think> one two </think>", language=tag)
    with pytest.raises(UserError, match=line):
        language_consistency().check([Problem("p", ENGLISH, "3", metadata={"language": tag})])
    language_consistency("en").check([Problem("p", ENGLISH, "3", metadata={"language": tag})])


def test_of_a_program_the_column_may_name_a_programming_language():
    problem = Problem("p", CHINESE, "", "code", {"language": "python"})
    completion = Completion.parse("<think> 一共 一共 一共 一共 four </think>")
    assert language_consistency()([problem], [completion], RewardContext()) == [4 / 5]


@pytest.mark.parametrize("text", ["<think> 3+4=7 </think>", "<think> it is 7 now </think>", ""])
def test_fewer_than_five_words_on_a_worded_problem_earn_nothing(text):
    assert share(text) == 0.0


def test_a_problem_without_words_asks_for_none():
    assert share("<think> 58-21=37 </think>", question="58-21=?") == 1.0
    assert share("<think> so 是 </think>", question="58-21=?") == pytest.approx(1 / 2)


def test_an_unknown_target_is_refused():
    with pytest.raises(UserError, match="no target 'xx'; choose from question, zh"):
        language_consistency("xx")


@given(st.text(max_size=60), st.sampled_from(LANGUAGES))
def test_it_is_a_share_whatever_the_text(text, target):
    assert 0 <= share(text, target=target) <= 1


@given(st.lists(st.sampled_from(["apple", "总共", "x", "12", "мир"]), max_size=12))
def test_words_add_up_over_separate_pieces(pieces):
    whole = count_words(" ".join(pieces))
    assert whole.total() == sum(count_words(p).total() for p in pieces)
    assert thought_words(Completion.parse("<think> " + " ".join(pieces))) == whole


# --- languages of one script -----------------------------------------------------------------

SAID = "We want to know how much is left. So we take three from nine."  # 8 + 6 words
GESAGT = (
    "Wir wollen wissen, wie viel noch bleibt. Also nehmen wir drei von neun weg."  # 7 + 7 words
)


def told(text, target="question", question=ENGLISH, **metadata):
    problem = Problem("p", question, "3", metadata=metadata)
    reward = language_consistency(target, "langid")
    return reward([problem], [Completion.parse(text)], RewardContext())[0]


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        (SAID, "en", 1.0),
        (GESAGT, "en", 0.0),
        (GESAGT, "de", 1.0),
        (SAID, "de", 0.0),
        (f"{SAID} {GESAGT}", "en", 14 / 28),
        (f"<think> {GESAGT} </think> <answer> {SAID} </answer>", "en", 0.0),  # the thought alone
        (f"{SAID} Ja, sehr gut.", "en", 1.0),  # three words: left to the script
        (f"{SAID} 我们要算出来。", "en", 14 / 17),  # six Han characters are three words
        ("12+3=15. $x^2$", "en", 1.0),
        ("先算三加四，再减五。", "zh", 1.0),  # no other language here is written so
    ],
)
def test_an_identifier_tells_languages_of_one_script_apart(text, target, expected):
    question = "12+3?" if text.startswith("12") else ENGLISH
    assert told(text, target, question) == pytest.approx(expected)


def test_the_questions_language_is_identified_too():
    german = "Wie viele Äpfel hat Anna nach dem Mittagessen noch übrig?"
    assert told(GESAGT, question=german) == 1.0
    assert told(SAID, question=german) == 0.0
    assert share(SAID, question=german) == 1.0  # by script alone
    assert told(SAID, question=german, language="en") == 1.0  # what the data say counts first


def test_without_the_package_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "py3langid", None)
    with pytest.raises(UserError, match=r"install r1jax\[langid\], or use script"):
        language_consistency("en", "langid")
    assert language_consistency("en").identifier == "script"


def test_the_identifier_is_a_flag():
    flags = RewardConfig(accuracy=0, format=0, language=1.0, language_identifier="langid")
    (term,) = make_terms(flags, max_tokens=8, seed=0)
    assert term.reward == language_consistency("question", "langid")
