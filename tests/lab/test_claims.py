"""Claims: verdicts on literal numbers and at their edges, and the page that says them."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments.claims import page, verdicts
from experiments.claims.claim import Claim, ClaimLine, Condition, Picture, above, below
from experiments.claims.pictures import chart, table
from experiments.claims.runs import Config
from experiments.claims.trial import BaseAndSeed, Study
from r1jax.commands import cli
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
        (ClaimLine("", "x/new", within=3), three(1.0, 2.9), "alike"),
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
    # After the first that fails no interval contradicts its word: all are of its level.
    for one in verdicts.judge(toy(TWO, second), STUDY, rows):
        assert one.verdict == "inconclusive" and one.level == 0.975
        assert one.interval[0] < 0 < one.interval[1]
    # A bound is met or not: what lies on its other side, unrejected, is no smaller effect.
    gold = below("gold", -5, "x/new")
    rows = {pair: row | {"x/new": three(-3.0, 1.8)[pair.base]} for pair, row in rows.items()}
    assert verdicts.judge(toy(gold, second), STUDY, rows)[0].verdict == "inconclusive"


def test_what_is_alike_is_judged_together():
    """Of each line the interval is shown that its word came from; the claim has one verdict."""
    names = ("one", "two")
    claim = toy(*(ClaimLine(name, f"{name}/new", within=3.0) for name in names))

    def judged(*values):
        rows = {
            BaseAndSeed(base, seed): {
                f"{name}/new": of[base] for name, of in zip(names, values, strict=True)
            }
            for base in range(3) for seed in range(2)
        }  # fmt: skip
        return verdicts.judge(claim, STUDY, rows)

    alike, wide, beyond = three(1.0, 2.9), three(1.0, 3.1), three(12.0, 2.9)
    found = judged(alike, wide)
    assert [one.verdict for one in found] == ["alike", "inconclusive"]
    # 90 % of three(1, 2.9): 1 +- 2.9 / 1.474.
    assert found[0].level == 0.9 and found[0].interval[1] == pytest.approx(2.97, abs=0.01)
    assert verdicts.together_said(found) == "inconclusive"
    assert verdicts.together_said(judged(alike, alike)) == "supported"
    assert verdicts.together_said(judged(alike, beyond)) == "contradicted"
    assert verdicts.together_said(judged(alike, [None] * 3)) == "not tested because not run"
    assert verdicts.together_said(verdicts.judge(toy(TWO), STUDY, rows_of([1.0]))) == ""
    assert page.spoken(judged(alike, beyond), {}) == "**contradicted**"


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


def conditioned(condition, values, **more):
    """The verdict where the condition's number has these values by base."""
    rows = rows_of([5.0, 5.1, 5.2])
    rows = {pair: row | {"z/new": values[pair.base]} for pair, row in rows.items()}
    rows[BaseAndSeed(2, 1)] |= more
    (found,) = verdicts.judge(toy(TWO, conditions=(condition,)), STUDY, rows)
    return found.verdict


def test_conditions_are_of_all_pairs_of_each_base_and_of_their_lines_alone():
    mean = Condition("z is large", "z/new", low=16.0)
    each = replace(mean, each=True)
    assert conditioned(mean, (1.0, 1.0, 80.0)) == "supported"
    failed = "not tested because it is not so that z is large (1.0)"
    assert conditioned(each, (40.0, 1.0, 80.0)) == failed
    assert conditioned(each, (40.0, 16.0, 80.0)) == "supported"
    unknown = "not tested because it is not known whether z is large"
    assert conditioned(mean, (40.0, 40.0, 40.0), **{"z/new": None}) == unknown
    assert conditioned(replace(mean, lines=("another",)), (1.0, 1.0, 1.0)) == "supported"
    assert conditioned(replace(mean, lines=("gain",)), (1.0, 1.0, 1.0)) == failed


def test_what_a_condition_says_of_a_line_beside_is_held_there():
    other = ClaimLine("b", "x/new")
    told = Condition("z is large", "z/new", low=16.0, lines=("b",))
    claim = toy(TWO, beside=(other, TWO), conditions=(told,))
    rows = {pair: row | {"z/new": 1.0} for pair, row in rows_of([5.0, 5.1, 5.2]).items()}
    hidden, shown = verdicts.beside(claim, STUDY, rows)
    assert shown.estimate and not shown.verdict
    said = "not shown: it is not so that z is large (1.0)"
    assert page.beside_row(hidden) == ["b", said, "", "", "6"]


def test_arms_that_were_judged_on_different_problems_are_not_compared():
    def said(new, old):
        rows = {
            BaseAndSeed(base, seed): {"x/new": [5.0 + base] * new[base], "x/old": [0.0] * old[base]}
            for base in range(3) for seed in range(2)
        }  # fmt: skip
        (found,) = verdicts.judge(toy(TWO), STUDY, rows)
        return found.verdict

    assert said((8, 8, 8), (8, 8, 8)) == "supported"
    other = "not tested because judged on other problems"
    assert said((8, 8, 8), (8, 8, 4)) == other  # within a pair
    assert said((8, 8, 4), (8, 8, 4)) == other  # of one base


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
    one = {pair: {"x/old": 1.0} for pair in rows}  # what another claim has made
    assert chart(toy(TWO), one) is None
