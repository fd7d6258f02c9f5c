"""Hostile answers: each costs itself its reward, never its neighbours, never the run."""

import math
import os
import re
import signal
import sys
import tempfile
import time

import numpy as np
import pytest

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool, accuracy, per_answer

LONG = 100_000
NUMBERS = {"numbers": (25, 3, 4), "target": 37}
MARK = os.path.join(tempfile.gettempdir(), f"r1jax-hostile-{os.getpid()}")
SYSTEM = f"__import__('os').system('touch {MARK}')"

# name -> (grader, answer). Right answers: 42 for number and math, 25+3*4 for countdown, B.
HOSTILE = {
    "power tower, number": ("number", "9**9**9**9"),
    "power tower, math": ("math", "9**9**9**9"),
    "power tower, countdown": ("countdown", "9**9**9**9"),
    "caret tower": ("math", "9^9^9^9"),
    "latex tower": ("math", "9^{9^{9^9}}"),
    "latex tower with letters": ("math", "x^{9^{9^{9^9}}}"),
    "factorial": ("math", "100000000!"),
    "factorial of factorial": ("math", "((100!)!)!"),
    "sum bomb": ("math", "\\sum_{k=1}^{10000000} \\frac{1}{k^2}"),
    "product bomb": ("math", "\\prod_{k=1}^{1000000} k"),
    "integral": ("math", "\\int_0^1 \\frac{\\sin(x^{x^x})}{e^{x^3}+\\ln(x+2)} dx"),
    "limit": ("math", "\\lim_{x \\to \\infty} (1+\\frac{1}{x^{99}})^{x^{100}}"),
    "wide polynomial": ("math", "(a+b+c+d+e+f+g+h)^{60}"),
    "nested roots": ("math", "\\sqrt{2+" * 60 + "2" + "}" * 60),
    "trigonometric tower": ("math", "\\sin(\\cos(" * 40 + "x" + "))" * 40),
    "huge power of two": ("math", "2^{10^9}"),
    "huge exponent": ("number", "1e999999"),
    "huge exponent, math": ("math", "1e999999"),
    "huge negative exponent": ("number", "1e-999999999"),
    "huge exponent, countdown": ("countdown", "1e999999"),
    "digits": ("number", "4" * LONG),
    "digits, math": ("math", "4" * LONG),
    "digits, countdown": ("countdown", "4" * LONG),
    "digits below the cut": ("math", "4" * 4000),
    "long sum": ("countdown", "25+3*4" + "+0" * (LONG // 2)),
    "long text": ("number", "a" * LONG),
    "long text, math": ("math", "a" * LONG),
    "open parentheses": ("countdown", "(" * LONG + "25+3*4"),
    "matched parentheses": ("countdown", "(" * 5000 + "25+3*4" + ")" * 5000),
    "parentheses, math": ("math", "(" * 2000 + "42" + ")" * 2000),
    "parentheses, choice": ("choice", "(" * LONG + "C" + ")" * LONG),
    "open braces": ("math", "{" * LONG),
    "nested fractions": ("math", "\\frac{1}{1+" * 150 + "1" + "}" * 150),
    "unary tower": ("countdown", "-" * 250 + "25+3*4"),
    "backtracking spaces": ("number", "1" + " " * LONG + "x"),
    "backtracking commas": ("number", "111," * (LONG // 4) + "1111"),
    "backtracking dollars": ("math", "$" * 4001),
    "backtracking boxed": ("math", "\\boxed{" * 500),
    "backtracking answer words": ("math", "answer " * 580),
    "backtracking brackets": ("math", "\\[" * 2000),
    "nested boxed": ("number", "\\boxed{" * 9000 + "41" + "}" * 9000),
    "unclosed boxed": ("number", "\\boxed{" * 9000 + "41"),
    "shell": ("countdown", SYSTEM),
    "shell, math": ("math", SYSTEM),
    "shell, number": ("number", SYSTEM),
    "shell, choice": ("choice", SYSTEM),
    "shell in a formula": ("math", f"$42 + {SYSTEM}$"),
    "attribute walk": ("countdown", "().__class__.__bases__[0].__subclasses__()"),
    "lambda": ("countdown", "(lambda:25+3*4)()"),
    "walrus": ("countdown", "(x:=25)+3*4"),
    "floor division": ("countdown", "25//1+3*4"),
    "underscored number": ("countdown", "2_5+3*4"),
    "division by zero": ("countdown", "25/(4-4)+3"),
    "division by zero, math": ("math", "\\frac{1}{0}"),
    "fraction over zero": ("number", "42/0"),
    "null bytes": ("countdown", "25+3*4\0"),
    "null bytes, math": ("math", "\0" * 100),
    "lone surrogate": ("number", "\ud800\udc0041"),
    "lone surrogate, math": ("math", "\udfff\ud800"),
    "right-to-left override": ("number", "\u202e24\u202c"),
    "zero-width digits": ("number", "4\u200b1"),
    "combining marks": ("math", "4" + "\u0301" * 3000),
    "arabic digits": ("countdown", "٢٥+٣*٤"),
    "superscripts": ("number", "4²"),
    "mathematical alphabet": ("choice", "𝐁 𝐂"),
    "not a number": ("number", "nan"),
    "infinity": ("math", "\\infty"),
    "every letter": ("choice", "A B C D E F G H"),
    "letters as guesses": ("choice", "B or C"),
    "numbers as guesses": ("number", "41, 42"),
    "empty": ("math", ""),
    "blank": ("number", " \n\t "),
    "only tags": ("math", "<think></think>"),
    "newlines": ("math", "\n" * LONG),
}
GOLD = {"number": "42", "math": "42", "countdown": "37", "choice": "B"}
RIGHT = {"number": "42", "math": "\\frac{84}{2}", "countdown": "25+3*4", "choice": "(B)"}


def make(name: str, grader: str, answer: str) -> tuple[Problem, Completion]:
    metadata = NUMBERS if grader == "countdown" else {}
    text = f"<think>hm</think><answer>{answer}</answer>"
    completion = Completion(text, (), "stop", "hm", answer)
    return Problem(name, "?", GOLD[grader], grader, metadata), completion


@pytest.fixture(scope="module")
def pool():
    with RewardPool(workers=2, cpu_seconds=0.4, wall_seconds=6.0, memory_mb=512) as pool:
        yield pool


@pytest.fixture(scope="module")
def judged(pool):
    """One batch: every hostile answer with a right answer on either side."""
    pairs = [make("first", "number", "42")]
    for name, (grader, answer) in HOSTILE.items():
        pairs += [make(name, grader, answer), make("right after " + name, grader, RIGHT[grader])]
    problems, completions = zip(*pairs, strict=True)
    start = time.monotonic()
    values, counts = pool.map(accuracy(), problems, completions, RewardContext())
    seconds = time.monotonic() - start
    return dict(zip((p.id for p in problems), values, strict=True)), counts, seconds


def test_there_are_at_least_fifty():
    assert len(HOSTILE) >= 50


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_answer_gets_nothing_and_its_neighbour_everything(judged, name):
    values, _, _ = judged
    assert values[name] == 0.0
    assert values["right after " + name] == 1.0


def test_the_batch_ends_within_its_limits(judged):
    values, counts, seconds = judged
    assert values["first"] == 1.0
    assert 1 <= counts.cpu <= 20
    assert counts.died + counts.wall <= 2
    assert seconds < 0.4 * len(HOSTILE)


def test_no_hostile_answer_was_run_as_code(judged):
    assert not os.path.exists(MARK)


UNTAGGED = {
    "thousands of answer tags": "<answer>" * (LONG // 8),
    "closing tags only": "</answer>" * (LONG // 9),
    "answer tags inside out": "</answer>41<answer>" * 5000,
    "alternating tags": "<answer></think>" * 6000,
    "unclosed answer": "<answer>41",
    "unclosed boxed": "\\boxed{41",
}


@pytest.mark.parametrize("name", UNTAGGED)
def test_broken_envelopes(pool, name):
    problems = [Problem("p", "?", "42", "number")] * 3
    texts = ["<answer>42</answer>", UNTAGGED[name], "<answer>42</answer>"]
    completions = [Completion(text, (), "stop", None, None) for text in texts]
    values, counts = pool.map(accuracy(), problems, completions, RewardContext())
    assert values == [1.0, 0.0, 1.0]
    assert counts.lost == 0


def misbehave(problem: Problem, answer: str) -> float:
    """A user's grader that does what the answer says."""
    if answer == "loop":
        while True:
            pass
    if answer == "sleep":
        time.sleep(60)
    if answer == "exit":
        os._exit(0)
    if answer == "system exit":
        sys.exit(1)
    if answer == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if answer == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if answer == "memory":
        return float(len(bytearray(4 << 30)))
    if answer == "slow memory":
        hoard = []
        while True:
            hoard.append(np.empty(16 << 20, np.uint8))
    if answer == "regex":
        re.match(r"(a+)+$", "a" * 40 + "!")
    if answer == "recursion":
        return misbehave(problem, answer)
    if answer == "integer":
        return float(9**9**9)
    if answer == "raise":
        raise KeyError("no such thing")
    if answer == "string":
        return "high"
    if answer == "nan":
        return math.nan
    if answer == "infinite":
        return -math.inf
    if answer == "swallow":
        while True:
            try:
                while True:
                    pass
            except BaseException:
                continue
    return 1.0


REASONS = {
    "loop": "cpu",
    "sleep": "wall",
    "exit": "died",
    "system exit": "errors",
    "kill": "died",
    "segfault": "died",
    "memory": "memory",
    "slow memory": "memory",
    "regex": "cpu",
    "recursion": "errors",
    "integer": "cpu",
    "raise": "errors",
    "string": "errors",
    "nan": "errors",
    "infinite": "errors",
    "swallow": "cpu",
}


def test_misbehaving_graders_cost_one_answer_each():
    answers = ["fine"]
    for name in REASONS:
        answers += [name, "fine"]
    completions = [Completion.parse(f"<answer>{answer}</answer>") for answer in answers]
    problems = [Problem(str(i), "?", "Paris", "math") for i in range(len(answers))]
    with RewardPool(workers=2, cpu_seconds=0.4, wall_seconds=4.0, memory_mb=256) as pool:
        values, counts = pool.map(per_answer(misbehave), problems, completions, RewardContext())
    assert values == [float(answer == "fine") for answer in answers]
    for reason in ("cpu", "wall", "memory", "died", "errors"):
        assert getattr(counts, reason) == list(REASONS.values()).count(reason), reason
    assert counts.retried == 1
    assert counts.first_error == "SystemExit: 1"
