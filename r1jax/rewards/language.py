"""Language consistency: what share of a thought's words is in the language it should be in.

Words are told apart by script, and sentences of one script by an identifier where one is asked for.
A run of n Han characters is n/2 words, rounded up (a Chinese word has about two characters); in any
other script a run of at least two letters is one word. Neutral, and no words at all: digits, single
letters, tags, formulas ($...$, LaTeX commands), code in backticks, names of units and functions.
What language a text is in is told by its words outside code, in backticks or not.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.base import BaseReward
from r1jax.rewards.identify import identified, require, sentences

QUESTION = "question"
FEWEST_WORDS = 5
"""Fewer words than this about a worded problem are no chain of thought, whatever their language."""
FEWEST_IDENTIFIED = 4
"""A shorter sentence is left to its script: too little to tell a language by."""

_HAN = "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_SCRIPTS = {
    "latin": "[A-Za-z\u00c0-\u024f]",
    "han": f"[{_HAN}]",
    "kana": "[\u3040-\u30ff]",
    "hangul": "[\uac00-\ud7af\u1100-\u11ff]",
    "cyrillic": "[\u0400-\u04ff]",
    "greek": "[\u0370-\u03ff]",
    "arabic": "[\u0600-\u06ff]",
    "hebrew": "[\u0590-\u05ff]",
    "devanagari": "[\u0900-\u097f]",
    "thai": "[\u0e00-\u0e7f]",
}
_LANGUAGES = {
    "zh": ("han",), "ja": ("kana", "han"), "ko": ("hangul",), "ru": ("cyrillic",),
    "uk": ("cyrillic",), "el": ("greek",), "ar": ("arabic",), "he": ("hebrew",),
    "hi": ("devanagari",), "th": ("thai",),
    **dict.fromkeys(("en", "de", "fr", "es", "it", "pt", "nl", "pl", "tr", "vi"), ("latin",)),
}  # fmt: skip
LANGUAGES = tuple(_LANGUAGES)
"""Languages that can be asked for; those of one script are told apart by an identifier alone."""
_ALSO = {
    "zh": "chinese mandarin zho chi cmn 中文 汉语", "en": "english eng 英文 英语",
    "ja": "japanese jpn 日本語 日文", "ko": "korean kor 한국어", "ru": "russian rus",
    "uk": "ukrainian ukr", "el": "greek ell gre", "ar": "arabic ara arb", "he": "hebrew heb iw",
    "hi": "hindi hin", "th": "thai tha", "de": "german deu ger deutsch", "fr": "french fra fre",
    "es": "spanish spa", "it": "italian ita", "pt": "portuguese por", "nl": "dutch nld dut",
    "pl": "polish pol", "tr": "turkish tur", "vi": "vietnamese vie",
}  # fmt: skip
_TAGS = {name: name for name in LANGUAGES} | {
    other: name for name, others in _ALSO.items() for other in others.split()
}
LanguageIdentifier = Literal["script", "langid"]

# What no script has, digits, spaces and signs, is passed over at the first look.
_LETTER = "(?=[A-Za-z\u00c0-\uffff])"
_RUNS = re.compile(
    _LETTER + "(?:" + "|".join(f"(?P<{name}>{chars}+)" for name, chars in _SCRIPTS.items()) + ")"
)
_NEUTRAL = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|\$\$.*?\$\$|\$[^$\n]*\$|\\\[.*?\\\]|\\\(.*?\\\)"
    r"|</?(?:think|answer)>|\\[A-Za-z]+",
    re.DOTALL,
)
# Code without backticks, as it stands in a question: a definition up to the end of its line or the
# next Han character, a line of statements, a call, a name with dots or underscores, an address.
_BARE_CODE = re.compile(
    rf"\b(?:def|class|function|func|fn)\s+\w+\s*\([^\n{_HAN}]*"
    rf"|^[ \t]*(?:import|return|print|assert)\b[^\n{_HAN}]*|^[^\n{_HAN}]*[;{{}}][ \t]*$"
    r"|https?://[!-~]+|\b[A-Za-z_][A-Za-z0-9_.]*\([^()\n]*\)"
    r"|\b[A-Za-z0-9]*(?:_[A-Za-z0-9]+)+\b|\b[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)+\b",
    re.MULTILINE | re.ASCII,
)
_UNITS = "mm cm dm km mg kg ml cl dl kmh mph hz kb mb gb"
_FUNCTIONS = "sin cos tan log ln exp max min mod gcd lcm"
_NAMES = frozenset(f"{_UNITS} {_FUNCTIONS}".split())


def count_words(text: str) -> Counter[str]:
    """Words of a text by script (see the module)."""
    counts: Counter[str] = Counter()
    for run in _RUNS.finditer(_NEUTRAL.sub(" ", text)):
        script, word = run.lastgroup or "", run.group()
        if script == "han":
            counts[script] += -(-len(word) // 2)
        elif len(word) > 1 and word.lower() not in _NAMES:
            counts[script] += 1
    return counts


def language_named(tag: Any) -> str | None:
    """The language of `LANGUAGES` that a tag or name means: zh for zh-CN, zh_Hans and Chinese."""
    if not isinstance(tag, str):
        return None
    return _TAGS.get(re.split(r"[-_]", tag.strip().lower(), maxsplit=1)[0])


def language_of(question: str) -> str:
    """The language of a text, by the commonest script outside code; en where it has no words."""
    prose = count_words(_BARE_CODE.sub(" ", _NEUTRAL.sub(" ", question)))
    counts = prose if prose.total() else count_words(question)
    if counts["kana"]:
        return "ja"
    script = max(counts, key=lambda name: counts[name], default="latin")
    return "en" if script == "latin" else next(k for k, v in _LANGUAGES.items() if script in v)


def thought_words(completion: Completion) -> Counter[str]:
    """Words of the thought by script; of the whole text where no <think> opens one."""
    return count_words(_thought(completion))


def _thought(completion: Completion) -> str:
    return completion.text if completion.thought is None else completion.thought


def _neighbours(language: str) -> tuple[str, ...]:
    """The languages written as `language` is, itself among them."""
    return tuple(name for name, scripts in _LANGUAGES.items() if scripts == _LANGUAGES[language])


def _plain(text: str) -> str:
    """A text without what is neutral: formulas, code, digits and signs tell no language."""
    return " ".join(run.group() for run in _RUNS.finditer(_NEUTRAL.sub(" ", text)))


@dataclass(frozen=True)
class LanguageConsistency(BaseReward):
    """A reward in [0, 1]: Num(Words_target) / Num(Words) over the thought (paper, equation 7).

    `target` is a language of `LANGUAGES`, by code, tag or English name, or question: the language
    that the problem's metadata "language" names (that of a program names a programming language,
    unless it can be read as another), else that of its question. A completion without <think>
    counts as a whole. Under `FEWEST_WORDS` words on a worded problem (one of at least as many
    words) earn 0, so that thinking in formulas alone does not pay; a thought without words on any
    other problem earns 1.
    With `identifier` langid, sentences of at least `FEWEST_IDENTIFIED` words that are surely in
    another language of the target's script (German for English) count as foreign. Raises UserError
    for an unknown target or language in the metadata, and where the identifier is not installed.
    """

    target: str = QUESTION
    identifier: LanguageIdentifier = "script"
    place = "here"

    def __post_init__(self) -> None:
        if self.identifier == "langid":
            require()
        if self.target != QUESTION and language_named(self.target) is None:
            known = ", ".join((QUESTION, *LANGUAGES))
            raise UserError(f"language consistency: no target {self.target!r}; choose from {known}")

    def check(self, problems: Sequence[Problem]) -> None:
        """Raises UserError for a problem whose metadata names an unknown language."""
        for problem in problems:
            self._named(problem)

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> float:
        """The share for one completion."""
        target = self._target(problem)
        counts = thought_words(completion)
        words = counts.total()
        worded = count_words(problem.question).total() >= FEWEST_WORDS
        if worded and words < FEWEST_WORDS:
            return 0.0
        if not words:
            return 1.0
        in_script = sum(counts[s] for s in _LANGUAGES[target])
        return (in_script - self._foreign(_thought(completion), target)) / words

    def _named(self, problem: Problem) -> str | None:
        """The target that is asked for, by the flag or the problem; None where none is."""
        if self.target != QUESTION:
            return language_named(self.target)
        tag = problem.metadata.get("language")
        named = language_named(tag)
        if named is None and tag not in (None, "") and problem.grader != "code":
            raise UserError(
                f"problem {problem.id!r}: the column language says {tag!r}; it takes "
                f"{', '.join(LANGUAGES)} (zh-CN and Chinese are zh), or nothing for the "
                "question's own language"
            )
        return named

    def _target(self, problem: Problem) -> str:
        named = self._named(problem)
        if named is not None:
            return named
        language = language_of(problem.question)
        if self.identifier == "script":
            return language
        return identified(_plain(problem.question), _neighbours(language)) or language

    def _foreign(self, text: str, target: str) -> int:
        """Words in the target's script that stand in sentences of another of its languages."""
        neighbours = _neighbours(target)
        if self.identifier == "script" or len(neighbours) == 1:
            return 0
        foreign = 0
        for sentence in sentences(_NEUTRAL.sub(" ", text)):
            counts = count_words(sentence)
            words = sum(counts[s] for s in _LANGUAGES[target])
            if words >= FEWEST_IDENTIFIED:
                foreign += words * (identified(_plain(sentence), neighbours) not in (target, None))
        return foreign


language_consistency = LanguageConsistency  # as a term of the reward says it
