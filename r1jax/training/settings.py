"""The flags of every training, whatever is learnt."""

from __future__ import annotations

from dataclasses import dataclass, field

from r1jax.checkpoint import CheckpointConfig
from r1jax.models.lora import LoraConfig
from r1jax.run.flags import Flags
from r1jax.run.profile import ProfileConfig
from r1jax.run.sinks import LogConfig
from r1jax.training.optimizer import OptimizerConfig


@dataclass(frozen=True)
class TrainingSettings(Flags):
    """How weights change, and what is kept and said of it."""

    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    """The optimizer."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Low-rank training; a reference is then the base itself, not a copy."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Saving."""
    log: LogConfig = field(default_factory=LogConfig)
    """Further places for the metrics."""
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    """Traces of what the devices do."""
