"""Settings of supervised fine-tuning; where a number comes from stands beside it."""

from __future__ import annotations

from r1jax.stages.supervised import SFTConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig

PRESETS: dict[str, SFTConfig] = {
    # A real model on one large accelerator; everything here is ours.
    "research": SFTConfig(
        optimizer=OptimizerConfig(lr=1e-5, schedule="cosine", warmup=20),
        train=ComputeConfig(
            rows=4, width=4096, max_segments=16, dtype="bfloat16", remat="full", chunk=256
        ),
    ),
    # DeepSeek-R1's two supervised stages (cold start and the 800k samples).
    "r1": SFTConfig(
        epochs=2,  # paper (v1 2.3.3): two for the 800k; (v2 B.4.2): 2 to 3
        batch=128,  # paper (v2 B.4.2)
        optimizer=OptimizerConfig(
            lr=5e-5,  # paper (v2 B.4.2)
            schedule="cosine",  # paper (v2 B.4.2)
            final=0.1,  # paper (v2 B.4.2): to 5e-6
            warmup=0,  # ours: not given; as are Adam's decays, weight decay and clipping
        ),
        train=ComputeConfig(
            rows=1,  # ours
            width=32_768,  # paper (v2 B.4.2)
            max_segments=64,  # ours: packing is not given
            dtype="bfloat16",  # ours: not given
            remat="full",  # ours
            chunk=256,  # ours
        ),
    ),
    # The embedded base on two CPU cores, in a minute; everything here is ours.
    "demo": SFTConfig(
        run="runs/sft_demo",
        optimizer=OptimizerConfig(lr=1e-4, schedule="cosine", warmup=5),
        eval_every=20,
        train=ComputeConfig(rows=2, width=192, max_segments=8, remat="none", unroll=4, chunk=96),
    ),
}
