"""The optimizer and its learning-rate schedule, as optax chains them."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any, Literal

import jax
import optax
from jax.sharding import NamedSharding, PartitionSpec, Sharding

from r1jax.errors import UserError, check_ranges
from r1jax.training.loss_scale import scaled
from r1jax.types import Params


@dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, or Adafactor for models whose moments are too large, with gradient clipping.

    Decay skips norms and biases. The flags mean the same for both, save that Adafactor has no b1.
    """

    kind: Literal["adamw", "adafactor"] = "adamw"
    """adafactor keeps no first moment, and of a matrix's second the means of rows and columns."""
    lr: float = 1e-6
    """Peak learning rate."""
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    """What happens after warm-up: stay, or fall to lr x final over the remaining updates."""
    warmup: int = 0
    """Updates over which the rate rises from 0."""
    final: float = 0.1
    """Share of the peak rate at the end of a linear or cosine schedule."""
    b1: float = 0.9
    """Decay of Adam's first moment; of no use to adafactor, which refuses another than 0.9."""
    b2: float = 0.95
    """Decay of the second moment, corrected for its start from 0."""
    eps: float = 1e-8
    """Added to Adam's denominator; adafactor adds its square under the root."""
    weight_decay: float = 0.0
    """Decoupled weight decay of matrices."""
    clip: float = 1.0
    """Largest global norm of a gradient; larger ones are scaled down to it."""

    @property
    def idle(self) -> dict[str, str]:
        """Fields that nothing reads, and when they would be."""
        return {"final": "with schedule linear or cosine"} if self.schedule == "constant" else {}

    def __post_init__(self) -> None:
        """Raises UserError on a rate or norm that cannot train."""
        check_ranges(
            self, "--optimizer.", lr="(0,]", warmup="[0,]", final="[0,1]", b1="[0,1)", b2="[0,1)",
            eps="(0,]", weight_decay="[0,]", clip="(0,]",
        )  # fmt: skip
        if self.kind == "adafactor" and self.b1 != OptimizerConfig.b1:
            raise UserError(
                f"--optimizer.b1 {self.b1}: adafactor keeps no first moment; leave it at "
                f"{OptimizerConfig.b1}, or use --optimizer.kind adamw"
            )


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
    config: OptimizerConfig, updates: int, decay_mask: Params, dtype: str = "float32"
) -> optax.GradientTransformation:
    """Clip by global norm, then the optimizer on the schedule; `decay_mask` is the weight table's.

    Both take steps of about the learning rate in every weight. Gradients computed in float16, as
    `dtype` says, come with a loss scale (`r1jax.training.loss_scale`).
    """
    marks, tree = jax.tree.flatten(decay_mask)
    # A rate that stays is the same however long the run is, and so is what is compiled for it.
    updates = 0 if config.schedule == "constant" else updates
    return _optimizer(config, updates, tuple(marks), tree, dtype == "float16")


@functools.lru_cache(maxsize=64)
def _optimizer(
    config: OptimizerConfig, updates: int, marks: tuple[bool, ...], tree: Any, half: bool
) -> optax.GradientTransformation:
    decay_mask = jax.tree.unflatten(tree, marks)
    rate = schedule(config, updates)
    if config.kind == "adafactor":
        steps = _adafactor(config, rate, decay_mask)
    else:
        steps = optax.adamw(
            rate,
            b1=config.b1,
            b2=config.b2,
            eps=config.eps,
            weight_decay=config.weight_decay,
            mask=decay_mask,
        )
    steps = optax.chain(optax.clip_by_global_norm(config.clip), steps)
    return scaled(steps) if half else steps


def _adafactor(
    config: OptimizerConfig, rate: optax.Schedule, decay_mask: Params
) -> optax.GradientTransformation:
    """Adafactor (Shazeer and Stern, 2018) with AdamW's flags: `optax.adafactor`'s pieces.

    Differs from the paper's defaults in a fixed b2 with Adam's correction (its section 7.1) and in
    rates that are absolute (not section 8's). Weights are stacked over layers: optax factors the
    two largest axes, a matrix's own as long as both exceed the layers, where both have at least 128
    entries; what is smaller keeps its second moment whole. Clips a weight's step to a root mean
    square of 1 over all layers (section 6).
    """

    def corrected(step: jax.Array, b2: float) -> jax.Array:
        return b2 * (1 - b2**step) / (1 - b2 ** (step + 1.0))

    return optax.chain(
        optax.scale_by_factored_rms(
            decay_rate=config.b2, epsilon=config.eps**2, decay_rate_fn=corrected
        ),
        optax.clip_by_block_rms(1.0),
        optax.add_decayed_weights(config.weight_decay, decay_mask),
        optax.scale_by_learning_rate(rate),
    )


def moment_sharding(x: jax.ShapeDtypeStruct, weight: jax.Array, whole: Sharding) -> Sharding:
    """Sharding of what an optimizer keeps for a weight: the weight's, as far as it has its axes.

    It may have the weight's shape, one axis less (where several may be the one that is missing they
    are equally long, and any will do), or another shape, which lies `whole` on every device.
    """
    if x.shape == weight.shape:
        return weight.sharding
    axes = tuple(weight.sharding.spec)
    axes += (None,) * (len(weight.shape) - len(axes))
    for i in reversed(range(len(axes))):
        if x.shape == weight.shape[:i] + weight.shape[i + 1 :]:
            return NamedSharding(weight.sharding.mesh, PartitionSpec(*axes[:i], *axes[i + 1 :]))
    return whole
