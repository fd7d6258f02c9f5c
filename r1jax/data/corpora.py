"""What corpora of made documents share: draws that cost one random number, figures of their cards.

A draw of an item takes exactly one `rng.random()`, so that documents do not change with Python's
own ways of choosing.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any, TypeVar

Item = TypeVar("Item")
Weighted = list[tuple[float, Item]]
"""Items, each with the cumulative share at which it ends."""


def any_of(items: Sequence[Item], rng: random.Random) -> Item:
    """One of the items, each as likely as any other."""
    return items[int(rng.random() * len(items))]


def weighted(pairs: Iterable[tuple[Item, float]]) -> Weighted[Item]:
    """Items with weights of any sum, made ready for `choose`."""
    items, weights = zip(*pairs, strict=True)
    sums = list(accumulate(weights))
    return [(part / sums[-1], item) for part, item in zip(sums, items, strict=True)]


def choose(table: Weighted[Item], rng: random.Random) -> Item:
    """One of the items by their weights."""
    u = rng.random()
    return next((item for bound, item in table if u < bound), table[-1][1])


def mean(values: Iterable[float]) -> float:
    """Mean of numbers, or share of flags that are set; 0 of nothing."""
    values = list(values)
    return sum(values) / max(len(values), 1)


def lengths(tokenizer: Any, texts: Sequence[str], more: int = 1) -> dict[str, int]:
    """Quantiles of the texts' tokens, with `more` for each text (1: the end-of-text)."""
    encoded = tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
    counts = sorted(len(ids) + more for ids in encoded)
    marks = {"p5": 0.05, "p50": 0.5, "p95": 0.95, "max": 1.0}
    return {name: counts[int(mark * (len(counts) - 1))] for name, mark in marks.items()}
