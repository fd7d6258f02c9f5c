"""Settings of direct preference optimisation; where a number comes from stands beside it."""

from __future__ import annotations

from r1jax.stages.dpo import DPORunConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig

PRESETS: dict[str, DPORunConfig] = {
    # A real model on one large accelerator; DeepSeek-R1 has no DPO, so everything here is ours.
    "research": DPORunConfig(
        epochs=1,
        batch=64,
        optimizer=OptimizerConfig(lr=5e-7, schedule="linear", warmup=20, final=0.0),
        train=ComputeConfig(
            rows=4, width=4096, max_segments=16, dtype="bfloat16", remat="full", chunk=256
        ),
    ),
    # The embedded base on two CPU cores.
    "demo": DPORunConfig(
        run="runs/dpo_demo",
        epochs=1,
        batch=32,
        eval_every=20,
        optimizer=OptimizerConfig(lr=1e-5, schedule="linear", warmup=5, final=0.0),
        train=ComputeConfig(rows=4, width=512, max_segments=12, remat="none", unroll=4, chunk=256),
    ),
}
