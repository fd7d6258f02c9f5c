"""The pure numbers of an evaluation against literal values and brute force."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.evaluate.statistics import (
    REFLECTION_WORDS,
    bootstrap_interval,
    mixes_languages,
    pass_at_k,
    powers_of_two,
    reflection_count,
    t_interval,
    vote,
)


@pytest.mark.parametrize(
    ("n", "c", "k", "expected"),
    [(4, 1, 1, 0.25), (4, 1, 2, 0.5), (4, 2, 2, 5 / 6), (4, 3, 2, 1.0), (16, 0, 16, 0.0),
     (16, 1, 16, 1.0), (5, 2, 3, 0.9), (256, 1, 64, 0.25)],
)  # fmt: skip
def test_pass_at_k_by_hand(n, c, k, expected):
    assert pass_at_k(n, c, k) == pytest.approx(expected, abs=1e-12)


@given(st.integers(1, 8).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), st.data())
def test_pass_at_k_is_the_share_of_subsets_with_a_hit(sizes, data):
    n, c = sizes
    k = data.draw(st.integers(1, n))
    subsets = list(combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


@pytest.mark.parametrize(("n", "k"), [(4, 5), (4, 0)])
def test_pass_at_k_refuses_too_few_samples(n, k):
    with pytest.raises(ValueError, match="samples"):
        pass_at_k(n, 1, k)


@pytest.mark.parametrize(
    ("n", "ks"), [(1, [1]), (2, [1, 2]), (3, [1, 2, 3]), (16, [1, 2, 4, 8, 16])]
)
def test_powers_of_two(n, ks):
    assert powers_of_two(n) == ks


@pytest.mark.parametrize(
    ("classes", "right", "expected"),
    [
        ("aab", "a", 1.0),
        ("abb", "a", 0.0),
        ("ab", "a", 0.5),
        ("aabbcd", "a", 0.5),
        ("abc", "a", 1 / 3),
        ("a..", "a", 1.0),  # those without an answer do not vote, however many they are
        ("...", "a", 0.0),
        ("", "a", 0.0),
    ],
)
def test_votes_and_ties_by_hand(classes, right, expected):
    votes = [None if c == "." else c for c in classes]
    assert vote(votes, [c == right for c in classes]) == pytest.approx(expected)


def test_a_bootstrap_interval_of_a_constant_is_a_point():
    assert bootstrap_interval([0.1] * 7, resamples=500) == pytest.approx((0.1, 0.1), abs=1e-12)


def test_a_bootstrap_interval_has_the_width_of_the_standard_error():
    values = [0.0] * 200 + [1.0] * 200
    low, high = bootstrap_interval(values, seed=3)
    half = 1.96 * 0.5 / math.sqrt(400)
    assert (low, high) == pytest.approx((0.5 - half, 0.5 + half), abs=0.004)
    assert (low, high) == bootstrap_interval(values, seed=3)
    assert (low, high) != bootstrap_interval(values, seed=4)


def test_a_bootstrap_in_blocks_makes_every_resample(monkeypatch):
    values = list(np.linspace(0, 1, 50))
    whole = bootstrap_interval(values, resamples=1003)
    monkeypatch.setattr("r1jax.evaluate.statistics._BLOCK", 700)
    # The generator hands out the same stream whatever the block is.
    assert bootstrap_interval(values, resamples=1003) == pytest.approx(whole, abs=1e-12)


def test_a_bootstrap_of_nothing_is_refused():
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_interval([])


@pytest.mark.parametrize(
    ("text", "en", "zh"),
    [
        (" ".join(REFLECTION_WORDS), 10, 0),
        ("Wait, WAIT! wait", 3, 0),
        ("waiting, butter, checked, errors, evaluated, rebut", 0, 0),
        ("等等，wait但check", 2, 2),
        ("不过错误", 0, 2),
        ("但是不对，检查", 0, 3),
        ("12 + 3 = 15", 0, 0),
    ],
)
def test_reflection_words_are_whole_and_counted_by_language(text, en, zh):
    assert (reflection_count(text), reflection_count(text, "zh")) == (en, zh)


@pytest.mark.parametrize(
    ("text", "mixed"),
    [("先算 first", True), ("先算 x", False), ("first, then", False),
     ("<think>先算</think>", False), ("先算 \\frac{1}{2}", False), ("12+3", False),
     ("so 得到 12", True)],
)  # fmt: skip
def test_mixing_needs_chinese_and_a_latin_word(text, mixed):
    assert mixes_languages(text) is mixed


@pytest.mark.parametrize(
    ("values", "half"),
    [
        ([1.0, 3.0], 12.7062),  # sd sqrt 2, over sqrt 2
        ([1.0, 2.0, 3.0], 4.30265 / 3**0.5),
        ([0.0, 2.0] * 8, 2.13145 * (16 / 15) ** 0.5 / 4),  # 15 degrees of freedom
    ],
)
def test_the_t_interval(values, half):
    center = sum(values) / len(values)
    low, high = t_interval(values)
    assert high - center == pytest.approx(half, rel=1e-4)
    assert center - low == pytest.approx(half, rel=1e-4)


def test_one_value_has_no_interval():
    assert t_interval([0.4]) is None
