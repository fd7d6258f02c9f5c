"""Graders: a table by kind, the countdown evaluator, and reasoning-gym without running text."""

import os
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import accuracy, check_gold, grade, unsafe_reasoning_gym_tasks
from r1jax.rewards.answers.choice import choice_letter
from r1jax.rewards.answers.countdown import evaluate, solves
from r1jax.rewards.answers.extract import extract
from r1jax.rewards.answers.gym import OWN_SCORERS, check_task

TABLE = [
    # grader, gold, answer, right
    ("number", "42", "42", 1),
    ("number", "42", "42.0", 1),
    ("number", "42", "$42$", 1),
    ("number", "42", "\\boxed{42}", 1),
    ("number", "1234", "1,234 km", 1),
    ("number", "0.75", "3/4", 1),
    ("number", "3/4", "\\frac{3}{4}", 1),
    ("number", "-7", "−7", 1),
    ("number", "42", "４２元", 1),
    ("number", "50", "50%", 1),
    ("number", "1/3", "0.333333", 0),
    ("number", "42", "43", 0),
    ("number", "42", "-42", 0),
    ("number", "42", "40+2", 0),
    ("number", "2", "40+2", 0),
    ("number", "42", "41, 42", 0),
    ("number", "42", "forty-two", 1),
    ("number", "42", "", 0),
    ("math", "42", "42", 1),
    ("math", "\\frac{1}{2}", "0.5", 1),
    ("math", "1/2", "$\\frac{2}{4}$", 1),
    ("math", "x^2+2x+1", "(x+1)^2", 1),
    ("math", "\\sqrt{8}", "2\\sqrt{2}", 1),
    ("math", "\\{1,2\\}", "\\{2,1\\}", 1),
    ("math", "(1,2)", "(1, 2)", 1),
    ("math", "5", "x = 5", 1),
    ("math", "5", "5 apples", 1),
    ("math", "5", "5\\text{ hours}", 1),
    ("math", "2\\sqrt{3}", "The value is $2\\sqrt{3}$.", 1),
    ("math", "\\frac{\\pi}{2}", "\\pi/2", 1),
    ("math", "\\text{Paris}", "Paris", 1),
    ("math", "3", "3x+4", 0),
    ("math", "x+3", "3", 0),
    ("math", "42", "42 + tax", 0),
    ("math", "42", "41, 42", 0),
    ("math", "5", "x=5 or x=6", 0),
    ("math", "[1,2]", "[1,2)", 0),
    ("math", "\\frac{1}{2}", "\\frac{1}{", 0),
    ("choice", "B", "B", 1),
    ("choice", "B", "(b)", 1),
    ("choice", "(B)", "B.", 1),
    ("choice", "B", "B. Paris", 1),
    ("choice", "B", "B) 42", 1),
    ("choice", "B", "The answer is B", 1),
    ("choice", "B", "Answer: (B)", 1),
    ("choice", "B", "**B**", 1),
    ("choice", "B", "$\\text{(B)}$", 1),
    ("choice", "B", "\\boxed{\\textbf{B}}", 1),
    ("choice", "B", "答案：B。", 1),
    ("choice", "B", "选Ｂ", 1),
    ("choice", "B", "C", 0),
    ("choice", "B", "A or B", 0),
    ("choice", "B", "B, C", 0),
    ("choice", "B", "A B C D", 0),
    ("choice", "A", "A cat", 0),
    ("choice", "B", "Paris", 0),
]


@pytest.mark.parametrize(("grader", "gold", "answer", "right"), TABLE)
def test_table(grader, gold, answer, right):
    assert grade(Problem("p", "?", gold, grader), answer) == right


