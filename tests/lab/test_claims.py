"""Claims: verdicts on literal numbers and at their edges, declarations, modes, measures, page."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.claims import (
    d_cold_start,
    g_pass_at_k,
    h_hacking,
    j_size,
    l_methods,
    page,
    verdicts,
)
from experiments.claims.claim import Claim, ClaimLine, Condition, Picture, above, below
from experiments.claims.every import CLAIMS
from experiments.claims.modes import mode_of, profile, split_growth
from experiments.claims.pictures import chart, table
from experiments.claims.results import number, numbers, scores, smoothed
from experiments.claims.runs import Config
from experiments.claims.trial import BaseAndSeed, Study
from r1jax.commands import cli
from r1jax.data.world.corpus import documents
from r1jax.errors import UserError

pytestmark = [pytest.mark.lab, pytest.mark.painted]

DOCS = Path(__file__).parents[2] / "docs"
TWO = ClaimLine("gain", "x/new", "x/old", least=2.0)
# Three values a - h, a, a + h: the standard error is h / sqrt(3), t(2) = 4.303.
HALF = 4.303 / math.sqrt(3)
STUDY = Study(Config(bases=3, seeds=2), {})


def three(mean, half):
    """Values whose 95 % interval is `mean` give or take `half`."""
    return [mean - half / HALF, mean, mean + half / HALF]


def toy(*lines, **more):
    return replace(
        Claim(
            letter="a", title="RL raises x", source="a table", hypothesis="It rises.",
            protocol="Try it.", lines=lines, picture=Picture("x", "points", ("x",)),
            steps=lambda study: [], measure=lambda study, pair: {},
        ),
        **more,
    )  # fmt: skip


def rows_of(values, old=0.0, seeds=2, **more):
    """A claim's numbers: a value for each base, whose seeds lie a point below and above it."""
    return {
        BaseAndSeed(base, seed): {"x/new": value + old + 2 * seed - 1, "x/old": old, **more}
        for base, value in enumerate(values)
        for seed in range(seeds)
    }


def word_of(line, values, **more):
    (found,) = verdicts.judge(toy(line, **more), STUDY, rows_of(values))
    return found.verdict


@pytest.mark.parametrize(
    ("line", "values", "expected"),
    [
        (TWO, three(2.0, 1.9), "supported"),
        (TWO, three(1.9, 1.8), "smaller than claimed"),  # real, its mean too small
        (TWO, three(2.0, 2.1), "inconclusive"),  # the interval holds 0
        (TWO, three(0.5, 1.0), "smaller than claimed"),  # holds 0 and falls short of 2
        (TWO, three(-5.0, 1.0), "of the other sign"),
        (TWO, three(-5.0, 7.5), "inconclusive"),
        (ClaimLine("", "x/new", sign=-1, least=-2.0), three(-2.0, 1.9), "supported"),
        (ClaimLine("", "x/new", sign=-1, least=-2.0), three(-1.0, 0.9), "smaller than claimed"),
        (ClaimLine("", "x/new", sign=-1, least=-2.0), three(2.0, 0.5), "of the other sign"),
        (above("", -3, "x/new"), three(-1.0, 1.9), "supported"),
        (above("", -3, "x/new"), three(-1.0, 2.1), "inconclusive"),
        (above("", -3, "x/new"), three(-5.0, 1.9), "of the other sign"),
        (below("", 95, "x/new"), three(90.0, 4.9), "supported"),
        (below("", 95, "x/new"), three(97.0, 1.9), "of the other sign"),
        # 90 %: t(2) = 2.920, so that half of the 95 % interval is 1.474 of that of 90 %.
        (ClaimLine("", "x/new", within=3), three(1.0, 2.9), "supported"),
        (ClaimLine("", "x/new", within=3), three(1.0, 3.1), "inconclusive"),
        (ClaimLine("", "x/new", within=3), three(6.0, 2.9), "larger than claimed"),
        (ClaimLine("", "x/new", within=3), three(-6.0, 2.9), "larger than claimed"),
        (ClaimLine("", "x/new", within=3), three(6.0, 3.1), "inconclusive"),
    ],
)
def test_the_rule_at_its_edges(line, values, expected):
    assert word_of(line, values) == expected


