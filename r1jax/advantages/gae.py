"""Advantages against a critic: generalised advantage estimation, on the host."""

from __future__ import annotations

import numpy as np

from r1jax.advantages.returns import earned_within, inside, kl_penalty, whiten
from r1jax.losses.config import GRPO
from r1jax.losses.value import CriticConfig


def gae(
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    gamma: float = 1.0,
    lam: float = 1.0,
) -> np.ndarray:
    """Âₜ = δₜ + γλ Âₜ₊₁ with δₜ = rₜ + γ Vₜ₊₁ − Vₜ, f64[N, C]; after the last token V is 0.

    A token outside of `mask` bool[N, C] was written by nobody: V and Â pass by it unchanged, what
    it earns counts for nothing, and its own Â is 0 (Schulman et al., 2015; verl).
    """
    rewards, values = (np.asarray(x, np.float64) for x in (rewards, values))
    found = np.zeros(values.shape)
    next_value, advantage = np.zeros((2, len(values)))
    for t in reversed(range(values.shape[1])):
        own = mask[:, t]
        delta = rewards[:, t] + gamma * next_value - values[:, t]
        advantage = np.where(own, delta + gamma * lam * advantage, advantage)
        next_value = np.where(own, values[:, t], next_value)
        found[:, t] = np.where(own, advantage, 0.0)
    return found


def critic_advantages(
    config: GRPO,
    critic: CriticConfig,
    rewards: np.ndarray,
    lengths: np.ndarray,
    values: np.ndarray,
    old_logp: np.ndarray | None = None,
    ref_logp: np.ndarray | None = None,
    token_rewards: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns) f32[N, C]: what each token is worth, and what its value should be.

    A completion earns its reward at its last token, a token its own beside it, less the KL of
    `kl_as` return. Returns are Â + V before whitening. What nothing judged has Â = 0 and its own
    values as returns: it teaches nobody. Arguments are as for `rollout_advantages`; `values`
    f[N, C] is the critic's word on the state before each token.
    """
    lengths, width = np.asarray(lengths), np.shape(values)[1]
    own, judged = inside(lengths, width), ~np.isnan(rewards)
    earned = np.zeros(own.shape)
    some = np.flatnonzero(lengths)
    earned[some, lengths[some] - 1] = np.nan_to_num(np.asarray(rewards, np.float64))[some]
    if token_rewards is not None:
        given = earned_within(token_rewards, lengths, width)
        judged |= ~np.isnan(given).all(axis=1)
        earned += np.nan_to_num(given)
    if config.beta > 0 and config.kl_as == "return":
        earned -= config.beta * kl_penalty(config, lengths, old_logp, ref_logp)[:, :width]
    values = np.where(own, values, 0.0)
    advantages = gae(earned, values, own & judged[:, None], critic.gamma, critic.lam)
    returns = advantages + values
    if config.advantage_whiten:
        advantages = whiten(advantages, np.where(judged, lengths, 0))
    return advantages.astype(np.float32), returns.astype(np.float32)


def explained_variance(values: np.ndarray, returns: np.ndarray, lengths: np.ndarray) -> float:
    """1 − Var(R − V) / Var(R) over all tokens; NaN where the returns are all alike."""
    own = inside(lengths, np.shape(returns)[1])
    wanted = np.asarray(returns, np.float64)[own]
    spread = np.var(wanted)
    return float(1 - np.var(wanted - values[own]) / spread) if spread > 0 else float("nan")
