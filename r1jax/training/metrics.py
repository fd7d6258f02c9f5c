"""Metrics of the parts of a batch: how they add up, and what they come to in the end."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.losses.quantile import p99
from r1jax.types import Load, Max, Mean, Metrics, Quantile


def _is_metric(x: Any) -> bool:
    return isinstance(x, (Mean, Max, Quantile, Load))


def neutral(shapes: Metrics) -> Metrics:
    """What changes nothing it is combined with, for metrics of these shapes."""

    def one(shape: Any) -> Any:
        if isinstance(shape, Max):
            return Max(jnp.full((), -jnp.inf, shape.value.dtype))  # else weak: compiled once more
        return jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shape)

    return jax.tree.map(one, shapes, is_leaf=_is_metric)


def combine(a: Metrics, b: Metrics) -> Metrics:
    """Metrics of two parts of a batch as those of the whole."""

    def one(x: Any, y: Any) -> Any:
        if isinstance(x, Max):
            return Max(jnp.maximum(x.value, y.value))
        return jax.tree.map(jnp.add, x, y)

    return jax.tree.map(one, a, b, is_leaf=_is_metric)


def finish(metrics: Metrics) -> dict[str, float]:
    """Plain numbers: means divided out, maxima as they are, percentiles and loads read off."""

    def one(x: Mean | Max | Quantile | Load) -> float:
        if isinstance(x, Quantile):
            return p99(x.counts)
        if isinstance(x, Load):
            mean = np.maximum(np.mean(x.counts, axis=-1), 1e-9)
            return float(np.max(np.max(x.counts, axis=-1) / mean))
        return float(x.value) if isinstance(x, Max) else float(x.sum) / max(float(x.count), 1e-9)

    return {name: one(x) for name, x in metrics.items()}
