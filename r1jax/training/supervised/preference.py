"""Learning from judged responses: the jitted pieces, and what is measured on held-out rows."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import optax
from jax.sharding import Mesh
from scipy.special import expit

from r1jax.data.examples.judged import PACKINGS, Preferences
from r1jax.data.examples.preferences import Feedback
from r1jax.evaluate.calibration import (
    auc,
    clustered_interval,
    expected_calibration_error,
    reliability,
)
from r1jax.losses.preference import DPOConfig, ScoreLoss
from r1jax.mesh import replicated
from r1jax.models import scalar, table
from r1jax.models.config import ModelConfig
from r1jax.models.kinds import Told, with_auxiliary
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig, PerToken, over_completions
from r1jax.training.supervised.examine import Examine, Examined, chunks
from r1jax.training.update import Functions, functions_of, join, token_logp
from r1jax.types import Batch, Metrics, Params

PAIRS = PACKINGS["pairwise"]


def make_scores(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, steps: bool = False
) -> Callable[[Params, Batch], tuple[jax.Array, tuple[Told, ...]]]:
    """(reward model's parameters, batch) -> (f32[B, M] scores of segments, what is told).

    With `steps` the scores are those of tokens, f32[B, T].
    """

    def run(params: Params, batch: Batch) -> tuple[jax.Array, tuple[Told, ...]]:
        found, told = scalar.every_token(
            scalar.cast(params, compute.dtype), c, batch,
            mesh=mesh, remat=compute.remat, unroll=compute.unroll, kernel=compute.kernel,
        )  # fmt: skip
        segments = batch.segment_ids, batch.lengths.shape[1]
        return (found if steps else scalar.at_last_token(found, *segments)), told

    return run


@functools.lru_cache(maxsize=16)
def token_scores(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, steps: bool = False
) -> PerToken:
    """Jitted: at every token of a batch the reward model's score of its segment, f32[B, T].

    With `steps` it is the token's own.
    """
    scores = make_scores(c, mesh, compute, steps)

    def run(params: Params, batch: Batch) -> jax.Array:
        found = scores(params, batch)[0]
        return found if steps else scalar.per_token(found, batch.segment_ids)

    return jax.jit(run, out_shardings=replicated(mesh))


@functools.lru_cache(maxsize=16)
def reward_functions(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    loss: ScoreLoss,
    optimizer: optax.GradientTransformation,
    lora: LoraConfig | None = None,
    steps: bool = False,
) -> Functions:
    """The update's functions for a reward model, of `steps` or of whole responses.

    With `lora` the body below is frozen.
    """
    # A score has no use for the module ahead, and does not train it.
    c = compute.roomy(compute.auxiliary.applied(replace(c, ahead=None), bool(lora)))
    scores = make_scores(c, mesh, compute, steps)

    def share(params: Params, base: Params | None, batch: Batch) -> tuple[jax.Array, Metrics]:
        segment_scores, told = scores(scalar.join(params, base, lora), batch)
        return with_auxiliary(c, told, batch, *loss(segment_scores, batch))

    frozen = scalar.body(table.abstract(c)) if lora else None
    return functions_of(share, scalar.rows(c, lora), mesh, compute, optimizer, frozen)


def reward_examiner(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    kind: Feedback,
    lora: LoraConfig | None = None,
) -> Examine:
    """Held-out accuracy and calibration of a reward model."""
    run = token_scores(c, mesh, compute)

    def examine(params: Params, rows: Preferences, base: Params | None) -> Examined:
        model, packing = scalar.join(params, base, lora), PACKINGS[kind]
        scores = [
            over_completions(run, model, rows.take(index), compute, mesh, packing)[:, 0]
            for index in chunks(rows)
        ]  # every token of a response has its score
        return EXAMINED[kind](np.concatenate(scores).astype(np.float64), rows)

    return examine


def examine_pairs(scores: np.ndarray, rows: Preferences) -> Examined:
    """Of pairs: p = σ(chosen − rejected) is the stated probability that the first is better.

    The side that scores higher is the one preferred, with the confidence max(p, 1 − p); calibration
    compares that with how often it was the chosen one.
    """
    chosen, rejected = scores[0::2], scores[1::2]
    lead = chosen - rejected
    right = np.where(lead == 0, 0.5, lead > 0)
    stated = expit(np.abs(lead))
    record = calibrated(right, stated, right, rows.keys, low=0.5) | {
        "loss": float(np.logaddexp(0, -lead).mean()),
        "margin": float(lead.mean()),
        "margin_std": float(lead.std()),
        "score_chosen": float(chosen.mean()),
        "score_rejected": float(rejected.mean()),
    }
    return Examined(record, -record["loss"], _line(record, "pairs right"))


def examine_labels(scores: np.ndarray, rows: Preferences) -> Examined:
    """Of labelled responses: σ(score) is the stated probability of safe."""
    labels = rows.labels.astype(np.float64)
    right = np.where(scores == 0, 0.5, (scores > 0) == (labels > 0.5))
    record = calibrated(right, expit(scores), labels, rows.keys, low=0.0)
    ranked = auc(scores, labels)
    known = np.isfinite(ranked)
    record |= {
        "loss": float((np.logaddexp(0, scores) - labels * scores).mean()),
        "auc": ranked if known else None,
        "auc_ci": clustered_interval(lambda i: auc(scores[i], labels[i]), rows.keys)
        if known
        else None,
        "share_safe": float(labels.mean()),
    }
    line = _line(record, "responses right") + (f", AUC {ranked:.3f}" if known else "")
    return Examined(record, -record["loss"], line)


EXAMINED = {"pairwise": examine_pairs, "pointwise": examine_labels}


def dpo_examiner(
    c: ModelConfig,
    mesh: Mesh,
    compute: ComputeConfig,
    config: DPOConfig,
    lora: LoraConfig | None = None,
) -> Examine:
    """Held-out accuracy and margin of the implicit reward β·log π/π_ref.

    With the loss `ipo` log-probabilities are per token here, too. The held-out rows must hold the
    reference's, unless it is left out.
    """
    logp = token_logp(c, mesh, compute, temperature=1.0)

    def examine(params: Params, rows: Preferences, base: Params | None) -> Examined:
        model = join(params, base, lora)

        def ratios(index: np.ndarray) -> np.ndarray:
            part = rows.take(index)
            # f64[n, C]: the sums over responses are large, and their differences small.
            trained = over_completions(logp, model, part, compute, mesh, PAIRS).astype(np.float64)
            ref = 0 if config.reference_free else part.columns["ref_logp"].sum(1, np.float64)
            ratio = trained.sum(1) - ref
            ratio = ratio / part.lengths if config.kind == "ipo" else ratio
            return np.stack([config.beta * ratio, trained.sum(1)], axis=1)

        # f64[N, 2], implicit reward and log-probability of each response.
        columns = np.concatenate([ratios(index) for index in chunks(rows)])
        return _examine_dpo(columns[:, 0], columns[:, 1], rows, config.beta)

    return examine


def _examine_dpo(reward: np.ndarray, logp: np.ndarray, rows: Preferences, beta: float) -> Examined:
    lead = reward[0::2] - reward[1::2]
    # What float32 cannot tell from 0, as before the first update, is no preference.
    blur = 1e-6 * beta * np.abs(logp[0::2] + logp[1::2])
    right = np.where(np.abs(lead) <= blur, 0.5, lead > 0)
    record = {
        "rows": len(right),
        "accuracy": float(right.mean()),
        "accuracy_ci": clustered_interval(lambda i: right[i].mean(), rows.keys),
        "loss": float(np.logaddexp(0, -lead).mean()),
        "margin": float(lead.mean()),
        "margin_ci": clustered_interval(lambda i: lead[i].mean(), rows.keys),
        "logp_chosen": float(logp[0::2].mean()),
        "logp_rejected": float(logp[1::2].mean()),
    }
    line = f"{_line(record, 'pairs right')}, margin {record['margin']:+.3f}"
    return Examined(record, -record["loss"], line)


def with_reference(
    rows: Preferences,
    logp: PerToken,
    reference: Params,
    compute: ComputeConfig,
    mesh: Mesh,
) -> Preferences:
    """The pairs with the reference's log-probability of every learnt token, computed once."""
    flat = np.zeros(len(rows.examples.tokens), np.float32)
    for index in chunks(rows):
        padded = over_completions(logp, reference, rows.take(index), compute, mesh, PAIRS)
        # f32[n, C] -> end to end, as the examples' tokens lie.
        for values, span in zip(padded, rows.spans(rows.sequences(index)), strict=True):
            flat[span] = values[: span.stop - span.start]
    return replace(rows, ref_logp=flat)


def calibrated(
    right: np.ndarray, stated: np.ndarray, happened: np.ndarray, keys: np.ndarray, low: float
) -> dict[str, Any]:
    """Accuracy and calibration, with intervals by prompts (`keys`), of what was `stated`."""
    ece = lambda i: expected_calibration_error(stated[i], happened[i], low)  # noqa: E731
    everything = np.arange(len(right))
    return {
        "rows": len(right),
        "accuracy": float(right.mean()),
        "accuracy_ci": clustered_interval(lambda i: right[i].mean(), keys),
        "ece": ece(everything),
        "ece_ci": clustered_interval(ece, keys, resamples=200),
        "reliability": reliability(stated, happened, low),
    }


def _line(record: dict[str, Any], what: str) -> str:
    return f"{100 * record['accuracy']:.1f} % of {record['rows']:,} {what}"
