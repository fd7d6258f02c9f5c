"""The flags of every run that passes over examples: supervised, reward model, DPO."""

from __future__ import annotations

from dataclasses import dataclass, field

from r1jax.errors import UserError, check_ranges
from r1jax.run.flags import RunFlags
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.settings import TrainingSettings


@dataclass(frozen=True)
class CourseSettings(TrainingSettings):
    """How examples are passed over."""

    epochs: int = 2
    """Passes over the examples; those that fill no whole batch wait for the next pass."""
    updates: int = 0
    """Optimizer updates in all; 0: as many as --epochs takes."""
    until_operations: float = 0.0
    """End before that after the update with which learning has taken so many operations (the sum of
    operations/update); 0: make all updates."""
    batch: int = 64
    """Examples per update."""
    eval_every: int = 50
    """Updates between measurements of what is held out; 0: only before and after."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(lr=1e-5, schedule="cosine", warmup=10)
    )
    train: ComputeConfig = field(default_factory=ComputeConfig)
    """How a batch is cut and computed."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", batch="[1,]", updates="[0,]", epochs="[0,]", eval_every="[0,]",
                     until_operations="[0,]")  # fmt: skip
        if self.epochs < 1 and not self.updates:
            raise UserError(f"--epochs {self.epochs}: must be at least 1, or name --updates")


@dataclass(frozen=True)
class CourseConfig(CourseSettings, RunFlags):
    """What every run has that passes over examples."""
