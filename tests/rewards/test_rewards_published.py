"""Published reward sets, row by row with numbers worked by hand; their traps among them."""

from __future__ import annotations

import math
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, load_reward, named_reward, open_r1, simplerl, will_brown
from r1jax.rewards import tinyzero as tz

PROBLEM = Problem("p", "?", "72")
CONTEXT = RewardContext()


def rate(reward, *texts, problem=PROBLEM, **options):
    completions = [Completion.parse(text) for text in texts]
    problems = [problem] * len(texts)
    if options:
        query = "&".join(f"{k}={str(v).lower()}" for k, v in options.items())
        reward = load_reward(f"{reward.function.__module__}:{reward.function.__name__}?{query}")
    return reward(problems, completions, CONTEXT)


GOOD = "<think>\nstep\n</think>\n<answer>\n$\\boxed{72}$\n</answer>"

# --- Open-R1 ---------------------------------------------------------------------------------


def test_open_r1_accuracy():
    assert rate(open_r1.accuracy, GOOD, "$71$", "the answer is 72", "") == [1.0, 0.0, 0.0, 0.0]
    # boxed wins over what stands before it; without a LaTeX answer there is none
    assert rate(open_r1.accuracy, "$71$ or rather \\boxed{72}") == [1.0]
    assert rate(open_r1.accuracy, GOOD, problem=Problem("p", "?", "\\text{}")) == [None]


def test_open_r1_accuracy_may_read_the_published_column():
    told = Problem("p", "?", "no", metadata={"solution": "Hence $x=\\boxed{72}$."})
    assert rate(open_r1.accuracy, GOOD, problem=told, gold="solution") == [1.0]
    reward = load_reward("r1jax.rewards.open_r1:accuracy?gold=solution")
    with pytest.raises(UserError, match="problem 'p' has no column solution"):
        reward.function(PROBLEM, Completion.parse(GOOD))


@pytest.mark.parametrize(
    "text, value",
    [
        (GOOD, 1.0),
        (GOOD + "\nand more\nlines", 1.0),  # MULTILINE
        (GOOD + " and more", 0.0),
        (GOOD.replace("</think>\n<", "</think>\n\n<"), 0.0),  # a blank line
        (GOOD.replace("<think>\n", "<think>"), 0.0),
        ("x" + GOOD, 0.0),
        ("", 0.0),
    ],
)
def test_open_r1_format(text, value):
    assert rate(open_r1.format, text) == [value]


_PIECES = ["<think>\n", "\n</think>\n", "<answer>\n", "\n</answer>", "```python", "```", "\n", "x"]


@settings(max_examples=400, deadline=None)
@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join), st.booleans())
def test_open_r1_formats_are_their_expressions(text, framed):
    text = "<think>\n\n</think>\n<answer>\n" + text if framed else text
    flags = re.DOTALL | re.MULTILINE
    plain = re.match(r"^<think>\n.*?\n</think>\n<answer>\n.*?\n</answer>$", text, flags)
    code = re.match(
        r"^<think>\n.*?\n</think>\n<answer>\n.*?```python.*?```.*?\n</answer>$", text, flags
    )
    assert rate(open_r1.format, text) == [float(plain is not None)]
    assert rate(open_r1.code_format, text) == [float(code is not None)]


def test_open_r1_code_format():
    text = "<think>\nx\n</think>\n<answer>\n```cpp\nint a;\n```\n</answer>"
    assert rate(open_r1.code_format, text) == [0.0]
    assert rate(open_r1.code_format, text, problem=Problem("p", "", "", metadata={"language": "cpp"})) == [1.0]  # fmt: skip # noqa: E501
    cpp = load_reward("r1jax.rewards.open_r1:code_format?language=cpp")
    assert rate(cpp, text, text.replace("\n```\n", "\n")) == [1.0, 0.0]


@pytest.mark.parametrize(
    "text, value",
    [
        (GOOD, 1.0),
        (GOOD.replace("<think>\n", "<think>"), 0.75),
        (GOOD + "\n</answer>", 0.75),  # twice
        ("<think> </think> <answer> </answer>", 0.0),  # no newlines
    ],
)
def test_open_r1_tag_count(text, value):
    assert rate(open_r1.tag_count, text) == [value]


@pytest.mark.parametrize(
    "text, value",
    [
        ("", 0.0),
        ("Step 1: a", 1 / 3),
        ("First, a. Next, b.", 2 / 3),
        ("\n- a\n* b\n- c\n- d", 1.0),
        ("1. a\n2. b\n3. c", 1 / 3),  # `^` is the start of the text, not of a line
    ],
)
def test_open_r1_reasoning_steps(text, value):
    assert rate(open_r1.reasoning_steps, text) == [pytest.approx(value)]


