"""The 99th percentile of a small positive quantity, additive over micro-batches and hosts."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.types import Batch, Quantile

EDGES = np.concatenate([[0.0], np.logspace(-8, 2, 201)])
"""Bin edges: 20 bins per decade from 1e-8 to 100, so a percentile is right within 12 %."""


def quantile(values: jax.Array, batch: Batch) -> Quantile:
    """Histogram of f32[B, T] `values` over scored tokens; those beyond 100 count in the last."""
    at = jnp.searchsorted(jnp.asarray(EDGES[1:-1], jnp.float32), values.ravel(), side="left")
    return Quantile(jnp.zeros(len(EDGES) - 1).at[at].add(batch.mask.ravel()))


def p99(counts: np.ndarray) -> float:
    """Upper edge of the bin that holds the 99th percentile; 0 of an empty histogram."""
    total = np.cumsum(np.asarray(counts, np.float64))
    if total[-1] == 0:
        return 0.0
    at = int(np.searchsorted(total, 0.99 * total[-1]))
    return float(EDGES[at + 1]) if at else 0.0
