"""Named settings of whole runs; where a number comes from stands beside it.

A project's preset is what its own defaults or scripts would do: algorithm, batch, lengths,
optimizer. Problems and prompt are the user's; rows, widths, slots and evaluation are ours
throughout. Projects are quoted as in `r1jax.losses.presets`.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.checkpoint import CheckpointConfig
from r1jax.data.config import DataConfig
from r1jax.losses import PRESETS as LOSSES
from r1jax.models.lora import LoraConfig
from r1jax.presets import smollm2
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import (
    EvalSchedule,
    RLConfig,
    RolloutConfig,
    TrainConfig,
)
from r1jax.training.rl.reward import RewardConfig

# DeepSeek-R1-Zero's numbers, for whoever has the machines.
_R1_ZERO = RLConfig(
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
    eval=EvalSchedule(samples=16, temperature=0.6, top_p=0.95),  # paper (D.1; fig. 1)
)

_GSM8K_TRAIN = ("hf:openai/gsm8k?split=train&config=main",)
_GSM8K_TEST = ("hf:openai/gsm8k?split=test&config=main",)

PRESETS: dict[str, RLConfig] = {
    # What a careful user would want on one large GPU; everything here is ours.
    "research": RLConfig(
        updates=500,
        look=64,
        data=DataConfig(eval_count=256),
        rollout=RolloutConfig(
            prompts=32, group=8, max_prompt=512, max_tokens=1024, slots=256, dtype="bfloat16"
        ),
        reward=RewardConfig(accuracy=1.0, format=0.1),
        loss=LOSSES["research"],
        optimizer=OptimizerConfig(lr=1e-6),
        train=TrainConfig(rows=8, width=2048, dtype="bfloat16", remat="dots"),
    ),
    "r1-zero": _R1_ZERO,
    # R1's first reinforcement learning, from the cold-start checkpoint.
    "r1-stage1": replace(
        _R1_ZERO,
        updates=4000,  # ours: not given
        reward=RewardConfig(
            accuracy=1.0,  # paper (3.2.1)
            language=1.0,  # paper (3.2.1): added directly
            format=0.0,  # inferred: the final reward is said to be these two
        ),
        loss=LOSSES["r1-stage1"],
    ),
    # GRPOTrainer with GRPOConfig as it comes, on one device.
    "trl": RLConfig(
        updates=500,  # ours: theirs is epochs
        rollout=RolloutConfig(
            prompts=1,  # TRL: per_device_train_batch_size 8 / num_generations 8
            group=8,  # TRL: num_generations
            temperature=1.0,  # TRL: temperature
            max_prompt=512,  # ours: not limited there
            max_tokens=256,  # TRL: max_completion_length
            slots=8,
            dtype="bfloat16",  # TRL: bf16
        ),
        reward=RewardConfig(accuracy=1.0, format=0.0),  # ours: the user's own there
        loss=LOSSES["trl"],
        optimizer=OptimizerConfig(
            lr=1e-6,  # TRL: learning_rate
            schedule="linear",  # TRL: lr_scheduler_type
            final=0.0,  # TRL: linear ends at 0
            b2=0.999,  # TRL: adam_beta2
        ),
        train=TrainConfig(rows=8, width=768, dtype="bfloat16", remat="dots"),
    ),
    # ppo_trainer.yaml with adv_estimator=grpo and the group of its GRPO examples.
    "verl": RLConfig(
        updates=500,  # ours: theirs is 30 epochs
        rollout=RolloutConfig(
            prompts=1024,  # verl: train_batch_size
            group=5,  # verl: rollout.n of its GRPO examples; the default 1 is no group
            temperature=1.0,  # verl: temperature
            max_prompt=512,  # verl: max_prompt_length
            max_tokens=512,  # verl: max_response_length
            slots=512,
            dtype="bfloat16",  # verl: rollout.dtype
        ),
        reward=RewardConfig(accuracy=1.0, format=0.0),  # verl: its rule scores are 1 or 0
        loss=LOSSES["verl"],
        optimizer=OptimizerConfig(
            lr=1e-6,  # verl: optim.lr
            b2=0.999,  # verl: torch's
            weight_decay=0.01,  # verl: weight_decay
        ),
        train=TrainConfig(
            updates_per_rollout=4,  # verl: ppo_mini_batch_size 256 of 1,024 prompts
            rows=8,
            width=2048,
            dtype="bfloat16",
            remat="dots",
        ),
    ),
    # arXiv 2503.14476 and the script of its 32B run.
    "dapo": RLConfig(
        updates=1600,  # ours: 100 rollouts
        rollout=RolloutConfig(
            prompts=512,  # paper (4.1)
            group=16,  # paper (4.1)
            temperature=1.0,  # code
            max_rounds=30,  # code: at most 10 draws of 1,536 prompts
            max_prompt=2048,  # code
            max_tokens=20_480,  # paper (4.1): 16,384 expected and 4,096 of cache
            slots=512,
            dtype="bfloat16",
        ),
        reward=RewardConfig(
            accuracy=2.0,  # paper (2.4): +1 / -1; the group's mean takes the offset away
            format=0.0,  # paper: none
            overlong=1.0,  # paper (3.4), eq. 13; code: penalty_factor
            overlong_cache=4096,  # paper (4.1)
        ),
        loss=LOSSES["dapo"],
        optimizer=OptimizerConfig(
            lr=1e-6,  # paper (4.1)
            warmup=320,  # paper (4.1): 20 rollouts, of 16 updates each
            b2=0.999,  # code: torch's
            weight_decay=0.1,  # code
        ),
        train=TrainConfig(
            updates_per_rollout=16,  # paper (4.1): mini-batches of 512
            rows=1,
            width=22_528,
            dtype="bfloat16",
        ),
        eval=EvalSchedule(samples=32, temperature=1.0, top_p=0.7),  # paper (4.1)
    ),
    # arXiv 2503.20783 and examples/qwen2.5-math-7b.sh.
    "dr_grpo": RLConfig(
        updates=1600,  # ours; code: 20 passes over 8,523 problems
        data=DataConfig(prefill=" <think>"),  # code: its R1 template opens the tag itself
        rollout=RolloutConfig(
            prompts=128,  # code: rollout_batch_size
            group=8,  # code: num_samples
            temperature=1.0,  # code: temperature
            max_prompt=1024,  # code: prompt_max_length
            max_tokens=3000,  # code: generate_max_length
            stop=("</answer>",),  # code: its R1 template stops there
            slots=512,
            dtype="bfloat16",  # code: --bf16
        ),
        reward=RewardConfig(accuracy=1.0, format=0.0),  # code: 1 / 0, no format reward
        loss=LOSSES["dr_grpo"],
        optimizer=OptimizerConfig(lr=1e-6, b2=0.999),  # code; betas: torch's
        train=TrainConfig(
            updates_per_rollout=8,  # inferred: train_batch_size 128 of 128 x 8
            rows=4,
            width=4096,
            dtype="bfloat16",
        ),
        eval=EvalSchedule(samples=1, temperature=0.0, top_p=1.0),  # code: eval_temperature
    ),
    # R1-Zero on GSM8K, all weights of a 1.5B base on one device of 80 GB; all of it is ours, save
    # that the prompt and what is rewarded are the paper's.
    "gsm8k-zero": RLConfig(
        run="runs/gsm8k_zero",
        updates=400,
        look=64,
        stop_on_collapse=True,
        data=DataConfig(train=_GSM8K_TRAIN, eval=_GSM8K_TEST, eval_count=256),
        rollout=RolloutConfig(
            prompts=32,
            group=8,
            max_prompt=512,
            max_tokens=768,
            stop=("</answer>",),  # a base goes on with further turns of the conversation
            slots=256,
            dtype="bfloat16",
        ),
        reward=RewardConfig(accuracy=1.0, format=0.1),
        loss=LOSSES["research"],
        optimizer=OptimizerConfig(lr=1e-6, warmup=10),
        train=TrainConfig(rows=8, width=1536, dtype="bfloat16", remat="dots"),
        eval=EvalSchedule(every=25, samples=4),
    ),
    # GSM8K with low-rank factors, sized so that 7B fits one device of 80 GB; all of it is ours.
    "gsm8k-lora": RLConfig(
        run="runs/gsm8k_lora",
        updates=500,
        look=64,
        data=DataConfig(train=_GSM8K_TRAIN, eval=_GSM8K_TEST, eval_count=256),
        rollout=RolloutConfig(
            prompts=16, group=8, max_prompt=512, max_tokens=1024, slots=128, dtype="bfloat16"
        ),
        reward=RewardConfig(accuracy=1.0, format=0.1),
        loss=LOSSES["research"],
        lora=LoraConfig(rank=32, alpha=64.0),
        optimizer=OptimizerConfig(lr=2e-5, warmup=10),
        train=TrainConfig(rows=4, width=2048, dtype="bfloat16", remat="full", chunk=256),
        eval=EvalSchedule(every=50, samples=4),
    ),
    "smollm2-zero": smollm2.ZERO,
    "smollm2-zero-cpu": smollm2.ZERO_CPU,
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
        # Micro-batches that stay in a CPU's cache: an eighth faster than three times as many rows.
        train=TrainConfig(rows=2, width=192, max_segments=8, remat="none", unroll=4, chunk=96),
        eval=EvalSchedule(every=15, samples=16),
        checkpoint=CheckpointConfig(every=15),
    ),
}

# Objectives of which no whole run is told: the loss is theirs, all else that of research.
PRESETS |= {
    name: replace(PRESETS["research"], loss=loss)
    for name, loss in LOSSES.items()
    if name not in PRESETS
}
