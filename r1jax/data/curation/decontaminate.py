"""N-gram overlap between training and evaluation questions, and what to drop because of it.

The rule: words are the runs of letters (with their accents) and digits of the lower-cased text, and
each sign of a script that puts no spaces between words (Chinese, Japanese, Korean, Thai); a text's
n-grams are the set of its n consecutive words (a shorter text is one n-gram, itself). The overlap
of a training row with an evaluation row is the share of the evaluation row's n-grams that the
training row holds. DeepSeek-R1 drops a text at one common 10-gram (paper, supplement on
decontamination).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from r1jax.errors import UserError

RULE = (
    "words are runs of letters (with their accents) and digits of the lower-cased question, and "
    "each sign of Chinese and of other scripts without spaces; share = common n-grams / n-grams of "
    "the evaluation question (sets)"
)
"""What a report says of it."""
_UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff"
    "\uac00-\ud7af\uf900-\ufaff\U00020000-\U0003ffff"
)
_MARKS = (
    "\u0300-\u036f\u0483-\u0487\u0591-\u05c7\u0610-\u061a\u064b-\u065f\u0900-\u0903\u093a-\u094f"
)
_WORD = re.compile(rf"[{_UNSPACED}]|(?:[^\W_{_UNSPACED}]|[{_MARKS}])+")

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Match:
    """A training row that overlaps an evaluation row."""

    train: str
    eval: str
    share: float  # of the evaluation row's n-grams, 0 to 1


def ngrams(text: str, n: int = 10) -> set[Gram]:
    """The different n-grams of a text; empty only where it holds no word."""
    words = _WORD.findall(unicodedata.normalize("NFC", text).lower())
    if not words:
        return set()
    return {tuple(words[i : i + n]) for i in range(max(len(words) - n, 0) + 1)}


def overlaps(
    train: Iterable[tuple[str, str]], evaluation: Mapping[str, str], n: int = 10, share: float = 0.5
) -> list[Match]:
    """Every pair of rows that overlaps by `share` or more, in the order of `train`.

    `train` yields (id, text), `evaluation` holds text by id; share 0 means one common n-gram. The
    time is linear in the texts and in the n-grams that they have in common. Raises UserError for an
    n below 1 and a share outside 0 to 1.
    """
    if n < 1 or not 0 <= share <= 1:
        raise UserError(f"--n {n} --share {share}: n must be at least 1, share from 0 to 1")
    holders: dict[Gram, list[str]] = defaultdict(list)
    sizes: dict[str, int] = {}
    for name, text in evaluation.items():
        grams = ngrams(text, n)
        sizes[name] = len(grams)
        for gram in grams:
            holders[gram].append(name)
    matches: list[Match] = []
    for name, text in train:
        common = Counter(eval_id for gram in ngrams(text, n) for eval_id in holders.get(gram, ()))
        pairs = ((eval_id, count / sizes[eval_id]) for eval_id, count in common.items())
        matches += [Match(name, eval_id, part) for eval_id, part in sorted(pairs) if part >= share]
    return matches
