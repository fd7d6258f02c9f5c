"""The study of a real model: its solver, its plan, its rules of choice, without the model."""

from __future__ import annotations

import json
import operator
import random
import re

import pytest

from experiments.smollm2 import arms, figures, page, study, verdicts
from experiments.smollm2.examples import Config as Examples
from experiments.smollm2.examples import examples
from experiments.smollm2.solver import solve
from r1jax.data.config import DataConfig
from r1jax.data.problems.sources import open_source
from r1jax.presets.smollm2 import PRODUCTS, SUMS
from r1jax.problem import split_envelope

SIGNS = {"*": operator.mul, "+": operator.add, "-": operator.sub}
pytestmark = pytest.mark.lab


def test_the_solver_is_right_on_thousands_of_questions():
    rng = random.Random(0)
    for _ in range(4000):
        sign, top = rng.choice("*+-"), rng.choice((9, 99, 999))
        a, b = rng.randint(0, top), rng.randint(0, top)
        solution = solve(f"Say what {a} {sign} {b} is.")
        assert split_envelope(solution.worked) == (solution.thought, str(SIGNS[sign](a, b)))
        # Every sentence of the form "x plus|minus|times y is z" is true.
        for left, word, right, value in re.findall(
            r"(\d+) (plus|minus|times) (\d+) is (-?\d+)", solution.thought
        ):
            own = {"plus": operator.add, "minus": operator.sub, "times": operator.mul}[word]
            before = solution.thought.split(f"{left} {word} {right} is {value}")[0]
            if not before.endswith(("plus ", "minus ", "times ")):
                assert own(int(left), int(right)) == int(value), solution.thought


@pytest.mark.parametrize("question", ["1 + 2 + 3", "1.5 + 2", "-3 + 4", "2 / 3", "12 + 1000", ""])
def test_the_solver_says_nothing_of_what_it_cannot_read(question):
    assert solve(question) is None


@pytest.mark.parametrize("source", [PRODUCTS, SUMS])
def test_every_training_problem_is_read_and_the_splits_are_apart(source):
    opened, _ = open_source(source, DataConfig(), 0, None)
    skipping, _ = open_source(f"{source}&skip=40", DataConfig(), 0, None)
    held_out, selection = opened.evaluation(40), skipping.evaluation(20)
    assert not {p.id for p in held_out} & {p.id for p in selection}
    assert [p.id for p in opened.evaluation(60)] == [p.id for p in held_out + selection]
    for problem in [opened[i] for i in range(200)] + held_out:
        solution = solve(problem.question)
        assert solution.answer == problem.answer
        words = re.findall(r"\d|[a-z]+|\S", solution.worked, re.I)  # digits are tokens here
        assert 20 <= len(words) <= 200


def test_both_kinds_of_examples_are_of_the_same_problems():
    worked, bare = (list(examples(Examples(count=20, kind=k))) for k in ("worked", "answer"))
    assert [row["prompt"] for row in worked] == [row["prompt"] for row in bare]
    for long, short in zip(worked, bare, strict=True):
        assert long["completion"].endswith(short["completion"])
        assert short["completion"].startswith("<answer>")


def line(value, truncated=0.0):
    return {"after": {name: {"pass_at_1": value, "truncated": truncated} for name in figures.SETS}}


def test_a_rate_is_chosen_on_the_selection_split_among_arms_that_are_not_cut(tmp_path):
    config = arms.Config(out=str(tmp_path))
    trials = list(study.selecting(config))
    assert {t.seed for t in trials}.isdisjoint(range(config.seeds))
    found = {t.named("grpo"): line(v) for t, v in zip(trials, (0.3, 0.5, 0.4), strict=True)}
    assert study.chosen(config, found, "grpo") == config.rates[1]
    assert study.chosen(config, found, "coin") is None
    found[trials[1].named("grpo")] = line(0.5, truncated=0.2)
    assert study.chosen(config, found, "grpo") == config.rates[2]


