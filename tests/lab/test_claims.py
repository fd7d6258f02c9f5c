"""Claims: verdicts on literal numbers and at their edges, declarations, modes, page and picture."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from experiments.claims import d_cold_start, f_distillation, g_pass_at_k, h_hacking, j_size, page
from experiments.claims.claim import Claim, Comparison, Picture, above, below
from experiments.claims.every import CLAIMS
from experiments.claims.modes import mode_of, profile, split_growth
from experiments.claims.pictures import chart, table
from experiments.claims.results import change, number, smoothed
from experiments.claims.runs import ORDER
from experiments.claims.verdicts import collate, differences, overall, verdict
from r1jax.commands import cli
from r1jax.data.world.corpus import documents

pytestmark = [pytest.mark.lab, pytest.mark.painted]

TWO = Comparison("gain", "x/new", "x/old", least=2.0)
# Three values a - h, a, a + h: the standard error is h / sqrt(3), t(2) = 4.303.
HALF = 4.303 / math.sqrt(3)


def three(mean, half):
    """Values whose 95 % interval is `mean` give or take `half`."""
    return [mean - half / HALF, mean, mean + half / HALF]


@pytest.mark.parametrize(
    ("comparison", "values", "expected"),
    [
        (TWO, three(2.0, 1.9), "supported"),
        (TWO, three(1.9, 1.8), "inconclusive"),  # beyond the null, the mean too small
        (TWO, three(2.0, 2.1), "inconclusive"),  # the interval holds the null
        (TWO, three(1.0, 0.9), "contradicted"),  # real, but too small to count
        (TWO, three(-5.0, 1.0), "contradicted"),
        (TWO, three(-5.0, 7.5), "inconclusive"),
        (TWO, [3.0], "inconclusive"),
        (TWO, [2.0, 2.0], "supported"),
        (TWO, [], "not run"),
        (Comparison("", "x", sign=-1, least=-2.0), three(-2.0, 1.9), "supported"),
        (Comparison("", "x", sign=-1, least=-2.0), three(-1.0, 0.9), "contradicted"),
        (Comparison("", "x", sign=-1, least=-2.0), three(2.0, 0.5), "contradicted"),
        (above("", -3, "x"), three(-1.0, 1.9), "supported"),
        (above("", -3, "x"), three(-1.0, 2.1), "inconclusive"),
        (above("", -3, "x"), three(-5.0, 1.9), "contradicted"),
        (below("", 95, "x"), three(90.0, 4.9), "supported"),
        (below("", 95, "x"), three(90.0, 5.1), "inconclusive"),
        (below("", 95, "x"), three(97.0, 1.9), "contradicted"),
        (below("", 95, "x"), [95.0, 95.0], "inconclusive"),  # on the bound is not beyond it
    ],
)
def test_the_rule_at_its_edges(comparison, values, expected):
    assert verdict(comparison, values) == expected


def test_the_interval_over_ten_pairs():
    values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0]
    pairs = [
        {"base": i % 2, "seed": i // 2, "numbers": {"x/new": v, "x/old": 1.0}}
        for i, v in enumerate(values)
    ]
    (row,) = collate(toy(TWO), pairs, 10)["comparisons"]
    # mean 4.5, standard deviation 3.0277, error 0.9574, t(9) = 2.262
    assert row["mean"] == pytest.approx(4.5)
    assert row["interval"] == pytest.approx([2.3342, 6.6658], abs=2e-3)
    assert row["by_base"] == {"0": 4.0, "1": 5.0}
    assert (row["n"], row["verdict"]) == (10, "supported")


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([("decides", "supported"), ("decides", "supported"), ("beside", "contradicted")],
         "supported"),
        ([("decides", "supported"), ("decides", "contradicted")], "contradicted"),
        ([("decides", "contradicted"), ("decides", "inconclusive")], "contradicted"),
        ([("decides", "supported"), ("decides", "inconclusive")], "inconclusive"),
        ([("decides", "supported"), ("decides", "not run")], "inconclusive"),
        ([("decides", "supported"), ("condition", "contradicted")], "inconclusive"),
        ([("decides", "contradicted"), ("condition", "inconclusive")], "inconclusive"),
        ([("decides", "not run"), ("condition", "not run"), ("beside", "supported")], "not run"),
    ],
)  # fmt: skip
def test_the_verdict_on_a_claim(found, expected):
    assert overall(found) == expected


def toy(*comparisons, letter="a", title="RL raises x"):
    return Claim(
        letter=letter, title=title, source="a table", hypothesis="It rises.", protocol="Try it.",
        comparisons=comparisons, picture=Picture("x", "points", ("x",)),
        steps=lambda config, pair: [], measure=lambda config, pair: {},
    )  # fmt: skip


def pairs_of(*news):
    return [
        {"base": 0, "seed": i, "numbers": {"x/old": 1.0, "x/new": new}}
        for i, new in enumerate(news)
    ]


def test_what_was_not_measured_is_left_out():
    pairs = pairs_of(4.0, None, 6.0)
    assert differences(TWO, pairs) == [3.0, None, 5.0]
    record = collate(toy(TWO), pairs, 5)
    assert record["comparisons"][0]["n"] == 2
    assert record["planned"] == 5
    assert table(pairs) == {"x": {"old": [1.0, 1.0, 1.0], "new": [4.0, 6.0]}}


def test_the_page_says_every_verdict(tmp_path):
    results = tmp_path / "claims"
    results.mkdir()
    records = {
        "a": collate(toy(TWO), pairs_of(4.0, 4.0), 2),
        "b": collate(toy(TWO, letter="b", title="cons@k"), pairs_of(0.5, 0.6), 2),
        "c": collate(
            toy(TWO, above("bound", -3, "x/new", role="beside"), letter="c", title="It, mixes"),
            pairs_of(-9.0, 15.0), 2,
        ),
    }  # fmt: skip
    for letter, record in records.items():
        (results / f"{letter}.json").write_text(json.dumps(record))
    argv = ["--results", str(results), "--page", str(tmp_path / "claims.md")]
    argv += ["--images", str(tmp_path / "images")]
    assert cli.run(page.main, page.Config(), argv) == 0
    text = (tmp_path / "claims.md").read_text()
    lines = text.splitlines()
    assert "| [(a)](#a-rl-raises-x) | RL raises x | **supported** | 2 of 2 |" in lines
    assert "| [(b)](#b-consk) | cons@k | **contradicted** | 2 of 2 |" in lines
    assert "| [(c)](#c-it-mixes) | It, mixes | **inconclusive** | 2 of 2 |" in lines
    assert "**Contradicted.** It rises." in lines
    said = "| gain | above 0, mean at least +2 points | -0.45 | -1.09 to 0.19 | -0.45 | 2 |"
    assert f"{said} contradicted |" in lines
    assert any(line.startswith("| bound (*beside*) | above -3 points | 3.00 |") for line in lines)
    assert "| new | 4.00 |" in lines
    assert "![x](images/claims_b.png)" in lines
    assert {p.name for p in (tmp_path / "images").iterdir()} == {
        f"claims_{letter}.png" for letter in "abc"
    }
    assert f"**Not run.** {CLAIMS['h'].hypothesis}" in lines
    assert text.count("**not run**") == 8


def test_a_picture_of_pairs_with_gaps():
    record = collate(toy(TWO), pairs_of(4.0, None), 2)
    assert chart(record).png().startswith(b"\x89PNG")


# --- declarations ------------------------------------------------------------------------------


def test_every_claim_is_declared():
    assert "".join(CLAIMS) == "abcdefghijk" == "".join(sorted(ORDER))
    for claim in CLAIMS.values():
        assert claim.hypothesis.endswith(".") and claim.protocol.endswith(".")
        assert any(c.role == "decides" for c in claim.comparisons)
        for c in claim.comparisons:
            # The smallest effect lies on the claimed side of the null, or is the bound itself.
            assert c.sign * (c.least - c.null) >= 0, (claim.letter, c.says)
            assert "/" in c.plus and c.plus != c.minus


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


def test_numbers_of_records():
    record = {"pass_at_1": 0.25, "length_mean": 31, "cons_at_16": 0.5, "general": None}
    assert number(record, "pass_at_1") == 25.0
    assert number(record, "cons_at_16") == 50.0
    assert number(record, "length_mean") == 31.0
    assert number(record, "general", "helpfulness") is None
    assert number({}, "pass_at_1") is None
    assert change(8.0, 10.0) == pytest.approx(-20.0)
    assert change(8.0, None) is None
    assert smoothed([1.0, 3.0, 5.0, 7.0], 2) == [1.0, 2.0, 4.0, 6.0]


def test_updates_to_a_target():
    curve = [0.0, 0.3, 0.6, 0.9, 0.9]  # running means 0, 0.15, 0.3, 0.6, 0.8
    assert d_cold_start.updates_to(curve, 0.6) == 3.0
    assert d_cold_start.updates_to(curve, 0.95) == 5.0
    assert d_cold_start.updates_to([], 0.5) is None


def test_where_the_base_overtakes():
    base, zero = {1: 20.0, 4: 50.0, 16: 90.0}, {1: 80.0, 4: 85.0, 16: 89.0}
    assert g_pass_at_k.crossing(base, zero) == 16.0
    assert g_pass_at_k.crossing({1: 20.0}, {1: 80.0}) is None


def test_accuracy_at_equal_operations():
    rows = [
        {"data/tokens_seen": 100 * (i + 1), "reward/accuracy": value}
        for i, value in enumerate([0.1, 0.2, 0.3, 0.7])
    ]
    spent, accuracy = f_distillation.reached(rows, 8.0, 2000.0)
    assert (spent, accuracy) == (2400.0, pytest.approx(20.0))
    assert f_distillation.reached(rows, 8.0, 1e9) == (3200.0, pytest.approx(40.0))


def test_hacking_is_seen_from_the_peak():
    proxy = [0.1 * i for i in range(30)]
    gold = [0.5] * 10 + [0.7] * 10 + [0.3] * 10
    found = h_hacking.watch(proxy, gold, "n")
    assert found["gold, start/n"] == pytest.approx(50.0)
    assert found["gold, peak/n"] == pytest.approx(70.0)
    assert found["gold's fall/n"] == pytest.approx(-40.0)
    assert found["rollouts to gold's peak/n"] == 20.0
    assert found["proxy since gold's peak/n"] == pytest.approx(1.0)


def test_the_slope_over_sizes():
    points = [(18.0, 10.0), (19.0, 13.0), (20.0, 16.0)]
    assert j_size.slope(points) == pytest.approx(3.0)
