"""Named settings of whole runs; where a number comes from stands beside it."""

from __future__ import annotations

from r1jax.checkpoint import CheckpointConfig
from r1jax.data.config import DataConfig
from r1jax.evaluate import EvalConfig
from r1jax.losses import PRESETS as LOSSES
from r1jax.training.config import RewardConfig, RLConfig, RolloutConfig, TrainConfig
from r1jax.training.optimizer import OptimizerConfig

PRESETS: dict[str, RLConfig] = {
    # What a careful user would want on one large GPU; everything here is ours.
    "research": RLConfig(
        updates=500,
        data=DataConfig(eval_count=256),
        rollout=RolloutConfig(
            prompts=32, group=8, max_prompt=512, max_tokens=1024, slots=256, dtype="bfloat16"
        ),
        reward=RewardConfig(accuracy=1.0, format=0.1),
        loss=LOSSES["research"],
        optimizer=OptimizerConfig(lr=1e-6),
        train=TrainConfig(rows=8, width=2048, dtype="bfloat16", remat="dots"),
    ),
    # DeepSeek-R1-Zero's numbers, for whoever has the machines.
    "r1-zero": RLConfig(
        updates=10_400,  # paper (2.1): 10,400 steps, a step being one update
        rollout=RolloutConfig(
            prompts=512,  # inferred (2.1): 8,192 outputs at 16 each
            group=16,  # paper (2.1)
            temperature=1.0,  # paper (2.1)
            max_tokens=32_768,  # paper (2.1): before step 8.2k, 65,536 after
            max_prompt=2048,  # ours: not given
            slots=512,  # ours: not given
            dtype="bfloat16",  # ours: not given
        ),
        reward=RewardConfig(accuracy=1.0, format=1.0),  # paper (2.2): the same weight
        loss=LOSSES["r1-zero"],
        optimizer=OptimizerConfig(lr=3e-6),  # paper (2.1); optimizer and clipping are ours
        train=TrainConfig(
            updates_per_rollout=16,  # paper (2.1): 16 mini-batches of 512, one inner epoch
            reference_every=400,  # paper (2.1)
            rows=1,  # ours
            width=34_816,  # ours: prompt and completion
            dtype="bfloat16",  # ours: not given
            remat="full",  # ours
        ),
        eval=EvalConfig(samples=16, temperature=0.6, top_p=0.95),  # paper (D.1; fig. 1)
    ),
    # The embedded base on two CPU cores, in minutes; everything here is ours.
    "demo": RLConfig(
        run="runs/demo",
        updates=60,
        data=DataConfig(template="mini", eval_count=256),
        rollout=RolloutConfig(
            prompts=32, group=8, max_prompt=64, max_tokens=128, slots=64, prefill=8
        ),
        reward=RewardConfig(accuracy=1.0, format=0.3, workers=2),
        loss=LOSSES["demo"],
        optimizer=OptimizerConfig(lr=1e-4, warmup=5),
        train=TrainConfig(rows=6, width=192, max_segments=8, remat="none", unroll=4, chunk=192),
        eval=EvalConfig(every=15, samples=16),
        checkpoint=CheckpointConfig(every=15),
    ),
}
