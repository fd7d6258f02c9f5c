"""Settings of rejection sampling; where a number comes from stands beside it."""

from __future__ import annotations

from r1jax.data import TrainDataConfig
from r1jax.data.curation.filters import FilterConfig
from r1jax.rollout.engine import EngineConfig
from r1jax.stages.rejection import RejectionConfig

PRESETS: dict[str, RejectionConfig] = {
    # A real model on one large accelerator; everything here is ours.
    "research": RejectionConfig(
        prompts=20_000,
        batch=128,
        dtype="bfloat16",
        rollout=EngineConfig(slots=256, max_prompt=512, max_tokens=4096),
    ),
    # A checkpoint of the embedded base on two CPU cores; everything here is ours.
    "demo": RejectionConfig(
        prompts=1024,
        samples=4,
        workers=2,
        data=TrainDataConfig(template="mini"),
        rollout=EngineConfig(slots=64, prefill=8, max_prompt=64, max_tokens=128),
        filters=FilterConfig(strict=True, shortest=4),
    ),
}