def test_the_units_are_bases():
    rows = rows_of([1.0, 2.0, 3.0], old=1.0)
    (found,) = verdicts.judge(toy(TWO), STUDY, rows)
    # Seeds of a base lie two apart; bases one: mean 2, error 1 / sqrt(3), t(2) = 4.303.
    assert found.by_unit == (1.0, 2.0, 3.0) and found.pairs == 6
    assert found.interval == pytest.approx((2 - 2.4842, 2 + 2.4842), abs=2e-4)
    assert not found.with_problems
    # On one base they are the seeds: -0.5, 1.5 and so on.
    one = toy(TWO, one_base=True, seeds=2)
    assert verdicts.look(one, TWO, rows_of([1.0])).by_unit == (0.0, 2.0)


def test_a_median_forgets_the_one_that_never_gets_there():
    rows = {BaseAndSeed(0, s): {"x/new": v} for s, v in enumerate((5.0, 60.0, 7.0))}
    line = ClaimLine("", "x/new")
    assert verdicts.look(toy(line, over="median"), line, rows).by_unit == (7.0,)
    assert verdicts.look(toy(line), line, rows).by_unit == (24.0,)


def test_problems_are_drawn_where_all_bases_have_the_same():
    rng = np.random.default_rng(0)
    hard = rng.normal(0, 20, 30)  # what is hard for one base is for all
    rows = {
        BaseAndSeed(base, seed): {
            "x/new": (hard + base + rng.normal(0, 1, 30)).tolist(), "x/old": [0.0] * 30,
        }
        for base in range(3) for seed in range(2)
    }  # fmt: skip
    found = verdicts.look(toy(TWO), TWO, rows)
    assert found.with_problems and found.estimate.error > 2.5
    assert verdicts.over_units(found.by_unit).error < 1
    # Differences are taken problem by problem: those of the same problems are small.
    rows = {pair: {"x/new": row["x/new"], "x/old": hard.tolist()} for pair, row in rows.items()}
    assert verdicts.look(toy(TWO), TWO, rows).estimate.error < 1


def test_lines_share_the_level_by_holm():
    second = ClaimLine("second", "y/new", least=1.0)
    other = three(2.0, 1.8)  # rejected at 5 %, not at 2.5 %
    rows = rows_of(three(5.0, 1.0))
    rows = {pair: row | {"y/new": other[pair.base]} for pair, row in rows.items()}
    first, last = verdicts.judge(toy(TWO, second), STUDY, rows)
    assert (first.level, last.level) == (pytest.approx(0.975), pytest.approx(0.95))
    assert (first.verdict, last.verdict) == ("supported", "supported")
    rows = {pair: row | {"x/new": 5 * row["y/new"]} for pair, row in rows.items()}
    assert {one.verdict for one in verdicts.judge(toy(TWO, second), STUDY, rows)} == {
        "inconclusive"
    }


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"x/old": 98.5}, "old at 98.5 leaves no room for +2 points"),
        ({"diverged/new": 1.0}, "new diverged"),
        ({"z/new": 3.0}, "it is not so that z is small (3.0)"),
        ({"z/new": None}, "it is not known whether z is small"),
        ({"x/old": None}, "not run"),
    ],
)
def test_what_cannot_be_tested_says_why(more, said):
    claim = toy(TWO, conditions=(Condition("z is small", "z/new", high=2.0),))
    rows = {pair: row | {"z/new": 1.0} for pair, row in rows_of([5.0, 5.1, 5.2]).items()}
    (fine,) = verdicts.judge(claim, STUDY, rows)
    assert fine.verdict == "supported"
    rows = {pair: row | more for pair, row in rows.items()}
    (found,) = verdicts.judge(claim, STUDY, rows)
    assert found.verdict == f"not tested because {said}"


def test_a_pair_that_is_missing_is_not_passed_over():
    rows = rows_of([5.0, 5.1, 5.2])
    del rows[BaseAndSeed(1, 1)]
    (found,) = verdicts.judge(toy(TWO), STUDY, rows)
    assert found.verdict == "not tested because 5 of 6 pairs of base and seed are there"


# --- page --------------------------------------------------------------------------------------


