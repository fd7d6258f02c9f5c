"""Evaluation of scripted samplers, counted by hand: two judges, votes by equivalence, gains."""

import json
import subprocess
import sys

import pytest

from r1jax.errors import UserError
from r1jax.evaluate.measures import EvalConfig, completions_rows, evaluate, paired_gain
from r1jax.evaluate.reading import Grader, judge
from r1jax.problem import Completion, Problem
from r1jax.rewards.answers.graders import GRADERS
from r1jax.rewards.workers.pool import RewardPool
from r1jax.rollout.knobs import Sampling

NUMBER = Problem("n", "1 / 2?", "0.5", "number", {"family": "sum", "language": "en"})
COUNTDOWN = Problem(
    "c", "Make 27 of 3, 4, 5", "27", "countdown",
    {"numbers": [3, 4, 5], "target": 27, "family": "countdown", "language": "zh"},
)  # fmt: skip
FORMULA = Problem("f", "Solve x^2 = 12", "2\\sqrt{3}", "math")


def strict(answer, thought="so"):
    return f"<think>{thought}</think> <answer>{answer}</answer>"


def completion(text, tokens=10, finish="stop"):
    return Completion.parse(text, range(tokens), finish)


def scripted(texts, greedy=""):
    """A sampler that says `texts[problem.id]`, and `greedy` at temperature 0."""

    def sampler(problems, samples, sampling, seed):
        if sampling.temperature == 0:
            assert (samples, sampling) == (1, Sampling(0.0))
            return [[completion(greedy)] for _ in problems]
        drawn = [[c if isinstance(c, Completion) else completion(c) for c in texts[p.id]]
                 for p in problems]  # fmt: skip
        assert all(len(d) == samples for d in drawn)
        return drawn

    return sampler


def record(problems, texts, greedy="", **changes):
    samples = len(next(iter(texts.values())))
    config = EvalConfig(samples=samples, **changes)
    return evaluate(problems, scripted(texts, greedy), config).record


def test_a_record_counted_by_hand():
    texts = {
        "n": [
            completion(strict("0.5"), 8),
            completion("it is 1/2", 4),
            completion("it is 7", 6),
            completion(strict("0.5", "wait"), 20, "length"),
        ],
        "c": [
            completion(strict("3*(4+5)"), 10),
            completion("<answer>(5+4)*3</answer>", 10),
            completion("先 try 3+4+5", 22),
            completion("no idea", 20),
        ],
    }
    found = record([NUMBER, COUNTDOWN], texts, greedy="so 0.5")
    assert list(found) == [
        "set", "problems", "samples", "temperature", "top_p", "pass_at_1", "pass_at_1_ci",
        "pass_at_1_strict", "cons_at_4", "pass_at", "pass_at_4", "format", "length_mean",
        "length_mean_correct", "length_mean_wrong", "truncated", "reflection_per_1k",
        "reflection_zh_per_1k", "mixed", "language_consistency", "thought_words_mean",
        "pass_at_1_greedy", "by", "per_problem",
    ]  # fmt: skip
    assert found["pass_at_1"] == 4 / 8
    assert found["pass_at_1_strict"] == 2 / 8
    assert found["pass_at_1_greedy"] == 1 / 2
    assert found["cons_at_4"] == 1.0
    assert found["pass_at"] == pytest.approx({"1": 0.5, "2": 5 / 6, "4": 1.0})
    assert found["pass_at_4"] == 1.0
    assert found["format"] == 3 / 8
    assert found["length_mean"] == 100 / 8
    assert found["length_mean_correct"] == 32 / 4
    assert found["length_mean_wrong"] == 68 / 4
    assert found["truncated"] == 1 / 8
    assert found["reflection_per_1k"] == 10.0
    assert found["reflection_zh_per_1k"] == 0.0
    assert found["mixed"] == 1 / 8
    # 1, 1, 1, 1 in English; in Chinese 0 of 1 word, none to judge, 1 of 2, 0 of 2.
    assert found["language_consistency"] == 5.5 / 8
    assert found["thought_words_mean"] == 11 / 8
    assert found["pass_at_1_ci"] == [0.5, 0.5]  # both problems score one half
    assert found["per_problem"] == [
        {"id": "n", "correct": 0.5, "strict": 0.25},
        {"id": "c", "correct": 0.5, "strict": 0.25},
    ]
    assert list(found["by"]) == ["family", "language"]
    assert found["by"]["language"]["zh"] == {
        "problems": 1, "pass_at_1": 0.5, "pass_at_1_strict": 0.25, "cons_at_4": 1.0,
        "format": 0.25, "length_mean": 62 / 4, "truncated": 0.0, "language_consistency": 1.5 / 4,
    }  # fmt: skip
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_problems_without_a_rule_are_no_evaluation_set():
    letter = Problem("l", "Write to Tom.", "Dear Tom", "none")
    with pytest.raises(UserError, match="'eval' holds problems of grader none, which no rule"):
        evaluate([NUMBER, letter], scripted({}), EvalConfig())


