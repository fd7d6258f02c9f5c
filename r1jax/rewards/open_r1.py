"""Open-R1's rewards as its code computes them, each nameable by flag.

Source: huggingface/open-r1 1416fa0, src/open_r1/rewards.py and configs.py; the defaults here are
its command line's. Where a published rule surprises, its docstring says so. Lengths are characters
unless tokens are said. Its judge of answers is math-verify, and so is this one.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any, Literal

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.adapters import per_completion
from r1jax.rewards.answers.algebra import math_verify

Gold = Literal["answer", "solution"]

_STEPS = re.compile(r"(Step \d+:|^\d+\.|\n-|\n\*|First,|Second,|Next,|Finally,)")
_OPENING, _MIDDLE = "<think>\n", "\n</think>\n<answer>\n"
_CLOSING = re.compile(r"\n</answer>$", re.MULTILINE)
_TAGS = ("<think>\n", "\n</think>\n", "\n<answer>\n", "\n</answer>")


@per_completion
def accuracy(problem: Problem, completion: Completion, *, gold: Gold = "answer") -> float | None:
    """1 or 0 by math-verify, boxed answers first; None where gold cannot be read or verify raises.

    `gold` "solution" reads the whole text of the metadata `solution`, as published; "answer" reads
    the problem's answer alone.
    """
    expected = _parse(_gold_text(problem, gold), latex_only=False)
    if not expected:
        return None
    try:
        answer = _parse_answer(completion.text, boxed="all")
        return float(math_verify().verify(expected, answer, timeout_seconds=None))
    except MemoryError:
        raise
    except Exception:  # the published rule: what cannot be verified is left out of the sum
        return None


@per_completion
def format(problem: Problem, completion: Completion) -> float:
    """1 for <think>, text, </think>, <answer>, text, </answer> with exactly these newlines, else 0.

    A blank line between the blocks fails; further lines after </answer> pass (its expression has
    MULTILINE, so that `$` matches at the end of any line).
    """
    return float(_envelope(completion.text) is not None)


@per_completion
def tag_count(problem: Problem, completion: Completion) -> float:
    """0.25 for each tag that stands exactly once with its newlines."""
    return sum(0.25 for tag in _TAGS if completion.text.count(tag) == 1)


@per_completion
def reasoning_steps(problem: Problem, completion: Completion) -> float:
    """A third for each "Step 1:", bullet or "First," and the like, at most 1.

    A numbered line counts only at the very start: its `^` is without MULTILINE.
    """
    return min(1.0, len(_STEPS.findall(completion.text)) / 3)


def length(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    *,
    gold: Gold = "answer",
) -> list[float]:
    """Kimi 1.5: 0.5 - (len - min) / (max - min); wrong answers get at most 0; all equal: 0.

    min and max are over all completions of one call: there the batch of a device, here (in a pool)
    a group, as Kimi 1.5 has it. An unreadable gold counts as right, and verify gets its arguments
    the wrong way round, as published.
    """
    lengths = [len(completion.text) for completion in completions]
    shortest, longest = min(lengths, default=0), max(lengths, default=0)
    if longest == shortest:
        return [0.0] * len(completions)
    rewards = []
    for problem, completion, n in zip(problems, completions, lengths, strict=True):
        value = 0.5 - (n - shortest) / (longest - shortest)
        right = _right(problem, completion, gold)
        rewards.append(value if right or right is None else min(0.0, value))
    return rewards


@per_completion
def cosine(
    problem: Problem,
    completion: Completion,
    *,
    min_value_wrong: float = 0.0,
    max_value_wrong: float = -0.5,
    min_value_correct: float = 0.5,
    max_value_correct: float = 1.0,
    max_len: int = 1000,
    gold: Gold = "answer",
) -> float:
    """lo + (hi - lo) (1 + cos(pi len / max_len)) / 2: short right answers earn most.

    Right: lo, hi = min_value_correct, max_value_correct. Wrong: they are swapped, lo =
    max_value_wrong, hi = min_value_wrong. Two traps, both as published: the ratio is not clamped,
    so that beyond max_len the reward rises again; and the command line's defaults for wrong answers
    (0, -0.5) are the reverse of the function's own (-1, -0.5), which paid long wrong answers more
    than short ones. An unreadable gold earns 1.
    """
    right = _right(problem, completion, gold)
    if right is None:
        return 1.0
    low, high = (
        (min_value_correct, max_value_correct) if right else (max_value_wrong, min_value_wrong)
    )
    return low + 0.5 * (high - low) * (1.0 + math.cos(math.pi * len(completion.text) / max_len))


@per_completion
def repetition_penalty(
    problem: Problem, completion: Completion, *, ngram_size: int = 3, max_penalty: float = -1.0
) -> float:
    """(1 - different / all n-grams) x max_penalty over lower-cased words between white space.

    0 for fewer than n words. Chinese, which it splits with jieba, is
    `r1jax.rewards.repetition_penalty`'s, by character. Raises UserError for a positive penalty.
    """
    if max_penalty > 0 or ngram_size < 1:
        raise UserError(
            f"repetition_penalty got ngram_size {ngram_size}, max_penalty {max_penalty}; "
            "ngram_size must be at least 1 and max_penalty at most 0"
        )
    words = completion.text.lower().split()
    grams = list(zip(*(words[i:] for i in range(ngram_size)), strict=False))
    share = 1 - len(set(grams)) / len(grams) if grams else 0.0
    return 0.0 + share * max_penalty


@per_completion
def soft_overlong_punishment(
    problem: Problem,
    completion: Completion,
    *,
    max_completion_len: int = 16384,
    soft_punish_cache: int = 4096,
) -> float:
    """DAPO's equation 13 in tokens: 0 up to max - cache, then linear to -1 at max, -1 beyond.

    With its defaults punishment starts at 12,288 tokens (DAPO's own at 16,384). Its help speaks of
    characters, its code counts tokens.
    """
    start, n = max_completion_len - soft_punish_cache, len(completion.token_ids)
    if n <= start:
        return 0.0
    return (start - n) / soft_punish_cache if n <= max_completion_len else -1.0


@per_completion
def code_format(problem: Problem, completion: Completion, *, language: str = "python") -> float:
    """`format` with a fenced block of the language inside the answer, 1 or 0.

    The metadata `language` of a problem wins over the option.
    """
    text, fence = completion.text, "```" + str(problem.metadata.get("language", language))
    start = _envelope(text)
    opened = -1 if start is None else text.find(fence, start)
    closed = -1 if opened < 0 else text.find("```", opened + len(fence))
    return float(closed >= 0 and bool(_CLOSING.search(text, closed + 3)))


def _envelope(text: str) -> int | None:
    """Where the answer begins in a text of the published format, or None; linear in its length.

    The same verdict as ^<think>\\n.*?\\n</think>\\n<answer>\\n.*?\\n</answer>$ (DOTALL, MULTILINE):
    the first separator leaves the most room for what follows, so no other needs to be tried.
    """
    middle = text.find(_MIDDLE, len(_OPENING)) if text.startswith(_OPENING) else -1
    start = middle + len(_MIDDLE)
    return start if middle >= 0 and _CLOSING.search(text, start) else None


def _gold_text(problem: Problem, gold: Gold) -> str:
    """What stands where Open-R1 has its column `solution`; a bare answer is marked as LaTeX."""
    if gold == "solution":
        if "solution" not in problem.metadata:
            raise UserError(
                f"reward option gold=solution: problem {problem.id!r} has no column solution; use "
                "gold=answer"
            )
        return str(problem.metadata["solution"])
    answer = problem.answer
    return answer if "$" in answer or "\\boxed" in answer else f"${answer}$"


def _right(problem: Problem, completion: Completion, gold: Gold) -> bool | None:
    """Whether length and cosine take an answer for right; None where the gold is unreadable."""
    expected = _parse(_gold_text(problem, gold), latex_only=True)
    if not expected:
        return None
    answer = _parse_answer(completion.text, boxed=True)
    return bool(math_verify().verify(answer, expected, timeout_seconds=None))


def _parse(text: str, latex_only: bool) -> list[Any]:
    package = math_verify()
    kinds = {"extraction_config": [package.LatexExtractionConfig()]} if latex_only else {}
    # No timeouts: theirs count wall time through SIGALRM; the worker pool bounds CPU time.
    return package.parse(text, extraction_mode="first_match", parsing_timeout=None, **kinds)


def _parse_answer(text: str, boxed: str | bool) -> list[Any]:
    from latex2sympy2_extended import NormalizationConfig

    package = math_verify()
    # Its `equations=True` is what the parser does by itself by now, and warns about.
    rules = NormalizationConfig(
        nits=False, malformed_operators=False, basic_latex=True, boxed=boxed, units=True
    )
    config = package.LatexExtractionConfig(
        normalization_config=rules, boxed_match_priority=0, try_extract_without_anchor=False
    )
    return package.parse(
        text, extraction_config=[config], extraction_mode="first_match", parsing_timeout=None
    )
