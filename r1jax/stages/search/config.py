"""The flags of `r1jax search`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from r1jax.data import DataConfig
from r1jax.data.examples.steps import Cut
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.measures import EvalConfig
from r1jax.rewards import SandboxConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.run.flags import RunFlags
from r1jax.search.config import Method, SearchConfig, check_method
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig


@dataclass(frozen=True)
class ValueConfig:
    """The value model: a tower of its own, which learns what a search found below each step."""

    parent: str = ""
    """Run of r1jax reward_model --kind process that it begins as (a pre-trained value model, as
    R1's was); empty: the policy's weights under a head of zeros."""
    lr: float = 1e-5
    """Its learning rate; the rest of its optimizer is as --optimizer says."""
    epochs: int = 2
    """Passes over a round's solutions, right and wrong."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        check_ranges(self, "--value.", lr="(0,]", epochs="[1,]")


@dataclass(frozen=True)
class SearchRunConfig(RunFlags):
    """Rounds of {search, learn from what was found}."""

    run: str = "runs/search"
    method: Method = "beam"
    """beam: of steps, by the value model; mcts: PUCT over steps; sample: whole solutions, without
    a search, for the same tokens (the control)."""
    rounds: int = 3
    """Times that problems are searched and what was found is learnt."""
    until_operations: float = 0.0
    """Begin no round once searching and learning have taken the policy so many operations (the sum
    of operations/rollout and operations/update); 0: make all rounds."""
    prompts: int = 1024
    """Training problems of a round, in the stream's order; every round takes the next ones."""
    batch: int = 256
    """Problems searched side by side, and written at a time: what a kill may cost."""
    steps: Cut = "line"
    """Where a solution is cut into steps: line, paragraph (an empty line), sentence."""
    temperature: float = 1.0
    """Sampling temperature of steps and solutions; priors are those at this temperature."""
    dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    """Arithmetic and cache of generation."""
    search: SearchConfig = field(default_factory=SearchConfig)
    """How far a problem is searched."""
    value: ValueConfig = field(default_factory=ValueConfig)
    """The value model."""
    epochs: int = 2
    """Passes of the policy over a round's right solutions."""
    examples: int = 64
    """Solutions per update, of the policy and of the value model."""
    optimizer: OptimizerConfig = field(default_factory=lambda: OptimizerConfig(lr=1e-5))
    """The optimizer; each round begins with a fresh one."""
    train: ComputeConfig = field(default_factory=ComputeConfig)
    """How a batch is cut and computed."""
    rollout: EngineConfig = field(default_factory=EngineConfig)
    """Shapes of the generation engine; --rollout.max-tokens is a whole solution's limit."""
    data: DataConfig = field(default_factory=DataConfig)
    """Problems to search and to be judged on."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """How the policy is judged without a search, before the first round and after each."""
    workers: int | None = None
    """Processes that grade answers; None: one per core, at most 8; 0: in this one, unlimited."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    """Running programs, where answers are such."""
    export: bool = True
    """Write the last round's policy to <run>/hf in the Hugging Face layout."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range or parts do not fit together."""
        super().__post_init__()
        check_ranges(
            self, "--", rounds="[1,]", prompts="[1,]", batch="[1,]", temperature="(0,]",
            epochs="[1,]", examples="[1,]", workers="[0,]", until_operations="[0,]",
        )  # fmt: skip
        check_method(self.search, self.method)
        longest = self.rollout.max_prompt + self.rollout.max_tokens
        if self.train.width < longest:
            raise UserError(
                f"--train.width {self.train.width}: prompt and solution may have {longest} tokens "
                f"(--rollout.max-prompt and --rollout.max-tokens); use at least {longest}"
            )
