"""Worked solutions of mixed quality: guesses, short and long chains, self-checked chains.

A trace is a list of clauses, each with its wording in both languages, so that a document can switch
language between any two of them. Part of the wrong guesses and short chains share one bad habit
per family, as a crowd of hasty solvers does: they stop after the first operation, or offer the
plain sum of a countdown's numbers. The others err each in its own way.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from r1jax.data.corpora import any_of
from r1jax.data.world import words
from r1jax.data.world.countdown import Expression, Step, expressions
from r1jax.data.world.problems import sum_steps, word_slots, word_steps
from r1jax.data.world.stories import STORIES
from r1jax.problem import Problem

Mode = Literal["guess", "short", "long", "checked"]
MODES: tuple[Mode, ...] = ("guess", "short", "long", "checked")
SEARCH_LIMIT = {"short": 2, "long": 7, "checked": 6}  # trials before a search gives up
ASTRAY = 30  # how far off a wrong answer is that follows no habit
SPREAD = 300.0  # how far a search strays: the larger, the less its order leans to the target


@dataclass(frozen=True)
class Shares:
    """How often each mode occurs (weights), and how often each means to be right (probabilities).

    `habit` is the share of wrong guesses and short chains that make their family's usual mistake.
    Long and checked countdown searches are right as often as they find the target in time.
    """

    guess: float = 0.50
    short: float = 0.25
    long: float = 0.15
    checked: float = 0.10
    guess_right: float = 0.08
    short_right: float = 0.25
    long_right: float = 0.92
    checked_right: float = 0.96
    habit: float = 0.25


class Clause(NamedTuple):
    """One sentence in both languages: wordings, and what fills each."""

    pair: words.Bilingual
    english: Any = ()
    chinese: Any = None  # None: what fills the English

    def say(self, language: int) -> str:
        """The sentence in language 0 (English) or 1 (Chinese)."""
        filling = self.english if self.chinese is None or not language else self.chinese
        return self.pair[language] % filling


class Trace(NamedTuple):
    """A worked solution without its final sentence."""

    mode: Mode
    clauses: list[Clause]
    answer: str
    correct: bool


def write(problem: Problem, mode: Mode, shares: Shares, rng: random.Random) -> Trace:
    """A solution of `problem` in `mode`, drawn from `rng`."""
    right = rng.random() < getattr(shares, f"{mode}_right")
    usual = rng.random() < shares.habit
    if problem.metadata["family"] == "countdown":
        return _search(problem, mode, right, usual, rng)
    return _chain(problem, mode, right, usual, rng)


# --- sums and worded problems ----------------------------------------------------------------


class _Teller:
    """Says the steps of one problem: sums in equations, worded problems in their story."""

    def __init__(self, problem: Problem) -> None:
        fields = problem.metadata
        self.story = None
        if fields["family"] == "sum":
            self.steps = sum_steps(fields["numbers"])
            return
        self.story = STORIES[fields["story_number"]]
        self.steps = word_steps(self.story, fields["values"])
        self.slots = word_slots(fields)

    def opening(self) -> list[Clause]:
        """What every mode starts with."""
        return [Clause(self.story.goal, *self.slots)] if self.story else []

    def step(self, i: int, value: int) -> Clause:
        """Step `i`, claiming `value`."""
        if self.story is None:
            return Clause(words.THEN if i else words.FIRST, (_left(self.steps[i]), value))
        return Clause(self.story.says[i], *(slots | {"xyz"[i]: value} for slots in self.slots))


def _left(step: Step) -> str:
    return f"{step[0]}{step[1]}{step[2]}"


def _slip(step: Step) -> int:
    """The value with a forgotten carry or borrow: ten too little after +, else ten too much."""
    return step[3] - 10 if step[1] == "+" and step[3] >= 10 else step[3] + 10


def _pick(pairs: tuple[words.Bilingual, ...], rng: random.Random) -> words.Bilingual:
    """The first wording more often than not, else any."""
    return pairs[0] if rng.random() < 0.6 else any_of(pairs, rng)


def _check(step: Step, rng: random.Random) -> Clause:
    """The last step seen from the other side."""
    left, operator, right, value = step
    text, result = {
        "+": (f"{value}-{right}", left),
        "-": (f"{value}+{right}", left),
        "*": (f"{right}*{left}", value),
    }[operator]
    return Clause(_pick(words.CHECKS, rng), (text, result))


def _astray(target: int, rng: random.Random) -> int:
    """A wrong answer of no particular kind: up to ASTRAY off."""
    off = 1 + int(rng.random() * ASTRAY)
    return target - off if target > off and rng.random() < 0.5 else target + off


def _chain(problem: Problem, mode: Mode, right: bool, usual: bool, rng: random.Random) -> Trace:
    teller = _Teller(problem)
    steps, target = teller.steps, problem.metadata["target"]
    clauses = teller.opening()
    answer = target if right else steps[0][3] if usual else _astray(target, rng)
    if mode == "short":
        clauses.append(teller.step(0, steps[0][3]))
    elif mode == "long":
        done = len(steps) - (not right)
        clauses += [teller.step(i, steps[i][3]) for i in range(done)]
        answer = steps[done - 1][3]
    elif mode == "checked":
        answer = _checked(teller, clauses, right, rng)
    return Trace(mode, clauses, str(answer), answer == target)


def _checked(teller: _Teller, clauses: list[Clause], right: bool, rng: random.Random) -> int:
    """Appends a chain that finds a slip, a forgotten step or nothing wrong; returns its answer."""
    steps = teller.steps
    u = rng.random()
    last = len(steps) - 1
    if not right:
        clauses += [teller.step(i, steps[i][3]) for i in range(last)]
        clauses.append(_check(steps[last - 1], rng))
        return steps[last - 1][3]
    slipped = int(rng.random() * len(steps)) if u < 0.35 else None
    forgotten = 0.35 <= u < 0.55
    for i in range(last if forgotten else last + 1):
        if i == slipped:
            clauses.append(teller.step(i, _slip(steps[i])))
            clauses.append(Clause(_pick(words.REPAIRS, rng), (_left(steps[i]), steps[i][3])))
        else:
            clauses.append(teller.step(i, steps[i][3]))
    if forgotten:
        forgot = _pick(words.FORGOTTEN, rng)
        clauses.append(Clause(forgot, (_left(steps[last]), steps[last][3])))
    elif slipped is None:
        clauses.append(_check(steps[last], rng))
    return steps[last][3]


# --- countdown -------------------------------------------------------------------------------


def _search(problem: Problem, mode: Mode, right: bool, usual: bool, rng: random.Random) -> Trace:
    """Trials in a noisy order that leans to the target; evaluation keys are never tried."""
    target = problem.metadata["target"]
    known = expressions(tuple(sorted(problem.metadata["numbers"], reverse=True)))
    wrong = [e for e in known if e.value != target and not e.held_out]
    hits = [e for e in known if e.value == target]
    hit = any_of(hits, rng)
    offers = wrong[:1] if usual else wrong
    miss = any_of(offers, rng) if offers else hit
    if mode == "guess":
        answer = hit if right else miss
        return Trace(mode, [], answer.text, answer is hit)
    if mode == "short":
        count = 1 + int(rng.random() * SEARCH_LIMIT[mode])
        trials = wrong[:1] + _ordered(wrong[1:], target, rng)
        trials = [*trials[: count - 1], hit] if right else trials[:count]
    else:
        order = _ordered([*wrong, hit], target, rng)
        trials = order[: order.index(hit) + 1][: SEARCH_LIMIT[mode]]
    clauses = _trials(trials, target, mode == "checked", rng)
    found = bool(trials) and trials[-1] is hit
    if not found:
        clauses.append(Clause(words.GIVE_UP))
    elif mode == "checked":
        clauses.append(Clause(_pick(words.CHECKS, rng), (_left(hit.first), hit.first[3])))
    return Trace(mode, clauses, (hit if found else miss).text, found or miss is hit)


def _ordered(options: list[Expression], target: int, rng: random.Random) -> list[Expression]:
    """A random order in which nearer values tend to come first."""
    return sorted(options, key=lambda e: abs(e.value - target) - SPREAD * rng.random())


def _trials(trials: list[Expression], target: int, slips: bool, rng: random.Random) -> list[Clause]:
    """One clause per trial; with `slips`, half of the searches take one miss for a hit at first."""
    slipped = int(rng.random() * 2 * len(trials)) if slips else -1
    clauses = []
    for i, (text, value, _, _) in enumerate(trials):
        if value == target:
            clauses.append(Clause(words.HIT if i else words.TRY_HIT, (text, value)))
        elif i == slipped:
            clauses.append(Clause(words.FALSE_HIT, (text, target, text, value)))
        else:
            clauses.append(Clause(words.MISS if i else words.TRY, (text, value)))
    return clauses
