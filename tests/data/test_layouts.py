"""Layouts of published data sets: what each row becomes, and what is refused in one line."""

from __future__ import annotations

import json
import math
import sys
import types

import pytest

from r1jax.data import DataConfig, load_file, open_source, set_name
from r1jax.errors import UserError
from r1jax.rewards.answers.graders import grade
from r1jax.rewards.sandbox import SandboxConfig


def write(path, *rows):
    text = "".join(json.dumps(row) + "\n" for row in rows)
    path.write_text(text.replace("Infinity", "1e999"))
    return str(path)


def only(path, **flags):
    (problem,), _ = load_file(path, DataConfig(**flags))
    return problem


GSM8K = {"question": "How many?", "answer": "48/2 = <<48/2=24>>24\n#### 1,024"}
MATH = {
    "problem": "Find x.",
    "level": "Level 5",
    "solution": "So 3 is wrong, hence $x=\\boxed{\\frac{1}{2}}$.",
}


def test_gsm8k_takes_the_number_after_the_mark(tmp_path):
    problem = only(write(tmp_path / "a.jsonl", GSM8K))
    assert (problem.question, problem.answer, problem.grader) == ("How many?", "1024", "number")
    assert grade(problem, "1024 dollars") == 1.0


def test_math_takes_the_boxes_of_the_solution(tmp_path):
    problem = only(write(tmp_path / "a.jsonl", MATH))
    assert (problem.answer, problem.grader) == ("\\frac{1}{2}", "math")
    assert problem.metadata == {"level": "Level 5", "solution": MATH["solution"]}
    bare = only(write(tmp_path / "b.jsonl", MATH | {"solution": "thus $\\boxed 7$."}))
    assert bare.answer == "7"
    framed = only(write(tmp_path / "c.jsonl", MATH | {"solution": "thus \\fbox{4}."}))
    assert framed.answer == "4"
    two = only(write(tmp_path / "d.jsonl", MATH | {"solution": "\\boxed{1} in \\boxed{2} bins"}))
    assert two.answer == "1, 2"
    assert [grade(two, answer) for answer in ("2, 1", "2")] == [1.0, 0.0]


def test_math_by_flag_wins_over_an_answer_column(tmp_path):
    path = write(tmp_path / "a.jsonl", MATH | {"answer": "9"})
    assert only(path).answer == "9"
    assert only(path, layout="math").answer == "\\frac{1}{2}"


@pytest.mark.parametrize(
    "answer, gold", [("073", "73"), (204, "204"), ("0", "0"), ("25.0", "25"), ("999", "999")]
)
def test_aime_answers_are_whole_numbers_below_a_thousand(tmp_path, answer, gold):
    row = {"ID": "2024-I-1", "Problem": "Find m+n.", "Answer": answer}
    problem = only(write(tmp_path / "a.jsonl", row), layout="aime")
    assert (problem.question, problem.answer, problem.grader) == ("Find m+n.", gold, "number")


def test_rows_without_an_answer_are_dropped_and_counted(tmp_path):
    gone = MATH | {"problem": "No box.", "solution": "", "answer": "", "answer_missing": True}
    problems, report = load_file(write(tmp_path / "a.jsonl", MATH, gone), DataConfig(strict=True))
    assert len(problems) == 1 and (report.missing, report.unreadable) == (1, 0)
    assert str(report).endswith("1 of 2 problems kept; 1 rows marked answer_missing dropped")


@pytest.mark.parametrize(
    ("said", "missing"),
    [("false", 0), ("False", 0), (0.0, 0), ("", 0), (None, 0), ("true", 1), ("1", 1), (True, 1)],
)
def test_a_mark_of_no_answer_is_read_by_what_it_says(tmp_path, said, missing):
    row = {"question": "2?", "answer": "2", "answer_missing": said}
    kept, report = load_file(write(tmp_path / "a.jsonl", MATH, row), DataConfig())
    assert (len(kept), report.missing) == (2 - missing, missing)


def test_one_question_with_two_answers_is_said(tmp_path):
    rows = [{"question": "1+1?", "answer": answer} for answer in ("2", "3", " 2", "2", "4")]
    _, report = load_file(write(tmp_path / "a.jsonl", *rows), DataConfig())
    assert str(report).endswith("4 repeated questions dropped (2 with another answer)")


SHOWN = "Which?\nA. red\nB. green\nC. blue"


@pytest.mark.parametrize(
    "columns",
    [
        {"choices": ["red", "green", "blue"], "answer": 1},
        {"choices": ["red", "green", "blue"], "answer": "(B)"},
        {"options": ["red", "green", "blue"], "answer": "green", "answer_index": 1},
        {"choices": {"text": ["red", "green", "blue"], "label": ["A", "B", "C"]}, "answer": "B"},
        {"A": "red", "B": "green", "C": "blue", "answer": "B"},
    ],
)
def test_multiple_choice_is_lettered(tmp_path, columns):
    problem = only(write(tmp_path / "a.jsonl", {"question": "Which?", **columns}))
    assert (problem.question, problem.answer, problem.grader) == (SHOWN, "B", "choice")
    assert problem.metadata["options"] == ["red", "green", "blue"]
    assert grade(problem, "The answer is (B)") == 1.0 and grade(problem, "C") == 0.0