def test_nothing_right_nothing_greedy():
    found = record([NUMBER], {"n": ["7", "8"]})
    assert found["length_mean_correct"] is None and found["cons_at_2"] == 0.0
    config = EvalConfig(samples=1, greedy=False)
    found = evaluate([FORMULA], scripted({"f": ["no"]}), config).record
    assert found["pass_at_1_greedy"] is None and found["by"] == {}


def cons(problem, *texts):
    return record([problem], {problem.id: texts})[f"cons_at_{len(texts)}"]


@pytest.mark.parametrize(
    ("problem", "texts", "expected"),
    [
        (NUMBER, ["1/2", "0.5", "7", "7.0", "8"], 0.5),  # by string 7 and 7.0 would not tie
        (NUMBER, ["1/2", "0.50", "7"], 1.0),
        (NUMBER, ["0.5", "7", "7.0"], 0.0),
        (COUNTDOWN, ["3*(4+5)", "(5+4)*3", "3+4+5"], 1.0),
        (COUNTDOWN, ["3*(4+5)", "3+4+5", "3 + 4 + 5"], 0.0),
        (COUNTDOWN, ["3*(4+5)", "3+4+5", "5+4+3"], 1 / 3),
        (FORMULA, ["\\boxed{\\sqrt{12}}", "\\boxed{2\\sqrt{3}}", "\\boxed{\\sqrt{3}}"], 1.0),
        # x+y and y+x vote together against the one right answer; 5 alone does not.
        (FORMULA, ["\\boxed{x+y}", "\\boxed{y+x}", "\\boxed{\\sqrt{12}}"], 0.0),
        (FORMULA, ["\\boxed{2\\sqrt{5}}", "\\boxed{3\\sqrt{5}}", "\\boxed{\\sqrt{12}}"], 1 / 3),
        (FORMULA, ["\\boxed{1/2}", "\\boxed{0.5}", "\\boxed{\\sqrt{12}}"], 0.0),
    ],
)
def test_answers_vote_by_equivalence(problem, texts, expected):
    assert cons(problem, *texts) == pytest.approx(expected)


def test_truncated_answers_do_not_vote():
    cut = completion("0.5", finish="length")
    assert cons(NUMBER, cut, cut, completion("7")) == 0.0
    [[judged]] = judge([NUMBER], [[cut]], Grader())
    assert judged.vote is None and not judged.lenient and judged.truncated


def test_strict_needs_the_envelope_and_the_answer_inside_it():
    texts = [strict("0.5"), "<answer>0.5</answer>", strict("7"), "0.5"]
    [judged] = judge([NUMBER], [[completion(text) for text in texts]], Grader())
    assert [j.strict for j in judged] == [True, False, False, False]
    assert [j.lenient for j in judged] == [True, True, False, True]
    assert [j.format for j in judged] == [True, False, True, False]


class CountingPool(RewardPool):
    """Grades in this process and remembers what it was asked."""

    def __init__(self):
        super().__init__(workers=0)
        self.asked = []

    def map(self, reward, problems, completions, context, name=""):
        self.asked += [c.answer for c in completions]
        return super().map(reward, problems, completions, context, name)


def test_each_distinct_answer_is_graded_once():
    pool = CountingPool()
    texts = {"n": ["0.5", "so 0.5", "1/2", strict("0.5")]}
    found = evaluate([NUMBER], scripted(texts), EvalConfig(samples=4, greedy=False), pool)
    assert pool.asked == ["0.5", "1/2"]
    assert found.record["pass_at_1"] == 1.0 and found.lost == 0


