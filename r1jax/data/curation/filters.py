"""Which answers are fit to be learnt: one reason at a time why not, each with a stated number.

After DeepSeek-R1's cold start and rejection sampling (sections 2.3.1 and 2.3.3), which name the
filters and give no numbers; these are ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import NamedTuple

from r1jax.errors import UserError, check_ranges
from r1jax.problem import split_envelope
from r1jax.rewards.format import is_strict_format
from r1jax.rewards.language import count_words, language_of
from r1jax.rewards.repetition import WORD, repeated_share

NGRAM = 4

_PARAGRAPHS = re.compile(r"\n[^\S\n]*\n")


class Text(NamedTuple):
    """An answer as filters see it. `summary` is what follows the thought, its tags removed."""

    question: str
    thought: str
    summary: str
    text: str

    @classmethod
    def of(cls, question: str, text: str) -> Text:
        """Splits a completion; thought and summary are empty where the tags are not there."""
        thought, _ = split_envelope(text)
        after = text.partition("</think>")[2]
        summary = re.sub(r"</?answer>", " ", after)
        return cls(question, (thought or "").strip(), summary.strip(), text)


Filter = Callable[[Text], str | None]
"""A reason to drop the text, or None."""


@dataclass(frozen=True)
class FilterConfig:
    """What is asked of an answer that is to be learnt."""

    repetition: float = 0.1
    """The share of repeated 4-grams of words must lie below this; 1.1 allows any."""
    script: float = 0.95
    """Least share of the words of thought and summary in one script; 0 allows any mixture."""
    language: bool = True
    """Thought and summary must be in the script of the question."""
    complete: bool = True
    """Both a thought in <think> tags and a summary after it must be there."""
    strict: bool = False
    """The whole text must be <think>...</think> <answer>...</answer> and nothing else."""
    shortest: int = 5
    """Fewest words of a thought (a Chinese character is a word, so is a formula without spaces)."""
    longest: int = 20_000
    """Most words of a thought."""
    paragraph: int = 400
    """Most words of one paragraph of a thought."""
    code: bool = False
    """Allow blocks of code (```) in a thought."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--filters.", repetition="(0,]", script="[0,1]", paragraph="[1,]")
        if not 0 <= self.shortest <= self.longest:
            raise UserError(
                f"--filters.shortest {self.shortest} --filters.longest {self.longest}: no length "
                "fits both"
            )


def make_filters(config: FilterConfig) -> list[Filter]:
    """The filters of a config, in the order in which their reasons are given."""
    filters: list[Filter] = [complete] if config.complete else []
    filters += [strict] if config.strict else []
    filters += [length(config.shortest, config.longest), repetition(config.repetition)]
    filters += [one_script(config.script)]
    filters += [same_language] if config.language else []
    filters += [] if config.code else [no_code]
    return [*filters, short_paragraphs(config.paragraph)]


def first_reason(filters: Iterable[Filter], text: Text) -> str | None:
    """The first reason any filter gives, None where all let the text pass."""
    return next((reason for f in filters if (reason := f(text)) is not None), None)


def complete(text: Text) -> str | None:
    """`incomplete` unless thought and summary are both there."""
    return None if text.thought and text.summary else "incomplete"


def strict(text: Text) -> str | None:
    """`format` unless the text is the strict envelope."""
    return None if is_strict_format(text.text) else "format"


def length(shortest: int, longest: int) -> Filter:
    """`short` and `long`: the thought's words lie outside [shortest, longest]."""

    def check(text: Text) -> str | None:
        count = words(text.thought)
        return "short" if count < shortest else "long" if count > longest else None

    return check


def repetition(limit: float) -> Filter:
    """`repetition`: at least `limit` of the 4-grams of words are repeats of earlier ones."""
    return lambda text: "repetition" if repeated(text.text) >= limit else None


def one_script(share: float) -> Filter:
    """`mixed_script`: less than `share` of the words of thought and summary is in one script."""

    def check(text: Text) -> str | None:
        counts = count_words(f"{text.thought}\n{text.summary}")
        if counts["kana"]:  # Japanese is written in both
            counts["kana"] += counts.pop("han", 0)
        total = counts.total()
        return "mixed_script" if total and max(counts.values()) < share * total else None

    return check


def same_language(text: Text) -> str | None:
    """`language`: thought or summary has words, and most are not in the question's script."""
    expected = language_of(text.question)
    spoken = (part for part in (text.thought, text.summary) if count_words(part).total())
    return "language" if any(language_of(part) != expected for part in spoken) else None


def no_code(text: Text) -> str | None:
    """`code`: the thought holds a fenced block."""
    return "code" if "```" in text.thought else None


def short_paragraphs(limit: int) -> Filter:
    """`paragraph`: a paragraph of the thought (between empty lines) is longer than `limit` words.

    The rule is ours: the paper only says that chains of thought with long paragraphs were dropped.
    """

    def check(text: Text) -> str | None:
        longest = max((words(part) for part in _PARAGRAPHS.split(text.thought)), default=0)
        return "paragraph" if longest > limit else None

    return check


def words(text: str) -> int:
    """Words of a text: every Chinese character or kana, and every other run without white space."""
    return sum(1 for _ in WORD.finditer(text))


def repeated(text: str) -> float:
    """Share of a text's 4-grams of words that occurred before in it, 0 to 1."""
    return repeated_share(text, NGRAM)
