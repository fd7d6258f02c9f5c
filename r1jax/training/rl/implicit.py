"""A rollout's tokens as the reward tower sees them, and what the tower learns from its outcomes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from r1jax.advantages import pairs_ordered, process_gains
from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.run.signals import unbroken
from r1jax.training.batches import over_completions
from r1jax.training.rl.judging import JudgedBatch
from r1jax.training.rl.setup import Parts
from r1jax.training.rl.state import Loop


def from_outcomes(
    parts: Parts, loop: Loop, drawn: JudgedBatch, sequences: Sequences
) -> tuple[np.ndarray, dict[str, float]]:
    """What each token gains, f64[N, C], and what the row says of the tower, which learns meanwhile.

    A completion that no rule judged neither gains nor teaches anything.
    """
    config, outcomes = parts.config.prime, drawn.judgement.parts["accuracy"]
    reference = sequences.columns["ref_logp"]
    judged = np.flatnonzero(~np.isnan(outcomes))
    seed = parts.config.seed, loop.rollout, 2  # 0 is that of the deal, 1 of marked tokens
    dealt = np.random.default_rng(seed).permutation(judged)
    pieces = [piece for piece in np.array_split(dealt, config.parts) if len(piece)]
    columns = {"ref_logp": reference, "outcome": np.nan_to_num(outcomes)}
    sequences = replace(sequences, columns=columns | sequences.support)
    ratios, said = np.zeros(reference.shape), []
    # Saved in between, a tower would learn from some of it twice.
    with unbroken():
        for piece in pieces:
            if config.update == "after":
                _judge(parts, loop, sequences, piece, ratios)
            said.append(_learn(parts, loop, sequences, piece))
        if config.update == "before" and pieces:
            _judge(parts, loop, sequences, dealt, ratios)
    metrics = {name: float(np.mean([one[name] for one in said])) for name in (said or [{}])[0]}
    ordered = pairs_ordered(ratios.sum(axis=1), outcomes, drawn.groups)
    if np.isfinite(ordered):
        metrics["prime/dpo_acc"] = ordered
    totals = sequences.totals[judged]
    flops = sum(parts.tower.operations(totals, learning) for learning in (True, False))
    known = drawn.groups, sequences.lengths, ~np.isnan(outcomes)
    return process_gains(config, ratios, *known), metrics | {"operations/prime": flops}


def _judge(
    parts: Parts, loop: Loop, sequences: Sequences, piece: np.ndarray, ratios: np.ndarray
) -> None:
    """Writes log φ − log π_ref of these completions into `ratios` f64[N, C]."""
    params, chosen = parts.model(loop.tower.params), sequences.take(piece)
    with loop.clock("score"):
        # The reference's own program: where weights are equal, so are these to the last bit.
        logp = over_completions(
            parts.reference_logp, params, chosen, parts.config.train, parts.mesh
        )
    width = logp.shape[1]  # of the longest of these
    ratios[piece, :width] = logp.astype(np.float64) - chosen.columns["ref_logp"][:, :width]


def _learn(parts: Parts, loop: Loop, sequences: Sequences, piece: np.ndarray) -> dict[str, float]:
    """A step of the tower on these completions; its metrics."""
    chosen = sequences.take(piece)
    with loop.clock("update"):
        totals = Denominators.of(chosen, parts.config.rollout.max_tokens)
        batches = pack(chosen, *parts.config.train.shape, totals)
        frozen = parts.beneath(loop.state.params)
        loop.tower, metrics = parts.tower.learn(loop.tower, [batches], frozen)
    loop.learning += parts.tower.operations(chosen.totals, True)
    return metrics
