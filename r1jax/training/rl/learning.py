"""One update from a part of a rollout: of the policy, and of a critic before it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from r1jax.advantages import without_truncated
from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.run.signals import unbroken
from r1jax.training.flops import scoring_flops, train_flops
from r1jax.training.rl.collect import Scored
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.state import Loop
from r1jax.training.update import update
from r1jax.types import Batch


def learn(parts: Parts, loop: Loop) -> tuple[dict[str, float], list[Batch]]:
    """One optimizer update on the next part of the rollout: its metrics and micro-batches."""
    t, c = parts.config.train, parts.policy.config
    size = len(loop.scored.order) // t.updates_per_rollout
    chosen = loop.scored.order[loop.done * size : (loop.done + 1) * size]
    r, how = parts.config.rollout, parts.config.loss.truncated
    sequences, totals = in_the_loss(loop.scored, chosen, how, r.max_tokens)
    # A critic's steps and the policy's go together: a run saved between them would repeat some.
    with loop.clock("update"), unbroken(parts.critic is not None):
        metrics, flops = learn_values(parts, loop, chosen) if parts.critic else ({}, {})
        # Denominators are of the whole update: gradients of micro-batches simply add up.
        batches = pack(sequences, *t.shape, totals)
        if parts.critic and loop.update < parts.config.critic.warmup:  # counted, not made
            loop.state = loop.state.replace(update=loop.state.update + 1)
        else:
            made = parts.functions, loop.state, batches, parts.mesh, parts.frozen
            loop.state, found = update(*made)
            metrics |= found
            flops["update"] = train_flops(c, sequences.totals, parts.lora)
            if parts.teacher and not parts.scored_by_teacher:
                flops["teacher"] = scoring_flops(parts.teacher.policy.config, sequences.totals)
    metrics |= loop.learnt(sequences, flops)
    if loop.done == 0:
        metrics = with_rollout(loop.scored.metrics, metrics)
    loop.spend(metrics)
    every = t.reference_every
    if parts.needs_reference and every and loop.update % every == 0:
        loop.reference = parts.follow(loop.reference, loop.state.params)
    return metrics, batches


def learn_values(
    parts: Parts, loop: Loop, chosen: np.ndarray
) -> tuple[dict[str, float], dict[str, float]]:
    """The critic's steps on the completions of an update: their metrics and operations."""
    config, critic, pieces, flops = parts.config, parts.critic, [], 0.0
    for piece in np.array_split(chosen, config.critic.parts):
        how, limit = config.loss.truncated, config.rollout.max_tokens
        sequences, totals = in_the_loss(loop.scored, piece, how, limit)
        pieces.append(pack(sequences, *config.train.shape, totals))
        flops += critic.operations(sequences.totals, True)
    loop.tower, metrics = critic.learn(loop.tower, pieces, parts.beneath(loop.state.params))
    return metrics, {critic.name: flops}


def with_rollout(rollout: dict[str, float], update: dict[str, float]) -> dict[str, float]:
    """The row of a rollout's first update, which says what the rollout says of itself as well.

    Operations of a model that has some in both are added up.
    """
    both = rollout.keys() & update.keys()
    return rollout | update | {name: rollout[name] + update[name] for name in both}


def in_the_loss(
    scored: Scored, chosen: np.ndarray, how: str, limit: int
) -> tuple[Sequences, Denominators]:
    """The sequences of an update and its denominators; truncated ones leave where `how` says so.

    `limit` is the most tokens that a completion may have.
    """
    whole = scored.sequences.take(chosen)
    if how == "keep":
        return whole, Denominators.of(whole, limit)
    kept = replace(whole, lengths=without_truncated(whole.lengths, scored.truncated[chosen]))
    totals = Denominators.of(kept if how == "drop" else whole, limit)
    some = np.flatnonzero(kept.lengths)  # prompts alone teach nothing: they are not computed
    return (kept.take(some) if len(some) else kept), totals
