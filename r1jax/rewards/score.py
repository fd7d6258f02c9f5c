"""The reward of a rollout: weighted terms, summed for each completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext, Value
from r1jax.rewards.adapters import lifted
from r1jax.rewards.base import BaseReward
from r1jax.rewards.workers.pool import RewardPool
from r1jax.rewards.workers.unit import Counts


@dataclass(frozen=True)
class Term:
    """One summand of the total: `weight` x `reward`, logged as `reward/<name>` without weight."""

    name: str
    reward: BaseReward  # or any reward of a user, which is lifted
    weight: float = 1.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "reward", lifted(self.reward))


Marks = tuple[list[Value], Counts]
"""A term's value for each completion, and what was lost."""


def named_apart(terms: Sequence[Term]) -> list[str]:
    """The terms' names. UserError where two have the same."""
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise UserError(f"reward terms {', '.join(names)}: each needs a name of its own")
    return names


def score(
    terms: Sequence[Term],
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    pool: RewardPool | None = None,
    judged: Mapping[str, Marks] | None = None,
) -> tuple[list[float], dict[str, list[Value]], dict[str, Counts]]:
    """(total of each completion, each term's values, each term's losses by reason).

    total[i] = sum of weight x value over the terms whose value is not None; 0.0 where all are None.
    Terms that give each token a number are no part of it: their values are lists.
    Without a pool everything runs in this process without limits. `judged` holds the marks, by
    name, of terms that were judged before: while the rollout was being written, or by a reward
    model, on the devices of every process. Raises UserError for two terms of one name and for a
    reward that returns a list of the wrong length.
    """
    names = named_apart(terms)
    known = dict(judged or {})
    others = [term for term in terms if term.name not in known]
    known |= marks(others, problems, completions, context, pool)
    parts = {name: known[name][0] for name in names}
    whole = [term for term in terms if not term.reward.per_token]
    total = [
        sum(t.weight * value for t in whole if (value := parts[t.name][i]) is not None)
        for i in range(len(completions))
    ]
    return [float(value) for value in total], parts, {name: known[name][1] for name in names}


def marks(
    terms: Sequence[Term],
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    pool: RewardPool | None = None,
) -> dict[str, Marks]:
    """Each term's marks, by name.

    A reward sees a group at most (`RewardPool.map`), so that those of a group do not depend on the
    groups that are judged with it. Raises UserError for a list of the wrong length.
    """
    pool = pool or RewardPool(workers=0)
    return {t.name: pool.map(t.reward, problems, completions, context, t.name) for t in terms}


def joined(calls: Sequence[Marks]) -> Marks:
    """The marks of one term, from several calls: values one after another, losses added up."""
    counts = [count for _, count in calls]
    numbers = [f.name for f in fields(Counts) if f.name != "first_error"]
    lost = Counts(
        **{name: sum(getattr(count, name) for count in counts) for name in numbers},
        first_error=next((count.first_error for count in counts if count.first_error), ""),
    )
    return [value for values, _ in calls for value in values], lost