COUNTDOWN = [
    # answer, numbers, target, use, right
    ("25+3*4", [25, 3, 4], 37, "all", True),
    ("25 + 3 × 4 = 37", [25, 3, 4], 37, "all", True),
    ("25+3*4=25+12=37", [25, 3, 4], 37, "all", True),
    ("\\boxed{25 + 3 \\times 4}", [25, 3, 4], 37, "all", True),
    ("２５＋３＊４", [25, 3, 4], 37, "all", True),
    ("4*3+25", [25, 3, 4], 37, "all", True),
    ("(1+2)/3", [1, 2, 3], 1, "all", True),
    ("8/(3-8/3)", [8, 3, 8, 3], 24, "all", True),
    ("-3+5", [3, 5], 2, "all", True),
    ("7", [7], 7, "all", True),
    ("\\frac{6}{3}+1", [6, 3, 1], 3, "all", True),
    ("6/4*2", [6, 4, 2], 3, "all", True),
    ("5+5", [5], 10, "all", False),
    ("25+3*4", [25, 3, 4, 9], 37, "all", False),
    ("25+3*4", [25, 3, 4, 9], 37, "subset", True),
    ("25+3*4+9-9", [25, 3, 4, 9], 37, "subset", False),
    ("25+3*4=38", [25, 3, 4], 37, "all", False),
    ("25+3+4", [25, 3, 4], 37, "all", False),
    ("37", [25, 3, 4], 37, "all", False),
    ("37", [25, 3, 4], 37, "subset", False),
    ("5**2", [5, 2], 25, "all", False),
    ("7//2", [7, 2], 3, "all", False),
    ("--3+5", [3, 5], 8, "all", False),
    ("1/(2-2)", [1, 2, 2], 0, "all", False),
    ("the sum is 25+3*4", [25, 3, 4], 37, "all", False),
    ("25+3*", [25, 3], 28, "all", False),
    ("", [1], 1, "all", False),
]


@pytest.mark.parametrize(("answer", "numbers", "target", "use", "right"), COUNTDOWN)
def test_countdown(answer, numbers, target, use, right):
    assert solves(answer, numbers, target, use) is right
    problem = Problem("p", "?", "", "countdown", {"numbers": numbers, "target": target, "use": use})
    assert grade(problem, answer) == float(right)


def test_evaluate_lists_the_numbers_in_order():
    assert evaluate("(1 + 2) / 4") == (Fraction(3, 4), [1, 2, 4])
    assert evaluate("1" + "+1" * 200) is None


def branch(inner):
    return st.tuples(inner, st.sampled_from("+-*"), inner).map(lambda t: f"({t[0]}{t[1]}{t[2]})")


@given(st.recursive(st.integers(0, 99).map(str), branch))
def test_evaluate_agrees_with_python(text):
    found = evaluate(text)
    if len(text) <= 300 and text.count("(") < 90:
        assert found is not None and found[0] == eval(text)


GOLDS = [
    ("number", "42", {}, None),
    ("number", "many", {}, "not a number"),
    ("number", "2 hours and 30 minutes", {}, "not a number"),
    ("math", "\\frac{1}{2}", {}, None),
    ("math", "(-\\infty, 3]", {}, None),
    ("math", "", {}, "cannot parse"),
    ("math", "hello world", {}, "cannot parse"),
    ("math", "\\frac{", {}, "cannot parse"),
    ("choice", "C", {}, None),
    ("choice", "K", {}, "not a letter"),
    ("countdown", "", {"numbers": [1, 2], "target": 3}, None),
    ("countdown", "3", {"numbers": [1, 2]}, None),
    ("countdown", "", {"numbers": [1, 2]}, "needs"),
    ("countdown", "3", {}, "needs"),
    ("countdown", "3", {"numbers": [1, 2], "use": "some"}, "'some'"),
    ("reasoning_gym", "3", {"dataset": "chain_sum", "entry": {}}, None),
    ("reasoning_gym", "3", {}, "needs"),
]


@pytest.mark.parametrize(("grader", "gold", "metadata", "reason"), GOLDS)
def test_check_gold(grader, gold, metadata, reason):
    found = check_gold(Problem("p", "?", gold, grader, metadata))
    assert found is None if reason is None else reason in found


def test_where_no_rule_tells_accuracy_is_left_out():
    problems = [Problem("w", "Write to Tom.", "", "none"), Problem("n", "1+1?", "2", "number")]
    reward = accuracy()
    reward.check(problems)
    assert check_gold(problems[0]) is None
    answers = [Completion.parse("<answer>2</answer>", finish_reason=f) for f in ("stop", "length")]
    found = [reward([p] * 2, answers, RewardContext()) for p in problems]
    assert found == [[None, None], [1.0, 0.0]]


def test_an_unknown_grader_is_refused():
    with pytest.raises(UserError, match="'p': grader 'maths' is unknown; use one of number, math"):
        check_gold(Problem("p", "?", "1", "maths"))


def test_the_letters_of_an_answer():
    assert choice_letter("Option D because A fails") == "D"
    assert choice_letter("I do not know") is None


