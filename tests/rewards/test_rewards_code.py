"""The code reward: which text is the program, what it is tested with, and what it earns."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from r1jax.data import DataConfig, load_file
from r1jax.errors import UserError
from r1jax.evaluate.measures import EvalConfig, evaluate
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, SandboxConfig, accuracy, check_gold, code, grade, score
from r1jax.rewards.answers.extract import extract
from r1jax.rewards.code import code_answer, find_tests, readings, verdict_on
from r1jax.rewards.fences import program
from r1jax.rewards.sandbox import Calls, Streams, host
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.reward import RewardConfig

ANYWHERE = SandboxConfig(unsafe=True)  # these programs do no harm
CONTEXT = RewardContext()

DOUBLE = Problem(
    "mbpp", "Double a number.", "def double(x):\n    return 2 * x", "code",
    {"test_list": ["assert double(1) == 2", "assert double(-3) == -6", "assert double(0) == 0"]},
)  # fmt: skip
SUM = Problem(
    "shadow", "Add the divisors.", "def sum(a, b):\n    return a + b", "code",
    {"test_list": ["assert sum(1, 2) == 3", "assert set([sum(2, 2)]) == {4}"]},
)  # fmt: skip
AREA = Problem(
    "imports", "Area.", "import math\ndef area(r):\n    return math.pi * r * r", "code",
    {"test_list": ["assert math.isclose(area(2), 12.566, rel_tol=1e-3)"], "test_imports": []},
)  # fmt: skip
PROMPT = (
    "from typing import List\n\n\n"
    "def shift(text: str) -> str:\n    return text[1:] + text[:1]\n\n\n"
    'def back(text: str) -> str:\n    """ Undoes shift. """\n'
)
BACK = Problem(
    "humaneval", PROMPT, "    return text[-1:] + text[:-1]\n", "code",
    {
        "prompt": PROMPT,
        "entry_point": "back",
        "test": "def check(candidate):\n    assert candidate('') == ''\n"
        "    for text in ('a', 'abc', 'hello'):\n        assert candidate(shift(text)) == text\n",
    },
)  # fmt: skip
ADD = Problem(
    "streams", "Add.", "print(sum(map(int, input().split())))", "code",
    {"tests": [{"input": "1 2\n", "output": "3\n"}, {"input": "4 5\n", "output": "9\n"}]},
)  # fmt: skip
OWN = [DOUBLE, SUM, AREA, BACK, ADD]


@pytest.mark.parametrize("problem", OWN, ids=lambda p: p.id)
def test_the_reference_passes_and_nonsense_does_not(problem):
    assert code_answer(problem, problem.answer, ANYWHERE)
    assert code_answer(problem, f"```python\n{problem.answer}\n```", ANYWHERE)
    for wrong in ("", "pass", "    return None", "print(7)", "def f(: x", "\0"):
        assert not code_answer(problem, wrong, ANYWHERE)
    assert check_gold(problem) is None


DOCUMENTED = 'def f(x):\n    """Adds.\n\n    ```\n    f(1)\n    ```\n    """\n    return x + 1\n'


@pytest.mark.parametrize(
    "text, expected",
    [
        ("x = 1", "x = 1"),
        ("\ufeffx = 1", "x = 1"),
        ("<think>y</think>\nx = 1", "\nx = 1"),
        ("<think>```\ny\n```</think><answer>x = 1</answer>", "x = 1"),
        ("<think><answer>y</answer></think>x = 1", "x = 1"),
        ("see\n```python\nx = 1\n```\nand\n```py\nx = 2\n```\nthere", "x = 2\n"),
        ("```\nx = 1\n```", "x = 1\n"),
        ("```python\n    return 1\n```", "    return 1\n"),
        ("so:\n```python\nx = 1\ny = 2", "x = 1\ny = 2"),
        ("```python\n```", ""),
        ("```python\n\ufeffx = 1\n```", "x = 1\n"),
        ("<answer>\n```python\nx = 1\n```\n</answer> ```z```", "x = 1\n"),
        ("<think>t</think>a\n```python\ns = '```'\n```", "s = '```'\n"),
        # What is no program, before it or behind it.
        ("```python\nx = 1\n```\nOutput:\n```\n1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```output\n1\n```", "x = 1\n"),
        ("```python\nx = 1\n```\nRun it:\n```bash\npython a.py\n```", "x = 1\n"),
        ("```python\nx = 1\n```\n```text\nx = 2\n```", "x = 1\n"),
        ("```Python3\nx = 1\n```\n```\nx = 2\n```", "x = 1\n"),
        ("```{.python .numbered}\nx = 1\n```\n```pycon\n>>> x\n```", "x = 1\n"),
        ("```\nx = 1\n```\nprints\n```\n1\n```", "x = 1\n"),
        ("```\nx = 1\n```\nin the shell\n```\n>>> x = 2\n```", "x = 1\n"),
        ("```code\nx = 1\n```\n```cpp\nint x = 2;\n```", "x = 1\n"),
        ("```output\nprint(1)\n```", ""),
        # Fences of every form.
        ("````python\ns = '''\n```\n'''\n````\nend", "s = '''\n```\n'''\n"),
        ("~~~python\nx = 1\n~~~\n~~~\n1\n~~~", "x = 1\n"),
        ("1. this:\n      ```python\n      if x:\n          y\n      ```\nend", "if x:\n    y\n"),
        ("```python\nx = 1\n``` which is it", "x = 1\n"),
        ("```python\nx = 1\n\nbetter\n```python\nx = 2\n```", "x = 2\n"),
        ("```python\r\nx = 1\r\n```\r\n", "x = 1\r\n"),
        # A fence in a docstring.
        (DOCUMENTED, DOCUMENTED),
        (f"```python\n{DOCUMENTED}```\n", DOCUMENTED),
        # A program in several blocks, and a draft that is given up.
        (
            "```python\ndef g(): return 1\n```\nand\n```python\nprint(g())\n```",
            "def g(): return 1\n\nprint(g())\n",
        ),
        ("```python\ndef g(): 1\n```\nno:\n```python\ndef g(): 2\nh(g())\n```",
         "def g(): 2\nh(g())\n"),
        ("```python\ndef run(): 1\nrun()\n```\n```python\nclass A:\n  def run(self): 2\n```",
         "class A:\n  def run(self): 2\n"),
    ],
)  # fmt: skip
def test_the_program_is_the_last_block_of_python(text, expected):
    assert program(text) == expected
    assert extract(text, "auto", DOUBLE) == extract(text, "last", DOUBLE) == expected
    if "\n```" not in expected:
        assert program(expected) == expected  # once found, it is found again


def test_the_strict_policy_wants_the_answer_block():
    assert extract("```\nx = 1\n```", "answer_tag", DOUBLE) is None
    assert extract("<answer>x = 1</answer>", "answer_tag", DOUBLE) == "x = 1"


@pytest.mark.parametrize(
    "text",
    [
        "    return text[-1:] + text[:-1]",
        "return text[-1:] + text[:-1]",
        "    last = text[-1:]\n    return last + text[:-1]\n",
        "last = text[-1:]\n    return last + text[:-1]",
        "last = text[-1:]\nreturn last + text[:-1]",
        "def back(text):\n    return text[-1:] + text[:-1]",
        "  def back(text: str) -> List[str]:\n      return text[-1:] + text[:-1]",
        "def shift(text):\n    return text\n\ndef back(text):\n    return text[-1:] + text[:-1]",
    ],
)
def test_a_humaneval_answer_is_a_function_or_its_body(text):
    assert grade(BACK, text, ANYWHERE) == 1.0


def test_the_prompts_helpers_are_the_tests_own():
    """A program that redefines them so that they undo nothing earns nothing."""
    cheat = "def shift(text):\n    return text\n\ndef back(text):\n    return text"
    assert grade(BACK, cheat, ANYWHERE) == 0.0


def test_tests_by_columns():
    assert find_tests(DOUBLE) == Calls(tuple(DOUBLE.metadata["test_list"]), ("double",), "\n")
    assert find_tests(SUM).names == ("sum",)
    assert find_tests(AREA).names == ("area",) and find_tests(AREA).setup.strip() == "import math"
    assert find_tests(BACK).entry == "back" and find_tests(BACK).setup == PROMPT
    assert find_tests(ADD) == Streams((("1 2\n", "3\n"), ("4 5\n", "9\n")))
    bare = Problem("b", "?", "", "code")
    with pytest.raises(UserError, match="problem 'b': grader code needs tests"):
        find_tests(bare)
    assert "needs tests" in check_gold(bare)
    broken = Problem("b", "?", "", "code", {"test_list": ["assert ("]})
    assert "was never closed" in check_gold(broken)


def test_a_setup_uses_classes_of_the_program():
    answer = "class Node:\n    def __init__(self, n): self.n, self.next = n, None\n"
    answer += "def total(node): return node.n + total(node.next) if node else 0"
    setup = "root = Node(1)\nroot.next = Node(2)"
    data = {"test_list": ["assert total(root) == 3"], "test_setup_code": setup}
    problem = Problem("tree", "Add.", answer, "code", data)
    assert find_tests(problem).names == ("Node", "total")
    assert code_answer(problem, answer, ANYWHERE)
    assert not code_answer(problem, answer.replace("node.n +", "1 +"), ANYWHERE)


def test_readings_of_a_text_are_linear_work():
    assert len(readings(BACK, "\n" * 60_000 + " " * 60_000)) == 3
    assert not verdict_on(DOUBLE, "x" * 70_000, ANYWHERE).right


def done(text, reason="stop"):
    return Completion.parse(text, (1, 2), reason)


HALF = "def double(x):\n    return abs(2 * x)"


def test_the_reward_is_all_or_a_share():
    number = Problem("n", "?", "1", "number")
    problems = [DOUBLE, DOUBLE, DOUBLE, number, DOUBLE]
    completions = [
        done(DOUBLE.answer), done(f"<answer>{HALF}</answer>"), done("no"), done("1"),
        done(DOUBLE.answer, "length"),
    ]  # fmt: skip
    whole = code(sandbox=ANYWHERE)(problems, completions, CONTEXT)
    assert whole == [1.0, 0.0, 0.0, None, 0.0]
    shares = code(share=True, sandbox=ANYWHERE)(problems, completions, CONTEXT)
    assert shares == [1.0, pytest.approx(2 / 3), 0.0, None, 0.0]


def test_programs_and_answers_are_judged_side_by_side_in_a_pool():
    problems = [*OWN, Problem("n", "?", "42", "number")] * 2
    completions = [done(f"<answer>{p.answer}</answer>") for p in problems[:6]]
    completions += [done("<answer>while True: pass</answer>"), *(done("1") for _ in range(5))]
    config = RewardConfig(format=0.0, code=0.5)
    sandbox = SandboxConfig(cpu_seconds=0.5, unsafe=True)
    with RewardPool(workers=2) as pool:
        terms = make_terms(config, 64, 0, sandbox)
        total, parts, counts = score(terms, problems, completions, CONTEXT, pool)
    assert parts["accuracy"] == [1.0] * 6 + [0.0] * 6
    assert parts["code"] == [*[1.0] * 5, None, *[0.0] * 5, None]
    assert total == [*[1.5] * 5, 1.0, *[0.0] * 6]
    assert counts["accuracy"].lost == counts["code"].lost == 0


def test_evaluation_counts_programs():
    samples = {p.id: [f"<answer>\n{p.answer}\n</answer>", f"{p.answer}", "no"] for p in OWN}

    def sampler(problems, k, sampling, seed):
        return [[done(text) for text in samples[p.id][:k]] for p in problems]

    config = EvalConfig(samples=3, greedy=False)
    with RewardPool(workers=1) as pool:
        found = evaluate(OWN, sampler, config, pool, sandbox=ANYWHERE)
    assert found.lost == 0
    assert found.record["pass_at_1"] == pytest.approx(2 / 3)
    assert [p["correct"] for p in found.record["per_problem"]] == [pytest.approx(2 / 3)] * 5


def test_where_nothing_can_be_isolated_the_batch_is_refused(monkeypatch):
    monkeypatch.setattr(host, "isolation_error", lambda: "made up")
    with RewardPool(workers=0) as pool:
        for reward in (accuracy(), code()):
            with pytest.raises(UserError, match="--sandbox.unsafe"):
                pool.map(reward, [DOUBLE], [done(DOUBLE.answer)], CONTEXT)
        numbers = [Problem("n", "?", "1", "number")]
        assert pool.map(accuracy(), numbers, [done("1")], CONTEXT)[0] == [1.0]


def test_a_file_of_programs_becomes_problems(tmp_path):
    path = tmp_path / "a.jsonl"
    rows = [
        {"prompt": PROMPT, "canonical_solution": BACK.answer,
         "test": BACK.metadata["test"], "entry_point": "back"},
        {"text": "Double.", "code": DOUBLE.answer, "test_list": DOUBLE.metadata["test_list"]},
        {"question": "Add.", "tests": ADD.metadata["tests"], "solution": ADD.answer},
    ]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems, report = load_file(str(path), DataConfig(strict=True))
    assert report.kept == 3 and {p.grader for p in problems} == {"code"}
    assert [grade(p, p.answer, ANYWHERE) for p in problems] == [1.0] * 3


@pytest.mark.slow
@pytest.mark.skipif("R1JAX_DATA" not in os.environ, reason="R1JAX_DATA names no folder of data")
@pytest.mark.parametrize("name, count", [("humaneval", 164), ("mbpp_sanitized", 427)])
def test_every_published_reference_passes(name, count):
    folder = Path(os.environ["R1JAX_DATA"])
    path = next(p for p in (folder / f"{name}.jsonl", folder / f"eval/{name}.jsonl") if p.exists())
    problems, report = load_file(str(path), DataConfig(strict=True))
    assert report.kept == len(problems) == count
    completions = [done(p.answer) for p in problems]
    with RewardPool(workers=2) as pool:
        values, counts = pool.map(accuracy(sandbox=ANYWHERE), problems, completions, CONTEXT)
    assert [p.id for p, v in zip(problems, values, strict=True) if v != 1.0] == []
    assert counts.lost == 0
