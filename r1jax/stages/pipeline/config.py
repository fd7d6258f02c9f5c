"""The flags of the whole of R1: those of every stage under its name, and what the stages share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, get_args

import tyro

from r1jax.data import DataConfig
from r1jax.errors import UserError, check_ranges
from r1jax.evaluate.measures import EvalConfig
from r1jax.rewards import SandboxConfig
from r1jax.run.flags import ModelFlags, PlaceFlags, TrustConfig
from r1jax.stages.cold_start import ColdStartSettings
from r1jax.stages.rejection import RejectionSettings
from r1jax.stages.reward_model import JudgedSettings, PairwiseSettings
from r1jax.stages.supervised import SFTSettings
from r1jax.training.rl.config import RLSettings

StageName = Literal[
    "zero", "cold_start_data", "cold_start", "reasoning_rl", "rejection", "general_data",
    "general_sft", "helpfulness", "safety", "general_rl", "distill",
]  # fmt: skip
NAMES: tuple[StageName, ...] = get_args(StageName)
"""The stages in their order; distill is one run for each student."""

WORLD = "world"
"""General data, pairs and labels of the embedded world, in place of a file's name."""


@dataclass(frozen=True)
class GeneralConfig:
    """What is not reasoning: data to learn from, prompts to be rewarded by models, their judges.

    `world` stands for what the embedded world generates; files are read as `r1jax sft` and
    `r1jax reward_model` read theirs.
    """

    sft: tuple[str, ...] = ()
    """General data of the second supervised stage (paper: 200k of the 800k samples): world, or
    FILE.jsonl|.parquet."""
    sft_count: int = 512
    """Examples that world makes."""
    prompts: tuple[str, ...] = ()
    """Problems that only reward models judge, as sources of the last part of the final RL:
    general:helpful,unsafe,safe, or files with a column grader of none."""
    helpfulness: tuple[str, ...] = ()
    """Pairs for the helpfulness model (paper: 66,000): world, or FILE; none: no such model."""
    safety: tuple[str, ...] = ()
    """Labelled responses for the safety model (paper: 106,000): world, or FILE; none: none."""
    judged_count: int = 2000
    """Pairs, and labelled responses, that world makes."""
    noise: float = 0.1
    """Share of world's pairs and labels that are the wrong way round."""
    column: str = "judge"
    """Column of the general prompts that says which model judges them: helpfulness or safety."""
    helpfulness_weight: float = 1.0
    """Weight of the helpfulness model's score."""
    safety_weight: float = 1.0
    """Weight of the safety model's score."""
    last: float = 400 / 1700
    """Last part of the final RL's updates that sees general prompts and preference rewards
    (paper: 400 of 1,700)."""
    share: float = 0.5
    """Their share of the prompts of that part."""

    def __post_init__(self) -> None:
        """Raises UserError on values that fit nowhere."""
        check_ranges(
            self, "--general.", sft_count="[1,]", judged_count="[1,]", noise="[0,0.5)",
            last="(0,1)", share="(0,1)", helpfulness_weight="(,)", safety_weight="(,)",
        )  # fmt: skip
        if self.prompts and not (self.helpfulness or self.safety):
            raise UserError(
                "--general.prompts: nothing would judge them; name pairs (--general.helpfulness) "
                "or labelled responses (--general.safety)"
            )
        if (self.helpfulness or self.safety) and not self.prompts:
            raise UserError(
                "--general.helpfulness, --general.safety: no prompts to judge; name "
                "--general.prompts"
            )

    @property
    def generated(self) -> bool:
        """Whether the embedded world makes any of it."""
        return WORLD in (*self.sft, *self.helpfulness, *self.safety)


@dataclass(frozen=True)
class R1Config(ModelFlags, PlaceFlags):
    """The whole of R1; the flags of a stage stand under its name, as in --zero.updates 100.

    Model, seed, problems and devices are those of all stages; each derives its own seed.
    """

    run: str = "runs/r1"
    """Run directory, with a directory for every stage; what is finished is not run again."""
    from_: Annotated[StageName, tyro.conf.arg(name="from")] = "zero"
    """First stage to run; those before it must be finished."""
    to: StageName = "distill"
    """Last stage to run."""
    only: tuple[StageName, ...] = ()
    """Just these stages; what they build on must be finished."""
    students: tuple[str, ...] = ()
    """Students to distil into: NAME=MODEL, or one of the paper's (qwen-1.5b, qwen-7b, qwen-14b,
    qwen-32b, llama-8b, llama-70b), each with its learning rate."""
    checkpoint: TrustConfig = field(default_factory=TrustConfig)
    """How stages that train nothing end when they are asked to, and which checkpoints they take
    (the others: --zero.checkpoint.*)."""
    budget_minutes: float = 0.0
    """Time that the whole is meant to take, shown beside the time taken; 0: none."""
    data: DataConfig = field(default_factory=DataConfig)
    """Problems of all reinforcement learning and sampling, and those all stages are judged on."""
    general: GeneralConfig = field(default_factory=GeneralConfig)
    """What is not reasoning."""
    eval: EvalConfig = field(default_factory=EvalConfig)
    """How every stage's checkpoint is judged (the stages' own curves: --zero.eval.*)."""
    sandbox: SandboxConfig = field(default_factory=SandboxConfig)
    """Running programs, where answers are such."""
    zero: RLSettings = field(default_factory=RLSettings)
    """R1-Zero: reinforcement learning on the base."""
    cold_start_data: ColdStartSettings = field(default_factory=ColdStartSettings)
    """Readable chains of thought, from R1-Zero or by another route."""
    cold_start: SFTSettings = field(default_factory=SFTSettings)
    """Supervised training of the base on them: Dev1."""
    reasoning_rl: RLSettings = field(default_factory=RLSettings)
    """Reinforcement learning with language consistency: Dev2."""
    rejection: RejectionSettings = field(default_factory=RejectionSettings)
    """What Dev2 gets right and says readably."""
    general_sft: SFTSettings = field(default_factory=SFTSettings)
    """Supervised training of the base on that and general data: Dev3."""
    helpfulness: PairwiseSettings = field(default_factory=PairwiseSettings)
    """The pairwise reward model."""
    safety: JudgedSettings = field(default_factory=JudgedSettings)
    """The point-wise reward model."""
    general_rl: RLSettings = field(default_factory=RLSettings)
    """The final reinforcement learning: R1."""
    distill: SFTSettings = field(default_factory=SFTSettings)
    """Supervised training of the students on the data of Dev3."""

    def __post_init__(self) -> None:
        """Raises UserError when parts do not fit together."""
        super().__post_init__()
        check_ranges(self, "--", budget_minutes="[0,]")
        if self.only and (self.from_ != "zero" or self.to != "distill"):
            raise UserError("--only, --from, --to: give --only or the other two")
        if NAMES.index(self.from_) > NAMES.index(self.to):
            raise UserError(f"--from {self.from_} --to {self.to}: the first comes after the second")

    @property
    def chosen(self) -> tuple[StageName, ...]:
        """The stages to run."""
        if self.only:
            return tuple(name for name in NAMES if name in self.only)
        return NAMES[NAMES.index(self.from_) : NAMES.index(self.to) + 1]
