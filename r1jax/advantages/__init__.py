"""From rewards to advantages, on the host: groups, returns, selection."""

from r1jax.advantages.gae import critic_advantages, explained_variance, gae
from r1jax.advantages.group import group_advantages, zero_std_frac
from r1jax.advantages.marks import entropy_weight, token_marks
from r1jax.advantages.process import pairs_ordered, process_gains
from r1jax.advantages.returns import rollout_advantages, token_returns, whiten
from r1jax.advantages.selection import first_groups, mixed_groups, without_truncated
from r1jax.advantages.teacher import with_teacher

__all__ = [
    "critic_advantages",
    "entropy_weight",
    "explained_variance",
    "first_groups",
    "gae",
    "group_advantages",
    "mixed_groups",
    "pairs_ordered",
    "process_gains",
    "rollout_advantages",
    "token_marks",
    "token_returns",
    "whiten",
    "with_teacher",
    "without_truncated",
    "zero_std_frac",
]
