"""docs/graders.md: every verdict of ours on its own pairs is right, and the page is current."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from experiments.pages.graders import MEASURED, ExaminedPair, ours, page, read_pairs, shown, theirs

COMMITTED = Path(__file__).parents[2] / "docs" / "graders.md"
OWN = read_pairs("own")


@pytest.mark.parametrize("kind", sorted({pair.kind for pair in OWN}))
def test_every_pair_of_the_page_is_judged_rightly(kind):
    pairs = [pair for pair in OWN if pair.kind == kind]
    wrong = [(pair.id, pair.gold, pair.text) for pair in pairs if ours(pair) != pair.right]
    assert not wrong


def test_the_pairs_are_many_of_both_verdicts_and_of_both_languages():
    assert len({pair.id for pair in OWN}) == len(OWN) >= 400
    assert len({(pair.kind, pair.gold, pair.text) for pair in OWN}) == len(OWN)
    assert sum(bool(re.search("[\u3400-\u9fff]", pair.text)) for pair in OWN) >= 80
    for group in {pair.group for pair in OWN}:
        verdicts = Counter(pair.right for pair in OWN if pair.group == group)
        assert set(verdicts) == {0, 1} and min(verdicts.values()) >= 8, group


@pytest.mark.slow
def test_committed_page_is_the_generated_one():
    committed, _, speed = COMMITTED.read_text(encoding="utf-8").partition(MEASURED)
    assert committed == page() + "\n", "run python -m experiments.pages.graders"
    assert re.search(r"takes [\d.]+ ms at the median", speed)


def test_math_verify_is_asked_with_its_defaults():
    verdicts = {"7": 1, "8": 0, r"so $\frac{14}{2}$": 1}
    assert {
        text: theirs(ExaminedPair("p", "math", "7", text, 0, "")) for text in verdicts
    } == verdicts
    assert theirs(ExaminedPair("p", "choice", "B", "The answer is B.", 1, "")) == 1


@pytest.mark.parametrize(
    ("text", "cell"),
    [("a|b", r"`a\|b`"), ("a\nb", "`a⏎b`"), ("`7`", "`` `7` ``"), ("", "(empty)"),
     ("10\u202f080", "`10⟨U+202F⟩080`"), ("4\u200b", "`4⟨U+200B⟩`"), ("７ 个", "`７ 个`")],
)  # fmt: skip
def test_a_text_is_shown_as_code_in_one_cell(text, cell):
    assert shown(text) == cell
