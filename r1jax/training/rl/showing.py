"""A policy that teaches itself: shown a right answer of the group, it judges the others (SDPO)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from r1jax.data.packing import Sequences
from r1jax.data.padding import side_by_side
from r1jax.errors import UserError
from r1jax.problem import Problem
from r1jax.rollout.policy import Policy
from r1jax.training.batches import over_completions
from r1jax.training.flops import scoring_flops
from r1jax.training.rl.config import RLConfig
from r1jax.training.rl.judging import JudgedBatch

if TYPE_CHECKING:
    from r1jax.training.rl.setup import Parts
    from r1jax.training.rl.state import Loop

WORDS = "{}\nCorrect solution:\n\n{}\n\n\n\nCorrectly solve the original question.\n"
"""What a question becomes, with a right answer to it: TRL's words (experimental/sdpo)."""


def peers(groups: np.ndarray, right: np.ndarray) -> np.ndarray:
    """i[N]: of each completion the first other one of its group that is right; -1: there is none.

    What is right itself is shown another's answer, never its own (arXiv 2601.20802, TRL).
    """
    others = (groups[:, None] == groups) & right & ~np.eye(len(groups), dtype=bool)
    return np.where(others.any(axis=1), others.argmax(axis=1), -1)


def shown(problem: Problem, solution: str) -> Problem:
    """The problem whose question holds a right answer to it."""
    return replace(problem, question=WORDS.format(problem.question, solution))


def behind(prompts: Sequence[Sequence[int]], written: Sequences) -> Sequences:
    """The completions as they are, each behind another prompt; only their sets are known."""
    spans = zip(written.tokens, written.prompt_lengths, written.totals, strict=True)
    completions = [tokens[start:stop] for tokens, start, stop in spans]
    return side_by_side(zip(prompts, completions, strict=True)).with_columns(**written.support)


def judged(
    parts: Parts, loop: Loop, drawn: JudgedBatch, sequences: Sequences
) -> tuple[Sequences, dict[str, float]]:
    """The sequences with what the policy makes of them that was shown a right answer.

    That is the column `teacher_logp`; where there is nothing to show, or no room for it in a row,
    it is `old_logp`, from which nothing is learnt. Beside it the share that was shown one.
    """
    config = parts.config
    peer = peers(drawn.groups, drawn.judgement.parts["accuracy"] == 1)
    chosen = np.flatnonzero(peer >= 0)
    solutions = [drawn.completions[peer[i]].text for i in chosen]
    problems = [shown(drawn.problems[i], text) for i, text in zip(chosen, solutions, strict=True)]
    prompts = parts.policy.prompts(problems) if problems else []
    fits = [len(p) + sequences.lengths[i] <= config.train.width
            for p, i in zip(prompts, chosen, strict=True)]  # fmt: skip
    prompts, chosen = [p for p, fit in zip(prompts, fits, strict=True) if fit], chosen[fits]
    said, flops = sequences.columns["old_logp"].copy(), 0.0
    if len(chosen):
        asked = behind(prompts, sequences.take(chosen))
        params = parts.model(
            loop.reference if config.teacher.shown == "reference" else loop.state.params
        )
        found = over_completions(parts.reference_logp, params, asked, config.train, parts.mesh)
        said[chosen, : found.shape[1]] = found
        flops = scoring_flops(parts.policy.config, asked.totals)
    metrics = {"teacher/shown_frac": len(chosen) / len(peer), "operations/teacher": flops}
    return sequences.with_columns(teacher_logp=said), metrics


def check_room(config: RLConfig, policy: Policy) -> None:
    """Raises UserError where a row cannot hold a prompt with an answer, and another answer."""
    r, width = config.rollout, config.train.width
    words = len(policy.tokenizer(WORDS.format("", ""), add_special_tokens=False)["input_ids"])
    need = r.max_prompt + words + 2 * r.max_tokens
    if config.teacher.shown and width < need:
        raise UserError(
            f"--train.width {width}: a prompt that shows an answer, and the answer that is judged, "
            f"take {need} tokens with --teacher.shown; raise it to that"
        )
