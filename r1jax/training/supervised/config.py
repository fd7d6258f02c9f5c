"""The flags of every run that passes over examples: supervised, reward model, DPO."""

from __future__ import annotations

from dataclasses import dataclass, field

from r1jax.checkpoint import CheckpointConfig
from r1jax.errors import UserError
from r1jax.mesh import MeshConfig, ProcessConfig
from r1jax.models.lora import LoraConfig
from r1jax.run.profile import ProfileConfig
from r1jax.run.sinks import LogConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.update import ComputeConfig


@dataclass(frozen=True)
class CourseConfig:
    """What every run has that passes over examples: supervised, reward model, DPO."""

    run: str
    """Run directory; an unfinished one with the same flags is resumed."""
    overwrite: bool = False
    """Start anew where the run directory holds another run."""
    model: str = "embedded"
    """Model directory (Hugging Face layout), owner/name[@revision] at Hugging Face, or embedded:
    the small base in the package."""
    family: str = ""
    """A reader of config.json for a model of another family: package.module:function; empty: the
    families r1jax knows (qwen2, qwen3, llama)."""
    parent: str = ""
    """Directory of a run's checkpoints whose weights replace the model's at the start."""
    parent_step: int | None = None
    """Update of the parent's checkpoint; None: the newest."""
    epochs: int = 2
    """Passes over the examples; those that fill no whole batch wait for the next pass."""
    updates: int = 0
    """Optimizer updates in all; 0: as many as --epochs takes."""
    batch: int = 64
    """Examples per update."""
    seed: int = 0
    """Seed of the order, of the examples held out and of LoRA's factors."""
    eval_every: int = 50
    """Updates between measurements of what is held out; 0: only before and after."""
    optimizer: OptimizerConfig = field(
        default_factory=lambda: OptimizerConfig(lr=1e-5, schedule="cosine", warmup=10)
    )
    """The optimizer."""
    train: ComputeConfig = field(default_factory=ComputeConfig)
    """How a batch is cut and computed."""
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    """Saving."""
    lora: LoraConfig = field(default_factory=LoraConfig)
    """Low-rank training."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """Devices."""
    process: ProcessConfig = field(default_factory=ProcessConfig)
    """Processes, where there are several."""
    log: LogConfig = field(default_factory=LogConfig)
    """Further places for the metrics."""
    profile: ProfileConfig = field(default_factory=ProfileConfig)
    """Traces of what the devices do."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range or parts do not fit together."""
        for name, least in (("batch", 1), ("updates", 0), ("eval_every", 0)):
            if (value := getattr(self, name)) < least:
                flag = name.replace("_", "-")
                raise UserError(f"--{flag} {value}: must be at least {least}")
        if self.epochs < 1 and not self.updates:
            raise UserError(f"--epochs {self.epochs}: must be at least 1, or name --updates")
        if self.parent_step is not None and not self.parent:
            raise UserError(
                f"--parent-step {self.parent_step}: needs --parent, the directory of checkpoints"
            )
