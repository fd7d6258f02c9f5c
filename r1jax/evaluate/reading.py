"""Reads every completion twice, leniently and strictly, and says which answers are the same.

The lenient judge takes the last number or expression and ignores tags, so that a base model is not
marked down for its format; the strict judge wants the answer inside <answer> and the whole
envelope. A completion cut at the token limit is wrong for both and does not vote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field

from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards.accuracy import accuracy
from r1jax.rewards.answers.choice import choice_letter
from r1jax.rewards.answers.extract import extract, unwrap
from r1jax.rewards.answers.graders import grade
from r1jax.rewards.answers.numeric import parse_number, plain
from r1jax.rewards.base import BaseReward
from r1jax.rewards.format import is_strict_format
from r1jax.rewards.sandbox import SandboxConfig
from r1jax.rewards.workers.pool import RewardPool

# A command, a power or a variable: such a text is no single number even where it holds one.
_FORMULA = re.compile(r"[\\^_!]|(?<![A-Za-z])[A-Za-z]{1,2}(?![A-Za-z])")


@dataclass(frozen=True)
class Judged:
    """One completion with what both judges made of it."""

    completion: Completion
    lenient_answer: str | None
    strict_answer: str | None
    lenient: bool
    strict: bool
    format: bool
    vote: Hashable | None
    """Equivalence class of the lenient answer among the answers to its problem; None: no vote."""

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.completion.token_ids)

    @property
    def truncated(self) -> bool:
        """Whether the token limit cut it."""
        return self.completion.finish_reason == "length"


@dataclass
class Grader:
    """Grades extracted answers in a pool of workers, and counts those that could not be graded.

    Without a pool it works in this process, which a hostile answer can hang.
    """

    pool: RewardPool | None = None
    lost: int = 0
    """Answers whose grading failed or broke a limit so far; each counts as wrong."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    """Limits of programs, where answers are such."""
    read: Callable[[Problem, Completion], str | None] | None = None
    """Where a protocol finds the answer, for both judges; None: as this module does."""

    def answers(self, problem: Problem, completion: Completion) -> tuple[str | None, str | None]:
        """(lenient answer, strict answer); a completion that was cut has neither."""
        if self.read is None or completion.finish_reason == "length":
            return _answers(problem, completion)
        return (self.read(problem, completion),) * 2

    def __call__(self, answers: Sequence[tuple[Problem, str]]) -> list[bool]:
        """Whether each answer is right for its problem. Raises UserError for an unknown grader."""
        problems = [problem for problem, _ in answers]
        accuracy(sandbox=self.sandbox).check(problems)
        completions = [Completion(text, (), "stop", None, text) for _, text in answers]
        pool = self.pool or RewardPool(workers=0)
        scores, counts = pool.map(
            _GradeAnswer(self.sandbox), problems, completions, RewardContext()
        )
        self.lost += counts.lost
        return [score == 1.0 for score in scores]


def judge(
    problems: Sequence[Problem], completions: Sequence[Sequence[Completion]], grader: Grader
) -> list[list[Judged]]:
    """Both judgements of every completion; each distinct answer to a problem is graded once."""
    read = [
        [(c, *grader.answers(problem, c)) for c in samples]
        for problem, samples in zip(problems, completions, strict=True)
    ]
    answers = {
        (i, answer): None
        for i, samples in enumerate(read)
        for _, *pair in samples
        for answer in pair
        if answer is not None
    }
    graded = grader([(problems[i], answer) for i, answer in answers])
    right = dict(zip(answers, graded, strict=True))
    lenient = {(i, answer) for i, samples in enumerate(read) for _, answer, _ in samples if answer}
    classes = _classes(problems, {key: right[key] for key in answers if key in lenient}, grader)
    return [
        [
            Judged(
                completion=c,
                lenient_answer=loose,
                strict_answer=tight,
                lenient=right.get((i, loose), False),
                strict=right.get((i, tight), False) and is_strict_format(c.text),
                format=is_strict_format(c.text),
                vote=classes.get((i, loose)),
            )
            for c, loose, tight in samples
        ]
        for i, samples in enumerate(read)
    ]


@dataclass(frozen=True)
class _GradeAnswer(BaseReward):
    """Grades `completion.answer` as it stands: extraction has already happened."""

    sandbox: SandboxConfig
    needs_tokens = False

    def of(self, problem: Problem, completion: Completion, context: RewardContext) -> float:
        """1.0 for a right answer, else 0.0."""
        return grade(problem, completion.answer, self.sandbox)


def _answers(problem: Problem, completion: Completion) -> tuple[str | None, str | None]:
    """(lenient answer, strict answer); a completion that was cut has neither."""
    if completion.finish_reason == "length":
        return None, None
    extracted = (extract(completion.text, policy, problem) for policy in ("last", "answer_tag"))
    lenient, strict = (answer.strip() or None if answer else None for answer in extracted)
    return lenient, strict


def _classes(
    problems: Sequence[Problem], right: Mapping[tuple[int, str], bool], grader: Grader
) -> dict[tuple[int, str], Hashable]:
    """The class in which each (problem index, answer) votes.

    All right answers are one class: equivalent to the gold, or, in countdown, each a solution.
    Wrong ones are classed by exact value, letter or text; wrong formulas by math-verify, which
    compares each open text of a problem with the first one, round after round.
    """
    classes = {
        (i, answer): ("right",) if good else _class(problems[i], answer)
        for (i, answer), good in right.items()
    }
    is_open = {
        key: classes[key][0] == "text" and problems[key[0]].grader == "math" for key in classes
    }
    waiting = [key for key in classes if is_open[key]]
    while waiting:
        first: dict[int, str] = {}
        for i, answer in waiting:
            first.setdefault(i, answer)
        rest = [(i, answer) for i, answer in waiting if answer != first[i]]
        asked = [(Problem(problems[i].id, "", first[i]), answer) for i, answer in rest]
        waiting = []
        for (i, answer), same in zip(rest, grader(asked), strict=True):
            if same:
                classes[i, answer] = classes[i, first[i]]
            else:
                waiting.append((i, answer))
    return classes


def _class(problem: Problem, answer: str) -> tuple[Hashable, ...]:
    """The class of a wrong answer as far as its text alone decides it."""
    bare = plain(unwrap(answer))
    if problem.grader == "countdown":
        return ("expression", "".join(bare.split()))
    if problem.grader == "choice" and (letter := choice_letter(answer)):
        return ("letter", letter)
    formula = problem.grader == "math" and _FORMULA.search(bare)
    value = None if formula else parse_number(bare)
    return ("text", " ".join(bare.split()).lower()) if value is None else ("number", value)
