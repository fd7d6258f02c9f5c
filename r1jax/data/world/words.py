"""Wordings of questions, steps and answers, English beside Chinese."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any

Bilingual = tuple[str, str]
"""One wording in (English, Chinese), with `%` slots."""

LANGUAGES = ("en", "zh")


def table(name: str) -> Any:
    """A table of texts in `assets/world`; what JSON has as lists are tuples."""
    file = resources.files("r1jax") / "assets" / "world" / f"{name}.json"
    return _frozen(json.loads(file.read_text(encoding="utf-8")))


def _frozen(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _frozen(inner) for key, inner in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


SUM_QUESTIONS: tuple[Bilingual, ...] = (
    ("What is %s?", "%s等于多少？"),
    ("Calculate %s.", "计算%s。"),
    ("Work out %s.", "求%s的值。"),
)
COUNTDOWN_QUESTIONS: tuple[Bilingual, ...] = (
    (
        "Use %(numbers)s with + - * to make %(target)d, each number once.",
        "用%(numbers)s和+-*得到%(target)d，每个数用一次。",
    ),
    (
        "Make %(target)d from %(numbers)s with + - *, each number once.",
        "把%(numbers)s用+-*算成%(target)d，每个数用一次。",
    ),
)

FIRST: Bilingual = ("First %s=%d.", "先算%s=%d。")
THEN: Bilingual = ("Then %s=%d.", "再算%s=%d。")

TRY: Bilingual = ("Try %s=%d no,", "试试%s=%d不对，")
MISS: Bilingual = ("%s=%d no,", "%s=%d不对，")
HIT: Bilingual = ("%s=%d yes.", "%s=%d对了。")
TRY_HIT: Bilingual = ("Try %s=%d yes.", "试试%s=%d对了。")
FALSE_HIT: Bilingual = ("%s=%d yes. Wait, %s=%d no,", "%s=%d对了。等等，%s=%d不对，")
GIVE_UP: Bilingual = ("I stop here.", "我不找了。")

REPAIRS: tuple[Bilingual, ...] = (
    ("Wait, %s=%d.", "等等，%s=%d。"),
    ("But that is wrong, %s=%d.", "但是错了，%s=%d。"),
    ("A mistake, retry: %s=%d.", "有误，重算：%s=%d。"),
)
FORGOTTEN: tuple[Bilingual, ...] = (
    ("Wait, one step is missing: %s=%d.", "等等，还差一步：%s=%d。"),
    ("However, I forgot one step: %s=%d.", "不过，我忘了一步：%s=%d。"),
)
CHECKS: tuple[Bilingual, ...] = (
    ("Check: %s=%d, good.", "检查：%s=%d，没错。"),
    ("Verify: %s=%d, good.", "验证：%s=%d，没错。"),
)

ANSWERS: tuple[Bilingual, ...] = (
    ("The answer is %s.", "答案是%s。"),
    ("So the answer is %s.", "所以答案是%s。"),
    ("= %s", "= %s"),
)
GUESSES: tuple[Bilingual, ...] = (
    ("The answer is %s.", "答案是%s。"),
    ("I guess %s.", "我猜是%s。"),
    ("= %s", "= %s"),
)
WORD_GUESS: Bilingual = ("I guess that the answer is %s.", "不用多想，我猜答案就是%s。")
