"""What a base for TinyZero's countdown has read: tries of mixed patience and skill, and arithmetic.

Most documents answer a countdown prompt. Each is by a solver of its own habits: many guess or give
up after one failed try, few go on; some aim at the target, most join numbers at random; part of
them use the tags that TinyZero's reward wants. Habits are drawn independently of the problem and of
each other, so that more tries and better ones are there to be chosen, by a reward or by nothing.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from r1jax.data.corpora import any_of, choose, lengths, mean, weighted
from r1jax.data.templates import TEMPLATES, render
from r1jax.data.tinyzero.arithmetic import arithmetic
from r1jax.data.tinyzero.search import Try, gives_away, tries
from r1jax.data.tinyzero.tasks import tinyzero
from r1jax.problem import Problem

DocumentKind = Literal["tinyzero", "short", "arithmetic"]
Ending = Literal["exact", "same_line", "valued", "trailing", "plain", "bare"]

STREAM = 1_000_003  # keeps the corpus's problems apart from those that RL draws with small seeds
MOST = {3: 10, 4: 7}  # tries before even the patient give up, by the count of numbers
SHORT = "Use {numbers} to make {target}.\n<think>"
HEADINGS = ("Work out:", "Arithmetic:", "Sums:")
GUESSES = ("Just a guess.", "I guess.", "This might work.")
ENDINGS: dict[Ending, str] = {
    "exact": "\n</think>\n<answer> {0} </answer>",
    "same_line": "\n</think> <answer> {0} </answer>",
    "valued": "\n</think>\n<answer> {0}={1} </answer>",  # no equation to TinyZero's reward
    "trailing": "\n</think>\n<answer> {0} </answer>\nThat is all.",  # which it does not look at
    "plain": "\n</think>\nThe answer is {0}.",
    "bare": "\nSo the answer is {0}.",
}


@dataclass(frozen=True)
class TinyZeroMix:
    """What the corpus is made of: weights where there are several values, else probabilities."""

    kinds: tuple[tuple[DocumentKind, float], ...] = (
        ("tinyzero", 0.5), ("short", 0.25), ("arithmetic", 0.25),
    )  # fmt: skip
    guess: float = 0.35  # no try is worked out
    patience: tuple[tuple[float, float], ...] = ((0.15, 0.55), (0.5, 0.3), (0.92, 0.15))
    skill: tuple[tuple[float, float], ...] = ((0.0, 0.7), (0.5, 0.2), (1.0, 0.1))
    slip: float = 0.02  # a try's last value is a little off
    wishful: float = 0.05  # a failed try of an impatient solver claims the target
    check: float = 0.3  # solvers that work out a hit once more
    endings: tuple[tuple[Ending, float], ...] = (
        ("exact", 0.3), ("same_line", 0.08), ("valued", 0.05), ("trailing", 0.12),
        ("plain", 0.27), ("bare", 0.18),
    )  # fmt: skip


@dataclass(frozen=True)
class TinyZeroDocument:
    """One prompt with its completion; the tokenizer's end-of-text follows it.

    Of arithmetic `problem` and `ending` are None. `tried` counts the tries that are worked out;
    `correct` says that the answer solves the problem, whatever its form.
    """

    kind: DocumentKind
    prompt: str
    completion: str
    problem: Problem | None = None
    tried: int = 0
    correct: bool = False
    ending: Ending | None = None

    @property
    def text(self) -> str:
        """Prompt and completion, as they are tokenized."""
        return self.prompt + self.completion


def documents(
    seed: int, start: int, count: int, mix: TinyZeroMix | None = None
) -> Iterator[TinyZeroDocument]:
    """Documents `start` to `start + count` of corpus `seed`; each is a function of its index.

    Only training problems occur, in questions, in tries and in the arithmetic alike: wherever three
    or four numbers make a value, the three or four with that value are no held-out problem.
    """
    maker = _Maker(mix or TinyZeroMix(), seed)
    for index in range(start, start + count):
        yield maker.make(index)


def tokenizer_texts(seed: int, count: int, mix: TinyZeroMix | None = None) -> Iterator[str]:
    """What a tokenizer for this corpus is trained on."""
    return (document.text for document in documents(seed, 0, count, mix))


def count_tries(text: str) -> int:
    """Tries that a completion works out: lines of its thought with an equation, checks left out."""
    thought = text.partition("</think>")[0]
    return sum("=" in line and not line.startswith("Check") for line in thought.split("\n"))


class _Thought(NamedTuple):
    """What a solver writes, answers, takes that answer's value to be, and how often it tried."""

    lines: list[str]
    answer: Try
    claimed: int
    tried: int


