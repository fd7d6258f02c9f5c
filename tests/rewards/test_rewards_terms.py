"""Format, length and repetition by literal numbers; lifting, loading and adding up rewards."""

import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import (
    RewardPool,
    Term,
    accuracy,
    load_reward,
    per_answer,
    per_completion,
    random_reward,
    repetition_penalty,
    score,
    soft_overlong,
    strict_format,
    tag_count,
)
from r1jax.rewards.adapters import lifted
from r1jax.rewards.workers.unit import Status, run_unit

CONTEXT = RewardContext()
PROBLEM = Problem("p", "?", "42", "number")


def values(reward, *texts):
    completions = [Completion.parse(text) for text in texts]
    return reward([PROBLEM] * len(texts), completions, CONTEXT)


STRICT = [
    ("<think>a</think><answer>b</answer>", 1.0, 1.0),
    (" <think>a</think>\n\n<answer>b</answer>\n", 1.0, 1.0),
    ("<think>\na\n</think>\n<answer>\nb\n</answer>", 1.0, 1.0),
    ("<think>a</think><answer>b</answer>.", 0.0, 1.0),
    ("So <think>a</think><answer>b</answer>", 0.0, 1.0),
    ("<think>a</think> so <answer>b</answer>", 0.0, 1.0),
    ("<think> </think><answer>b</answer>", 0.0, 1.0),
    ("<think>a</think><answer>\n</answer>", 0.0, 1.0),
    ("<answer>b</answer><think>a</think>", 0.0, 1.0),
    ("<think>a<answer>b</think></answer>", 0.0, 1.0),
    ("<think>a</answer></think><answer>b", 0.0, 1.0),
    ("<think>a</think><answer>b</answer><answer>c</answer>", 0.0, 0.5),
    ("<think>a<think></think><answer>b</answer>", 0.0, 0.75),
    ("a</think><answer>b</answer>", 0.0, 0.75),
    ("<think>a</think><answer>b", 0.0, 0.75),
    ("<think>a", 0.0, 0.25),
    ("42", 0.0, 0.0),
    ("", 0.0, 0.0),
]


@pytest.mark.parametrize(("text", "strict", "tags"), STRICT)
def test_format(text, strict, tags):
    assert values(strict_format, text) == [strict]
    assert values(tag_count, text) == [tags]


@pytest.mark.parametrize(
    ("tokens", "penalty"),
    [(0, 0.0), (16_384, 0.0), (16_385, -1 / 4096), (18_432, -0.5), (20_480, -1.0), (30_000, -1.0)],
)
def test_soft_overlong_has_the_numbers_of_dapo(tokens, penalty):
    completion = Completion("x", tuple(range(tokens)), "stop", None, None)
    assert soft_overlong(20_480, 4_096)([PROBLEM], [completion], CONTEXT) == [penalty]


@pytest.mark.parametrize("cache", [0, -1, 11])
def test_soft_overlong_refuses_a_cache_outside_the_limit(cache):
    with pytest.raises(UserError, match=f"cache is {cache} with max_tokens 10"):
        soft_overlong(10, cache)


@pytest.mark.parametrize(
    ("text", "ngram", "penalty"),
    [
        ("", 3, 0.0),
        ("a b", 3, 0.0),
        ("a b c", 3, 0.0),
        ("a b c d e f", 3, 0.0),
        ("a a a a", 3, -0.5),  # 1 of 2 trigrams
        ("A b a B a b", 2, -0.6),  # ab ba ab ba ab: 2 of 5
        ("x " * 11, 1, -10 / 11),
        ("等等等等", 3, -0.5),
        ("我们再算一次", 3, 0.0),
        ("so等so等so", 2, -0.5),  # so等 等so so等 等so
    ],
)
def test_repetition(text, ngram, penalty):
    assert values(repetition_penalty(ngram), text) == [pytest.approx(penalty)]