def test_the_page_is_what_the_figures_say(tmp_path):
    target = tmp_path / "page.md"
    found, first = (str(DOCS / "claims" / name) for name in ("figures.jsonl", "first.json"))
    page.main(page.Config(found, first, str(target), str(tmp_path / "images")))
    right = (DOCS / "claims.md").read_text(encoding="utf-8")
    assert target.read_text(encoding="utf-8") == right, "run python -m experiments.claims.page"


def test_the_page_says_every_verdict(tmp_path, monkeypatch):
    values = rows_of([5.0, 5.1, 5.2], old=30.0)
    measure = lambda study, pair: values.get(pair, {})  # noqa: E731
    tested = toy(TWO, measure=measure, beside=(ClaimLine("b", "x/new"),))
    fresh = toy(TWO, letter="b", title="cons@k")
    told = toy(letter="c", measure=measure, beside=(TWO,))
    monkeypatch.setattr(page, "CLAIMS", {claim.letter: claim for claim in (tested, fresh, told)})
    monkeypatch.setattr(page, "Flags", lambda: STUDY.config)
    argv = ["--first", str(DOCS / "claims" / "first.json"), "--page", str(tmp_path / "claims.md")]
    argv += ["--images", str(tmp_path / "images"), "--figures", "none"]
    assert cli.run(page.main, page.Config(), argv) == 0
    text = (tmp_path / "claims.md").read_text()
    lines = text.splitlines()
    assert "| [(a)](#a-rl-raises-x) | RL raises x | **supported** |" in lines
    assert "| [(b)](#b-consk) | cons@k | **not tested because not run** |" in lines
    assert "| [(c)](#c-rl-raises-x) | RL raises x | reported, not judged |" in lines
    said = (
        "| gain | above 0, at least +2 points | 5.10 | 4.85 to 5.35 | 95.0 % | 5.00 / 5.10 / 5.20"
    )
    assert f"{said} | 6 | supported |" in lines
    assert "    python -m experiments.claims --only b --devices 1" in text
    assert "| new | 35.1 |" in lines and "![x](images/claims_a.png)" in lines
    assert (tmp_path / "images" / "claims_a.png").exists()
    assert "### First campaign: (k)" in lines
    with pytest.raises(UserError, match="--first none: no such file"):
        page.main(page.Config(first="none"))


def test_a_picture_of_units_with_gaps():
    rows = rows_of([5.0, 6.0], old=1.0)
    rows[BaseAndSeed(1, 0)] = rows[BaseAndSeed(1, 1)] = {"x/new": None, "x/old": 1.0}
    assert table(toy(TWO), rows)["x"]["new"] == {0: [5.0, 7.0], 1: []}
    assert chart(toy(TWO), rows).png().startswith(b"\x89PNG")
    assert chart(toy(TWO), {}) is None


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
            "helpfulness": 0.5, "unsafe_compliance": 0.1, "safe_refusal": 0.1,
        }  # fmt: skip
        course = dict.fromkeys(
            ("accuracy", "entropy", "tokens", "clipped", "reward/gold"), [0.5] * 60
        )
        course |= {f"reward/proxy-{size}-b0-s0": [0.1] * 60 for size in h_hacking.PROXIES}
        modes = {"guess": [0.4, 5.0], "short": [0.2, 9.0], "long": [0.4, 50.0]}
        if name.startswith("judge-zero"):
            modes = {"guess": [0.1, 5.0], "short": [0.2, 9.0], "long": [0.7, 60.0]}
        sizes = {"base0": 1.8e6, "student0": 0.4e6, "large0": 7e6}
        return {
            "before": side, "after": side, "course": course,
            "operations": {"student": 1e12, "teacher": 2e12},
            "modes": modes | {"checked": [0.0, 0.0]}, "parameters": sizes.get(name),
            "stages": dict.fromkeys(("Zero", "Dev1", "Dev2", "Dev3", "R1"), side),
            "tries": 2.0, "reward": 0.4, "tagged": 0.9, "greedy_tries": 1.0,
        }  # fmt: skip

    def __getitem__(self, name):
        return self.get(name)


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
    rows |= {f"{name}-1": after("0") for name in found}
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


def test_the_slope_over_sizes():
    points = [(18.0, 10.0), (19.0, 13.0), (20.0, 16.0)]
    assert j_size.slope(points) == pytest.approx(3.0)
