"""What is planned: a model, devices, and how a run would use them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from experiments.plan.counts import Assumed
from experiments.plan.stage import RunConfig
from r1jax.errors import check_ranges
from r1jax.mesh import MeshConfig
from r1jax.rollout.ladder import EngineConfig
from r1jax.run.flags import Flags
from r1jax.training.batches import ComputeConfig

ProgramName = Literal["accumulate", "apply", "score", "prepare", "prefill", "decode"]


@dataclass(frozen=True)
class Shapes:
    """What rollouts are compiled for: the flags of a run that have a part in it."""

    slots: int = 4096
    """Completions decoded side by side, over all devices."""
    max_prompt: int = 512
    """Longest prompt in tokens."""
    max_tokens: int = 3584
    """Longest completion in tokens."""
    prefill: int = 64
    """Prompts prefilled per call."""
    cache_tokens: int = 0
    """Most tokens the cache may hold, over all slots; 0: no bound."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        self.engine  # noqa: B018

    @property
    def engine(self) -> EngineConfig:
        """As an engine takes them."""
        return EngineConfig(
            slots=self.slots,
            max_prompt=self.max_prompt,
            max_tokens=self.max_tokens,
            prefill=self.prefill,
            cache_tokens=self.cache_tokens,
        )


@dataclass(frozen=True)
class Config(Flags):
    """What is planned."""

    model: str = "deepseek-v3"
    """qwen2.5-7b, qwen2.5-32b, llama-70b, deepseek-v3, a shape of the benches (1.5b), or a model
    whose config.json is read: a directory, or owner/name at Hugging Face."""
    topology: str = "v5p:8x8x8"
    """Devices: v5e, v5p or v6e with the sides of a slice (v5p:8x8x8), h100 or h200 with a count."""
    mesh: MeshConfig = MeshConfig()
    """How they are used."""
    train: ComputeConfig = ComputeConfig(
        rows=512, width=4096, max_segments=4, dtype="bfloat16", remat="full"
    )
    """A micro-batch over all devices."""
    rollout: Shapes = Shapes()
    """Sampling over all devices."""
    optimizer: Literal["adamw", "adafactor"] = "adamw"
    """What keeps moments, and how many."""
    reference: bool = True
    """Hold a reference for the KL term, and score with it."""
    assume: tuple[Literal["fused-attention", "rollout-layout"], ...] = ()
    """What the formulas count as there although the code does not have it: fused attention for rows
    and heads that no kernel takes; rollouts' weights cut over tensor and expert alone, on any
    mesh."""
    run: RunConfig = RunConfig()
    """The run whose hours are counted."""
    price: float = 0.0
    """Dollars per chip and hour; 0: no cost is printed."""
    programs: tuple[ProgramName, ...] = get_args(ProgramName)
    """What is compiled for a TPU."""
    compile: bool = True
    """Compile for a TPU; --no-compile: formulas alone, as for GPUs."""
    quick: bool = False
    """Compile with few optimisations: three times as fast, and peaks a tenth off."""
    kept: str = "runs/plans"
    """Directory of JSON files of what was compiled; the same plan is read from there."""
    calibration: bool = False
    """Print only what the formulas predict beside what was measured on an H200."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", price="[0,]")

    @property
    def assumed(self) -> Assumed:
        """As the formulas take it."""
        return Assumed("fused-attention" in self.assume, "rollout-layout" in self.assume)
