"""The rewards of a rollout, in every process alike: of whole completions, and of their tokens."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import Counts, RewardPool, Term, score
from r1jax.rewards.score import Marks
from r1jax.training.rl.reward_model import RewardModel


@dataclass(frozen=True)
class Judgement:
    """Rewards of a rollout: what N completions earned as wholes, and what their tokens did.

    A term that judges tokens is no part of the total; its part is the sum over a completion's.
    """

    total: np.ndarray  # f32[N], the sum of weight x value
    parts: dict[str, np.ndarray]  # f32[N] by term, without weight, NaN where it was left out
    lost: dict[str, int]  # completions by term that it could not judge
    tokens: dict[str, np.ndarray] = field(default_factory=dict)
    """f32[N, C] by term that judges tokens, weight x value at each token of the longest completion;
    NaN where a token has no reward of its own, and beyond a completion's end."""
    why: dict[str, str] = field(default_factory=dict)
    """Why rewards were lost, by term; the first process alone knows."""

    @property
    def token_rewards(self) -> np.ndarray | None:
        """f32[N, C], all terms that judge tokens together, NaN where none does; None: no terms."""
        if not self.tokens:
            return None
        terms = np.stack(list(self.tokens.values()))
        return np.where(np.isnan(terms).all(0), np.nan, np.nansum(terms, axis=0))

    @property
    def earned(self) -> np.ndarray:
        """f32[N], the total and what the tokens earned."""
        return sum((np.nansum(rewards, axis=1) for rewards in self.tokens.values()), self.total)

    def take(self, index: np.ndarray) -> Judgement:
        """The rewards at `index`; what was lost stays counted."""
        parts, tokens = (
            {name: values[index] for name, values in by_term.items()}
            for by_term in (self.parts, self.tokens)
        )
        return Judgement(self.total[index], parts, self.lost, tokens, self.why)

    def joined(self, later: Judgement) -> Judgement:
        """These rewards and those of a later round."""
        tokens = {}
        for name, earlier in self.tokens.items():
            rounds = earlier, later.tokens[name]
            width = max(x.shape[1] for x in rounds)
            padded = [
                np.pad(x, ((0, 0), (0, width - x.shape[1])), constant_values=np.nan) for x in rounds
            ]
            tokens[name] = np.concatenate(padded)
        return Judgement(
            np.concatenate([self.total, later.total]),
            {name: np.concatenate([x, later.parts[name]]) for name, x in self.parts.items()},
            {name: count + later.lost[name] for name, count in self.lost.items()},
            tokens,
            later.why | self.why,
        )

    def complaints(self, known: dict[str, bool], needed: Collection[str]) -> Iterator[str]:
        """A line for each term that loses rewards for the first time.

        `known` are the terms that have judged at all, with whether that was said of them; what is
        seen here is added. Raises UserError where a `needed` one has lost all of its first rewards.
        """
        for name, lost in self.lost.items():
            said = f"reward {name}: {lost} of {len(self.total)} completions could not be judged and"
            said = f"{said} earn 0 by it" + (f" ({why})" if (why := self.why.get(name)) else "")
            if 0 < lost == len(self.total) and name in needed and name not in known:
                raise UserError(f"{said}; mend it, or raise its limits (--reward.cpu-seconds, "
                                "--reward.wall-seconds, --reward.memory-mb)")  # fmt: skip
            if lost and not known.get(name):
                yield f"warning: {said}; reward_lost/{name} counts them"
            known[name] = known.get(name, False) or lost > 0


def refuse_no_steps(terms: Sequence[Term], judgement: Judgement, known: Collection[str]) -> None:
    """UserError where a model of steps is learnt from, and its first completions have no second.

    It would tell of no step what it does not tell of the whole. Terms that are `known` have judged.
    """
    for term in terms:
        model = term.reward
        if term.name in known or not (
            isinstance(model, RewardModel) and model.per_token and term.weight
        ):
            continue
        steps = np.count_nonzero(~np.isnan(judgement.tokens[term.name]), axis=1)
        asked = steps[~np.isnan(judgement.parts[term.name])]
        if len(asked) and asked.max() < 2:
            raise UserError(
                f"--reward.model {model.directory}: none of the first {len(asked)} completions has "
                f"a second step (--steps {model.about.steps}), and it judges steps; take one that "
                "learnt with another --steps, or a policy that writes steps"
            )


def judge(
    terms: Sequence[Term],
    problems: Sequence[Problem],
    completions: Sequence[Completion],
    context: RewardContext,
    pool: RewardPool,
    early: Mapping[str, Marks] | None = None,
) -> Judgement:
    """Rewards by the first process, told to all others: grading may time out, runs may not part.

    What runs on the devices runs before, in every process: weights may be spread over all of them.
    `early` are marks that the first process has given already.
    """
    names, n = [term.name for term in terms], len(completions)
    of_tokens = [term for term in terms if term.reward.per_token]
    longest = max((len(c.token_ids) for c in completions), default=0)
    table = np.zeros((len(terms) + 1, n), np.float32)  # the total, then each term's part
    tokens = np.full((len(of_tokens), n, longest), np.nan, np.float32)
    lost, why = np.zeros(len(terms), np.int32), {}
    everywhere = [term for term in terms if term.reward.place == "devices"]
    judged = {
        t.name: (list(t.reward(problems, completions, context)), Counts()) for t in everywhere
    }
    if jax.process_index() == 0:
        judged |= early or {}
        total, parts, counts = score(terms, problems, completions, context, pool, judged)
        for term, rewards in zip(of_tokens, tokens, strict=True):
            parts[term.name] = _fill(rewards, parts[term.name], term.weight)
        rows = [[np.nan if v is None else v for v in parts[name]] for name in names]
        table = np.asarray([total, *rows], np.float32)
        lost = np.asarray([counts[name].lost for name in names], np.int32)
        why = {name: count.why for name, count in counts.items() if count.why}
    if jax.process_count() > 1:
        table, tokens, lost = multihost_utils.broadcast_one_to_all((table, tokens, lost))
    return Judgement(
        np.asarray(table[0]),
        dict(zip(names, np.asarray(table[1:]), strict=True)),
        dict(zip(names, np.asarray(lost).tolist(), strict=True)),
        {term.name: np.asarray(rewards) for term, rewards in zip(of_tokens, tokens, strict=True)},
        why,
    )


def _fill(
    rows: np.ndarray, values: Sequence[Sequence[float] | None], weight: float
) -> list[float | None]:
    """Writes weight x value to f32[N, C] `rows`; the sum of each completion's values."""
    sums: list[float | None] = [None] * len(values)
    for i, value in enumerate(values):
        if value is not None:
            rewards = np.asarray(value, np.float64)  # one for each token of a completion
            rows[i, : len(rewards)] = weight * rewards
            sums[i] = float(np.nansum(rewards))
    return sums