def test_repetition_scales_with_its_weight():
    assert values(repetition_penalty(3, -0.2), "a a a a") == [pytest.approx(-0.1)]
    with pytest.raises(UserError, match="max_penalty at most 0"):
        repetition_penalty(3, 0.5)


@given(st.text(alphabet="ab 等", max_size=60), st.integers(1, 4))
def test_repetition_stays_between_the_penalty_and_nothing(text, ngram):
    (penalty,) = values(repetition_penalty(ngram), text)
    assert -1.0 < penalty <= 0.0


def test_accuracy_by_policy_and_of_truncated_completions():
    texts = ["<answer>42</answer> or 7", "\\boxed{42}", "it is 42", "<answer>7</answer> 42"]
    assert values(accuracy("answer_tag"), *texts) == [1.0, 0.0, 0.0, 0.0]
    assert values(accuracy("boxed"), *texts) == [0.0, 1.0, 0.0, 0.0]
    # An answer block that is closed is what was said last, whatever follows.
    assert values(accuracy("last"), *texts) == [1.0, 1.0, 1.0, 0.0]
    assert values(accuracy("auto"), *texts) == [1.0, 1.0, 1.0, 0.0]
    cut = [Completion.parse("<answer>42</answer>", (), "length")]
    assert accuracy()([PROBLEM], cut, CONTEXT) == [0.0]
    assert accuracy(truncated=-0.5)([PROBLEM], cut, CONTEXT) == [-0.5]
    with pytest.raises(UserError, match="policy 'tag' is unknown"):
        accuracy("tag")


def test_lifted_functions():
    @per_answer
    def length(problem, answer):
        return float(len(answer))

    @per_completion
    def stopped(problem, completion):
        return None if completion.finish_reason == "length" else 1.0

    assert values(length, "<answer>abc</answer>", "no number") == [3.0, 0.0]
    cut = Completion.parse("x", (), "length")
    assert stopped([PROBLEM] * 2, [Completion.parse("x"), cut], CONTEXT) == [1.0, None]


def test_random_reward_is_a_fair_coin_for_each_sample():
    def coins(reward, problem, *texts):
        samples = [Completion.parse(text, sample=i) for i, text in enumerate(texts)]
        return list(reward([problem] * len(texts), samples, CONTEXT))

    same = coins(random_reward(0), PROBLEM, *["7"] * 2000)
    assert set(same) == {0.0, 1.0}  # equal texts share no coin
    assert 0.45 < sum(same) / len(same) < 0.55
    assert same == coins(random_reward(0), PROBLEM, *(f"text {i}\ud800" for i in range(2000)))
    another = replace(PROBLEM, id="other")
    for seed, problem in ((1, PROBLEM), (0, another)):
        other = coins(random_reward(seed), problem, *["7"] * 2000)
        assert 0.45 < sum(a == b for a, b in zip(same, other, strict=True)) / 2000 < 0.55


def test_load_reward(tmp_path, monkeypatch):
    source = "def half(p, c, x): return [0.5] * len(c)\nN = 3\ndef lonely(p, a): pass\n"
    (tmp_path / "my_rewards_module.py").write_text(source)
    (tmp_path / "my_broken_module.py").write_text("import no_such_module_at_all\n")
    (tmp_path / "my_raising_module.py").write_text("1 / 0\n")
    (tmp_path / "my_ending_module.py").write_text("import sys\nsys.exit()\n")
    (tmp_path / "my_odd_module.py").write_text("def f(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_rewards_module", raising=False)
    assert values(load_reward("my_rewards_module:half"), "a", "b") == [0.5, 0.5]
    assert load_reward("r1jax.rewards.format:tag_count") is tag_count
    for name, message in [
        ("my_rewards_module", "not of the form package.module:function"),
        (":half", "not of the form package.module:function"),
        ("my_rewards_module:third", "my_rewards_module has no function third"),
        (
            "my_rewards_module:N",
            "must be a function of 3 arguments, .problems, completions, cont",
        ),
        ("my_rewards_module:lonely", "must be a function of 3 arguments"),
        ("my_broken_module:f", "cannot import my_broken_module .No module named 'no_such_module_"),
        ("my_raising_module:f", "failed with ZeroDivisionError: division by zero .my_raising_mo"),
        (
            "my_ending_module:f",
            "reward my_ending_module:f: importing my_ending_module failed with "
            "SystemExit: .my_ending_module.py, line 2.; check the module",
        ),
        ("my_odd_module:f", "failed with SyntaxError: .*; check the module"),
    ]:
        with pytest.raises(UserError, match=message):
            load_reward(name)


