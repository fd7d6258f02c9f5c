"""The study of a real model: its solver, its plan, its rules of choice, without the model."""

from __future__ import annotations

import json
import math
import operator
import random
import re

import jax
import numpy as np
import pytest
from tiny import tiny_config, tiny_params

from experiments.smollm2 import arms, english, figures, page, r1, study, tables, thinking, verdicts
from experiments.smollm2.examples import Config as Examples
from experiments.smollm2.examples import examples
from experiments.smollm2.solver import solve
from r1jax.data.config import DataConfig
from r1jax.data.problems.sources import open_source
from r1jax.plugin import load_function
from r1jax.presets.smollm2 import PRODUCTS, SUMS, TASKS
from r1jax.problem import Problem, split_envelope
from r1jax.rollout.policy import load_policy
from r1jax.rollout.requests import Generated
from r1jax.rollout.sampling import Sampling
from r1jax.stages.pipeline.plan import plan

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
    side = {"pass_at_1": value, "truncated": truncated, "length_mean": 20.0}
    return {"after": dict.fromkeys(figures.SETS, side)}


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
    for part in ("select", "main", "chains", "supervised"):
        todo = study.wanted(config, part, found)
        for name, step in todo.items():
            assert all(first in found or first in todo for first in step.after)
            found[name] = line(0.5)
        assert not study.wanted(config, part, found)
    for arm in ("grpo", "coin", "answer-grpo", "worked-grpo"):
        assert [f"{arm}-s{seed}" in found for seed in range(6)] == [True] * 5 + [False]
    for arm in ("rejection", "unverified", "judge-worked", "judge-answer"):
        assert [f"{arm}-s{seed}" in found for seed in range(4)] == [True] * 3 + [False]
    # Without its line, a run asks for what its weights come from.
    del found["worked-grpo-s1"]
    again = study.wanted(config, "chains", found)
    assert set(again) == {"worked-grpo-s1", "worked-s1", "examples-worked-s1"}


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


def test_held_out_problems_are_of_both_sizes_apart_and_the_selection_is_apart_from_them():
    run = arms.RL
    halves = [open_source(spec, run.data, 0, None)[0].evaluation(30) for spec in run.data.eval[:4]]
    sizes = [{max(map(len, re.findall(r"[0-9]+", p.question))) for p in half} for half in halves]
    assert sizes == [{2}, {2}, {1}, {1}] and len(halves[2]) < 30
    training = [open_source(spec, run.data, 0, None)[0] for spec in TASKS]
    learnt = {source[i].id for source in training for i in range(300)}
    selection = arms.selected(run, arms.Config()).data.eval
    chosen = {p.id for s in selection for p in open_source(s, run.data, 0, None)[0].evaluation(9)}
    held_out = {p.id for half in halves for p in half}
    assert len(selection) == 2 and not chosen & (held_out | learnt) and not held_out & learnt


def test_what_is_judged_beside_asks_for_the_weights_of_other_parts():
    config, found = arms.Config(gsm8k="rows.jsonl"), {}
    for part in arms.PARTS:
        found |= dict.fromkeys(study.wanted(config, part, found), line(0.5))
    for name, part in (("budget-worked-grpo-s1", "budget"), ("english-worked-grpo-s1", "english"),
                       ("many-worked-grpo-s1", "thought")):  # fmt: skip
        rest = {key: row for key, row in found.items() if key != name}
        chain = ["examples-worked-s1", "worked-s1", "worked-grpo-s1", name]
        assert list(study.wanted(config, part, rest)) == chain
    assert list(study.wanted(config, "gsm8k", {})) == ["gsm8k-base"]
    assert not study.wanted(arms.Config(), "gsm8k", {})
    long = line(0.5)
    long["after"] = {name: side | {"length_mean": 111.0} for name, side in long["after"].items()}
    rest = {k: v for k, v in found.items() if not k.startswith("vote-")} | {"worked-grpo-s0": long}
    vote = study.wanted(config, "thought", rest)["vote-answer-grpo-s0"]
    assert vote.job.config.eval.samples == 6  # 111 tokens buy six answers of 20, rounded


class Scripted:
    """An engine that says what was written down for each prompt."""

    def __init__(self, policy, *texts):
        self.policy, self.texts, self.asked = policy, texts, []

    def generate(self, weights, prompts, sampling, *, seed, rollout, max_tokens=None):
        self.asked += [self.policy.tokenizer.decode(p.tokens) for p in prompts]
        for i, prompt in enumerate(prompts):
            ids = self.policy.tokenizer(self.texts[i], add_special_tokens=False).input_ids
            ids = [*ids, self.policy.stop_ids[0]] if max_tokens is None else ids[:max_tokens]
            reason = "stop" if max_tokens is None or len(ids) < max_tokens else "length"
            logp = np.zeros(len(ids))
            yield Generated(np.array(ids), logp, logp, prompt=i, sample=prompt.first_sample,
                            finish_reason=reason, prompt_tokens=prompt.tokens)  # fmt: skip


