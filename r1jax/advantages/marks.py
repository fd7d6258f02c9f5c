"""Which tokens of a rollout are treated apart, by what they are among all its others.

What is chosen among all tokens can be chosen by no micro-batch: it is settled here, on the host,
at the policy of the rollout's start, and the loss reads it as a column.
"""

from __future__ import annotations

import numpy as np

from r1jax.advantages.returns import inside
from r1jax.losses.config import GRPO

_MOST = 1.0  # weight of the entropy bonus that adapts (TRL's bound)


def token_marks(
    config: GRPO,
    lengths: np.ndarray,
    advantages: np.ndarray,
    old_logp: np.ndarray | None,
    entropy: np.ndarray | None,
    seed: tuple[int, ...],
) -> dict[str, np.ndarray]:
    """Columns f32[N, C] of ones and zeros, as far as `config` asks for any.

    `token_keep` is 1 where the policy term teaches: at the `top_entropy` share of highest entropy,
    and not at those that Clip-Cov draws, from `seed`. `token_pull` is 1 where KL-Cov holds a token
    (both: arXiv 2505.22617). Advantages are f[N] or f[N, C], the others f[N, C] at the policy of
    the rollout's start; None where nothing reads them.
    """
    own = inside(lengths, np.max(lengths, initial=0))
    keep, marks = own.copy(), {}
    if config.top_entropy < 1:
        values = entropy[:, : own.shape[1]]
        keep &= values >= np.quantile(values[own], 1.0 - config.top_entropy)
    if config.covariance != "none":
        spread = advantages if advantages.ndim == 2 else advantages[:, None]
        marked = _covarying(config, own, spread, old_logp[:, : own.shape[1]], seed)
        if config.covariance == "kl":
            marks["token_pull"] = marked.astype(np.float32)
        else:
            keep &= ~marked
    if config.masks_tokens:
        marks["token_keep"] = keep.astype(np.float32)
    return marks


def _covarying(
    config: GRPO,
    own: np.ndarray,
    advantages: np.ndarray,
    logp: np.ndarray,
    seed: tuple[int, ...],
) -> np.ndarray:
    """bool[N, C], the tokens whose (A − mean A)(log π − mean log π) marks them."""
    given = np.broadcast_to(advantages[:, : own.shape[1]], own.shape)[own]
    given, known = given.astype(np.float64), logp[own].astype(np.float64)
    covariance = (given - given.mean()) * (known - known.mean())
    count = max(int(config.covariance_share * len(covariance)), 1)
    if config.covariance == "kl":
        chosen = np.argsort(covariance, kind="stable")[-count:]
    else:
        within = (covariance > config.covariance_low) & (covariance < config.covariance_high)
        candidates = np.flatnonzero(within)
        drawn = np.random.default_rng(seed).permutation(len(candidates))[:count]
        chosen = candidates[drawn]
    flat = np.zeros(len(covariance), bool)
    flat[chosen] = True
    marked = np.zeros(own.shape, bool)
    marked[own] = flat
    return marked


def entropy_weight(config: GRPO, weight: float, entropy: float | None) -> tuple[float, float]:
    """(the weight that adapts, what of it counts now), after a rollout of so much `entropy`.

    Below `entropy_target` it grows by `entropy_step`, above it falls, within 0 and 1, and counts
    only below (Skywork-OR1, arXiv 2505.22312). None: there was no rollout, and it counts as it is.
    """
    if entropy is None:
        return weight, weight
    low = entropy <= config.entropy_target
    moved = weight + (config.entropy_step if low else -config.entropy_step)
    weight = min(max(moved, 0.0), _MOST)
    return weight, weight if low else 0.0
