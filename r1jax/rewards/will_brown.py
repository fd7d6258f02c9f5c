"""The rewards of Will Brown's GSM8K demonstration, which made <reasoning> tags a common sight.

Source: gist willccbb/4676755236bb08cab5f4e54a0475d6fb, "Granular Format Rewards for Eliciting
Mathematical Reasoning Capabilities in Small Language Models" (January 2025), read in public copies.
The values carry their weights: correctness 2, the others 0.5 at most; their sum is the reward.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1jax.problem import Completion, Problem, RewardContext

SYSTEM = (
    "\nRespond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>\n"
)

_STRICT = r"^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$"
_SOFT = r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>"


def xml_answer(text: str) -> str:
    """What stands between the last <answer> and the next </answer>; without tags the whole text."""
    return text.split("<answer>")[-1].split("</answer>")[0].strip()


def correctness(
    problems: Sequence[Problem], completions: Sequence[Completion], context: RewardContext
) -> list[float]:
    """2 where the answer is the gold's very text (without its commas and dollar signs), else 0."""
    return [
        2.0 if xml_answer(c.text) == p.answer.strip().replace(",", "").replace("$", "") else 0.0
        for p, c in zip(problems, completions, strict=True)
    ]


def integer(
    problems: Sequence[Problem], completions: Sequence[Completion], context: RewardContext
) -> list[float]:
    """0.5 where the answer is digits alone, else 0; a minus sign or a decimal point fails."""
    return [0.5 if xml_answer(c.text).isdigit() else 0.0 for c in completions]


def strict_format(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    *,
    dotall: bool = False,
) -> list[float]:
    """0.5 for the exact layout with every newline, the last one too, else 0.

    As published the dot does not match a newline, so a thought of two lines fails; `dotall` true
    lets it pass.
    """
    pattern = re.compile(_STRICT, re.DOTALL if dotall else 0)
    return [0.5 if pattern.match(c.text) else 0.0 for c in completions]


def soft_format(
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    *,
    dotall: bool = False,
) -> list[float]:
    """0.5 for <reasoning> and <answer> blocks at the very start, whatever follows, else 0.

    `dotall` as in `strict_format`.
    """
    pattern = re.compile(_SOFT, re.DOTALL if dotall else 0)
    return [0.5 if pattern.match(c.text) else 0.0 for c in completions]


def xmlcount(
    problems: Sequence[Problem], completions: Sequence[Completion], context: RewardContext
) -> list[float]:
    """0.125 for each tag that stands once with its newlines, less 0.001 per character behind them.

    What follows </answer> is counted twice, once for each answer tag; without </answer> and its
    newline the opening tag costs 0.001 for every character of the whole text.
    """
    return [_count(completion.text) for completion in completions]


def _count(text: str) -> float:
    value = 0.125 * (text.count("<reasoning>\n") == 1)
    value += 0.125 * (text.count("\n</reasoning>\n") == 1)
    if text.count("\n<answer>\n") == 1:
        value += 0.125 - 0.001 * len(text.split("\n</answer>\n")[-1])
    if text.count("\n</answer>") == 1:
        value += 0.125 - 0.001 * (len(text.split("\n</answer>")[-1]) - 1)
    return value
