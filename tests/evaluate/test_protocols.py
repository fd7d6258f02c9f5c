"""Published evaluations: what is asked, where the answer is read, what is said beside a number."""

import base64
import json
import pickle
import zlib
from dataclasses import replace

import pytest

from r1jax.commands import cli, evaluate, load
from r1jax.data import EvalDataConfig, load_file
from r1jax.errors import UserError
from r1jax.evaluate import protocols
from r1jax.evaluate.measures import EvalConfig
from r1jax.evaluate.measures import evaluate as judged
from r1jax.evaluate.protocols import PROTOCOLS, described, line_of, prepared
from r1jax.problem import Completion, Problem
from r1jax.rewards import grade

GPQA = {"Question": "Which {options}?", "Correct Answer": "right", "Incorrect Answer 1": "w1",
        "Incorrect Answer 2": "w2", "Incorrect Answer 3": "w3"}  # fmt: skip


def rows(tmp_path, name, *found):
    path = tmp_path / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return load_file(str(path), EvalDataConfig(layout=PROTOCOLS[name].layout))[0]


def read(name, problem, text):
    return PROTOCOLS[name].read(problem, Completion.parse(text))


def test_every_protocol_that_was_asked_for_is_there_and_parses(tmp_path):
    names = "aime24 aime25 math500 gsm8k gpqa mmlu mmlu-redux ifeval humaneval mbpp livecodebench"
    assert set(PROTOCOLS) == set(names.split())
    command, _ = load("evaluate")
    for name in PROTOCOLS:
        got = []
        argv = ["--protocol", name, "--data.eval", "f.jsonl", "--eval.samples", "2"]
        assert cli.run(got.append, command.default, argv, "", command.presets, command.word) == 0
        assert got[0].protocol == name and got[0].data.eval == ("f.jsonl",)
        assert got[0].eval == EvalConfig(samples=2, temperature=0.6, top_p=0.95, greedy=False)
        assert got[0].rollout.max_tokens == 32768 and got[0].data.template == "chat"


def test_gsm8k_asks_as_simple_evals_does_and_reads_the_last_line(tmp_path):
    row = {"question": "Two and two?", "answer": "2+2=<<2+2=4>>4\n#### 4"}
    (problem,) = prepared(PROTOCOLS["gsm8k"], rows(tmp_path, "gsm8k", row), 0)
    assert problem.question.endswith('integer answer after "Answer:".\n\nTwo and two?')
    for said, right in (("2 + 2 is 5, no, 4.\n\nAnswer: 4", 1.0), ("4 it is\nAnswer: 5", 0.0)):
        assert grade(problem, read("gsm8k", problem, said)) == right


def test_an_unknown_protocol_is_one_line(capsys):
    command, _ = load("evaluate")
    argv = ["--protocol", "aime99"]
    assert cli.run(print, command.default, argv, "", command.presets, command.word) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: --protocol aime99: no such protocol; choose from aime24, aime25")


def test_the_options_of_gpqa_are_ordered_by_seed_and_id_alone(tmp_path):
    (problem,) = rows(tmp_path, "gpqa", GPQA)
    other = replace(problem, id="another")
    protocol = PROTOCOLS["gpqa"]
    asked = [protocol.asked(problem, seed) for seed in range(40)]
    for one in asked:
        lines = one.question.splitlines()[-4:]
        assert [line[:3] for line in lines] == ["A) ", "B) ", "C) ", "D) "]
        assert lines["ABCD".index(one.answer)][3:] == "right"
        assert "Which {options}?" in one.question and "one of ABCD" in one.question
    assert {one.answer for one in asked} == set("ABCD")
    assert prepared(protocol, [other, problem], 7)[1] == prepared(protocol, [problem], 7)[0]
    assert [protocol.asked(other, s).answer for s in range(40)] != [one.answer for one in asked]


def test_mmlu_keeps_its_order_and_redux_leaves_faulty_rows_out(tmp_path):
    row = {"question": "2+2?", "choices": ["3", "4", "5", "6"], "answer": 1}
    (problem,) = rows(tmp_path, "mmlu", row)
    asked = PROTOCOLS["mmlu"].asked(problem, 3)
    assert asked.answer == "B" and asked.question.endswith("2+2?\n\nA) 3\nB) 4\nC) 5\nD) 6")
    found = rows(
        tmp_path, "mmlu-redux", row | {"error_type": "ok"},
        row | {"question": "1+1?", "error_type": "wrong_groundtruth"},
    )  # fmt: skip
    (kept,) = prepared(PROTOCOLS["mmlu-redux"], found, 0)
    assert "## Choices:\n\n- (A) 3\n- (B) 4" in kept.question and kept.question.endswith("}\n```")
    with pytest.raises(UserError, match="none of 1 rows counts"):
        prepared(PROTOCOLS["mmlu-redux"], found[1:], 0)


