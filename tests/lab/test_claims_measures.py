"""Claims as they are declared, and what they measure: arms, modes, lines of runs, divergence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from experiments.claims import (
    a_zero,
    d_cold_start,
    e_stages,
    f_distillation,
    g_pass_at_k,
    h_hacking,
    j_size,
    l_methods,
    n_process,
    o_search,
    pairs,
    q_budget,
    traces,
    verdicts,
)
from experiments.claims.every import CLAIMS
from experiments.claims.modes import mode_of, profile, split_growth
from experiments.claims.results import number, numbers, scores, smoothed
from experiments.claims.runs import Config
from experiments.claims.trial import BaseAndSeed, Study
from r1jax.commands import cli
from r1jax.data.world.corpus import documents
from r1jax.run.directory import read_jsonl

pytestmark = pytest.mark.lab


# --- declarations ------------------------------------------------------------------------------


@pytest.mark.parametrize("letter", CLAIMS)
def test_every_claim_is_declared(letter):
    claim = CLAIMS[letter]
    assert claim.hypothesis.endswith(".") and claim.protocol.endswith(".")
    assert claim.minutes and len(claim.lines) <= (6 if letter == "l" else 3)
    assert claim.lines or claim.beside
    names = [line.says for line in claim.lines + claim.beside]
    assert len(set(names)) == len(names)
    for line in claim.lines:
        # The smallest effect lies on the claimed side of the null, or is the bound itself.
        assert line.sign * (line.least - line.null) >= 0 and line.plus != line.minus
        assert line.within or line.least or line.null == line.least
    for condition in claim.conditions:
        assert set(condition.lines) <= set(names)


@pytest.mark.parametrize("letter", CLAIMS)
def test_what_a_claim_compares_is_what_it_measures(letter):
    """With a line for every run, all that its lines and conditions name is a number."""
    claim = CLAIMS[letter]
    row = claim.measure(Study(Config(), everything()), BaseAndSeed(0, 0))
    asked = [*claim.lines, *claim.beside, *claim.conditions]
    missing = {key for line in asked for key in (line.plus, line.minus) if key} - {
        key for key, value in row.items() if value is not None
    }
    assert not missing
    assert set(claim.picture.measures) <= {key.rpartition("/")[0] for key in row}


class everything(dict):
    """Figures that have a line for whatever run is asked for."""

    def get(self, name, default=None):
        counts = " ".join(["3"] * 40 + ["1"] * 60)
        side = {
            "samples": 256 if name.startswith("many") else 16, "right": counts,
            "pass_at_1": 0.5, "pass_at_1_strict": 0.4,
            "format": 0.5, "length_mean": 20.0, "truncated": 0.03, "cons": 0.6,
            "language_consistency": 0.7, "thought_words_mean": 9.0, "pass_at_1_greedy": 0.4,
            "f1": 0.5, "auc": 0.9,
            "helpfulness": 0.5, "unsafe_compliance": 0.1, "safe_refusal": 0.1,
        }  # fmt: skip
        course = dict.fromkeys(
            ("accuracy", "entropy", "tokens", "clipped", "reward/gold"), [0.5] * 60
        )
        course |= {f"reward/proxy-{size}-b0-s0": [0.1] * 60 for size in h_hacking.PROXIES}
        course |= {f"reward/prm-{model}-b0-s0": [3.0] * 60 for model in n_process.MODELS}
        course |= {"reward/true_steps": [2.0] * 60, "reward/steps": [4.0] * 60}
        modes = {"guess": [0.4, 5.0], "short": [0.2, 9.0], "long": [0.4, 50.0]}
        if name.startswith("judge-zero"):
            modes = {"guess": [0.1, 5.0], "short": [0.2, 9.0], "long": [0.7, 60.0]}
        sizes = {"base0": 1.8e6, "student0": 0.4e6, "large0": 7e6}
        return {
            "before": side, "after": side, "course": course, "ended": "operations",
            "operations": {"student": 1e12, "teacher": 2e12},
            "modes": modes | {"checked": [0.0, 0.0]}, "parameters": sizes.get(name),
            "stages": dict.fromkeys(("Zero", "Dev1", "Dev2", "Dev3", "R1"), side),
            "tries": 2.0, "reward": 0.4, "tagged": 0.9, "greedy_tries": 1.0,
            "choices": dict.fromkeys(("best of N, min", "vote"), "1 0.5 0"),
            "wrong_called_right": 0.3, "right_called_wrong": 0.1,
            "budgets": dict.fromkeys(("8", "16", "32", "64", "128"), side),
            "rounds": [side | {"search/best": 0.6, "sample/best": 0.5}] * 3,
        }  # fmt: skip

    def __getitem__(self, name):
        return self.get(name)


def test_an_arm_that_diverged_is_named_by_every_claim_that_measures_it():
    pair, lost = BaseAndSeed(0, 0), {"diverged": True}
    told = {
        e_stages: ("r1-b0-s0", "Zero"), h_hacking: ("hack-few-b0-s0", "200 pairs"),
        j_size: ("large-zero-b0-s0", "all sizes"),
        CLAIMS["i"]: ("cap-kept-b0-s0", "kept, judged at the full cap"),
        CLAIMS["m"]: ("instruct-b0-s0", "instruction-tuned"),
        d_cold_start: ("cold-b0-s0", "cold start"),
        CLAIMS["p"]: ("zero-b0-s0", "on-policy distilled"),
        CLAIMS["t"]: ("countdown-zero-s0", "R1-Zero"), g_pass_at_k: ("zero-b0-s0", "R1-Zero"),
        CLAIMS["f"]: ("student-rl-b0-s0", "RL"), CLAIMS["a"]: ("zero-b0-s0", "R1-Zero"),
    }  # fmt: skip
    for claim, (run, arm) in told.items():
        row = claim.measure(Study(Config(), {run: lost}), pair)
        assert row[f"diverged/{arm}"] == 1.0, arm
    proxy = h_hacking.measure(Study(Config(), {"proxy-few-b0-s0": lost}), pair)
    assert proxy["diverged/200 pairs"] == 1.0


def test_an_arm_that_diverged_with_every_rate_is_lost_and_not_untried():
    config = Config(bases=3, seeds=2)
    names = [f"select-{arm}-b3-{rate:g}-s{seed}" for rate in config.rates for seed in (90, 91)
             for arm in f_distillation.DISTILLED]  # fmt: skip
    found = {name: {"name": name, "diverged": True} for name in names}
    study = Study(config, found)
    arm = f_distillation.DISTILLED[0]
    assert study.tried(arm) == {} and study.rate(arm) is None and study.lost(arm)
    assert study.tried("zero") is None and not study.lost("zero")
    row = f_distillation.measure(study, BaseAndSeed(0, 0))
    assert row["diverged with every rate/distilled"] == 1.0
    rows = verdicts.measured(CLAIMS["f"], study)
    (line,) = verdicts.judge(CLAIMS["f"], study, rows)
    assert line.verdict == "not tested because distilled diverged with every rate"
    # One that is lost does not keep the best of the others from being known.
    after = {"after": {"pass_at_1": 0.5, "samples": 8}}
    one = {name: after for name in names if name.startswith(f"select-{arm}-")}
    assert Study(config, found | one).best(f_distillation.DISTILLED) == arm


def test_reinforcement_learning_that_has_not_spent_its_operations_is_not_shown():
    for ended, said in (("operations", 100.0), ("updates", 0.0)):
        row = {"charged-rl-b0-s0": {"after": {}, "ended": ended}}
        found = f_distillation.measure(Study(Config(), row), BaseAndSeed(0, 0))
        assert found[f"operations spent, %/{f_distillation.CHARGED}"] == said


# --- modes -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "family", "expected"),
    [
        (" The answer is 41.", "sum", "guess"),
        (" <think> I guess 41. </think> <answer> 41 </answer>", "sum", "guess"),
        (" = 41", "sum", "guess"),
        (" First 12+30=42. The answer is 42.", "sum", "short"),
        ("先算12+30=42。再算42-1=41。答案是41。", "sum", "long"),
        (" First 12+30=42. Then 42-1=41. Check: 41+1=42, good. = 41", "sum", "checked"),
        (" Try 3*4+5=17 no, 3*5+4=19 no,", "countdown", "short"),
        ("试试3*4+5=17不对，3*5+4=19不对，4*5+3=23对了。", "countdown", "long"),
        (" <think> 3+4=7. </think> <answer> 3+4=7=7=7 </answer>", "sum", "short"),
    ],
)
def test_modes_by_rule(text, family, expected):
    assert mode_of(text, family) == expected


def test_modes_agree_with_the_corpus():
    found = [
        (d.mode, mode_of(d.completion, d.problem.metadata["family"]))
        for d in documents(3, 0, 1500)
        if d.problem.metadata["family"] in ("sum", "word")
    ]
    assert np.mean([told == meant for meant, told in found]) > 0.98


def test_growth_is_split_without_rest():
    before = {"guess": (0.5, 10.0), "short": (0.5, 20.0), "long": (0.0, 0.0), "checked": (0.0, 0.0)}
    after = {"guess": (0.0, 0.0), "short": (0.25, 24.0), "long": (0.75, 40.0), "checked": (0, 0.0)}
    # By hand: shares -0.5 x 10 - 0.25 x 22 + 0.75 x 40 = 19.5; within 0.375 x 4 = 1.5; 15 -> 36.
    assert split_growth(before, after) == (pytest.approx(19.5), pytest.approx(1.5))
    # Where nothing grows there is no share of it.
    same = a_zero.grown(before, before, "arm")
    assert same["share of growth by modes, %/arm"] is None
    assert same["growth within modes/arm"] == 0


def test_the_profile_of_completions():
    rows = [
        {"id": "p", "text": " = 4", "length": 3},
        {"id": "p", "text": " First 2+2=4.", "length": 9},
        {"id": "p", "text": " First 2+2=4. = 4", "length": 11},
        {"id": "p", "text": " = 5", "length": 5},
    ]
    found = profile(rows, {"p": "sum"})
    assert found["guess"] == (0.5, 4.0)
    assert found["short"] == (0.5, 10.0)
    assert found["long"] == (0.0, 0.0)


# --- measures ----------------------------------------------------------------------------------


def test_numbers_of_lines():
    row = {"after": {"pass_at_1": 0.25, "length_mean": 31, "cons": 0.5, "right": "4 0 2",
                     "samples": 4}}  # fmt: skip
    assert number(row, "pass_at_1") == 25.0
    assert number(row, "cons") == 50.0
    assert number(row, "length_mean") == 31.0
    assert number(row, "format") is None and number({}, "pass_at_1") is None
    assert scores(row) == [100.0, 0.0, 50.0] and scores({}) is None
    found = numbers(row, "arm", {"pass@1": "right", "tokens": "length_mean"})
    assert found == {"pass@1/arm": [100.0, 0.0, 50.0], "tokens/arm": 31.0}
    assert numbers({"diverged": True}, "arm", {}) == {"diverged/arm": 1.0}
    assert smoothed([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]


def test_updates_to_a_target():
    curve = [0.0, 0.3, 0.6, 0.9, 0.9]  # running means 0, 0.15, 0.3, 0.6, 0.8
    assert d_cold_start.updates_to(curve, 0.6) == 3.0
    assert d_cold_start.updates_to(curve, 0.95) == 5.0
    assert d_cold_start.updates_to([], 0.5) is None


def test_problems_with_room_are_chosen_by_draws_that_are_not_compared():
    first = [0, 1, 1, 2, 3, 200]
    # Of those solved once half are in the second draw, with those solved twice two of three, with
    # those solved thrice three of four.
    assert g_pass_at_k.chosen(first, [9, 0, 1, 1, 1, 200]) == [1, 2, 3, 4]
    assert g_pass_at_k.chosen(first, [0, 1, 1, 0, 0, 0]) == [1, 2]
    assert g_pass_at_k.chosen(first, [0, 0, 0, 0, 0, 0]) == []
    assert g_pass_at_k.chosen([0, 0], [1, 1]) == []


def test_pass_at_k_is_of_the_chosen_problems_alone():
    after = lambda right: {"after": {"right": right, "samples": 4}}  # noqa: E731
    found = {"many-base0-s90": "4 1 1", "many-base0-s91": "4 1 2", "many-base0-s0": "4 0 1",
             "many-zero-b0-s0": "4 1 2"}  # fmt: skip
    rows = {f"{name}-0": after(right) for name, right in found.items()}
    rows |= {f"{name}-{which}": after("0") for name in found
             for which in range(1, len(g_pass_at_k.SETS))}  # fmt: skip
    row = g_pass_at_k.measure(Study(Config(), rows), BaseAndSeed(0, 0))
    assert row["problems/chosen"] == 2.0
    # Base: 0 and 1 of 4 right; R1-Zero: 1 and 2. pass@2 is 1 - C(4 - c, 2) / 6.
    assert row["pass@4/base"] == 50.0 and row["pass@4/R1-Zero"] == 100.0
    assert row["pass@2/base"] == pytest.approx(100 * (0 + 0.5) / 2)
    assert row["pass@2/R1-Zero"] == pytest.approx(100 * (0.5 + 5 / 6) / 2)


def test_operations_at_which_the_median_gets_there():
    spent = [10.0, 20.0, 30.0, 40.0]
    slow, fast = [0.0, 0.0, 0.6, 0.9], [0.9, 0.9, 0.9, 0.9]
    # Running means of three: slow 0, 0, .2, .5; the median of slow, fast, fast is fast's.
    assert l_methods.operations_at([(spent, slow), (spent, fast), (spent, fast)]) == 10.0
    assert l_methods.operations_at([(spent, slow)]) == 40.0  # never: all of them
    assert l_methods.operations_at([(spent, slow), ([], [])]) is None


def test_hacking_is_seen_from_the_beginning():
    gold = [0.5] * 10 + [0.9] * 10 + [0.3] * 10
    found = h_hacking.watched(gold, "n", "gold", 100)
    assert found["gold, first/n"] == pytest.approx(50.0)
    assert found["gold, last/n"] == pytest.approx(30.0)
    assert found["gold, change/n"] == pytest.approx(-20.0)  # not from the peak of 90
    assert h_hacking.watched([], "n", "gold", 100) == {"gold, change/n": None}


def test_steps_are_overstated_by_those_that_are_written():
    course = {"reward/prm": [3.0, 4.0], "reward/true_steps": [2.0, 1.0], "reward/steps": [4.0, 5.0]}
    assert n_process.overstated({"course": course}, "prm") == [0.25, pytest.approx(0.6)]
    assert n_process.overstated({}, "prm") == []
    # By a pair: 20 rollouts in which the model's word goes from the truth's to all of the steps.
    long = {"reward/prm-hard-b0-s0": [2.0] * 10 + [4.0] * 10, "reward/true_steps": [2.0] * 20,
            "reward/steps": [4.0] * 20}  # fmt: skip
    found = {"pleasing-b0-s0": {"after": {}, "course": long}}
    row = n_process.measure(Study(Config(), found), BaseAndSeed(0, 0))
    assert row[f"{n_process.OVER}, change/rewarded by the model"] == 50.0
    assert row[f"{n_process.OVER}, change/rewarded by the rule"] is None


def test_search_is_measured_in_its_rounds():
    after = lambda right, **more: {"right": right, "samples": 4} | more  # noqa: E731
    rounds = [after("4 0", **{"search/best": 0.75, "sample/best": 0.5}), after("4 1"), after("4 2")]
    found = {"search-beam-b0-s0": {"after": rounds[-1], "rounds": rounds},
             "search-own-b0-s0": {"after": after("2 2")}}  # fmt: skip
    row = o_search.measure(Study(Config(), found), BaseAndSeed(0, 0))
    values = [verdicts.difference(line, row) for line in o_search.CLAIM.lines]
    assert values == [25.0, [0.0, 50.0], [50.0, 0.0]]


def test_accuracy_by_budget():
    budgets = {"16": {"right": "0 1", "samples": 4}, "32": {"right": "2 1", "samples": 4}}
    found = {"thinking-zero-b0-s0": {"budgets": budgets}}
    row = q_budget.measure(Study(Config(), found), BaseAndSeed(0, 0))
    first, second, _ = (verdicts.difference(line, row) for line in q_budget.CLAIM.lines)
    assert first == [50.0, 0.0] and second is None


def test_runs_that_diverged_are_named_where_others_stand_on_them():
    lost = {"diverged": True}
    found = {"zero-b0-s0": lost, "prm-truth-b0-s0": lost}
    assert q_budget.measure(Study(Config(), found), BaseAndSeed(0, 0))["diverged/16 tokens"] == 1.0
    row = n_process.measure(Study(Config(), found), BaseAndSeed(0, 0))
    assert row["diverged/labels of truth"] == 1.0
    assert "diverged/labels of continuations" not in row


def test_the_slope_over_sizes():
    points = [(18.0, 10.0), (19.0, 13.0), (20.0, 16.0)]
    assert j_size.slope(points) == pytest.approx(3.0)


# --- what samples are compared with ------------------------------------------------------------


def test_as_many_right_traces_as_samples(tmp_path):
    kept = tmp_path / "kept.jsonl"
    rows = [{"prompt": f"p{i}", "completion": f"new {i}", "source": f"old {i}"} for i in range(3)]
    kept.write_text("".join(json.dumps(row) + "\n" for row in rows))
    argv = ["--like", str(kept), "--run", str(tmp_path / "run")]
    assert cli.run(traces.main, traces.Config(), argv) == 0
    read = lambda name: [  # noqa: E731
        json.loads(line) for line in (tmp_path / "run" / name).read_text().splitlines()
    ]
    corpus = read("corpus.jsonl")
    assert len(corpus) == 3
    for row in corpus:
        assert row["prompt"].startswith("User: ") and row["prompt"].endswith("\nAssistant:")
        assert row["completion"].startswith(" <think>") and "</answer>" in row["completion"]
    assert read("unrewritten.jsonl")[1] == {"prompt": "p1", "completion": "old 1"}
    assert cli.run(traces.main, traces.Config(), argv) == 0  # finished already


def test_pairs_hold_bare_questions(tmp_path):
    argv = ["--count", "8", "--held-out", "4", "--run", str(tmp_path / "run")]
    assert cli.run(pairs.main, pairs.Config(), argv) == 0
    rows = [
        json.loads(line) for line in (tmp_path / "run" / "pairs.jsonl").read_text().splitlines()
    ]
    assert len(rows) == 8
    for row in rows:
        assert set(row) == {"prompt", "chosen", "rejected"}
        assert not row["prompt"].startswith("User") and not row["prompt"].endswith("\n")
        assert row["chosen"] != row["rejected"]
    replies = read_jsonl(tmp_path / "run" / pairs.REPLIES)
    assert len(replies) == 8 and all(set(row) == {"prompt", "completion"} for row in replies)