def test_a_thought_is_closed_at_its_budget():
    policy = load_policy("embedded", "mini")
    first = Scripted(policy, "<think> 1+1 and so on and on", "<think> 2 </think> <answer> 2", "5")
    then = Scripted(policy, " 3 </answer>", " </answer>")
    sampler = thinking.Budgeted(policy, first, then, None, None, budget=8)
    problems = [Problem(f"p{i}", "1+2", "3") for i in range(3)]
    cut, begun, ended = (c[0] for c in sampler(problems, 1, Sampling(0.6), 0))
    assert cut.text.endswith("\n</think>\n<answer> 3 </answer>") and cut.answer == "3"
    assert begun.text.count("</think>") == begun.text.count("<answer>") == 1
    assert ended.text.endswith("5") and len(then.asked) == 2  # it had ended by itself
    assert {cut.finish_reason, ended.finish_reason} == {"stop"}
    first, then = Scripted(policy, "<think> 1+1 and so on"), Scripted(policy, " 3 </answer>")
    sampler = thinking.Budgeted(policy, first, then, None, None, " </think> ", budget=8)
    ((cut,),) = sampler(problems[:1], 1, Sampling(0.6), 0)
    assert cut.text.endswith(" </think> <answer> 3 </answer>")


def test_the_likelihood_of_texts_is_the_mean_over_their_tokens():
    config = tiny_config()
    flat = jax.tree.map(lambda x: 0 * x, tiny_params(config))
    texts = [[5, 6, 7, 8, 9], [11, 12, 13]]
    assert english.likelihood(flat, config, texts) == (pytest.approx(-math.log(97)), 6)
    params = tiny_params(config)
    long, short = (english.likelihood(params, config, [text])[0] for text in texts)
    both, count = english.likelihood(params, config, texts)
    assert count == 6 and both == pytest.approx((4 * long + 2 * short) / 6, rel=1e-5)


def test_every_stage_of_r1_is_planned_and_its_chains_are_the_solvers():
    for preset in r1.PRESETS.values():
        stages = {stage.name: stage for stage in plan(preset)}
        assert len(stages) == 10 and stages["general_rl"].asks == ("helpfulness", "safety")
        rewriter = load_function(
            preset.cold_start_data.rewriter, "--rewriter", ("question", "text")
        )
        thought, answer = split_envelope(rewriter("What is 12 + 9?", "It is 21."))
        assert answer == "21" and "carry" in thought
        assert rewriter("What is love?", "Baby") is None


def side(value, **more):
    return {"pass_at_1": value, "truncated": 0.0, "length_mean": 20.0, "format": 0.0, **more}


def test_tables_of_what_is_beside():
    curve = lambda last: side(0.1, pass_at={"1": 0.1, "256": last})  # noqa: E731
    bases = dict(zip(figures.TRAINED, map(curve, (0.5, 0.6, 0.99, 1.0)), strict=True))
    thoughts = dict.fromkeys(figures.TRAINED, side(0.25, seconds=0.5))
    found = {
        "many-base": {"after": bases}, "many-grpo-s0": {"after": bases},
        "vote-answer-grpo-s0": {
            "after": dict.fromkeys(figures.TRAINED, side(0.3, cons=0.4, samples=6))},
        "worked-grpo-s0": line(0.7) | {"name": "worked-grpo-s0", "trained_tokens": 1},
        "worked-s0": {"name": "worked-s0", "trained_tokens": 10, "sampled_tokens": 3},
        "budget-worked-s0": {"budgets": {"32": thoughts}},
        "budget-base-s0": {"budgets": {"0": thoughts}},
        "english-base": {"logp": -3.0}, "english-coin-s0": {"logp": -3.5},
        "gsm8k-base": {"after": {"products": side(0.02, right=[0.0] * 50, pass_at_1_ci=[0, 0.1])}},
    }  # fmt: skip
    many, votes, budgets, likely, gsm8k = tables.tables(found)
    assert "| grpo-s0 | products | 10.0 | 50.0 |" in many and "one-digit sums (100.0 %)" in many
    assert "| one-digit" not in many
    assert "| 0 | 6 | 40.0 | 30.0 | 70.0 |" in votes
    assert "| base | none | 1 | 25.0 | 20 | 0.0 | 0.50 |" in budgets and "| 32 |" in budgets
    assert "| coin | 1 | -3.5000 | -0.5000 |" in likely
    assert "50 problems" in gsm8k and "2.0 % (0.0 to 10.0)" in gsm8k
    assert not any(tables.tables({}))
    operations = page.operations(found, found["worked-grpo-s0"])
    assert operations == page.PARAMETERS * (6 * 11 + 2 * 3)
