"""Losses on judged responses: Bradley-Terry and logistic for reward models, DPO for a policy.

A pair is two neighbouring segments of a row, chosen first (`data.examples.judged.pack_pairs`):
segments 1 and 2, 3 and 4, ... Shares are additive: a pair never leaves its micro-batch, and every
pair, or response, is divided by their number in the whole update.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import jax
import jax.numpy as jnp

from r1jax.errors import UserError, check_ranges
from r1jax.losses.reduce import masked
from r1jax.types import Batch, Loss, Mean, Metrics, Stats, segment_members

ScoreLoss = Callable[[jax.Array, Batch], tuple[jax.Array, Metrics]]
"""(scores f32[B, M] of the segments, or f32[B, T] of tokens, batch) -> (share, metrics)."""


@dataclass(frozen=True)
class PairwiseConfig:
    """The Bradley-Terry loss of a reward model."""

    margin: float = 0.0
    """Lead that the chosen response must have: log(1 + exp(margin - lead)) is minimised."""
    center: float = 0.0
    """Weight of (chosen + rejected)^2, which holds the scores near 0 (0.01 is usual)."""

    def __post_init__(self) -> None:
        """Raises UserError on a negative value."""
        check_ranges(self, "--loss.", margin="[0,]", center="[0,]")


@dataclass(frozen=True)
class DPOConfig:
    """Direct preference optimisation (Rafailov et al. 2023) and two relatives."""

    beta: float = 0.1
    """Strength of the tie to the reference: small values let the policy move far."""
    kind: Literal["sigmoid", "ipo", "hinge"] = "sigmoid"
    """sigmoid (DPO), ipo (squared distance of the lead per token from 1 / (2 beta)), hinge."""
    label_smoothing: float = 0.0
    """Share of the pairs that are taken to be judged the wrong way round; sigmoid only."""
    reference_free: bool = False
    """Leave the reference out: the plain log-probabilities are compared."""

    def __post_init__(self) -> None:
        """Raises UserError for values out of range or that nothing would read."""
        check_ranges(self, "--loss.", beta="(0,]", label_smoothing="[0,0.5)")
        if self.label_smoothing and self.kind != "sigmoid":
            raise UserError(
                f"--loss.label-smoothing {self.label_smoothing}: only with --loss.kind sigmoid, "
                f"not {self.kind}"
            )


@functools.lru_cache(maxsize=16)
def pairwise(config: PairwiseConfig) -> ScoreLoss:
    """−log σ(r_chosen − r_rejected − margin) + center·(r_chosen + r_rejected)², mean over pairs.

    Bradley-Terry; DeepSeek-R1 (v2, 3.1) says pairwise and no more. The centring term is that of
    Eisenstein et al. 2023.
    """

    def loss(scores: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
        chosen, rejected = sides(scores)
        lead = chosen - rejected
        each = jax.nn.softplus(config.margin - lead) + config.center * (chosen + rejected) ** 2
        return _mean_over_pairs(each, batch), _pair_metrics(chosen, rejected, batch)

    return loss


def pointwise(scores: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
    """−y·log σ(r) − (1 − y)·log σ(−r), mean over responses; a `ScoreLoss`.

    The label y (1 safe, 0 unsafe) of a response is the batch's column `label`. DeepSeek-R1
    (v2, 3.1): the safety model is trained point-wise.
    """
    label = _sums(batch.column("label"), batch) / jnp.maximum(batch.lengths, 1)
    names = ("preference/accuracy", "preference/score_safe", "preference/score_unsafe")
    return _logistic(scores, label, batch.lengths > 0, batch.n_sequences, names)


def process(scores: jax.Array, batch: Batch) -> tuple[jax.Array, Metrics]:
    """−y·log σ(s) − (1 − y)·log σ(−s) at the last token of every judged step, mean over steps.

    `scores` are f32[B, T]; the mask marks those tokens, the column `label` says y there: 1 right, 0
    wrong, or the share of continuations that ended right (Math-Shepherd, 2312.08935, eq. 3 and 4).
    """
    names = ("process/accuracy", "process/score_right", "process/score_wrong")
    return _logistic(scores, batch.column("label"), batch.mask > 0, batch.n_tokens, names)


def _logistic(
    scores: jax.Array, label: jax.Array, there: jax.Array, count: jax.Array, names: tuple[str, ...]
) -> tuple[jax.Array, Metrics]:
    """Cross-entropy of σ(score) and label, of what is `there`, over `count`; metrics by `names`."""
    label = jnp.where(there, label, 0.0)  # elsewhere it may hold anything
    each = jax.nn.softplus(scores) - label * scores
    good = label > 0.5
    right = jnp.where(scores == 0, 0.5, (scores > 0) == good)
    found = (right, there), (scores, there & good), (scores, there & ~good)
    metrics = {name: _mean(*pair) for name, pair in zip(names, found, strict=True)}
    share = jnp.sum(jnp.where(there, each, 0.0)) / count
    return share, jax.lax.stop_gradient(metrics)


@functools.lru_cache(maxsize=16)
def dpo(config: DPOConfig) -> Loss:
    """The loss of `config` on log-probabilities of whole responses, mean over pairs.

    With the lead h = log π/π_ref (chosen) − log π/π_ref (rejected), it is −log σ(β·h) (sigmoid;
    DPO, eq. 7; with label smoothing ε the mixture of cDPO), max(0, 1 − β·h) (hinge; SLiC) or
    (h − 1/(2β))² (ipo; Azar et al. 2023, eq. 17, on log-probabilities per token, since sums grow
    with the length). Conforms to `r1jax.types.Loss`; reads the batch's `ref_logp`.
    """

    def loss(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
        logp = _sums(stats.logp, batch)  # f32[B, M]: of whole responses
        ratio = logp if config.reference_free else logp - _sums(batch.ref_logp, batch)
        if config.kind == "ipo":
            ratio = ratio / jnp.maximum(batch.lengths, 1)
        chosen, rejected = sides(ratio)
        each = _dpo_each(config, chosen - rejected)
        metrics = _pair_metrics(config.beta * chosen, config.beta * rejected, batch)
        there = batch.lengths > 0
        for name, values, some in zip(
            ("chosen", "rejected"), sides(logp), sides(there), strict=True
        ):
            metrics[f"preference/logp_{name}"] = _mean(values, some)
        return _mean_over_pairs(each, batch), jax.lax.stop_gradient(metrics)

    return loss


def _dpo_each(config: DPOConfig, lead: jax.Array) -> jax.Array:
    if config.kind == "ipo":
        return (lead - 0.5 / config.beta) ** 2
    scaled = config.beta * lead
    if config.kind == "hinge":
        return jax.nn.relu(1.0 - scaled)
    e = config.label_smoothing
    return (1 - e) * jax.nn.softplus(-scaled) + e * jax.nn.softplus(scaled)


def sides(values: jax.Array) -> tuple[jax.Array, jax.Array]:
    """(chosen, rejected) [B, M/2] of values [B, M] of the segments."""
    return values[:, 0::2], values[:, 1::2]


def _sums(values: jax.Array, batch: Batch) -> jax.Array:
    """f32[B, M], the sum of `values` over the scored tokens of each segment."""
    members = segment_members(batch.segment_ids, batch.lengths.shape[1])  # bool[B, T, M]
    return jnp.sum(jnp.where(members, masked(values, batch)[..., None], 0.0), axis=1)


def _mean_over_pairs(each: jax.Array, batch: Batch) -> jax.Array:
    there = sides(batch.lengths)[0] > 0
    return jnp.sum(jnp.where(there, each, 0.0)) / (batch.n_sequences / 2)


def _pair_metrics(chosen: jax.Array, rejected: jax.Array, batch: Batch) -> Metrics:
    there = sides(batch.lengths)[0] > 0
    lead = chosen - rejected
    metrics = {
        "preference/accuracy": _mean(jnp.where(lead == 0, 0.5, lead > 0), there),
        "preference/margin": _mean(lead, there),
        "preference/chosen": _mean(chosen, there),
        "preference/rejected": _mean(rejected, there),
    }
    return jax.lax.stop_gradient(metrics)


def _mean(values: jax.Array, there: jax.Array) -> Mean:
    return Mean(jnp.sum(jnp.where(there, values, 0.0)), jnp.sum(there, dtype=jnp.float32))
