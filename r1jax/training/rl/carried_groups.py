"""Groups that take several rollouts: what is unfinished waits on the host and goes on in the next.

With `--rollout.carry` more groups are under way than a rollout needs, and it ends with its first
`prompts` whole ones, as many as ever; the others are carried over (the partial rollouts of Kimi
k1.5, arXiv 2501.12599). Advantages compare a group's completions, so a group is learnt from as a
whole, in the rollout in which its last completion ends, or in the next where enough others were
whole before it. Carried groups come first in the next rollout, and one that was carried `carry`
times is waited for: none is left behind for ever.

Each token keeps the log-probability under the weights that drew it, and its random keys are those
of the rollout in which its group began: a text is a function of (seed, that rollout, problem,
sample) and of the weights that drew each token. The loss weighs it by π_now / π_then, up to its
cap. What no weight mends is the order: of the groups under way the short ones are learnt from
first. None is lost by that but those still under way as the run ends.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from r1jax.data.problems.mixture import ProblemStream
from r1jax.problem import Problem
from r1jax.rollout.ending import WholeGroups
from r1jax.rollout.engine import Engine, Generated, Prompt
from r1jax.rollout.policy import Policy
from r1jax.rollout.requests import Drawn, nothing
from r1jax.training.rl.sampled import RolloutConfig
from r1jax.types import Params

_REASONS = (None, "stop", "length")


@dataclass(frozen=True)
class Group:
    """The G completions of a problem, under way (no finish reason) or finished."""

    problem: Problem
    place: int  # of the problem in the stream
    rollout: int  # in which it began
    completions: tuple[Generated, ...]
    stale: np.ndarray  # i64[G], tokens drawn in earlier rollouts
    age: np.ndarray  # i64[G], rollouts that have passed since each token was drawn, added up

    @property
    def whole(self) -> bool:
        """Whether all its completions are finished."""
        return all(c.finish_reason for c in self.completions)

    @property
    def lengths(self) -> np.ndarray:
        """i64[G], tokens drawn so far."""
        return np.asarray([len(c.tokens) for c in self.completions], np.int64)

    def older(self) -> Group:
        """The group as the next rollout finds it."""
        return replace(self, stale=self.lengths, age=self.age + self.lengths)

    def prompts(self) -> list[Prompt]:
        """What the engine is asked for: all at once, or from where each unfinished one stands."""
        left = [c for c in self.completions if not c.finish_reason]
        tokens = self.completions[0].prompt_tokens
        number, began = self.problem.number, self.rollout
        if len(left) == len(self.completions) and not self.lengths.any():
            return [Prompt(tokens, number, len(left), left[0].sample, rollout=began)]
        return [Prompt(tokens, number, 1, c.sample, rollout=began, kept=c) for c in left]


def under_way(
    carried: Sequence[Group],
    stream: ProblemStream,
    policy: Policy,
    taken: int,
    rollout: int,
    config: RolloutConfig,
) -> list[Group]:
    """The groups of a rollout: those carried over, then as many new ones as make up the number.

    The stream goes on at problem `taken`. A problem that begins twice in a rollout goes on counting
    its samples.
    """
    count = config.prompts + math.ceil(config.leave * config.prompts) - len(carried)
    seen: Counter[int] = Counter()
    groups = list(carried)
    for place, problem in enumerate(stream.take(taken, count), taken):
        first = seen[problem.number]
        seen[problem.number] += config.group
        samples = range(first, first + config.group)
        asked = policy.prompt(problem)
        new = tuple(Generated(*nothing().arrays, 0, sample, None, asked) for sample in samples)
        none = np.zeros(config.group, np.int64)
        groups.append(Group(problem, place, rollout, new, none, none))
    return groups


def advance(
    engine: Engine,
    weights: Params,
    groups: Sequence[Group],
    config: RolloutConfig,
    seed: int,
    rollout: int,
) -> tuple[list[Group], tuple[Group, ...]]:
    """Goes on with `groups` until enough are whole; `config.prompts` of them, and all others.

    The first whole ones in their order are chosen, so that the oldest are among them.
    """
    asked = [group.prompts() for group in groups]
    owner = [i for i, prompts in enumerate(asked) for _ in prompts]
    due = frozenset(i for i in owner if rollout - groups[i].rollout >= config.carry)
    wanted = config.prompts - sum(group.whole for group in groups)
    completions = engine.advance(
        weights, [prompt for prompts in asked for prompt in prompts], config.sampling,
        WholeGroups(owner, wanted, due), seed=seed, rollout=rollout,
    )  # fmt: skip
    news = {(owner[c.prompt], c.sample): c for c in completions}
    now = [
        replace(g, completions=tuple(news.get((i, c.sample), c) for c in g.completions))
        for i, g in enumerate(groups)
    ]
    chosen = [i for i, group in enumerate(now) if group.whole][: config.prompts]
    rest = tuple(group.older() for i, group in enumerate(now) if i not in chosen)
    return [now[i] for i in chosen], rest


def completed(groups: Sequence[Group]) -> list[tuple[Problem, list[Generated]]]:
    """Problem and completions of each whole group, numbered as by `collect.generate`."""
    return [
        (group.problem, [replace(c, prompt=i) for c in group.completions])
        for i, group in enumerate(groups)
    ]


def ages(groups: Sequence[Group]) -> dict[str, float]:
    """How old the completions of a rollout are.

    The share of them that began to be written in an earlier rollout, the share of tokens that were
    written there, and the mean over tokens of the rollouts since.
    """
    stale, age, lengths = (
        np.concatenate([getattr(group, name) for group in groups])
        for name in ("stale", "age", "lengths")
    )
    return {
        "rollout/carried_frac": float(np.mean(stale > 0)),
        "rollout/stale_frac": float(stale.sum() / lengths.sum()),
        "rollout/age_mean": float(age.sum() / lengths.sum()),
    }


def to_arrays(groups: Sequence[Group]) -> dict[str, np.ndarray]:
    """What a checkpoint has to hold of carried groups.

    For each of the g groups where its problem stands in the stream and when it began, i64[g, 2]; of
    each completion its sample, length, reason, stale tokens and age, i64[g, G, 5]; and the tokens,
    with what else is known of them, of all completions end to end.
    """
    books = [
        [
            (c.sample, len(c.tokens), _REASONS.index(c.finish_reason), stale, age)
            for c, stale, age in zip(g.completions, g.stale, g.age, strict=True)
        ]
        for g in groups
    ]
    # The one that begins them keeps arrays from being empty, which Orbax does not save.
    rows = [Drawn(*np.zeros((3, 1))), *(c for g in groups for c in g.completions)]
    tokens, logp, log_mass = (
        np.concatenate(parts) for parts in zip(*(row.arrays for row in rows), strict=True)
    )
    # Of a completion that has begun, and its prompt, all but the last token were read (routes).
    beside = {
        name: [c.beside[name] for c in rows if c.beside[name] is not None]
        for name in nothing().beside
    }
    return {name: np.concatenate(parts) for name, parts in beside.items() if parts} | {
        "begun": np.asarray([(g.place, g.rollout) for g in groups], np.int64),
        "books": np.asarray(books, np.int64),
        "tokens": tokens.astype(np.int32),
        "logp": logp.astype(np.float32),
        "log_mass": log_mass.astype(np.float32),
    }


def from_arrays(
    arrays: Mapping[str, np.ndarray], stream: ProblemStream, policy: Policy
) -> tuple[Group, ...]:
    """Inverse of `to_arrays`."""
    if not arrays:
        return ()
    drawn = Drawn(*(arrays[name] for name in ("tokens", "logp", "log_mass")))
    groups, at, read = [], 1, 0
    for (place, rollout), book in zip(arrays["begun"].tolist(), arrays["books"], strict=True):
        (problem,) = stream.take(place, 1)
        asked = policy.prompt(problem)
        completions = []
        for sample, length, reason, _, _ in book.tolist():
            piece, step = drawn.cut(at, at + length), len(asked) + length - 1 if length else 0
            spans = {"routes": (read, read + step), "support": (at - 1, at - 1 + length)}
            beside = {n: arrays[n][slice(*spans[n])] for n in spans if length and n in arrays}
            whose = 0, sample, _REASONS[reason], asked
            completions.append(Generated(*piece.arrays, *whose, **beside))
            at, read = at + length, read + step
        groups.append(Group(problem, place, rollout, tuple(completions), book[:, 3], book[:, 4]))
    return tuple(groups)
