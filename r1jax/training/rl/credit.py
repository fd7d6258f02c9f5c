"""What is found over all of a rollout before its updates: who did well, and which tokens count."""

from __future__ import annotations

import numpy as np

from r1jax.advantages import (
    critic_advantages,
    entropy_weight,
    explained_variance,
    rollout_advantages,
    token_marks,
    with_teacher,
)
from r1jax.data.packing import Sequences
from r1jax.training.rl.judging import JudgedBatch
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.state import Loop


def compared(
    parts: Parts,
    loop: Loop,
    drawn: JudgedBatch,
    sequences: Sequences,
    entropy: np.ndarray | None,
    gained: np.ndarray | None = None,
) -> tuple[Sequences, dict[str, float]]:
    """The sequences with what is found over all of a rollout: advantages, and tokens marked.

    Over whole groups, before the rollout is dealt out to its updates: f32[N], or f32[N, C] where
    tokens have their own, as where a reward tower says what each has `gained`. Beside them what is
    to be said of critic and teacher, where they are.
    """
    config, judgement, columns = parts.config, drawn.judgement, sequences.columns
    logps = columns.get("old_logp"), columns.get("ref_logp")
    earned, metrics = judgement.token_rewards, {}
    if parts.critic:
        values = columns["values"]
        advantages, returns = critic_advantages(
            config.loss, config.critic, judgement.total, sequences.lengths, values, *logps, earned
        )
        sequences = sequences.with_columns(returns=returns)
        explained = explained_variance(values, returns, sequences.lengths)
        metrics = {"critic/explained_variance": explained} if np.isfinite(explained) else {}
        metrics["critic/value_mean"] = float(values.sum() / sequences.lengths.sum())
    else:
        wholes = [t for t in parts.terms if not t.reward.per_token]
        terms = [(t.weight, judgement.parts[t.name]) for t in wholes]
        known = (config.loss, judgement.total, drawn.groups, sequences.lengths)
        sharp = columns.get("sharp_logp")
        advantages = rollout_advantages(*known, *logps, earned, terms, gained, sharp)
    if parts.scored_by_teacher:
        old, other = columns["old_logp"], columns["teacher_logp"]
        weight = config.teacher.weight
        advantages = with_teacher(advantages, sequences.lengths, old, other, weight)
        further = (old - other).astype(np.float64)  # both are 0 beyond an end
        metrics["teacher/kl"] = float(further.sum() / sequences.lengths.sum())
    seed = (config.seed, loop.rollout, 1)  # 1: not that of the deal
    marks = token_marks(config.loss, sequences.lengths, advantages, logps[0], entropy, seed)
    return sequences.with_columns(advantages=advantages, **marks), metrics


def with_entropy_weight(parts: Parts, loop: Loop, sequences: Sequences) -> tuple[Sequences, float]:
    """The sequences with the weight of this rollout's entropy bonus, by the rollout before."""
    config = parts.config.loss
    before = config.entropy_bonus if loop.entropy_weight is None else loop.entropy_weight
    entropy = loop.history[-1].get("entropy") if loop.history else None
    loop.entropy_weight, counts = entropy_weight(config, before, entropy)
    column = np.full(len(sequences.lengths), counts, np.float32)
    return sequences.with_columns(entropy_weight=column), counts
