"""The numbers of an evaluation as pure functions: pass@k, votes, intervals, word counts."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Hashable, Sequence
from typing import Literal

import numpy as np
from scipy.special import stdtrit

REFLECTION_WORDS = (
    "wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check",
)  # fmt: skip
"""The ten words that R1-Zero's reflection is counted by (DeepSeek-R1 v2, appendix C.2)."""

REFLECTION_WORDS_ZH = (
    "等等", "等一下", "稍等", "错误", "出错", "弄错", "算错", "错了", "不对", "有误", "然而",
    "不过", "但是", "但", "重试", "重新", "再试", "验证", "验算", "核对", "核实", "评估",
    "检查", "检验",
)  # fmt: skip
"""Their Chinese counterparts; ours, counted apart."""

_BLOCK = 1 << 20
# Boundaries are spelled out: \b sees none between a Latin letter and a Chinese character.
_REFLECTION = re.compile(
    rf"(?<![A-Za-z])(?:{'|'.join(REFLECTION_WORDS)})(?![A-Za-z])", re.IGNORECASE
)
_REFLECTION_ZH = re.compile("|".join(sorted(REFLECTION_WORDS_ZH, key=len, reverse=True)))
_CHINESE = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff]")
_LATIN_WORD = re.compile(r"[A-Za-z]{2,}")
_NO_PROSE = re.compile(r"</?(?:think|answer)>|\\[A-Za-z]+")


def pass_at_k(samples: int, correct: int, k: int) -> float:
    """Unbiased chance that at least one of k of the samples is right: 1 - C(n-c, k) / C(n, k).

    Source: Chen et al. 2021 (2107.03374), equation 1. Raises ValueError unless 1 <= k <= samples.
    """
    if not 1 <= k <= samples:
        raise ValueError(f"pass@{k} needs at least {k} samples and k >= 1; there are {samples}")
    return 1.0 - math.comb(samples - correct, k) / math.comb(samples, k)


def powers_of_two(samples: int) -> list[int]:
    """The k of a pass@k curve: 1, 2, 4, ... below `samples`, and `samples` itself."""
    return [*(1 << i for i in range(samples.bit_length()) if 1 << i < samples), samples]


def vote(
    classes: Sequence[Hashable | None],
    correct: Sequence[bool],
    weights: Sequence[float] | None = None,
) -> float:
    """Score of the majority answer of one problem.

    `classes[i]` is the equivalence class of sample i's answer, None where it gave none and does not
    vote; `correct[i]` says whether that class is right; `weights[i]`, 1 if not given, is what its
    vote counts. Of tied classes one is drawn: the value is the expected score. No votes score 0.
    """
    votes: Counter[Hashable] = Counter()
    for c, weight in zip(classes, weights or [1] * len(classes), strict=True):
        if c is not None:
            votes[c] += weight
    if not votes:
        return 0.0
    most = max(votes.values())
    right = {c for c, good in zip(classes, correct, strict=True) if good}
    tied = [c for c, count in votes.items() if count == most]
    return sum(c in right for c in tied) / len(tied)


def bootstrap_interval(
    values: Sequence[float], resamples: int = 10_000, seed: int = 0, level: float = 0.95
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of `values`, one value per problem.

    Samples of one problem are not independent, so whole problems are drawn. Raises ValueError when
    there are none.
    """
    if not len(values):
        raise ValueError("a bootstrap interval needs at least one value")
    data = np.asarray(values, np.float64)
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // len(data))  # bounds the memory of the drawn indices
    means = np.concatenate(
        [
            data[rng.integers(len(data), size=(min(block, resamples - done), len(data)))].mean(1)
            for done in range(0, resamples, block)
        ]
    )
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def t_interval(values: Sequence[float], level: float = 0.95) -> tuple[float, float] | None:
    """Student's interval of the mean of independent values; None for fewer than two."""
    if len(values) < 2:
        return None
    data = np.asarray(values, np.float64)
    quantile = stdtrit(len(data) - 1, (1 + level) / 2)
    half = float(quantile * data.std(ddof=1) / math.sqrt(len(data)))
    return float(data.mean()) - half, float(data.mean()) + half


def reflection_count(text: str, language: Literal["en", "zh"] = "en") -> int:
    """Reflection words in `text`: the paper's ten (whole words, any case), or the Chinese ones."""
    return len((_REFLECTION if language == "en" else _REFLECTION_ZH).findall(text))


def mixes_languages(text: str) -> bool:
    """Whether prose holds both Chinese characters and a Latin word of two letters or more.

    Tags and LaTeX commands are not words.
    """
    text = _NO_PROSE.sub(" ", text)
    return bool(_CHINESE.search(text) and _LATIN_WORD.search(text))
