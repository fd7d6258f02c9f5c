"""Canonical keys: what makes two problems the same, and decides whether they are for evaluation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r1jax.data.world.stories import Story


def sum_key(terms: Sequence[int], target: int) -> str:
    """Key of a sum: its signed terms, sorted, and its value."""
    return f"sum|{','.join(map(str, sorted(terms)))}|{target}"


def countdown_key(numbers: Sequence[int], target: int) -> str:
    """Key of a countdown: its numbers, sorted, and its target."""
    return f"countdown|{','.join(map(str, sorted(numbers)))}|{target}"


def word_key(story: Story, values: Mapping[str, int]) -> str:
    """Key of a worded problem: operators, operands, target; neither story nor names nor order."""
    operators = "".join(sorted(operator for _, operator, _ in story.steps))
    operands = ",".join(map(str, sorted(values[name] for name in "abcd" if name in values)))
    return f"word|{operators}|{operands}|{values['xyz'[len(story.steps) - 1]]}"