def test_every_arm_has_its_seeds_and_what_has_a_line_is_not_made_again(tmp_path):
    config = arms.Config(out=str(tmp_path))
    found = {}
    for part in ("select", "main", "chains"):
        todo = study.wanted(study.PLANS[part](config, found), found, config)
        for name, step in todo.items():
            assert all(first in found or first in todo for first in step.after)
            found[name] = line(0.5)
        assert not study.wanted(study.PLANS[part](config, found), found, config)
    for arm in ("grpo", "coin", "answer-grpo", "worked-grpo"):
        assert [f"{arm}-s{seed}" in found for seed in range(6)] == [True] * 5 + [False]
    for arm in ("rejection", "unverified", "judge-worked", "judge-answer"):
        assert [f"{arm}-s{seed}" in found for seed in range(4)] == [True] * 3 + [False]
    # Without its line, a run asks for what its weights come from.
    del found["worked-grpo-s1"]
    again = study.wanted(study.chains(config, found), found, config)
    assert set(again) == {"worked-grpo-s1", "worked-s1", "examples-worked-s1"}


def test_the_statistics_by_known_numbers():
    # t = 2.7764 with 4 degrees of freedom is p = .05 (any table of Student's t).
    spread = 2.7764 / 5**0.5
    unit = [v / (2.5**0.5) for v in (-2, -1, 0, 1, 2)]  # mean 0, standard deviation 1
    assert verdicts.p_value([v + 2.7764 / 5**0.5 for v in unit]) == pytest.approx(0.05, abs=1e-4)
    assert spread > 1
    # p of .05 alone passes; as the smallest of three it does not, and those behind it fail too.
    line_values = [v + spread for v in unit]
    steps = verdicts.holm({"a": line_values, "b": [9.0, 9.1], "c": unit}, 3)
    assert [steps[n][0] for n in "bac"] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05])
    assert [steps[n][1] for n in "bac"] == [True, False, False]


@pytest.mark.parametrize(
    "plus, word",
    [(0.35, "supported"), (0.25, "smaller than claimed"), (0.1, "of the other sign")],
)
def test_verdicts_in_words(plus, word):
    found = {}
    for seed in range(5):
        found[f"grpo-s{seed}"] = line(plus + seed / 1000)
        found[f"coin-s{seed}"] = line(0.2)
    first, second, third = verdicts.judge(found)
    assert first["verdict"] == word
    assert (
        second["verdict"]
        == third["verdict"]
        == ("not tested because fewer than two pairs of seeds are there")
    )
    found["coin-s0"] = line(0.2, truncated=0.9)
    assert "void" in verdicts.judge(found)[0]["verdict"]


def test_the_page_says_what_the_figures_say(tmp_path):
    rows = []
    for seed in range(2):
        for name, value in (("grpo", 0.5), ("coin", 0.1)):
            side = {"pass_at_1": value + seed / 100, "truncated": 0.0, "format": 0.0,
                    "length_mean": 20.0}  # fmt: skip
            rows.append({
                "name": f"{name}-s{seed}", "before": {n: side for n in figures.SETS},
                "after": {n: side for n in figures.SETS}, "course": {"entropy": [1.0, 0.5]},
                "trained_tokens": 1000, "sampled_tokens": 1000,
                "texts": [{"question": "5 - 9", "after": {"text": "It is 4", "correct": False}}],
            })  # fmt: skip
    (tmp_path / "f.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    target = tmp_path / "page.md"
    target.write_text("# Fixed\n\n## Results\n\nnothing yet\n")
    page.main(page.Config(str(tmp_path / "f.jsonl"), str(target), str(tmp_path)))
    text = target.read_text()
    assert text.startswith("# Fixed\n\n## Results\n") and "nothing yet" not in text
    assert "| +40.0 |" in text and "not tested because" in text and "It is 4" in text
    assert (tmp_path / "real_model_entropy.png").exists()
    assert "real_model_entropy.png" in text
