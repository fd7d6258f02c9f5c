"""Advantages of tokens by a teacher's word: on-policy distillation."""

from __future__ import annotations

import numpy as np

from r1jax.advantages.returns import inside


def with_teacher(
    advantages: np.ndarray,
    lengths: np.ndarray,
    old_logp: np.ndarray,
    teacher_logp: np.ndarray,
    weight: float,
) -> np.ndarray:
    """f32[N, C]: Aₜ + weight · (log π_T − log π_old) of token t alone, 0 beyond each end.

    Its mean gradient is that of −KL(π‖π_T) of each next token (Thinking Machines' on-policy
    distillation; slime adds it to the advantages of a reward as here). Advantages are f[N] or
    f[N, C], log-probabilities f[N, C] of the tokens that the policy wrote.
    """
    spread = np.asarray(advantages, np.float64)
    spread = spread if spread.ndim == 2 else spread[:, None]
    nearer = np.asarray(teacher_logp, np.float64) - old_logp
    own = inside(lengths, nearer.shape[1])
    return np.where(own, spread + weight * nearer, 0.0).astype(np.float32)