@pytest.mark.parametrize(
    "name, text, answer",
    [
        ("gpqa", "Answer: A\nno.\n**Answer: $C$**", "C"),
        ("gpqa", "<think>Answer: A</think>so\nanswer: (b)", "B"),
        ("gpqa", "<think>Answer: A</think>I do not know", None),
        ("mmlu", "Answer: A thing", "A"),
        ("mmlu", "Answer: Apple", None),
        ("mmlu-redux", '```json\n{"reasoning": "x", "answer": "C"}\n```', "C"),
        ("mmlu-redux", '{"answer": "A"} {"answer": "(D)"}', "D"),
        ("mmlu-redux", "The answer is C", None),
        ("aime24", "Therefore, the final answer is: $\\boxed{042}$. I hope it is correct", "042"),
    ],
)
def test_where_the_answer_is_read(name, text, answer):
    grader = {"aime24": "number"}.get(name, "choice")
    assert read(name, Problem("p", "q", "C", grader), text) == answer


def test_math_and_programs_are_asked_in_their_words(tmp_path):
    (problem,) = rows(tmp_path, "aime24", {"problem": "Find {x}.", "answer": "033", "options": 5})
    asked = PROTOCOLS["aime24"].asked(problem, 0)
    assert asked.question.startswith("Solve the following math") and asked.answer == "33"
    assert asked.question.endswith("\n\nFind {x}.") and "$\\boxed{ANSWER}$" in asked.question
    prompt = 'def f(x):\n    """The same."""\n'
    row = {"prompt": prompt, "canonical_solution": "    return x", "entry_point": "f",
           "test": "def check(f):\n    assert f(1) == 1\n"}  # fmt: skip
    (problem,) = rows(tmp_path, "humaneval", row)
    asked = PROTOCOLS["humaneval"].asked(problem, 0)
    assert asked.metadata["prompt"] == prompt and asked.question.endswith(prompt)
    answer = read("humaneval", asked, "Here:\n```python\ndef f(x):\n    return x\n```")
    assert grade(asked, answer) == 1.0 and grade(asked, "def f(x):\n    return 2") == 0.0


def live(**changes):
    tests = [{"input": "1 2\n", "output": "3\n", "testtype": "stdin"}]
    private = [{"input": "5 5\n", "output": "10\n", "testtype": "stdin"}]
    return {
        "question_content": "Add two numbers.", "starter_code": "", "metadata": "{}",
        "public_test_cases": json.dumps(tests), "contest_date": "2024-09-01T00:00:00",
        "private_test_cases": packed(json.dumps(private)),
    } | changes  # fmt: skip


def packed(value):
    return base64.b64encode(zlib.compress(pickle.dumps(value))).decode()


def test_livecodebench_reads_input_and_output_with_its_private_tests(tmp_path):
    old = live(question_content="Old.", contest_date="2024-07-31")
    found = rows(tmp_path, "livecodebench", live(), old)
    (problem,) = prepared(PROTOCOLS["livecodebench"], found, 0)
    assert len(problem.metadata["tests"]) == 2 and "standard input" in problem.question
    right = "```python\na, b = map(int, stdin.read().split())\nprint(a + b)\n```"
    assert grade(problem, read("livecodebench", problem, right)) == 1.0
    assert grade(problem, read("livecodebench", problem, "```python\nprint(3)\n```")) == 0.0


def test_livecodebench_calls_a_method_of_the_solution(tmp_path):
    tests = [{"input": '[1, 2]\n"a"', "output": '[1, 2, "a"]', "testtype": "functional"}]
    row = live(
        metadata=json.dumps({"func_name": "join"}), public_test_cases=json.dumps(tests),
        starter_code="class Solution:\n    def join(self, xs: List[int], y: str):\n        ",
        private_test_cases=json.dumps(tests),
    )  # fmt: skip
    (problem,) = prepared(PROTOCOLS["livecodebench"], rows(tmp_path, "livecodebench", row), 0)
    assert "starter code" in problem.question and "xs: List[int]" in problem.question
    body = "class Solution:\n    def join(self, xs: List[int], y: str):\n        return (*xs, {})"
    for last, right in (("y", 1.0), ("1", 0.0)):
        text = f"```python\n{body.format(last)}\n```"
        assert grade(problem, read("livecodebench", problem, text)) == right


