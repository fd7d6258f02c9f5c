"""The supervised loss: negative log-likelihood of the masked tokens."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.losses.reduce import masked, masked_sum, token_mean
from r1jax.types import Batch, Mean, Metrics, Stats


def sft(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
    """−Σ m·log p / n_tokens, in nats per token; conforms to `r1jax.types.Loss`."""
    nll = -masked(stats.logp, batch)
    count = jnp.sum(batch.mask)
    metrics = {
        "sft/nll": Mean(masked_sum(nll, batch), count),
        "policy/entropy": Mean(masked_sum(stats.entropy, batch), count),
    }
    return token_mean(nll, batch), jax.lax.stop_gradient(metrics)
