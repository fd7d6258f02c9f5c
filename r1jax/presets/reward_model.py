"""Settings of reward models; where a number comes from stands beside it."""

from __future__ import annotations

from r1jax.losses.preference import PairwiseConfig
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig

PRESETS: dict[str, RewardModelConfig] = {
    # A real model on one large accelerator; everything here is ours.
    "research": RewardModelConfig(
        epochs=1,
        batch=64,
        optimizer=OptimizerConfig(lr=1e-5, schedule="cosine", warmup=10),
        train=ComputeConfig(rows=4, width=4096, max_segments=16, dtype="bfloat16", remat="full"),
    ),
    # DeepSeek-R1's helpfulness model; with --kind pointwise its safety model.
    "r1": RewardModelConfig(
        epochs=1,  # paper (v2 3.1)
        batch=256,  # paper (v2 3.1)
        optimizer=OptimizerConfig(
            lr=6e-6,  # paper (v2 3.1)
            schedule="constant",  # ours: not given; as are Adam's decays and clipping
            warmup=0,  # ours: not given
        ),
        loss=PairwiseConfig(
            margin=0.0,  # inferred: the form of the pairwise loss is not given
            center=0.0,  # inferred
        ),
        train=ComputeConfig(
            rows=1,  # ours
            width=16_384,  # paper (v2 3.1): 8,192 a response; a row holds both of a pair
            max_segments=32,  # ours: packing is not given
            dtype="bfloat16",  # ours: not given
            remat="full",  # ours
        ),
    ),
    # The embedded base on two CPU cores; everything here is ours.
    "demo": RewardModelConfig(
        run="runs/reward_model_demo",
        epochs=1,
        batch=32,
        eval_every=20,
        optimizer=OptimizerConfig(lr=1e-4, schedule="cosine", warmup=5),
        train=ComputeConfig(rows=2, width=320, max_segments=8, remat="none", unroll=4),
    ),
}