class Evil:
    def __reduce__(self):
        return (print, ("run",))


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"private_test_cases": packed(Evil())}, "cannot be unpacked .*asks for builtins.print"),
        ({"private_test_cases": "%%%"}, "private_test_cases: cannot be unpacked"),
        ({"public_test_cases": "[1]"}, "public_test_cases: expected a list of input, output"),
        ({"public_test_cases": "[", "private_test_cases": "[]"}, "public_test_cases: "),
        ({"public_test_cases": "[]", "private_test_cases": "[]"}, "holds no tests"),
        ({"question_content": ""}, "question_content: expected the problem's text"),
        ({"question_content": "\u200b"}, "question_content: expected the problem's text"),
        ({"public_test_cases": json.dumps([{"input": "1", "output": "1",
          "testtype": "functional"}])}, "no func_name"),
    ],
)  # fmt: skip
def test_rows_of_another_form_are_one_line(tmp_path, changes, said, capsys):
    with pytest.raises(UserError, match=rf"livecodebench.jsonl, line 1.*{said}"):
        rows(tmp_path, "livecodebench", live(**changes))
    assert capsys.readouterr().out == ""


def test_what_departs_is_said_beside_every_number():
    said = described(PROTOCOLS["gpqa"], ["eval.samples: 8 -> 2"], 100, 0, 5)
    assert said["option_order"] == "seed 5 and id" and said["prompt"] == protocols.CHOICE
    assert said["departures"] == ["eval.samples: 8 -> 2", "rows: 198 -> 100"]
    assert line_of(said).endswith("departs from it in eval.samples: 8 -> 2; rows: 198 -> 100")
    whole = described(PROTOCOLS["gpqa"], [], 198, 0, 0)
    assert line_of(whole).endswith("after the thought; as published here")
    live = described(PROTOCOLS["livecodebench"], [], 200, 800, 0)
    assert "contests of 2024-08-01 to 2025-01-31; 800 rows left out" in line_of(live)


def test_ifeval_has_four_numbers_by_prompt_and_by_instruction(tmp_path):
    names = ["punctuation:no_comma", "startend:quotation"]
    row = {"key": 7, "prompt": "Write.", "instruction_id_list": names, "kwargs": [{}, {}]}
    problems = rows(tmp_path, "ifeval", row)
    texts = ['"all"', 'Sure:\n"it\'s"', "a, b", '"cut"']
    drawn = [Completion.parse(t, (1,), "length" if t == '"cut"' else "stop") for t in texts]
    evaluation = judged(problems, lambda *_: [drawn], EvalConfig(samples=4, greedy=False))
    assert evaluation.record["pass_at_1"] == 0.25
    assert protocols.instruction_measures(evaluation) == {
        "prompt_strict": 0.25, "prompt_loose": 0.5,
        "instruction_strict": 3 / 8, "instruction_loose": 4 / 8,
    }  # fmt: skip


@pytest.mark.slow
def test_a_number_comes_with_its_protocol(tmp_path, capsys):
    path = tmp_path / "some.jsonl"
    path.write_text('{"problem": "12+30", "answer": "42"}\n')
    argv = ["--protocol", "math500", "--data.eval", str(path), "--data.template", "mini",
            "--eval.samples", "2", "--rollout.max-prompt", "512", "--rollout.max-tokens", "32",
            "--rollout.slots", "4", "--workers", "0", "--out", str(tmp_path / "out")]  # fmt: skip
    command, _ = load("evaluate")
    assert cli.run(evaluate.main, command.default, argv, "", command.presets, command.word) == 0
    (record,) = json.loads((tmp_path / "out" / "eval.json").read_text())
    departures = record["protocol"]["departures"]
    assert 'data.template: "chat" -> "mini"' in departures and "rows: 500 -> 1" in departures
    assert record["samples"] == 2 and record["pass_at_1_greedy"] is None
    assert "protocol math500: answer: " in capsys.readouterr().out
    argv[argv.index("512")] = "16"
    assert cli.run(evaluate.main, command.default, argv, "", command.presets, command.word) == 2
    assert "prompts of some are longer than --rollout.max-prompt 16" in capsys.readouterr().err
