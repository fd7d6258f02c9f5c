"""The optimizer and its learning-rate schedule, as optax chains them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import optax

from r1jax.errors import UserError
from r1jax.types import Params


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW with gradient clipping. Decay skips norms and biases."""

    lr: float = 1e-6
    """Peak learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What happens after warm-up: stay, or fall to lr x final over the remaining updates."""
    warmup: int = 0
    """Updates over which the rate rises from 0."""
    final: float = 0.1
    """Share of the peak rate at the end of a linear or cosine schedule."""
    b1: float = 0.9
    """Decay of Adam's first moment."""
    b2: float = 0.95
    """Decay of Adam's second moment."""
    eps: float = 1e-8
    """Added to Adam's denominator."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices."""
    clip: float = 1.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""

    def __post_init__(self) -> None:
        """Raises UserError on a rate or norm that cannot train."""
        if self.lr < 0:
            raise UserError(f"--optimizer.lr {self.lr} is negative; use 0 or more")
        if self.clip <= 0:
            raise UserError(f"--optimizer.clip {self.clip}: must be above 0 (1.0 is usual)")


def schedule(config: OptimizerConfig, updates: int) -> optax.Schedule:
    """Learning rate by optimizer update, over `updates` of them."""
    rest = max(updates - config.warmup, 1)
    after = {
        "constant": optax.constant_schedule(config.lr),
        "linear": optax.linear_schedule(config.lr, config.lr * config.final, rest),
        "cosine": optax.cosine_decay_schedule(config.lr, rest, config.final),
    }[config.schedule]
    if not config.warmup:
        return after
    rise = optax.linear_schedule(0.0, config.lr, config.warmup)
    return optax.join_schedules([lambda step: rise(step + 1), after], [config.warmup])


def make_optimizer(
    config: OptimizerConfig, updates: int, decay_mask: Params
) -> optax.GradientTransformation:
    """Clip by global norm, then AdamW on the schedule; `decay_mask` is the weight table's."""
    return optax.chain(
        optax.clip_by_global_norm(config.clip),
        optax.adamw(
            schedule(config, updates),
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        ),
    )
