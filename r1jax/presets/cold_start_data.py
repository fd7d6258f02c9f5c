"""Settings of cold-start data; where a number comes from stands beside it."""

from __future__ import annotations

from r1jax.data.curation.filters import FilterConfig
from r1jax.presets import rejection
from r1jax.stages.cold_start import ColdStartConfig

_DEMO = rejection.PRESETS["demo"]

PRESETS: dict[str, ColdStartConfig] = {
    # A real R1-Zero on one large accelerator. Thousands of prompts and T 1: paper; the rest ours.
    "research": ColdStartConfig(
        prompts=5000,
        samples=4,
        batch=128,
        dtype="bfloat16",
        rollout=rejection.PRESETS["research"].rollout,
    ),
    # A checkpoint of the embedded base on two CPU cores; everything here is ours.
    "demo": ColdStartConfig(
        prompts=512,
        samples=4,
        workers=2,
        data=_DEMO.data,
        rollout=_DEMO.rollout,
        filters=FilterConfig(strict=True, shortest=4),
    ),
}
