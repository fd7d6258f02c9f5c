"""Settings of the whole of R1; where a number comes from stands beside it."""

from __future__ import annotations

from dataclasses import replace

from r1jax.checkpoint import CheckpointConfig
from r1jax.data import DataConfig
from r1jax.data.examples.conversations import ConversationSettings
from r1jax.evaluate.measures import EvalConfig
from r1jax.presets import cold_start_data, rejection, reward_model, sft
from r1jax.presets.distill import PRESETS as STUDENTS
from r1jax.presets.zero import PRESETS as RL
from r1jax.run.flags import part
from r1jax.stages.cold_start import ColdStartSettings
from r1jax.stages.pipeline.config import GeneralConfig, R1Config
from r1jax.stages.rejection import RejectionSettings
from r1jax.stages.reward_model import JudgedSettings, PairwiseSettings
from r1jax.stages.supervised import SFTSettings
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLSettings
from r1jax.training.rl.reward import RewardConfig

_CHAINS = part(ColdStartSettings, cold_start_data.PRESETS["research"])

# --- the paper's -----------------------------------------------------------------------------

_PAPER_STAGE1 = part(RLSettings, RL["r1-stage1"])
_PAPER_SFT = part(SFTSettings, sft.PRESETS["r1"])
_PAPER_JUDGE = part(PairwiseSettings, reward_model.PRESETS["r1"])

PAPER = R1Config(
    run="runs/r1-paper",
    students=tuple(STUDENTS),  # paper (2.4)
    data=DataConfig(eval_count=500),  # ours
    general=GeneralConfig(
        last=400 / 1700,  # paper (v2 3.2.2): the last 400 of 1,700 steps
        share=0.5,  # ours: not given
    ),
    eval=EvalConfig(samples=16),  # paper (D.1)
    zero=part(RLSettings, RL["r1-zero"]),
    cold_start_data=replace(
        _CHAINS,  # paper (v2 3): thousands of prompts, T 1
        rewriter="endpoint",  # paper (v2 3): a model makes R1-Zero's outputs readable
    ),
    cold_start=_PAPER_SFT,
    reasoning_rl=_PAPER_STAGE1,
    rejection=replace(
        part(RejectionSettings, rejection.PRESETS["research"]),
        prompts=150_000,  # inferred: 600k samples at 4 kept a prompt
        samples=16,  # ours: "several"
    ),
    general_sft=_PAPER_SFT,
    helpfulness=_PAPER_JUDGE,
    safety=part(JudgedSettings, _PAPER_JUDGE),
    general_rl=replace(
        _PAPER_STAGE1,
        updates=1700,  # paper (v2 3.2.2)
        rollout=replace(_PAPER_STAGE1.rollout, temperature=0.7),  # paper (v2 3.2.2)
        reward=RewardConfig(
            accuracy=1.0,  # paper (v2 eq. 8): rules where there are rules
            format=1.0,  # paper (v2 eq. 10): beside the reward models; inferred for the rest
            language=1.0,  # paper (v2 eq. 8)
        ),
    ),
    distill=part(SFTSettings, STUDENTS["qwen-1.5b"]),  # each student has its own learning rate
)

# --- one large device ------------------------------------------------------------------------

_RESEARCH_RL = replace(
    part(RLSettings, RL["research"]),
    look=0,  # the base is looked at once, by the first stage
    rollout=replace(RL["research"].rollout, max_tokens=1024, group=8),
)
_RESEARCH_SFT = part(SFTSettings, sft.PRESETS["research"])
_RESEARCH_JUDGE = part(PairwiseSettings, reward_model.PRESETS["research"])

RESEARCH = R1Config(
    data=DataConfig(eval_count=256),
    zero=replace(_RESEARCH_RL, look=64),
    # Without a model to rewrite them, R1-Zero's outputs that the filters find readable.
    cold_start_data=replace(_CHAINS, rewriter="none"),
    cold_start=_RESEARCH_SFT,
    reasoning_rl=replace(
        _RESEARCH_RL, reward=replace(_RESEARCH_RL.reward, language=0.2), updates=300
    ),
    rejection=part(RejectionSettings, rejection.PRESETS["research"]),
    general_sft=_RESEARCH_SFT,
    helpfulness=_RESEARCH_JUDGE,
    safety=part(JudgedSettings, _RESEARCH_JUDGE),
    general_rl=replace(
        _RESEARCH_RL,
        rollout=replace(_RESEARCH_RL.rollout, temperature=0.7),
        reward=replace(_RESEARCH_RL.reward, language=0.2),
        updates=200,
    ),
    distill=_RESEARCH_SFT,
)

# --- two CPU cores ---------------------------------------------------------------------------

_DEMO_RL = replace(
    part(RLSettings, RL["demo"]),
    eval=EvalSchedule(every=10, samples=4, greedy=False),
    checkpoint=CheckpointConfig(every=10),
)
_DEMO_LATER_RL = replace(
    _DEMO_RL,
    reward=replace(_DEMO_RL.reward, format=0.3, language=1.0),  # paper (v2 3.2.1): added directly
    optimizer=OptimizerConfig(lr=1.5e-4, warmup=5),
)
_DEMO_SFT = replace(
    part(SFTSettings, sft.PRESETS["demo"]),
    data=ConversationSettings(too_long="drop"),
    batch=32,
    epochs=3,
    eval_every=0,
    optimizer=OptimizerConfig(lr=4e-4, schedule="cosine", warmup=5),
)
_DEMO_JUDGE = replace(
    part(PairwiseSettings, reward_model.PRESETS["demo"]),
    eval_every=0,
    optimizer=OptimizerConfig(lr=3e-4, schedule="cosine", warmup=5),
)

DEMO = R1Config(
    run="runs/r1-demo",
    budget_minutes=15,
    students=("qwen=embedded:student-qwen", "llama=embedded:student-llama"),
    data=DataConfig(template="mini", eval_count=96),
    general=GeneralConfig(
        sft=("world",),
        sft_count=448,
        prompts=("general:helpful,unsafe,safe",),
        helpfulness=("world",),
        safety=("world",),
        judged_count=1000,
        helpfulness_weight=0.5,
        safety_weight=0.5,
        last=0.4,
    ),
    eval=EvalConfig(samples=16, greedy=False),
    zero=replace(_DEMO_RL, updates=24),
    cold_start_data=replace(part(ColdStartSettings, cold_start_data.PRESETS["demo"]), prompts=128),
    cold_start=_DEMO_SFT,
    reasoning_rl=replace(_DEMO_LATER_RL, updates=20),
    rejection=replace(part(RejectionSettings, rejection.PRESETS["demo"]), prompts=576),
    general_sft=_DEMO_SFT,
    helpfulness=_DEMO_JUDGE,
    safety=part(JudgedSettings, _DEMO_JUDGE),
    general_rl=replace(
        _DEMO_LATER_RL,
        updates=24,
        rollout=replace(_DEMO_RL.rollout, temperature=0.7),  # paper (v2 3.2.2)
        optimizer=_DEMO_RL.optimizer,
    ),
    distill=replace(
        _DEMO_SFT, epochs=8, optimizer=OptimizerConfig(lr=5e-4, schedule="cosine", warmup=5)
    ),
)

PRESETS: dict[str, R1Config] = {"research": RESEARCH, "paper": PAPER, "demo": DEMO}
