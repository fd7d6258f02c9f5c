"""The baseline of every token at which the policy's gradient has the least variance (OTB)."""

from __future__ import annotations

import numpy as np

_LEAST = 1e-8  # of a weight: where all tokens were certain the baseline is the plain mean


def less_token_baseline(
    returns: np.ndarray,
    group_ids: np.ndarray,
    own: np.ndarray,
    logp: np.ndarray,
    sharp_logp: np.ndarray,
) -> np.ndarray:
    """Gₜ − Bₜ with Bₜ = Σ G W / Σ W over those of the group that have a token t, f64[N, C].

    Wₜ is the sum of `logit_energy` over the tokens up to t: the longer and the less certain a
    completion has been, the more its return weighs (arXiv 2602.07078; verl's
    optimal_token_baseline). Where all returns are alike, as for a token t that one completion
    alone has, it is exactly 0; outside of `own` bool[N, C] as well. All else is f[N, C].
    """
    energy = np.where(own, logit_energy(logp, sharp_logp), 0.0)
    weights = np.where(own, np.maximum(np.cumsum(energy, axis=1), _LEAST), 0.0)
    found = np.zeros(own.shape)
    for group in np.unique(group_ids):
        at = np.flatnonzero(np.asarray(group_ids) == group)
        # From the first that has the token: equal returns then differ by nothing at all.
        first = np.take_along_axis(returns[at], own[at].argmax(axis=0)[None], axis=0)
        above = returns[at] - first
        total = np.maximum(weights[at].sum(axis=0), _LEAST)
        found[at] = above - (weights[at] * above).sum(axis=0) / total
    return np.where(own, found, 0.0)


def logit_energy(logp: np.ndarray, sharp_logp: np.ndarray) -> np.ndarray:
    """1 − 2π + Σᵥ π(v)², the squared norm of ∂log π/∂logits, f64 in the shape of `logp`.

    `sharp_logp` is the token's log-probability at half the temperature, where it is π² over
    Σᵥ π(v)²: so that no sum over the vocabulary has to be kept.
    """
    logp, sharp_logp = (np.asarray(x, np.float64) for x in (logp, sharp_logp))
    energy = 1 - 2 * np.exp(logp) + np.exp(2 * logp - sharp_logp)
    return np.maximum(energy, 0.0)  # float32 rounds what is certain to a little less