def test_open_r1_length():
    right, wrong = "$\\boxed{72}$", "$\\boxed{71}$"  # 12 characters
    texts = [right, wrong, right + " " * 20, wrong + " " * 20, right + " " * 5, wrong + " " * 5]
    # lambda = 0.5 - (n - 12) / 20: 0.5, 0.5, -0.5, -0.5, 0.25, 0.25
    assert rate(open_r1.length, *texts) == [0.5, 0.0, -0.5, -0.5, 0.25, 0.0]
    assert rate(open_r1.length, right, wrong) == [0.0, 0.0]
    unreadable = Problem("p", "?", "\\text{}")
    assert rate(open_r1.length, "a", "aaa", problem=unreadable) == [0.5, -0.5]


def padded(text, characters):
    return text + " " * (characters - len(text))


def test_open_r1_cosine_with_the_command_lines_defaults():
    right, wrong = "$\\boxed{72}$", "$\\boxed{71}$"
    texts = [padded(right, n) for n in (500, 1000, 1500)]
    texts += [padded(wrong, n) for n in (500, 1000, 2000)]
    # progress 1/2, 1, 3/2 (unclamped: back to the middle), and 2 (back to the start)
    expected = [0.75, 0.5, 0.75, -0.25, -0.5, 0.0]
    assert rate(open_r1.cosine, *texts) == pytest.approx(expected, abs=1e-12)
    short = 0.5 + 0.25 * (1 + math.cos(math.pi * 12 / 1000))
    assert rate(open_r1.cosine, right) == [pytest.approx(short)] and short > 0.999
    assert rate(open_r1.cosine, right, problem=Problem("p", "?", "\\text{}")) == [1.0]


def test_open_r1_cosine_with_the_functions_defaults_pays_long_wrong_answers_more():
    texts = [padded("$\\boxed{71}$", n) for n in (20, 100)]
    values = rate(open_r1.cosine, *texts, min_value_wrong=-1.0, max_len=100)
    short = -0.5 + 0.5 * -0.5 * (1 + math.cos(math.pi * 0.2))
    assert values == pytest.approx([short, -0.5]) and short < -0.9
    assert values[0] < values[1]


@pytest.mark.parametrize(
    "text, value",
    [
        ("", 0.0),
        ("a b", 0.0),
        ("a b c", 0.0),
        ("A b c a B c", -0.25),  # abc bca cab abc: 3 of 4
        ("x x x x x", -2 / 3),  # 1 of 3
        ("我 们 我 们 我 们", -0.5),  # between spaces: 2 of 4
        ("我们我们我们", 0.0),  # one word
    ],
)
def test_open_r1_repetition_penalty(text, value):
    assert rate(open_r1.repetition_penalty, text) == [pytest.approx(value)]
    with pytest.raises(UserError, match="max_penalty at most 0"):
        load_reward("r1jax.rewards.open_r1:repetition_penalty?max_penalty=1")(
            [PROBLEM], [Completion.parse("a")], CONTEXT
        )


@pytest.mark.parametrize(
    "tokens, value", [(12288, 0.0), (12289, -1 / 4096), (14336, -0.5), (16384, -1.0), (16385, -1.0)]
)
def test_open_r1_soft_overlong_punishment(tokens, value):
    completion = Completion.parse("short text", range(tokens))
    found = open_r1.soft_overlong_punishment([PROBLEM], [completion], CONTEXT)
    assert found == [pytest.approx(value)]
    bare = load_reward("r1jax.rewards.open_r1:soft_overlong_punishment?soft_punish_cache=0")
    assert bare([PROBLEM], [completion], CONTEXT) == [0.0 if tokens <= 16384 else -1.0]


# --- Will Brown ------------------------------------------------------------------------------

BROWN = "<reasoning>\nwhy\n</reasoning>\n<answer>\n72\n</answer>\n"
TWO_LINES = BROWN.replace("why", "why\nso")


@pytest.mark.parametrize(
    "text, gold, value",
    [(BROWN, "72", 2.0), (BROWN, "$1,072", 0.0), ("72", "72", 2.0), ("<answer>1072", "$1,072", 2.0),
     ("<answer>72.0</answer>", "72", 0.0), ("<answer>7</answer><answer>72</answer>", "72", 2.0)],
)  # fmt: skip
def test_will_brown_correctness(text, gold, value):
    assert rate(will_brown.correctness, text, problem=Problem("p", "?", gold)) == [value]


def test_will_brown_integer():
    texts = [BROWN, "<answer>-72</answer>", "<answer>7.2</answer>", "72", "so 72"]
    assert rate(will_brown.integer, *texts) == [0.5, 0.0, 0.0, 0.5, 0.0]