def test_an_answer_that_cannot_be_graded_is_wrong_and_counted(monkeypatch):
    def explode(problem, answer):
        raise RecursionError(answer)

    monkeypatch.setitem(GRADERS, "explosive", explode)
    problem = Problem("x", "?", "1", "explosive")
    found = evaluate([problem], scripted({"x": ["1", "2"]}), EvalConfig(samples=2, greedy=False))
    assert found.record["pass_at_1"] == 0.0 and found.lost == 2


def test_workers_give_the_same_record():
    problems = [NUMBER, COUNTDOWN, FORMULA]
    texts = {
        "n": ["1/2", "0.5", "7"],
        "c": ["3*(4+5)", "(5+4)*3", "9**9**9"],
        "f": ["\\boxed{x+y}", "\\boxed{y+x}", "\\boxed{\\sqrt{12}}"],
    }
    config = EvalConfig(samples=3, greedy=False)
    with RewardPool(workers=1) as pool:
        there = evaluate(problems, scripted(texts), config, pool)
    here = evaluate(problems, scripted(texts), config)
    assert there.record == here.record and there.judged == here.judged
    assert there.record["pass_at_1"] == pytest.approx(5 / 9)


def test_an_unknown_grader_is_a_mistake_of_the_user():
    with pytest.raises(UserError, match="grader 'odd' is unknown"):
        evaluate([Problem("x", "?", "1", "odd")], scripted({"x": ["1"]}), EvalConfig(samples=1))


def per_problem(name="eval", **correct):
    return {"set": name, "per_problem": [{"id": k, "correct": v} for k, v in correct.items()]}


def test_a_constant_gain_is_a_point_and_order_does_not_matter():
    before, after = per_problem(a=0.0, b=0.5), per_problem(b=0.75, a=0.25)
    assert paired_gain(before, after) == {"gain": 0.25, "ci": [0.25, 0.25]}


def test_a_paired_gain_by_hand():
    before, after = per_problem(a=0.0, b=1.0), per_problem(a=1.0, b=1.0)
    # Of two problems resampled, the mean difference is 0, 1/2, 1 with chances 1/4, 1/2, 1/4.
    assert paired_gain(before, after, resamples=2000) == {"gain": 0.5, "ci": [0.0, 1.0]}


def test_pairing_is_tighter_than_two_intervals():
    base = {f"p{i}": float(i % 2) for i in range(100)}
    better = {k: min(1.0, v + 0.1) for k, v in base.items()}
    gain = paired_gain(per_problem(**base), per_problem(**better))
    assert gain["gain"] == pytest.approx(0.05)
    assert 0.03 < gain["ci"][0] < 0.05 < gain["ci"][1] < 0.07


def test_gains_of_different_problems_are_refused():
    with pytest.raises(UserError, match="2 ids in one only"):
        paired_gain(per_problem(a=1.0), per_problem("other", b=1.0))


def test_rows_of_all_completions():
    config = EvalConfig(samples=2)
    found = evaluate(
        [NUMBER], scripted({"n": [strict("0.5"), "7"]}, greedy="1/2"), config, None, "x"
    )
    rows = completions_rows(found)
    assert [row["sample"] for row in rows] == [0, 1, "greedy"]
    assert rows[0] == {
        "set": "x", "id": "n", "question": "1 / 2?", "gold": "0.5", "sample": 0,
        "text": strict("0.5"), "extracted": "0.5", "extracted_strict": "0.5", "lenient": True,
        "strict": True, "length": 10, "finish_reason": "stop",
    }  # fmt: skip
    assert rows[1]["extracted_strict"] is None and not rows[1]["lenient"]
    assert rows[2]["lenient"] and not rows[2]["strict"]


@pytest.mark.parametrize(("problems", "message"), [([], "is empty"), ([NUMBER] * 2, "twice")])
def test_sets_that_cannot_be_judged(problems, message):
    with pytest.raises(UserError, match=message):
        evaluate(problems, scripted({"n": ["0.5"]}), EvalConfig(samples=1))


@pytest.mark.parametrize(
    ("change", "flag"),
    [({"samples": 0}, "--eval.samples"), ({"top_p": 0.0}, "--eval.top-p"),
     ({"temperature": -1.0}, "--eval.temperature"), ({"max_tokens": -1}, "--eval.max-tokens")],
)  # fmt: skip
def test_flags_out_of_range(change, flag):
    with pytest.raises(UserError, match=flag):
        EvalConfig(**change)


def test_evaluation_does_not_import_jax():
    code = "import sys, r1jax.evaluate.measures; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