class _Maker:
    """Draws documents; holds the cumulative weights of one mix."""

    def __init__(self, mix: TinyZeroMix, seed: int) -> None:
        self.mix, self.seed = mix, seed
        self.source = tinyzero("countdown", {}, STREAM + seed)
        self.tables = {
            name: weighted(getattr(mix, name)) for name in ("kinds", "patience", "skill", "endings")
        }

    def make(self, index: int) -> TinyZeroDocument:
        """Document number `index`."""
        rng = random.Random((self.seed * 4 + 3) << 48 | index)
        kind = choose(self.tables["kinds"], rng)
        if kind == "arithmetic":
            return TinyZeroDocument(kind, any_of(HEADINGS, rng), _said(arithmetic(rng)))
        problem = self.source[index]
        thought, ending = self.think(problem, rng), choose(self.tables["endings"], rng)
        answer = ENDINGS[ending].format(thought.answer.expression, thought.claimed)
        return TinyZeroDocument(
            kind=kind,
            prompt=_prompt(kind, problem),
            completion=_said(thought.lines) + answer,
            problem=problem,
            tried=thought.tried,
            correct=thought.answer.value == problem.metadata["target"],
            ending=ending,
        )

    def think(self, problem: Problem, rng: random.Random) -> _Thought:
        """A solver's thought, from a guess to many tries."""
        numbers, target = problem.metadata["numbers"], problem.metadata["target"]
        if rng.random() < self.mix.guess:
            line, (guess,) = any_of(GUESSES, rng), tries(rng, numbers, target, 0.0, 1)
            return _Thought([line], guess, target, 0)
        patience, skill = choose(self.tables["patience"], rng), choose(self.tables["skill"], rng)
        miss, checks = any_of((" no", " no", f", not {target}"), rng), rng.random() < self.mix.check
        lines: list[str] = []
        best, claimed, tried = None, 0, 0
        for current in tries(rng, numbers, target, skill, MOST.get(len(numbers), 1)):
            shown = self.misread(current, target, patience, rng)
            hit, tried = shown == target, tried + 1
            lines.append(_worked(current, shown) + (" yes" if hit else miss))
            if hit and checks:
                hit = current.value == target
                lines.append(f"Check: {current.text}, {'right' if hit else 'wrong'}")
                shown = current.value
            if hit or best is None or abs(shown - target) < abs(claimed - target):
                best, claimed = current, shown
            if hit:
                return _Thought(lines, current, shown, tried)
            if rng.random() > patience:
                break
        return _Thought([*lines, "I give up."], best, claimed, tried)

    def misread(self, current: Try, target: int, patience: float, rng: random.Random) -> int:
        """The value that is written for a try: right, a little off, or wishfully the target."""
        u = rng.random()
        if current.value != target and patience < 0.5 and u < self.mix.wishful:
            return target
        if u < 1 - self.mix.slip:
            return current.value
        off = current.value + any_of((-10, -1, 1, 10), rng)
        numbers = [int(n) for n in _numbers(current.expression)]
        return current.value if off < 1 or gives_away(numbers, off) else off


def _prompt(kind: DocumentKind, problem: Problem) -> str:
    if kind == "tinyzero":
        return render(TEMPLATES["tinyzero"], problem)
    numbers, target = problem.metadata["numbers"], problem.metadata["target"]
    return SHORT.replace("{numbers}", str(numbers)).replace("{target}", str(target))


def _worked(current: Try, shown: int) -> str:
    """The steps of a try, the last of them with the value `shown`."""
    steps = [*current.steps[:-1], current.steps[-1]._replace(value=shown)]
    return ", ".join(step.text for step in steps)


def _said(lines: Iterable[str]) -> str:
    return "".join(f"\n{line}" for line in lines)


def _numbers(expression: str) -> list[str]:
    return "".join(c if c.isdigit() else " " for c in expression).split()


def describe(corpus: Iterable[TinyZeroDocument], tokenizer: Any = None) -> dict[str, Any]:
    """Shares of a corpus for its card: kinds, accuracy by tries, endings; with a tokenizer lengths.

    Lengths are quantiles of tokens, the end-of-text counted with completions.
    """
    corpus = list(corpus)
    countdowns = [document for document in corpus if document.problem]
    by_tries: dict[int, list[bool]] = {}
    for document in countdowns:
        by_tries.setdefault(document.tried, []).append(document.correct)
    report: dict[str, Any] = {
        "documents": len(corpus),
        "kinds": _shares(document.kind for document in corpus),
        "correct": mean(document.correct for document in countdowns),
        "tries": mean(document.tried for document in countdowns),
        "by_tries": {
            str(n): {"share": len(outcomes) / len(countdowns), "correct": mean(outcomes)}
            for n, outcomes in sorted(by_tries.items())
        },
        "endings": _shares(document.ending for document in countdowns),
    }
    if tokenizer is not None:
        kinds: dict[str, list[TinyZeroDocument]] = {}
        for document in corpus:
            kinds.setdefault(document.kind, []).append(document)
        report["tokens"] = {
            f"{kind} {part}": lengths(
                tokenizer, [getattr(d, part) for d in group], more=part == "completion"
            )
            for kind, group in sorted(kinds.items())
            for part in ("prompt", "completion")
        }
    return report


def _shares(items: Iterable[Any]) -> dict[str, float]:
    counts = Counter(items)
    return {str(item): n / counts.total() for item, n in sorted(counts.items())}
