"""The flags of the claims: bases, seeds, rates, and the settings of every run."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from experiments.gates.study import StudySetting
from experiments.process_reward import labels
from r1jax.checkpoint import CheckpointConfig
from r1jax.commands import cold_start_data, rejection, sft
from r1jax.commands import reward_model as reward_models
from r1jax.data import TrainDataConfig
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.errors import UserError, check_ranges
from r1jax.presets.search import PRESETS as SEARCH
from r1jax.presets.zero import PRESETS
from r1jax.rollout.engine import EngineConfig
from r1jax.run.flags import part
from r1jax.stages.cold_start import ColdStartConfig
from r1jax.stages.harvest.samples import BalanceConfig
from r1jax.stages.rejection import RejectionConfig
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.search.config import SearchRunConfig
from r1jax.stages.supervised import SFTConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig

DEMO = PRESETS["demo"]
WORLD = "world:sum,countdown,word"

# The demo's run in an accelerator's shapes: as many samples at once as a rollout has.
ZERO = replace(
    DEMO,
    rollout=replace(DEMO.rollout, slots=256, prefill=32),
    reward=replace(DEMO.reward, workers=1),
    train=replace(DEMO.train, rows=48),
    eval=EvalSchedule(every=0, samples=16, greedy=False),
    checkpoint=CheckpointConfig(every=20, keep=1),
    memory="off",
)

_SHAPES = part(EngineConfig, ZERO.rollout)


@dataclass(frozen=True)
class Config(StudySetting):
    """Which claims are tested, on what, how many runs at a time."""

    out: str = "runs/claims"
    bases_in: str = "runs/claims_bases"
    """Directory of the bases, which are made there; all that is worth keeping beside --figures."""
    figures: str = "docs/claims/figures.jsonl"
    only: tuple[str, ...] = ()
    """Letters of the claims, the most important first; none: all, in the order of the page."""
    bases: int = 5
    """Independently trained bases that claims are tested on; one more chooses the rates."""
    seeds: int = 2
    """Runs of an arm on each base, seeds 0 to seeds - 1."""
    rates: tuple[float, ...] = (3e-5, 1e-4, 3e-4, 1e-3)
    """Learning rates that every arm chooses from, on the selection set."""
    selection: int = 128
    """Problems on which rates are chosen, behind the held-out ones."""
    documents: int = 600_000
    """Documents of each base's corpus."""
    pretraining: int = 2400
    """Updates of each base's pre-training."""
    model: str = ""
    """Stands for every base (a model directory, or embedded): to try the runs without the bases."""
    zero: RLConfig = ZERO
    """Every reinforcement learning, but for what a claim changes."""
    sft: SFTConfig = replace(
        sft.PRESETS["demo"],
        eval_every=0,
        export=False,
        train=replace(sft.PRESETS["demo"].train, rows=16),
        checkpoint=CheckpointConfig(every=0, keep=1),
    )
    """Every supervised training, but for data and what a claim changes."""
    cold_start: ColdStartConfig = replace(
        cold_start_data.PRESETS["demo"], batch=128, workers=1, rollout=_SHAPES
    )
    """Cold-start data."""
    rejection: RejectionConfig = replace(
        rejection.PRESETS["demo"],
        batch=128,
        workers=1,
        rollout=_SHAPES,
        balance=BalanceConfig(per_prompt=4, easy_share=1.0),
    )
    """Samples of a teacher."""
    reward_model: RewardModelConfig = replace(
        reward_models.PRESETS["demo"],
        eval_every=0,
        train=replace(reward_models.PRESETS["demo"].train, rows=16),
        checkpoint=CheckpointConfig(every=0, keep=1),
    )
    """The proxies of claim h."""
    pairs: tuple[int, ...] = (200, 2000, 20_000)
    """Pairs that the proxies of claim h learn from."""
    labels: labels.Config = labels.Config(
        prompts=512, batch=128, workers=1, rollout=_SHAPES, data=TrainDataConfig(template="mini")
    )
    """Labels of the steps of claim n."""
    step_model: RewardModelConfig = replace(
        reward_model, kind="process", data=PreferenceConfig(template="mini")
    )
    """The process reward models of claim n."""
    search: SearchRunConfig = replace(
        SEARCH["demo"],
        prompts=512,
        batch=256,
        workers=1,
        export=False,
        rollout=_SHAPES,
        train=replace(SEARCH["demo"].train, rows=48),
    )
    """The rounds of search of claim o."""

    def __post_init__(self) -> None:
        """Raises UserError on values that make no study."""
        super().__post_init__()
        check_ranges(
            self, "--", bases="[1,]", selection="[1,]", documents="[1,]", pretraining="[1,]"
        )
        if not self.rates or min(self.rates) <= 0:
            raise UserError(f"--rates {self.rates}: name learning rates above 0")

    @property
    def places(self) -> tuple[str, ...]:
        """Directories whose own names say nothing of a run."""
        return (*super().places, str(Path(self.bases_in)))