def test_will_brown_formats():
    loose = "<reasoning>why</reasoning> <answer>72</answer> and more"
    texts = [BROWN, BROWN[:-1], loose, TWO_LINES, "x" + BROWN]
    assert rate(will_brown.strict_format, *texts) == [0.5, 0.0, 0.0, 0.0, 0.0]
    assert rate(will_brown.soft_format, loose, TWO_LINES, "x" + loose) == [0.5, 0.0, 0.0]
    # As published not even its own layout passes the soft one: the dot stops at a newline.
    assert rate(will_brown.soft_format, BROWN) == [0.0]
    strict, soft = (
        load_reward(f"r1jax.rewards.will_brown:{name}_format?dotall=true")
        for name in ("strict", "soft")
    )
    assert rate(strict, *texts) == [0.5, 0.0, 0.0, 0.5, 0.0]
    assert rate(soft, BROWN, loose, TWO_LINES) == [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    "text, value",
    [
        (BROWN, 0.5),
        (BROWN + "12345", 0.5 - 0.005 - 0.005),  # behind each answer tag
        (BROWN[:-1], 0.5 - 0.050 + 0.001),  # all 50 characters count for <answer>
        ("<reasoning>\n", 0.125),
        ("", 0.0),
        (BROWN + BROWN, 0.125 * 0),  # every tag twice
    ],
)
def test_will_brown_xmlcount(text, value):
    assert rate(will_brown.xmlcount, text) == [pytest.approx(value)]


# --- TinyZero --------------------------------------------------------------------------------

COUNTDOWN = Problem("c", "?", "98", "countdown", {"numbers": [44, 19, 35], "target": 98})


def tagged(answer):
    return f"<think>so\n</think> <answer> {answer} </answer>"


@pytest.mark.parametrize(
    "text, value",
    [
        (tagged("44 + 19 + 35"), 1.0),
        (tagged("(35+19)+44"), 1.0),
        (tagged("44 + 19"), 0.1),  # not every number
        (tagged("44 + 19 + 35 + 0"), 0.1),
        (tagged("44 + 19 + 35 = 98"), 0.1),  # "=" is not allowed
        (tagged("44 - 19 + 35"), 0.1),
        (tagged("I give up"), 0.1),
        (tagged(""), 0.1),
        ("44 + 19 + 35", 0.0),
        ("<answer>44 + 19 + 35", 0.0),
        (tagged("44 + 19 + 35") + "\n", 0.0),  # only the last line is searched
        ("<answer>1</answer> <answer>44+19+35</answer>", 1.0),  # the last of them
        ("<answer>44+19+35</answer> <answer>1</answer>", 0.1),
    ],
)
def test_tinyzero_countdown(text, value):
    assert rate(tz.countdown, text, problem=COUNTDOWN) == [value]


def countdown(numbers, target):
    return Problem("c", "?", str(target), "countdown", {"numbers": numbers, "target": target})


@pytest.mark.parametrize(
    "answer, numbers, target, published, exact",
    [
        ("2 ** 3", [2, 3], 8, 1.0, 0.1),
        ("7 // 2", [7, 2], 3, 1.0, 0.1),
        ("1.5", [1, 5], 1.5, 1.0, 0.1),  # the digits 1 and 5
        ("1 / 3", [1, 3], 0.333333, 1.0, 0.1),  # within 1e-5
        ("1 / 3 * 3", [1, 3, 3], 1, 1.0, 1.0),
        ("4 / 0", [4, 0], 4, 0.1, 0.1),
        ("9 ** 9 ** 9", [9, 9, 9], 1, 0.1, 0.1),
        ("(-8) ** 0.5", [8, 0, 5], 3, 0.1, 0.1),  # a complex number is not 3
        ("+5 - -3", [5, 3], 8, 1.0, 0.1),
        ("(2)(3)", [2, 3], 6, 0.1, 0.1),
        ("3 + 05", [3, 5], 8, 0.1, 0.1),
        ("(" * 140 + "1" + ")" * 140, [1], 1, 1.0, 1.0),
        ("1" + "+0" * 200, [1, *[0] * 200], 1, 0.1, 0.1),  # too long to be one
    ],
)
def test_tinyzero_loose_syntax_is_an_option(answer, numbers, target, published, exact):
    problem, text = countdown(numbers, target), tagged(answer)
    assert rate(tz.countdown, text, problem=problem) == [published]
    assert rate(tz.countdown, text, problem=problem, loose_syntax=False) == [exact]


def test_tinyzero_countdowns_other_options():
    late = tagged("44 + 19 + 35") + "\nDone."
    assert rate(tz.countdown, late, problem=COUNTDOWN, last_line_only=False) == [1.0]
    some = countdown([44, 19, 35], 63)
    assert rate(tz.countdown, tagged("44 + 19"), problem=some) == [0.1]
    assert rate(tz.countdown, tagged("44 + 19"), problem=some, strict_numbers=False) == [1.0]
    twice = countdown([44, 19, 35], 88)
    assert rate(tz.countdown, tagged("44 + 44"), problem=twice, strict_numbers=False) == [0.1]
    assert rate(tz.countdown, tagged("1"), problem=COUNTDOWN, format_score=0.25) == [0.25]