def test_questions_that_differ_only_in_their_options_are_two(tmp_path):
    rows = [
        {"question": "Which?", "choices": ["a", "b"], "answer": 0},
        {"question": "Which?", "choices": ["c", "d"], "answer": 0},
    ]
    problems, report = load_file(write(tmp_path / "a.jsonl", *rows), DataConfig())
    assert len(problems) == 2 and report.duplicates == 0


def gpqa_row(i, **more):
    wrong = {f"Incorrect Answer {k}": f"wrong {k}" for k in (1, 2, 3)}
    return {"Question": f"Which, {i}?", "Correct Answer": "right", **wrong, **more}


def test_gpqa_shuffles_options_by_id_alone(tmp_path):
    rows = [gpqa_row(i, **{"Record ID": f"rec{i}"}) for i in range(60)]
    problems, _ = load_file(write(tmp_path / "a.jsonl", *rows), DataConfig())
    assert {p.answer for p in problems} == set("ABCD")
    for problem in problems:
        assert problem.metadata["options"]["ABCD".index(problem.answer)] == "right"
        assert f"\n{problem.answer}. right" in problem.question
    again, _ = load_file(write(tmp_path / "b.jsonl", *rows[::-1]), DataConfig())
    assert again == problems[::-1] and problems[3].id == "rec3"


MBPP = {
    "task_id": 2,
    "text": "Write a function.",
    "code": "def f(x): return x",
    "test_list": ["assert f(1) == 1", "assert f(2) == 2"],
    "split": "train",
}
HUMANEVAL = {
    "prompt": "def g(x):\n",
    "canonical_solution": "    return x\n",
    "test": "def check(candidate):\n    assert candidate(1) == 1\n",
    "entry_point": "g",
}


def test_programs_load_with_their_tests(tmp_path):
    problem = only(write(tmp_path / "a.jsonl", MBPP))
    assert problem.question == (
        "Write a function.\nYour code should pass these tests:\nassert f(1) == 1\nassert f(2) == 2"
    )
    assert (problem.answer, problem.grader) == (MBPP["code"], "code")
    assert problem.metadata["test_list"] == MBPP["test_list"]
    problem = only(write(tmp_path / "b.jsonl", HUMANEVAL))
    assert problem.question == problem.metadata["prompt"] == "def g(x):\n"
    assert (problem.metadata["entry_point"], problem.grader) == ("g", "code")


HUGE = {
    "question": "?", "answer": "3", "grader": "countdown", "numbers": [1, 2],
    "target": "1e99999999",
}  # fmt: skip
ANYWHERE = SandboxConfig(unsafe=True)  # these programs do no harm


def test_programs_are_judged_by_their_tests(tmp_path):
    source, _ = open_source(write(tmp_path / "a.jsonl", MBPP), DataConfig(), 0)
    assert grade(source[0], source[0].answer, ANYWHERE) == 1.0
    assert grade(source[0], "def f(x): return 1", ANYWHERE) == 0.0


PAIRS = [{"input": "1 2\n", "output": "3\n"}, {"input": "", "output": "0"}]


@pytest.mark.parametrize(
    "columns",
    [
        {"tests": PAIRS},
        {"input_output": {"inputs": ["1 2\n", ""], "outputs": ["3\n", "0"]}},
        {"input_output": json.dumps({"inputs": [["1 2", ""], ""], "outputs": [["3", ""], "0"]})},
    ],
)
def test_programs_by_input_and_output_need_no_reference(tmp_path, columns):
    path = write(tmp_path / "a.jsonl", {"question": "Add.", "difficulty": "easy", **columns})
    problem = only(path)
    assert (problem.question, problem.answer, problem.grader) == ("Add.", "", "code")
    assert problem.metadata == {"difficulty": "easy", "tests": PAIRS}
    assert grade(problem, "print(sum(map(int, open(0).read().split())))", ANYWHERE) == 1.0


def test_countdown_rows_get_tinyzeros_question(tmp_path):
    problem = only(write(tmp_path / "a.jsonl", {"target": 98, "nums": [44, 19, 35]}))
    assert problem.question.startswith(
        "Using the numbers [44, 19, 35], create an equation that equals 98. You can use basic"
    )
    assert grade(problem, "44 + 19 + 35") == 1.0
    same = only(write(tmp_path / "b.jsonl", {"target": "98", "nums": [44.0, " 19", 35]}))
    assert same == problem


def test_a_part_of_a_file_by_the_values_of_a_column(tmp_path):
    rows = [{"question": f"{i}?", "answer": i, "split": "abc"[i % 3]} for i in range(9)]
    path = write(tmp_path / "a.jsonl", *rows)
    problems, report = load_file(path + "?split=a,c", DataConfig())
    assert [p.answer for p in problems] == ["0", "2", "3", "5", "6", "8"]
    assert set_name(path + "?split=a") == "a" and report.kept == 6
    with pytest.raises(UserError, match="row 1: no column splt to choose rows by"):
        load_file(path + "?splt=a", DataConfig())
    with pytest.raises(UserError, match="'split' is not column=value"):
        load_file(path + "?split", DataConfig())


