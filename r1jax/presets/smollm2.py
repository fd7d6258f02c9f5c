"""SmolLM2-135M-Instruct, a real language model of a size for one accelerator; all of it is ours.

Its chat template stays as it is and says nothing of tags: the base never writes the strict envelope
there, and a reward that nobody earns teaches nothing. Answers are read leniently.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.checkpoint import CheckpointConfig
from r1jax.data import DataConfig
from r1jax.losses import PRESETS as LOSSES
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import (
    EvalSchedule,
    RLConfig,
    RolloutConfig,
    TrainConfig,
)
from r1jax.training.rl.reward import RewardConfig

# A fifth or less of the answers is right, and half of the problems are solved in eight tries.
PRODUCTS = "reasoning_gym:products?min_digits=1&max_digits=2"
SUMS = "reasoning_gym:chain_sum?min_terms=2&max_terms=2&min_digits=1&max_digits=2"
TASKS = (PRODUCTS, SUMS)
"""What is trained."""

TRANSFER = (
    "reasoning_gym:basic_arithmetic?min_terms=2&max_terms=2&min_digits=1&max_digits=1",
    "reasoning_gym:chain_sum?min_terms=3&max_terms=3&min_digits=1&max_digits=1",
)
"""What is like it and never trained."""

FORGETTING = ("reasoning_gym:letter_counting",)
"""What has nothing to do with it."""

ZERO = RLConfig(
    run="runs/smollm2-zero",
    model="smollm2",
    updates=60,
    data=DataConfig(
        template="chat", train=TASKS, eval=TASKS + TRANSFER + FORGETTING, eval_count=64
    ),
    rollout=RolloutConfig(
        prompts=32, group=16, max_prompt=160, max_tokens=96, slots=512, prefill=32,
        dtype="bfloat16",
    ),
    reward=RewardConfig(accuracy=1.0, format=0.0, workers=2),
    loss=LOSSES["research"],
    optimizer=OptimizerConfig(lr=1e-5, warmup=5),  # of 1e-5, 5e-5 and 1e-4 the best
    train=TrainConfig(rows=32, width=512, max_segments=16, dtype="bfloat16", remat="dots"),
    eval=EvalSchedule(every=20, samples=8, greedy=False),
    checkpoint=CheckpointConfig(every=30, keep=1),
)  # fmt: skip

# Shortened for two CPU cores: a taste, no study.
ZERO_CPU = replace(
    ZERO,
    run="runs/smollm2-zero-cpu",
    updates=20,
    data=replace(ZERO.data, train=(SUMS,), eval=(SUMS,), eval_count=32),
    rollout=replace(
        ZERO.rollout, prompts=8, group=8, max_tokens=48, slots=64, prefill=8, dtype="float32"
    ),
    reward=replace(ZERO.reward, workers=0),
    optimizer=OptimizerConfig(lr=3e-5, warmup=2),
    train=replace(ZERO.train, rows=4, width=256, dtype="float32", remat="none"),
    eval=EvalSchedule(every=10, samples=4, greedy=False),
    checkpoint=CheckpointConfig(every=10, keep=1),
)