@pytest.mark.parametrize(
    "text, value",
    [
        ("<answer>72</answer>", 1.0),
        ("<answer>71</answer>", 0.1),
        ("<answer> 72 </answer>\nmore\nlines", 1.0),  # the whole reply is searched
        ("<answer>72.0</answer>", 0.0),  # no whole number: 0, not 0.1
        ("<answer>seventy-two</answer>", 0.0),
        ("<answer>\n72\n</answer>", 0.0),  # the tags have to stand on one line
        ("<answer>71</answer> <answer>72</answer>", 1.0),
        ("72", 0.0),
    ],
)
def test_tinyzero_multiply(text, value):
    assert rate(tz.multiply, text) == [value]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.sampled_from(["<answer>", "</answer>", "a", " ", "\n"]), max_size=12).map("".join)
)
def test_the_last_answer_is_the_expressions(text):
    found = [m.group(1).strip() for m in re.finditer(r"<answer>(.*?)</answer>", text)]
    assert tz.last_answer(text) == (found[-1] if found else None)


# --- SimpleRL --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, v0, independent, zoo",
    [
        ("so \\boxed{72}", 1.0, 1.0, 1.0),
        ("so \\boxed{71}", -0.5, -0.5, 0.0),
        ("so the answer is 72", -1.0, 0.5, 1.0),
        ("so the answer is 71", -1.0, -1.0, 0.0),
        ("", -1.0, -1.0, 0.0),
    ],
)
def test_simplerl(text, v0, independent, zoo):
    assert rate(simplerl.v0, text) == [v0]
    assert rate(simplerl.v0, text, kind="independent") == [independent]
    assert rate(simplerl.zoo, text) == [zoo]


def test_zoos_unused_penalty():
    texts = ["so \\boxed{71}", "so 71", "so 72"]
    assert rate(simplerl.zoo, *texts, no_box=-1.0) == [0.0, -1.0, 1.0]


# --- by name ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, name, weight, value",
    [
        ("r1jax.rewards.open_r1:cosine", "cosine", 1.0, 0.75),
        ("r1jax.rewards.open_r1:cosine=0.5", "cosine", 0.5, 0.75),
        ("r1jax.rewards.open_r1:cosine?max_len=500", "cosine", 1.0, 0.5),
        ("r1jax.rewards.open_r1:cosine?max_len=500=0.5", "cosine", 0.5, 0.5),
        ("r1jax.rewards.open_r1:cosine?min_value_correct=0.1&max_len=500=-2", "cosine", -2.0, 0.1),
    ],
)
def test_a_reward_with_options_and_weight(text, name, weight, value):
    found, reward, factor = named_reward(text)
    assert (found, factor) == (name, weight)
    assert rate(reward, padded("$\\boxed{72}$", 500)) == pytest.approx([value])


@pytest.mark.parametrize(
    "text, line",
    [
        ("open_r1:cosine?max=1", "no option max; cosine has min_value_wrong, max_value_wrong"),
        ("open_r1:cosine?max_len=1.5", "max_len=1.5; expected a whole number"),
        ("open_r1:cosine?max_value_wrong=low", "max_value_wrong=low; expected a number"),
        ("open_r1:cosine?gold=text", "gold=text; expected answer or solution"),
        ("open_r1:format?strict=true", "no option strict; format has none"),
        ("open_r1:cosine?max_len", "no option max_len|max_len"),
        ("tinyzero:countdown?loose_syntax=no", "loose_syntax=no; expected true or false"),
        ("open_r1:cosine=half", "'half' is not a number"),
        ("open_r1:cosine?max_len=5=half", "'half' is not a number"),
        ("open_r1:cosines", "has no function cosines"),
    ],
)
def test_a_wrong_option_is_one_line(text, line):
    with pytest.raises(UserError, match=line) as caught:
        named_reward(f"r1jax.rewards.{text}")
    assert "\n" not in str(caught.value)


def test_rewards_with_options_go_to_workers():
    with RewardPool(workers=1) as pool:
        for text, value in (
            ("r1jax.rewards.open_r1:cosine?max_len=500", 0.5),
            ("r1jax.rewards.open_r1:repetition_penalty?ngram_size=1", -0.0),
            ("r1jax.rewards.simplerl:v0?no_box=-2", 1.0),
        ):
            completion = Completion.parse(padded("$\\boxed{72}$", 500))
            values, counts = pool.map(load_reward(text), [PROBLEM], [completion], CONTEXT)
            assert values == pytest.approx([value]) and counts.lost == 0