def gym_problem(name: str, **config: object) -> Problem:
    import reasoning_gym

    entry = reasoning_gym.create_dataset(name, size=3, seed=1, **config)[0]
    metadata = {"dataset": name, "entry": entry, "config": config}
    return Problem("p", entry["question"], str(entry["answer"]), "reasoning_gym", metadata)


@pytest.mark.parametrize(
    "said, worth",
    [
        ("{a} * {b} = {ab}", 1), ("{a} x {b} = {ab}.", 1), ("${a} \\times {b} = {ab}$", 1),
        ("So {a} * {b} = {ab}\n\nI am ready to help.", 1), ("x = {ab}", 1),
        ("The product of {a} and {b} is {a} * {b} = {ab}.", 1),
        ("{a} * {b} = {a} * {b}", 0), ("{a} * {b}", 0), ("{ab} = {a} * {b}", 0),
        ("{a} * {b} = {less}", 0), ("{a} * {b} + 1 = {ab}", 0), ("{a} * {b} = {ab} = 1", 0),
        ("{a} * {b} = {ab} or {less}", 0), ("{a} * {b} = ?", 0),
    ],
)  # fmt: skip
def test_a_true_equation_states_the_number_it_ends_in(said, worth):
    problem = gym_problem("products", min_digits=2, max_digits=2)
    a, b = map(int, problem.metadata["entry"]["metadata"]["expression"].split(" * "))
    text = said.format(a=a, b=b, ab=a * b, less=a * b - 1)
    assert grade(problem, extract(text, "auto", problem)) == worth
    assert grade(problem, f"{a * b:,}") == 1


def test_exactly_these_tasks_of_this_version_are_refused():
    import reasoning_gym.factory as factory

    refused = set(unsafe_reasoning_gym_tasks()) & set(factory.DATASETS)
    assert refused == {
        "composite",
        "intermediate_integration",
        "polynomial_multiplication",
        "simple_integration",
    }
    with pytest.raises(UserError, match="'simple_integration' is refused: its scorer evaluates"):
        check_task("simple_integration")
    with pytest.raises(UserError, match="no task 'chain_sums'; did you mean 'chain_sum'?"):
        check_task("chain_sums")


def test_every_scorer_that_names_an_evaluator_is_accounted_for():
    import inspect

    import reasoning_gym.factory as factory

    sources = {
        name: inspect.getsource(dataset.score_answer)
        for name, (dataset, _) in factory.DATASETS.items()
    }
    evaluating = {n for n, s in sources.items() if "eval(answer" in s or "parse_expr(answer" in s}
    assert len(evaluating) == 9
    assert evaluating == set(OWN_SCORERS) | (set(unsafe_reasoning_gym_tasks()) & evaluating)


@pytest.mark.parametrize(
    "name",
    ["chain_sum", "countdown", "puzzle24", "spiral_matrix", "binary_matrix", "string_insertion",
     "n_queens", "bitwise_arithmetic", "number_sorting", "propositional_logic", "knights_knaves"],
)  # fmt: skip
def test_a_task_gives_its_own_answer_full_marks_and_code_none(name, tmp_path):
    problem = gym_problem(name)
    mark = tmp_path / "ran"
    if name == "propositional_logic":  # its entries carry no answer, only an example
        problem = Problem("p", "?", "", "reasoning_gym", problem.metadata)
        gold = problem.metadata["entry"]["metadata"]["example_answer"]
    else:
        gold = problem.answer
    assert check_gold(problem) is None
    assert grade(problem, gold) == 1.0
    assert grade(problem, f"__import__('os').system('touch {mark}')") == 0.0
    assert not os.path.exists(mark)


@pytest.mark.parametrize("name, junk", [("game_of_life_halting", "qzxv"), ("coin_flip", "0")])
def test_a_row_whose_scorer_pays_for_junk_has_no_gold(name, junk):
    assert check_gold(gym_problem(name)) == f"its scorer gives full marks to {junk!r}"


def test_a_reviewed_task_refuses_a_field_that_is_code():
    problem = gym_problem("bitwise_arithmetic")
    entry = {**problem.metadata["entry"], "metadata": {"problem": "__import__('os').getpid()"}}
    metadata = {**problem.metadata, "entry": entry}
    assert grade(Problem("p", "?", "", "reasoning_gym", metadata), str(os.getpid())) == 0.0
