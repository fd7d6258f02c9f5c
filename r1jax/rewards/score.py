"""The reward of a rollout: weighted terms, summed for each completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, Reward, RewardContext
from r1jax.rewards.adapters import RandomReward
from r1jax.rewards.format import strict_format, tag_count
from r1jax.rewards.language import LanguageConsistency
from r1jax.rewards.length import SoftOverlong
from r1jax.rewards.repetition import Repetition
from r1jax.rewards.workers.pool import RewardPool
from r1jax.rewards.workers.unit import Counts


@dataclass(frozen=True)
class Term:
    """One summand of the total: `weight` x `reward`, logged as `reward/<name>` without weight."""

    name: str
    reward: Reward
    weight: float = 1.0


Marks = tuple[list[float | None], Counts]
"""A term's value for each completion, and what was lost."""


def score(
    terms: Sequence[Term],
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    pool: RewardPool | None = None,
    judged: Mapping[str, Marks] | None = None,
) -> tuple[list[float], dict[str, list[float | None]], dict[str, Counts]]:
    """(total of each completion, each term's values, each term's losses by reason).

    total[i] = sum of weight x value over the terms whose value is not None; 0.0 where all are None.
    Without a pool everything runs in this process without limits. `judged` holds the marks, by
    name, of terms that were judged before: while the rollout was being written, or by a reward
    model, on the devices of every process. Raises UserError for two terms of one name and for a
    reward that returns a list of the wrong length.
    """
    names = [term.name for term in terms]
    if len(set(names)) < len(names):
        raise UserError(f"reward terms {', '.join(names)}: each needs a name of its own")
    known = dict(judged or {})
    others = [term for term in terms if term.name not in known]
    known |= marks(others, problems, completions, context, pool)
    parts = {name: known[name][0] for name in names}
    total = [
        sum(t.weight * value for t in terms if (value := parts[t.name][i]) is not None)
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
    here = RewardPool(workers=0)
    found: dict[str, Marks] = {}
    for term in terms:
        place = here if pool is None or _linear(term.reward) else pool
        found[term.name] = place.map(term.reward, problems, completions, context, term.name)
    return found


def joined(calls: Sequence[Marks]) -> Marks:
    """The marks of one term, from several calls: values one after another, losses added up."""
    counts = [count for _, count in calls]
    numbers = [f.name for f in fields(Counts) if f.name != "first_error"]
    lost = Counts(
        **{name: sum(getattr(count, name) for count in counts) for name in numbers},
        first_error=next((count.first_error for count in counts if count.first_error), ""),
    )
    return [value for values, _ in calls for value in values], lost


def _linear(reward: Reward) -> bool:
    """Whether a reward is ours and linear in the text, so that it needs no worker."""
    kinds = (SoftOverlong, Repetition, RandomReward, LanguageConsistency)
    return reward in (strict_format, tag_count) or isinstance(reward, kinds)
