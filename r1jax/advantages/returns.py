"""Advantages of a whole rollout as its settings ask: baseline, rewards of tokens, KL, whitening."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from r1jax.advantages.group import group_advantages
from r1jax.advantages.token_baseline import less_token_baseline
from r1jax.losses.config import GRPO
from r1jax.losses.kl import ESTIMATORS


def rollout_advantages(
    config: GRPO,
    rewards: np.ndarray,
    group_ids: np.ndarray,
    lengths: np.ndarray,
    old_logp: np.ndarray | None = None,
    ref_logp: np.ndarray | None = None,
    token_rewards: np.ndarray | None = None,
    terms: Sequence[tuple[float, np.ndarray]] = (),
    gained: np.ndarray | None = None,
    sharp_logp: np.ndarray | None = None,
) -> np.ndarray:
    """What each completion, or each of its tokens, is to be made more or less likely by.

    Args:
      config: of its fields, `advantage_*` and, with `kl_as` reward or return, `beta` and
        `kl_estimator`.
      rewards: f[N] of whole completions, NaN where nothing judged one: it gets 0.
      group_ids: i[N], equal numbers form a group.
      lengths: i[N], tokens of each completion.
      old_logp, ref_logp: f[N, C], the policy that sampled and the reference; for `kl_as` not loss.
      token_rewards: f[N, C] that single tokens earn, NaN where one is given none (a step's stands
        at its last token). Each is compared with all of its group, and a token gets the sum of
        those from it to the end (DeepSeekMath, 4.1.3), beside what the completion gets.
      terms: the weight of each reward that `rewards` adds up and its f[N] values, NaN where it was
        left out; read, in place of `rewards`, with `advantage_of` each.
      gained: f[N, C], what each token gains beside that, compared already; it too counts for the
        tokens before.
      sharp_logp: f[N, C], the sampling policy at half the temperature; for a baseline of tokens.

    Returns:
      f32[N], or f32[N, C], 0 beyond each end, with `token_rewards`, `gained`, `kl_as` return or a
      baseline of tokens.
    """
    # f64[N, C] each: parts of a token's advantage and of those of tokens before it.
    rewards, entering = _less_kl(config, rewards, lengths, old_logp, ref_logp)
    compared, by_token = _compared(config), config.advantage_baseline == "token"
    apart = terms if config.advantage_of == "each" else [(1.0, rewards)]  # each: GDPO
    each = (weight * compared(reward, group_ids, lengths=lengths) for weight, reward in apart)
    values = sum(each, np.zeros(len(rewards)))
    judged = ~np.isnan(rewards)
    if token_rewards is not None:
        earned = earned_within(token_rewards, lengths, np.max(lengths, initial=0))
        owner = np.repeat(group_ids, earned.shape[1])  # the group of each of the N * C tokens
        entering.append(compared(earned.ravel(), owner).reshape(earned.shape))
        judged |= ~np.isnan(earned).all(axis=1)
    if gained is not None:
        entering.append(gained)
    if by_token:
        entering.append(np.zeros(sharp_logp.shape))
    if entering:
        values = token_returns(values, sum(entering), lengths)
    if by_token:
        own = inside(lengths, values.shape[1]) & judged[:, None]
        values = less_token_baseline(values, group_ids, own, old_logp, sharp_logp)
    if config.advantage_whiten:
        values = whiten(values, np.where(judged, lengths, 0))
    unjudged = ~judged if values.ndim == 1 else ~judged[:, None]
    return np.where(unjudged, 0.0, values).astype(np.float32)


def _compared(config: GRPO) -> Callable[..., np.ndarray]:
    """`group_advantages` as set; for a baseline of tokens plain rewards, made into returns."""
    baseline = config.advantage_baseline
    return functools.partial(
        group_advantages, std=config.advantage_std, epsilon=config.advantage_epsilon,
        baseline="none" if baseline == "token" else baseline,
    )  # fmt: skip


def _less_kl(
    config: GRPO,
    rewards: np.ndarray,
    lengths: np.ndarray,
    old_logp: np.ndarray | None,
    ref_logp: np.ndarray | None,
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Rewards f64[N] less their KL, or beside them what each token pays, f64[N, C]."""
    rewards = np.asarray(rewards, np.float64)
    if not config.kl_in_reward:
        return rewards, []
    penalty = config.beta * kl_penalty(config, lengths, old_logp, ref_logp)
    if config.kl_as == "reward":
        return rewards - penalty.sum(axis=1), []
    return rewards, [-penalty]


def token_returns(outcome: np.ndarray, per_token: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """f64[N, C]: Gₜ = outcome + Σ of `per_token` from token t to the end (REINFORCE++).

    `outcome` f[N] is what the completion earns at its last token, `per_token` f[N, C] what each
    token earns by itself; nothing is discounted. 0 beyond each completion's end.
    """
    own = inside(lengths, per_token.shape[1])
    earned = np.where(own, per_token, 0.0).astype(np.float64)
    to_come = np.cumsum(earned[:, ::-1], axis=1)[:, ::-1]
    return np.where(own, np.asarray(outcome, np.float64)[:, None] + to_come, 0.0)


def whiten(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """(v − mean) / √(var + 1e-8) over all tokens, the variance with Bessel's correction.

    Args:
      values: f[N], which each count as often as their completion has tokens, or f[N, C].
      lengths: i[N], tokens of each completion.

    Returns:
      float64 in the shape of `values`; zeros where there are fewer than two tokens in all.
    """
    lengths = np.asarray(lengths)
    weights = lengths if values.ndim == 1 else inside(lengths, values.shape[1])
    weights = weights.astype(np.float64)
    total = weights.sum()
    if total < 2:
        return np.zeros(values.shape)
    values = np.asarray(values, np.float64)
    mean = (weights * values).sum() / total
    variance = (weights * (values - mean) ** 2).sum() / (total - 1)
    return np.where(weights > 0, (values - mean) / np.sqrt(variance + 1e-8), 0.0)


def kl_penalty(
    config: GRPO, lengths: np.ndarray, old_logp: np.ndarray | None, ref_logp: np.ndarray | None
) -> np.ndarray:
    """f64[N, C], the estimate at each token of the completion, 0 beyond."""
    if old_logp is None or ref_logp is None:
        raise ValueError(f"kl_as {config.kl_as} needs old_logp and ref_logp of the rollout")
    logps = (np.asarray(values, np.float64) for values in (old_logp, ref_logp))
    estimate = ESTIMATORS[config.kl_estimator](*logps)
    return np.where(inside(lengths, old_logp.shape[1]), estimate, 0.0)


def earned_within(token_rewards: np.ndarray, lengths: np.ndarray, width: int) -> np.ndarray:
    """f64[N, width]: what the tokens of each completion earn, NaN where one is given nothing."""
    earned = np.asarray(token_rewards, np.float64)[:, :width]
    return np.where(inside(lengths, width), earned, np.nan)


def inside(lengths: np.ndarray, width: int) -> np.ndarray:
    """bool[N, width], True at the tokens of each completion."""
    return np.arange(width) < np.asarray(lengths)[:, None]
