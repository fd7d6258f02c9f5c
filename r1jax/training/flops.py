"""Model FLOPs utilisation: the arithmetic a batch asks for over what the chip could have done."""

from __future__ import annotations

import math

import jax
import numpy as np

from r1jax.models import kinds, table
from r1jax.models.config import ModelConfig
from r1jax.models.lora import LoraConfig
from r1jax.models.lora import rows as lora_rows

PEAK = {
    "NVIDIA H200": 989e12,
    "NVIDIA H100": 989e12,
    "NVIDIA A100": 312e12,
    "TPU v4": 275e12,
    "TPU v5 lite": 197e12,
    "TPU v5p": 459e12,
    "TPU v6 lite": 918e12,
}
"""Dense bfloat16 rate of one device by the start of its name, from the vendors' data sheets."""


def train_flops(c: ModelConfig, totals: np.ndarray, lora: LoraConfig | None = None) -> float:
    """Forward and backward of sequences of `totals` tokens: 6·N·n + 3·P·n² each.

    N are the parameters that a token meets (`table.active`). P are all layers' products per pair of
    tokens (`kinds.Attention.pairs`), over the causal half, two operations each, forward and twice
    backward; a window w makes n² - (n - w)² of a layer's n².
    With `lora` the N frozen weights have no gradient of their own, and its R factors have:
    4·N·n + 6·R·n + 3·P·n². Padding and recomputation are not counted.
    """
    n = np.asarray(totals, np.float64)
    attention = 0.0
    for kind, _ in kinds.of_layers(c):
        unseen = np.maximum(n - kind.window(c), 0) if kind.window else 0.0
        attention += 3 * kind.pairs(c) * (n**2 - unseen**2).sum()
    if lora is None:
        return float(6 * table.active(c) * n.sum() + attention)
    factors = sum(math.prod(row.shape) for row in jax.tree.leaves(lora_rows(c, lora)))
    return float((4 * table.active(c) + 6 * factors) * n.sum() + attention)


def trunk_flops(c: ModelConfig, totals: np.ndarray, learning: bool) -> float:
    """Of a model that has a head of one number in place of logits: forward, backward if it learns.

    The head itself is not counted.
    """
    logits = 6 * c.vocab_size * c.d_model * float(np.sum(totals))
    return (train_flops(c, totals) - logits) / (1 if learning else 3)


def scoring_flops(c: ModelConfig, totals: np.ndarray) -> float:
    """Forward alone of sequences of `totals` tokens, sampled or scored: 2·N·n + P·n² each."""
    return train_flops(c, totals) / 3


def utilisation(flops: float, seconds: float) -> float | None:
    """Share of the peak of all devices; None where the peak is not known (a CPU, say)."""
    kind = jax.devices()[0].device_kind
    peak = next((rate for name, rate in PEAK.items() if kind.startswith(name)), None)
    return None if peak is None else flops / seconds / (peak * jax.device_count())
