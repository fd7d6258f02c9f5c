"""TinyZero's problems and prompts: byte for byte, in range, solvable, train and eval disjoint."""

from __future__ import annotations

import sys
from collections import Counter

import pytest

from r1jax.data import TEMPLATES, DataConfig, ProblemStream, load_eval_sets, open_source, render
from r1jax.data.problems.generated import held_out
from r1jax.data.tinyzero.tasks import countdown_problem, multiply_problem
from r1jax.errors import UserError
from r1jax.rewards.answers.graders import check_gold, grade


def open_(spec, seed=0):
    return open_source(spec, DataConfig(), seed)[0]


def test_the_countdown_prompt_byte_for_byte():
    assert render(TEMPLATES["tinyzero"], countdown_problem([44, 19, 35], 98)) == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant "
        "solves it. The assistant first thinks about the reasoning process in the mind and then "
        "provides the user with the answer.\n"
        "User: Using the numbers [44, 19, 35], create an equation that equals 98. You can use "
        "basic arithmetic operations (+, -, *, /) and each number can only be used once. Show your "
        "work in <think> </think> tags. And return the final answer in <answer> </answer> tags, "
        "for example <answer> (1 + 2) / 3 </answer>.\n"
        "Assistant: Let me solve this step by step.\n"
        "<think>"
    )


def test_the_multiply_prompt_byte_for_byte():
    assert render(TEMPLATES["tinyzero_multiply"], multiply_problem(12, 345)) == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant "
        "solves it. The assistant first thinks about the reasoning process in the mind and then "
        "provides the user with the answer. The reasoning process and answer are enclosed within "
        "<think> </think> and <answer> </answer> tags, respectively, i.e., <think> reasoning "
        "process here </think> <answer> RESULT_NUMBER </answer>. User: Give me the answer of the "
        "following equation: 12 * 345 = Assistant: Ok let me think about it.\n<think>"
    )


def test_the_simplerl_prompts_byte_for_byte():
    problem = multiply_problem(1, 2)
    assert render(TEMPLATES["qwen_boxed"], problem) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"{problem.question}\nPlease reason step by step, and put your final answer within "
        "\\boxed{}.<|im_end|>\n<|im_start|>assistant\n"
    )
    assert render(TEMPLATES["abel"], problem) == (
        f"Question:\n{problem.question}\nAnswer:\nLet's think step by step.\n"
    )


def reachable(numbers):
    """Every value that + - * / make of all the numbers, by brute force over exact quotients."""
    if len(numbers) == 1:
        return {numbers[0]}
    found = set()
    for i, a in enumerate(numbers):
        for j, b in enumerate(numbers):
            if i == j:
                continue
            rest = [n for k, n in enumerate(numbers) if k not in (i, j)]
            values = {a + b, a - b, a * b, *([a // b] if b and a % b == 0 else [])}
            found |= {value for first in values for value in reachable([*rest, first])}
    return found


def test_countdown_problems_are_in_range_and_solvable():
    source = open_("tinyzero:countdown")
    problems = [source[i] for i in range(60)]
    assert len(source) == sys.maxsize and problems == [source[i] for i in range(60)]
    sizes = Counter(len(p.metadata["numbers"]) for p in problems)
    assert set(sizes) == {3, 4} and min(sizes.values()) > 10
    for problem in problems:
        numbers, target = problem.metadata["numbers"], problem.metadata["target"]
        assert all(1 <= n <= 99 for n in numbers) and 10 <= target <= 100
        assert target in reachable(numbers) and check_gold(problem) is None


def test_multiply_sizes_are_as_published():
    source = open_("tinyzero:multiply")
    factors = [
        int(n) for i in range(2000) for n in source[i].metadata["key"].partition("|")[2].split(",")
    ]
    # 0-9 comes from a quarter, 0-99 from another, 0-999 from half of the draws
    assert max(factors) <= 999
    share = sum(n <= 9 for n in factors) / len(factors)
    assert share == pytest.approx(0.25 + 0.25 * 0.1 + 0.5 * 0.01, abs=0.03)
    problem = multiply_problem(12, 345)
    assert grade(problem, "4140") == 1.0 and grade(problem, "4141") == 0.0


@pytest.mark.parametrize("task", ["countdown", "multiply"])
def test_training_and_evaluation_are_disjoint_whatever_the_order(task):
    source = open_(f"tinyzero:{task}", seed=3)
    train = {source[i].metadata["key"] for i in range(400)}
    judged = {p.metadata["key"] for p in source.evaluation(100)}
    assert len(source.evaluation(100)) == 100 and not train & judged
    assert all(map(held_out, judged)) and not any(map(held_out, train))
    assert countdown_problem([3, 1], 4).metadata["key"] == countdown_problem([1, 3], 4).metadata["key"]  # fmt: skip # noqa: E501
    assert multiply_problem(7, 2).metadata["key"] == multiply_problem(2, 7).metadata["key"]


def test_seeds_parameters_and_names():
    assert open_("tinyzero:countdown", 1)[0] != open_("tinyzero:countdown", 2)[0]
    assert open_("tinyzero:countdown?seed=2", 1)[5] == open_("tinyzero:countdown", 2)[5]
    two = open_("tinyzero:countdown?min_numbers=2&max_numbers=2&max_target=20")
    assert {len(two[i].metadata["numbers"]) for i in range(20)} == {2}
    config = DataConfig(train=("tinyzero:multiply",), eval=("tinyzero:multiply",), eval_count=5)
    assert {k: len(v) for k, v in load_eval_sets(config).items()} == {"tinyzero-multiply": 5}
    assert len(ProblemStream(config).take(0, 3)) == 3


@pytest.mark.parametrize(
    "spec, line",
    [
        ("tinyzero:count", "tinyzero:count: no such task; choose from countdown, multiply"),
        ("tinyzero:multiply?digit=2", "no parameter digit; there are digits, seed"),
        ("tinyzero:multiply?digits=few", "digits=few: expected a whole number"),
        ("tinyzero:multiply?digits=0", "needs digits >= 1"),
        ("tinyzero:countdown?min_number=9&max_number=3", "min_number 9 is above max_number 3"),
        ("tinyzero:countdown?min_target=99999999&max_target=99999999", "no problem of the train"),
    ],
)
def test_a_wrong_source_is_one_line(spec, line):
    with pytest.raises(UserError, match=line) as caught:
        open_(spec)
    assert "\n" not in str(caught.value)