def skips_odd(problems, completions, context):
    return [None if i % 2 else float(i) for i in range(len(completions))]


def test_score_adds_up_weighted_terms_and_leaves_none_out():
    problems = [PROBLEM] * 4
    texts = ["<think>a</think><answer>42</answer>", "42", "7", "<think>a</think><answer>7</answer>"]
    completions = [Completion.parse(text) for text in texts]
    terms = [
        Term("accuracy", accuracy()),
        Term("format", strict_format, 0.1),
        Term("even", skips_odd, 10.0),
    ]
    total, parts, counts = score(terms, problems, completions, CONTEXT)
    assert parts == {
        "accuracy": [1.0, 1.0, 0.0, 0.0],
        "format": [1.0, 0.0, 0.0, 1.0],
        "even": [0.0, None, 2.0, None],
    }
    assert total == [1.1, 1.0, 20.0, 0.1]
    assert {name: c.lost for name, c in counts.items()} == {"accuracy": 0, "format": 0, "even": 0}


def test_score_of_terms_that_are_all_left_out_is_zero():
    total, parts, _ = score(
        [Term("none", lambda p, c, x: [None])], [PROBLEM], [Completion.parse("x")], CONTEXT
    )
    assert (total, parts) == ([0.0], {"none": [None]})


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ({0: 1.0, 1: 1.0}, "TypeError: the reward returned a dict; return one number, or None"),
        ({1.0, 2.0}, "TypeError: the reward returned a set; return one number"),
        ("12", "TypeError: the reward returned a str; return one number"),
        (None, "TypeError: the reward returned a NoneType; return one number"),
        (1.0, "TypeError: the reward returned a float; return one number"),
        (["1", "2"], "TypeError: the reward returned the text '1'; return one number"),
        ([1e308, 1.0], "ValueError: the reward returned 1e+308"),
        ([10**400, 1.0], "OverflowError: int too large"),
    ],
)
def test_what_only_looks_like_rewards_is_an_error(returned, said):
    completions = [Completion.parse("a"), Completion.parse("b")]
    lifted_reward = lifted(lambda problems, completions, context: returned)
    outcomes, message = run_unit(lifted_reward, [PROBLEM] * 2, completions, CONTEXT)
    assert outcomes[0] == (Status.ERROR, 0.0) and message.startswith(said)


def test_score_refuses_two_terms_of_one_name():
    with pytest.raises(UserError, match="each needs a name of its own"):
        score([Term("a", tag_count), Term("a", tag_count)], [], [], CONTEXT)


def test_a_list_of_the_wrong_length_names_the_reward():
    with pytest.raises(UserError, match="reward short returned 1 values for 2 completions; return"):
        score(
            [Term("short", lambda p, c, x: [1.0])],
            [PROBLEM] * 2,
            [Completion.parse("x")] * 2,
            CONTEXT,
        )


def test_without_workers_an_exception_still_costs_only_its_answer():
    @per_answer
    def picky(problem, answer):
        return 1.0 / (float(answer) - 2.0)

    completions = [Completion.parse(f"<answer>{n}</answer>") for n in (1, 2, 3)]
    with RewardPool(workers=0) as pool:
        found, counts = pool.map(picky, [PROBLEM] * 3, completions, CONTEXT)
    assert found == [-1.0, 0.0, 1.0]
    assert (counts.errors, counts.first_error) == (1, "ZeroDivisionError: float division by zero")
