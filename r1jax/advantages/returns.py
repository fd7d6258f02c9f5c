"""Advantages of a whole rollout as its settings ask: baseline, KL in the reward, whitening."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from r1jax.advantages.group import group_advantages
from r1jax.losses.config import GRPO
from r1jax.losses.kl import ESTIMATORS


def rollout_advantages(
    config: GRPO,
    rewards: np.ndarray,
    group_ids: np.ndarray,
    lengths: np.ndarray,
    old_logp: np.ndarray | None = None,
    ref_logp: np.ndarray | None = None,
) -> np.ndarray:
    """What each completion, or each of its tokens, is to be made more or less likely by.

    Args:
      config: of its fields, `advantage_*` and, with `kl_as` reward or return, `beta` and
        `kl_estimator`.
      rewards: f[N], NaN where nothing judged the completion: it gets 0 everywhere.
      group_ids: i[N], equal numbers form a group.
      lengths: i[N], tokens of each completion.
      old_logp: f[N, C] of the policy that sampled; read only where the KL is in the reward.
      ref_logp: f[N, C] of the reference; as above.

    Returns:
      f32[N], or f32[N, C] with `kl_as` return, then 0 beyond each completion's end.
    """
    rewards = np.asarray(rewards, np.float64)
    in_reward = config.beta > 0 and config.kl_as != "loss"
    penalty = config.beta * _kl(config, lengths, old_logp, ref_logp) if in_reward else 0.0
    if in_reward and config.kl_as == "reward":
        rewards = rewards - penalty.sum(axis=1)
    values = group_advantages(
        rewards,
        group_ids,
        config.advantage_std,
        config.advantage_epsilon,
        config.advantage_baseline,
    )
    if in_reward and config.kl_as == "return":
        values = token_returns(values, -penalty, lengths)
    judged = ~np.isnan(rewards)
    counted = np.where(judged, lengths, 0)
    if config.advantage_whiten:
        values = whiten(values, counted)
    unjudged = ~judged if values.ndim == 1 else ~judged[:, None]
    return np.where(unjudged, 0.0, values).astype(np.float32)


def token_returns(outcome: np.ndarray, per_token: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """f64[N, C]: Gₜ = outcome + Σ of `per_token` from token t to the end (REINFORCE++).

    `outcome` f[N] is what the completion earns at its last token, `per_token` f[N, C] what each
    token earns by itself; nothing is discounted. 0 beyond each completion's end.
    """
    inside = _inside(lengths, per_token.shape[1])
    earned = np.where(inside, per_token, 0.0).astype(np.float64)
    to_come = np.cumsum(earned[:, ::-1], axis=1)[:, ::-1]
    return np.where(inside, np.asarray(outcome, np.float64)[:, None] + to_come, 0.0)


def whiten(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(v − mean) / √(var + 1e-8) over all tokens, the variance with Bessel's correction.

    Args:
      values: f[N], which each count as often as their completion has tokens, or f[N, C].
      lengths: i[N], tokens of each completion.

    Returns:
      float64 in the shape of `values`; zeros where there are fewer than two tokens in all.
    """
    lengths = np.asarray(lengths)
    weights = lengths if values.ndim == 1 else _inside(lengths, values.shape[1])
    weights = weights.astype(np.float64)
    total = weights.sum()
    if total < 2:
        return np.zeros(values.shape)
    values = np.asarray(values, np.float64)
    mean = (weights * values).sum() / total
    variance = (weights * (values - mean) ** 2).sum() / (total - 1)
    return np.where(weights > 0, (values - mean) / np.sqrt(variance + 1e-8), 0.0)


def _kl(
    config: GRPO, lengths: np.ndarray, old_logp: np.ndarray | None, ref_logp: np.ndarray | None
) -> np.ndarray:
    """f64[N, C], the estimate at each token of the completion, 0 beyond."""
    if old_logp is None or ref_logp is None:
        raise ValueError(f"kl_as {config.kl_as} needs old_logp and ref_logp of the rollout")
    estimate = ESTIMATORS[config.kl_estimator](jnp.asarray(old_logp), jnp.asarray(ref_logp))
    return np.where(_inside(lengths, old_logp.shape[1]), np.asarray(estimate, np.float64), 0.0)


def _inside(lengths: np.ndarray, width: int) -> np.ndarray:
    """bool[N, width], True at the tokens of each completion."""
    return np.arange(width) < np.asarray(lengths)[:, None]
