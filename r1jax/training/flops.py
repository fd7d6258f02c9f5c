"""Model FLOPs utilisation: the arithmetic a batch asks for over what the chip could have done."""

from __future__ import annotations

import jax
import numpy as np

from r1jax.models import table
from r1jax.models.config import ModelConfig

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


def train_flops(c: ModelConfig, totals: np.ndarray) -> float:
    """Forward and backward of sequences of `totals` tokens: 6·N·n + 6·L·d_q·n² each.

    The second term is attention's two products over the causal half, forward and twice backward.
    Padding and recomputation are not counted.
    """
    n = np.asarray(totals, np.float64)
    return float(6 * table.count(c) * n.sum() + 6 * c.n_layers * c.q_dim * (n**2).sum())


def utilisation(flops: float, seconds: float) -> float | None:
    """Share of the peak of all devices; None where the peak is not known (a CPU, say)."""
    kind = jax.devices()[0].device_kind
    peak = next((rate for name, rate in PEAK.items() if kind.startswith(name)), None)
    return None if peak is None else flops / seconds / (peak * jax.device_count())
