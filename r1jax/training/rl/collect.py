"""One rollout: its problems, completions and numbers; everything its updates are made of."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from r1jax.advantages import first_groups, mixed_groups, zero_std_frac
from r1jax.data.packing import Sequences
from r1jax.data.padding import padded, side_by_side
from r1jax.errors import UserError
from r1jax.evaluate.statistics import reflection_count
from r1jax.problem import Problem
from r1jax.rewards import (
    SandboxConfig,
    Term,
    accuracy,
    code,
    language_consistency,
    named_reward,
    random_reward,
    repetition_penalty,
    soft_overlong,
    strict_format,
    tag_count,
    thought_words,
)
from r1jax.rewards.score import named_apart
from r1jax.rollout.engine import Engine, Generated, Prompt
from r1jax.rollout.policy import Policy
from r1jax.rollout.sampling import Sampling
from r1jax.training.rl.judging import JudgedBatch
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.rl.reward_model import named_reward_model
from r1jax.types import ROUTES, SUPPORT, Params


@dataclass(frozen=True)
class Scored:
    """A judged rollout of N completions; `order` deals them to updates at random.

    Advantages are computed over whole groups, before that split.
    """

    sequences: Sequences
    order: np.ndarray  # i64[N]
    truncated: np.ndarray  # bool[N], cut by the token limit
    metrics: dict[str, float]

    def arrays(self) -> dict[str, Any]:
        """What a checkpoint in mid-rollout has to hold, beside `metrics`; columns are nested."""
        known = {name: value for name, value in vars(self.sequences).items() if value is not None}
        return known | {"order": self.order, "truncated": self.truncated}

    @classmethod
    def from_arrays(cls, arrays: dict[str, Any], metrics: dict[str, float]) -> Scored:
        """Inverse of `arrays`."""
        arrays = dict(arrays)
        order, truncated = arrays.pop("order"), arrays.pop("truncated")
        return cls(Sequences(**arrays), order, truncated, metrics)


def make_terms(
    config: RewardConfig,
    max_tokens: int,
    seed: int,
    sandbox: SandboxConfig | None = None,
    chat: bool = False,
    taught: bool = False,
    showing: bool = False,
) -> list[Term]:
    """The reward's terms of non-zero weight, the user's own last; programs run in `sandbox`.

    With `chat` rewards in TRL's form see messages. Where a teacher judges (`taught`) there may be
    none; where it is shown what is right (`showing`), accuracy is found out whatever its weight.
    """
    makers = {
        "accuracy": lambda: accuracy(config.answer, sandbox=sandbox),
        "code": lambda: code(share=True, sandbox=sandbox),
        "format": lambda: strict_format,
        "tag_count": lambda: tag_count,
        "language": lambda: language_consistency(
            config.language_target, config.language_identifier
        ),
        "overlong": lambda: soft_overlong(max_tokens, config.overlong_cache),
        "repetition": repetition_penalty,
        "random": lambda: random_reward(seed),
    }
    # Made only where they count: a term that is off has no say in what else is allowed.
    weights = {name: getattr(config, name) for name in makers}
    terms = [Term(name, makers[name](), weight) for name, weight in weights.items()
             if weight or (showing and name == "accuracy")]  # fmt: skip
    terms += [Term(*named_reward(text, chat)) for text in config.user]
    terms += [Term(*named_reward_model(text)) for text in config.model]
    if not (terms or taught):
        raise UserError("--reward: every weight is 0; give at least one term a weight")
    named_apart(terms)
    return terms


def generate(
    engine: Engine,
    policy: Policy,
    weights: Params,
    problems: Sequence[Problem],
    group: int,
    sampling: Sampling,
    seed: int,
    rollout: int,
    earlier: JudgedBatch | None = None,
    leave: float = 0.0,
    whole: Callable[[Problem, list[Generated]], None] | None = None,
) -> list[Generated]:
    """`group` completions of each problem, in the order of the problems.

    A problem that occurs twice in a rollout (in `earlier` rounds too) goes on counting its samples,
    so that the second group is no copy of the first. A share `leave` of them may end unfinished.
    Each group is given to `whole`, in the order of its samples, as soon as its last one is there.
    """
    seen = Counter(p.number for p in earlier.problems) if earlier else Counter()
    prompts = []
    for problem in problems:
        first = seen[problem.number]
        prompts.append(Prompt(policy.prompt(problem), problem.number, group, first))
        seen[problem.number] += group
    # Completions come in the order in which they end; a list for each problem, sorted once it is
    # whole, so that its order depends on no timing.
    by_problem: list[list[Generated]] = [[] for _ in problems]
    for completion in engine.generate(
        weights, prompts, sampling, seed=seed, rollout=rollout, leave=leave
    ):
        completions = by_problem[completion.prompt]
        completions.append(completion)
        if len(completions) == group:
            completions.sort(key=lambda g: g.sample)
            if whole:
                whole(problems[completion.prompt], completions)
    return [completion for completions in by_problem for completion in completions]


def mixed_count(drawn: JudgedBatch, low: float = 0.0, high: float = 1.0) -> int:
    """Groups that hold right and wrong answers, their mean raw accuracy from `low` to `high`."""
    mixed = mixed_groups(drawn.judgement.parts["accuracy"], drawn.groups, low, high)  # bool[N]
    return len(np.unique(drawn.groups[mixed]))


def mixed_first(
    drawn: JudgedBatch, groups: int, low: float = 0.0, high: float = 1.0
) -> JudgedBatch:
    """`groups` whole groups: the mixed ones in their order, filled up with others if too few."""
    mixed = mixed_groups(drawn.judgement.parts["accuracy"], drawn.groups, low, high)
    # i64[K], whole groups. Always as many, so that updates keep their size.
    chosen = first_groups(mixed, drawn.groups, groups)
    missing = groups - len(np.unique(drawn.groups[chosen]))
    if missing > 0:
        chosen = np.concatenate([chosen, first_groups(~mixed, drawn.groups, missing)])
    return drawn.take(chosen)


def to_sequences(generated: Sequence[Generated]) -> Sequences:
    """Each prompt with its completion behind it, i32[N, L], and what the sampler says of them.

    That is the column `sampler_logp`; of a model with experts `routes`, and `support` where the
    sampler tells what it kept. Where that was too much to tell, the token counts as drawn from all.
    """
    # L and C are the longest of what there is, not the limits of the engine.
    sequences = side_by_side((g.prompt_tokens, g.tokens) for g in generated)
    # Of the distribution that was drawn from: top-p and top-k renormalise what they keep.
    told = [1.0 if g.support is None else g.support[:, 0] > 0 for g in generated]
    sampler = (g.logp - g.log_mass * kept for g, kept in zip(generated, told, strict=True))
    columns = {"sampler_logp": padded(sampler, np.float32)}
    first = generated[0]
    if first.routes is not None:
        width = sequences.tokens.shape[1]
        columns[ROUTES] = padded((g.routes for g in generated), first.routes.dtype, width)
    if first.support is not None:
        columns[SUPPORT] = padded(g.support for g in generated)
    return sequences.with_columns(**columns)


def rollout_metrics(drawn: JudgedBatch) -> dict[str, float]:
    """What a rollout says of the policy: rewards, lengths, truncation, reflection, dead groups."""
    completions, judgement, groups = drawn.completions, drawn.judgement, drawn.groups
    lengths = np.asarray([len(c.token_ids) for c in completions], np.float64)
    metrics: dict[str, float] = {"reward/mean": float(judgement.earned.mean())}
    for name, part in judgement.parts.items():  # f32[N], NaN where the term was left out
        if not np.isnan(part).all():
            metrics[f"reward/{name}"] = float(np.nanmean(part))
        metrics[f"reward_lost/{name}"] = float(judgement.lost[name])
    metrics["completion/length_mean"] = float(lengths.mean())
    if "accuracy" in judgement.parts:
        accuracy = judgement.parts["accuracy"]  # NaN where no rule tells
        for name, rows in (("correct", accuracy == 1), ("wrong", accuracy < 1)):
            if rows.any():
                metrics[f"completion/length_mean_{name}"] = float(lengths[rows].mean())
    metrics["completion/truncated_frac"] = float(
        np.mean([c.finish_reason == "length" for c in completions])
    )
    words = sum(reflection_count(c.text) for c in completions)
    metrics["completion/reflection_per_1k"] = 1000 * words / max(lengths.sum(), 1)
    metrics["completion/thought_words_mean"] = float(
        np.mean([thought_words(c).total() for c in completions])
    )
    if drawn.generated[0].support is not None:
        ids = np.concatenate([g.support > 0 for g in drawn.generated])  # bool[tokens, K]
        metrics["rollout/set_unknown_frac"] = float(np.mean(~ids[:, 0]))
        metrics["rollout/set_size_mean"] = float(ids.sum() / max(ids[:, 0].sum(), 1))
    metrics["group/zero_std_frac"] = zero_std_frac(judgement.earned, groups)
    return metrics


def sample_rows(drawn: JudgedBatch, count: int) -> list[dict[str, Any]]:
    """The first `count` completions with their rewards, for samples.jsonl."""
    problems, completions, judgement = drawn.problems, drawn.completions, drawn.judgement
    earned = judgement.earned
    return [
        {
            "id": problems[i].id,
            "question": problems[i].question,
            "gold": problems[i].answer,
            "text": completions[i].text,
            "finish_reason": completions[i].finish_reason,
            "length": len(completions[i].token_ids),
            "reward": float(earned[i]),
            **{f"reward/{name}": float(part[i]) for name, part in judgement.parts.items()},
        }
        for i in range(min(count, len(completions)))
    ]
