"""A teacher behind an endpoint: it scores a rollout's tokens beside the passes of the devices."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.data.packing import Sequences
from r1jax.endpoint import PromptScorer, Scores, Unscored
from r1jax.rollout.policy import Policy
from r1jax.run.signals import boundary
from r1jax.training.rl.judging import JudgedBatch
from r1jax.training.supervised.distill import LOGP, SCORED, TOKEN
from r1jax.training.teacher import PolicyTeacher

if TYPE_CHECKING:
    from r1jax.training.rl.setup import Parts
    from r1jax.training.rl.state import Files

PROBE = "The sum of 17 and 25 is 42: def f(x):\n    return [x**2, 'naïve']  # 答案是42。 <think>"
"""A text that tokenizers cut differently."""
NAMED = 4
"""So many of the completions that were not scored are named in a line."""
Answers = Future[dict[int, Scores | None]]


@dataclass(frozen=True)
class RemoteTeacher:
    """A served teacher that has shown at the start that it can judge the policy."""

    config: PolicyTeacher
    scorer: PromptScorer
    said: str  # what the server calls its model

    @property
    def name(self) -> str:
        """Of its entry in lineage.json."""
        return f"{self.config.endpoint.base_url} {self.config.endpoint.model}"

    @property
    def identity(self) -> dict[str, Any]:
        """What a checkpoint of a run that learns from it must agree with."""
        return {"endpoint": self.name, "answers as": self.said}


def find_remote(config: PolicyTeacher, student: Policy) -> RemoteTeacher | None:
    """The teacher behind the endpoint that the flags name, once it was asked; None without.

    Raises UserError, in one line, where it cannot judge the student's tokens.
    """
    if not config.served:
        return None
    tokenizer = student.tokenizer
    wanted = config.top_k if config.whole else 0
    spellings = functools.partial(spelt, tokenizer)
    scorer = PromptScorer(config.endpoint, wanted, spellings, config.endpoint.max_lost)
    bare, whole = (
        tokenizer(PROBE, add_special_tokens=special)["input_ids"] for special in (False, True)
    )
    before = whole[: max(len(whole) - len(bare), 0)]
    return RemoteTeacher(config, scorer, scorer.probe(PROBE, bare, before))


def spelt(tokenizer: Any, token: int) -> set[str]:
    """The ways in which servers write a token of this id; one that is special as nothing, too."""
    piece = tokenizer.convert_ids_to_tokens(token) or ""
    known = {tokenizer.decode([token]), piece, piece.replace("▁", " ")}
    return known | {""} if token in tokenizer.all_special_ids else known


@contextlib.contextmanager
def asked(parts: Parts, sequences: Sequences) -> Iterator[Answers | None]:
    """The answers of a teacher behind an endpoint, on their way; None where there is none to ask.

    The first process asks for all.
    """
    if parts.remote is None or jax.process_index():
        yield None
        return
    rows = zip(sequences.tokens, sequences.totals, sequences.lengths, strict=True)
    items = [(row[:total].tolist(), int(length)) for row, total, length in rows]
    with parts.remote.scorer.asking(items) as answers:
        yield answers


def heard(
    parts: Parts, files: Files, drawn: JudgedBatch, sequences: Sequences, answers: Answers | None
) -> tuple[Sequences, dict[str, float]]:
    """The sequences with what the teacher said of them, in every process alike.

    Where it said nothing `teacher_logp` is `old_logp`, and of distributions `teacher_scored` is 0:
    nothing is learnt from it there. Beside it how many those were. Raises Unscored.
    """
    size = len(sequences.lengths), int(sequences.lengths.max())
    wanted = parts.config.teacher.top_k if parts.config.teacher.whole else 0
    fault: Unscored | None = None
    found = np.zeros((1 + 2 * wanted, *size), np.float32)
    state = np.zeros(1 + size[0], bool)  # whether it answers at all, then whose tokens it scored
    if jax.process_index() == 0:
        try:
            scores = waited(answers)
            state[:] = True, *(scores[i] is not None for i in range(size[0]))
            fill(found, scores)
            report(parts, files, drawn)
        except Unscored as error:
            fault = error
    if jax.process_count() > 1:
        found, state = multihost_utils.broadcast_one_to_all((found, state))
    if not state[0]:
        raise fault or Unscored("--teacher.endpoint: the first process says why it ends")
    scored = np.asarray(state[1:])
    metrics = {"teacher/lost": float(np.count_nonzero(~scored))}
    if not wanted:
        logp = np.where(scored[:, None], found[0], sequences.columns["old_logp"])
        return sequences.with_columns(teacher_logp=logp), metrics
    columns = {SCORED: scored.astype(np.float32)}
    for i in range(wanted):
        columns |= {TOKEN.format(i): found[1 + i], LOGP.format(i): found[1 + wanted + i]}
    return sequences.with_columns(**columns), metrics


def waited(answers: Answers) -> dict[int, Scores | None]:
    """The answers, once they are there; a signal ends the run meanwhile."""
    while not wait([answers], timeout=0.2).done:
        boundary(often=True)
    return answers.result()


def fill(found: np.ndarray, scores: dict[int, Scores | None]) -> None:
    """Writes to f32[1 + 2k, N, C]: log p of each token, ids of the k likeliest, their log p."""
    for i, score in scores.items():
        if score is None:
            continue
        n = len(score.logp)
        found[0, i, :n] = score.logp
        likeliest = np.asarray(score.likeliest, np.float64)  # of n tokens k ids with their log p
        likeliest = likeliest.reshape(n, len(found) // 2, 2)
        found[1:, i, :n] = np.concatenate(np.moveaxis(likeliest, (2, 1), (0, 1)))


def report(parts: Parts, files: Files, drawn: JudgedBatch) -> None:
    """Says which completions were not scored, and why."""
    lost = parts.remote.scorer.lost
    if not lost:
        return
    named = [f"{drawn.problems[i].id} #{_sample(drawn.groups, i)} ({lost[i]})" for i in lost]
    more = f" and {len(named) - NAMED} more" if len(named) > NAMED else ""
    files.progress.note(
        f"teacher: {len(lost)} of {len(drawn.groups)} completions were not scored: "
        f"{', '.join(named[:NAMED])}{more}"
    )


def _sample(groups: Sequence[int], i: int) -> int:
    """Which of its group a completion is, from 0."""
    return int(np.count_nonzero(np.asarray(groups[:i]) == groups[i]))