@pytest.mark.parametrize(
    "row, flags, line",
    [
        ({"question": "?", "choices": ["a"], "answer": 0}, {}, "expected 2 to 10 options"),
        ({"nums": [], "target": 3}, {}, "column nums: is empty; expected at least one number"),
        (MATH | {"answer_missing": "perhaps"}, {}, "answer_missing: is 'perhaps'; expected true"),
        (
            gpqa_row(0, **{"Incorrect Answer 2": gpqa_row(0)["Correct Answer"]}),
            {},
            "is there twice; take one out",
        ),
        (
            {"question": "?", "choices": ["a", "b"], "answer": 2},
            {},
            "answer: 2 names none of the 2",
        ),
        (MBPP | {"test_list": []}, {}, "test_list: expected a list of assert statements"),
        ({"question": "?", "input_output": "{}"}, {}, "expected tests, a list of input and"),
        ({"question": "?", "tests": [{"input": "1", "output": 2}]}, {}, "all of them text"),
        ({"question": "?", "input_output": {"fn_name": "f"}}, {}, "call a function (fn_name)"),
        ({"nums": "x", "target": 1}, {}, "expected a list of whole numbers in nums"),
        ({"nums": [1, 2.5], "target": 1}, {}, "expected a list of whole numbers in nums"),
        ({"nums": [1, 2], "target": True}, {}, "and one in target"),
        ({"nums": [1, 2], "target": math.nan}, {}, "and one in target"),
        ({"nums": [1, 2], "target": "1e99999999"}, {}, "and one in target"),
        ({"nums": [1, 1e300], "target": "1e-99999999"}, {}, "and one in target"),
        (HUGE, {}, 'metadata needs "numbers" (a list of numbers) and "target" (a number)'),
        ({"question": "?", "tests": 5}, {"layout": "streams"}, "expected tests, a list of input"),
        ({"question": "?", "answer": "x"}, {"layout": "streams"}, "expected tests, a list of inp"),
        ({"question": "?", "answer": "x"}, {"layout": "mbpp"}, "no column test_list"),
        (
            {"question": "?", "input_output": {"inputs": ["1", "2"], "outputs": ["1"]}},
            {},
            "as many inputs as outputs",
        ),
        ({"question": "?", "answer": 1e999}, {}, "holds a number beyond 1.8e308"),
        ({"question": math.nan, "answer": 1}, {}, "column question: is empty; expected text"),
        ({"question": "\u200b\ufeff", "answer": 1}, {}, "column question: is empty; expected text"),
        ({"question": "?", "answer": math.nan}, {}, "the gold answer is empty"),
        (GSM8K | {"grader": 5}, {}, "grader '5' is unknown"),
        (
            {"question": "?", "answer": "x"},
            {"layout": "aime"},
            "the gold answer 'x' is not a number",
        ),
    ],
)
def test_a_bad_row_is_named(tmp_path, row, flags, line):
    path = write(tmp_path / "a.jsonl", row)
    with pytest.raises(UserError) as caught:
        load_file(path, DataConfig(**flags))
    assert line in str(caught.value) and "a.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


# --- Hugging Face data sets -------------------------------------------------------------------


@pytest.fixture
def hub(monkeypatch):
    """A stand-in for the package `datasets`; `asked` holds what was asked of it."""
    module = types.ModuleType("datasets")
    module.asked = []

    def load_dataset(name, config, split):
        module.asked.append((name, config, split))
        if name == "no/net":
            raise ConnectionError("Couldn't reach the Hub\nat all")
        return [GSM8K]

    module.load_dataset = load_dataset
    monkeypatch.setitem(sys.modules, "datasets", module)
    return module


def test_a_hub_data_set_reads_like_a_file(hub):
    spec = "hf:openai/gsm8k?split=test&config=main"
    source, report = open_source(spec, DataConfig(), 0)
    assert source[0].answer == "1024" and report.kept == 1 and set_name(spec) == "gsm8k"
    open_source("hf:openai/gsm8k", DataConfig(), 0)
    assert hub.asked == [("openai/gsm8k", "main", "test"), ("openai/gsm8k", None, "train")]


def test_a_hub_data_set_that_cannot_be_had_is_one_line(hub, monkeypatch):
    line = r"hf:no/net: cannot be loaded \(ConnectionError: Couldn't reach the Hub at all\); check"
    with pytest.raises(UserError, match=line):
        load_file("hf:no/net", DataConfig())
    with pytest.raises(UserError, match="no parameter name; there are split and config"):
        load_file("hf:openai/gsm8k?name=main", DataConfig())
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UserError, match=r"needs the package datasets \(pip install datasets\)"):
        load_file("hf:openai/gsm8k", DataConfig())
