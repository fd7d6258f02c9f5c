"""The rewards of Will Brown's GSM8K demonstration, which made <reasoning> tags a common sight.

Source: gist willccbb/4676755236bb08cab5f4e54a0475d6fb, "Granular Format Rewards for Eliciting
Mathematical Reasoning Capabilities in Small Language Models" (January 2025), read in public copies.
The values carry their weights: correctness 2, the others 0.5 at most; their sum is the reward.
"""

from __future__ import annotations

import re

from r1jax.problem import Completion, Problem
from r1jax.rewards.adapters import per_completion

SYSTEM = (
    "\nRespond in the following format:\n<reasoning>\n...\n</reasoning>\n<answer>\n...\n</answer>\n"
)

_STRICT = r"^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$"
_SOFT = r"<reasoning>.*?</reasoning>\s*<answer>.*?</answer>"


def xml_answer(text: str) -> str:
    """What stands between the last <answer> and the next </answer>; without tags the whole text."""
    return text.split("<answer>")[-1].split("</answer>")[0].strip()


@per_completion
def correctness(problem: Problem, completion: Completion) -> float:
    """2 where the answer is the gold's very text (without its commas and dollar signs), else 0."""
    gold = problem.answer.strip().replace(",", "").replace("$", "")
    return 2.0 if xml_answer(completion.text) == gold else 0.0


@per_completion
def integer(problem: Problem, completion: Completion) -> float:
    """0.5 where the answer is digits alone, else 0; a minus sign or a decimal point fails."""
    return 0.5 if xml_answer(completion.text).isdigit() else 0.0


@per_completion
def strict_format(problem: Problem, completion: Completion, *, dotall: bool = False) -> float:
    """0.5 for the exact layout with every newline, the last one too, else 0.

    As published the dot does not match a newline, so a thought of two lines fails; `dotall` true
    lets it pass.
    """
    return 0.5 if re.match(_STRICT, completion.text, re.DOTALL if dotall else 0) else 0.0


@per_completion
def soft_format(problem: Problem, completion: Completion, *, dotall: bool = False) -> float:
    """0.5 for <reasoning> and <answer> blocks at the very start, whatever follows, else 0.

    `dotall` as in `strict_format`.
    """
    return 0.5 if re.match(_SOFT, completion.text, re.DOTALL if dotall else 0) else 0.0


@per_completion
def xmlcount(problem: Problem, completion: Completion) -> float:
    """0.125 for each tag that stands once with its newlines, less 0.001 per character behind them.

    What follows </answer> is counted twice, once for each answer tag; without </answer> and its
    newline the opening tag costs 0.001 for every character of the whole text.
    """
    text = completion.text
    value = 0.125 * (text.count("<reasoning>\n") == 1)
    value += 0.125 * (text.count("\n</reasoning>\n") == 1)
    if text.count("\n<answer>\n") == 1:
        value += 0.125 - 0.001 * len(text.split("\n</answer>\n")[-1])
    if text.count("\n</answer>") == 1:
        value += 0.125 - 0.001 * (len(text.split("\n</answer>")[-1]) - 1)
    return value
