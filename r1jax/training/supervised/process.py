"""What is measured of a process reward model on held-out solutions."""

from __future__ import annotations

from typing import Any

import numpy as np
from jax.sharding import Mesh
from scipy.special import expit

from r1jax.data.examples.judged_steps import JudgedSteps
from r1jax.evaluate.calibration import auc
from r1jax.evaluate.steps import first_wrong, process_bench
from r1jax.models import scalar
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig
from r1jax.training.batches import ComputeConfig, over_completions
from r1jax.training.supervised.examine import Examine, Examined, chunks
from r1jax.training.supervised.preference import calibrated, token_scores
from r1jax.types import Params


def process_examiner(
    c: ModelConfig, mesh: Mesh, compute: ComputeConfig, lora: LoraConfig | None = None
) -> Examine:
    """Held-out accuracy over steps, their calibration, and where first errors are found."""
    run = token_scores(c, mesh, compute, steps=True)

    def examine(params: Params, rows: JudgedSteps, base: Params | None) -> Examined:
        model = scalar.join(params, base, lora)
        solutions: list[tuple[np.ndarray, np.ndarray]] = []  # scores and labels of its steps
        for index in chunks(rows):
            part = rows.take(index)
            scores = over_completions(run, model, part, compute, mesh).astype(np.float64)
            for i, length in enumerate(part.lengths):
                marked = slice(None) if part.learn is None else part.learn[i, :length]
                labels = part.columns["label"][i, :length][marked].astype(np.float64)
                solutions.append((scores[i, :length][marked], labels))
        return examined(solutions, rows.keys)

    return examine


def examined(solutions: list[tuple[np.ndarray, np.ndarray]], keys: np.ndarray) -> Examined:
    """Of scores and labels of each solution's steps: σ(score) is the stated probability of right.

    `keys` i64[N] are equal for solutions of the same prompt. The record's `f1` is ProcessBench's.
    """
    scores, labels = (np.concatenate(side) for side in zip(*solutions, strict=True))
    owner = np.repeat(keys, [len(s) for s, _ in solutions])
    right = np.where(scores == 0, 0.5, (scores > 0) == (labels > 0.5))
    ranked = auc(scores, labels > 0.5)
    record: dict[str, Any] = calibrated(right, expit(scores), labels, owner, low=0.0) | {
        "rows": len(solutions),
        "steps": len(right),
        "loss": float((np.logaddexp(0, scores) - labels * scores).mean()),
        "auc": ranked if np.isfinite(ranked) else None,
        "share_right": float((labels > 0.5).mean()),
    }
    record |= process_bench(
        [first_wrong(expit(s)) for s, _ in solutions], [first_wrong(y) for _, y in solutions]
    )
    line = f"{100 * record['accuracy']:.1f} % of {len(right):,} steps right, first errors found: "
    return Examined(record, -record["loss"], f"{line}F1 {100 * record['f1']:.1f}")
