"""Published small reproductions of R1-Zero as whole runs; each number with its origin.

paper, code: what the project published (commits below); copy: read in public copies; inferred: our
reading of it; ours: our choice. TinyZero and SimpleRL v0 trained with PPO. GRPO here is ours: the
prompts, data and rewards are theirs, the estimator of the advantage is not.

Jiayi-Pan/TinyZero 95df88f; hkust-nlp/simpleRL-reason e49ee66 (v0) and cf1c785 (Zoo, 2503.18892);
huggingface/open-r1 1416fa0; gist willccbb/4676755236bb08cab5f4e54a0475d6fb. Rows, widths, slots,
precision and evaluation are ours throughout.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.data.config import DataConfig
from r1jax.losses import GRPO
from r1jax.losses import PRESETS as LOSSES
from r1jax.rewards.will_brown import SYSTEM as WILL_BROWN_SYSTEM
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import (
    EvalSchedule,
    RLConfig,
    RolloutConfig,
    TrainConfig,
)
from r1jax.training.rl.reward import RewardConfig

OPEN_R1_SYSTEM = (
    "You are a helpful AI Assistant that provides well-reasoned and detailed responses. You first "
    "think about the reasoning process as an internal monologue and then provide the user with the "
    "answer. Respond in the following format: <think>\n...\n</think>\n<answer>\n...\n</answer>"
)

_JUDGED = EvalSchedule(every=50, samples=4)  # ours


def _reward(*terms: str) -> RewardConfig:
    """Published terms in place of the project's own."""
    return RewardConfig().only(user=tuple(f"r1jax.rewards.{t}" for t in terms))


_TINYZERO = RLConfig(
    run="runs/tinyzero_countdown",
    updates=800,  # ours: 200 rollouts; code: 15 epochs of 327,680 problems, never run to the end
    data=DataConfig(
        train=("tinyzero:countdown",),  # ours: generated; code: hf:Jiayi-Pan/Countdown-Tasks-3to4
        eval=("tinyzero:countdown",),
        eval_count=256,  # ours; code: 1,024
        template="tinyzero",  # code: countdown.py, template_type base
    ),
    rollout=RolloutConfig(
        prompts=32,  # ours: 256 completions a rollout, as theirs, but in groups
        group=8,  # ours; code: n = 1 with a critic
        temperature=1.0,  # code: verl's default
        max_prompt=256,  # code: max_prompt_length
        max_tokens=1024,  # code: max_response_length
        slots=256,
        dtype="bfloat16",
    ),
    reward=_reward("tinyzero:countdown"),  # code: 0 / 0.1 / 1
    loss=GRPO(
        advantage_std="unbiased",  # ours: GRPO as in verl
        reduction="token_mean",  # code: verl's masked mean
        clip_low=0.2,  # code: verl's default
        clip_high=0.2,  # code: as above
        beta=0.001,  # code: algorithm.kl_ctrl.kl_coef
        kl_estimator="k1",  # code: verl's default kl_penalty
        kl_as="return",  # code: in the reward of each token; what follows a token counts for it
        importance_cap=None,  # code: none
    ),
    optimizer=OptimizerConfig(lr=1e-6, b2=0.999, weight_decay=0.01),  # code; betas, decay: torch's
    train=TrainConfig(
        updates_per_rollout=4,  # code: ppo_mini_batch_size 64 of 256
        rows=8,
        width=1280,
        dtype="bfloat16",
        remat="dots",
    ),
    eval=_JUDGED,
)

_ZOO = RLConfig(
    run="runs/simplerl",
    updates=400,  # paper: about 100 steps, each of 4 updates
    data=DataConfig(
        train=("hf:hkust-nlp/SimpleRL-Zoo-Data?split=train",),  # code: 8K per level; or a file
        eval=("hf:HuggingFaceH4/MATH-500?split=test",),  # paper: one of its sets
        template="qwen_boxed",  # code: qwen-boxed; abel for weak bases
    ),
    rollout=RolloutConfig(
        prompts=1024,  # code: train_batch_size of the README's commands
        group=8,  # code: rollout_n
        temperature=1.0,  # code: TEMPERATURE
        max_prompt=1024,  # code: MAX_PROMPT_LENGTH
        max_tokens=8192,  # code: max_response_length of the README's commands
        slots=512,
        dtype="bfloat16",
    ),
    reward=_reward("simplerl:zoo"),  # code: hf_math_verify.compute_score, +1 / 0
    loss=GRPO(
        advantage_std="unbiased",  # code: verl
        reduction="token_mean",  # code: verl's masked mean
        clip_low=0.2,  # code: CLIP_RATIO
        clip_high=0.2,  # code: as above
        beta=1e-4,  # code: kl_loss_coef up to 14B; 1e-3 above
        kl_estimator="k3_clamped",  # code: low_var_kl
        entropy_bonus=0.001,  # code: ENTROPY_COEFFIENT
        importance_cap=None,  # code: none
    ),
    optimizer=OptimizerConfig(lr=5e-7, b2=0.999, weight_decay=0.01),  # code; betas, decay: torch's
    train=TrainConfig(
        updates_per_rollout=4,  # code: ppo_mini_batch_size 256 prompts of 1,024
        rows=1,
        width=9216,
        dtype="bfloat16",
        remat="full",
    ),
    eval=_JUDGED,
)

_OPEN_R1 = RLConfig(
    run="runs/openr1",
    updates=3300,  # inferred: one epoch of 93.7k problems, 28 at a time
    data=DataConfig(
        train=("hf:open-r1/OpenR1-Math-220k?split=train",),  # code: dataset_name; or a file
        eval=("hf:HuggingFaceH4/MATH-500?split=test",),  # ours
        template="chat",  # code: the tokenizer's
        system=OPEN_R1_SYSTEM,  # code: system_prompt
        prefill="",  # code: (b) of its note: <think> is the model's to write
    ),
    rollout=RolloutConfig(
        prompts=28,  # inferred: 7 processes x 16 x 4 accumulated / 16 generations
        group=16,  # code: num_generations
        temperature=1.0,  # code: TRL's default
        max_prompt=512,  # code: max_prompt_length
        max_tokens=1024,  # code: max_completion_length
        slots=448,
        dtype="bfloat16",
    ),
    # code: reward_funcs and reward_weights
    reward=_reward("open_r1:accuracy", "open_r1:format", "open_r1:tag_count"),
    loss=LOSSES["trl"],  # code: GRPOConfig's defaults
    optimizer=OptimizerConfig(
        lr=2e-5,  # code: learning_rate
        schedule="cosine",  # code: lr_scheduler_type
        warmup=330,  # code: warmup_ratio 0.1
        final=0.0,  # code: cosine ends at 0
        b2=0.999,  # code: torch's
    ),
    train=TrainConfig(rows=8, width=1536, dtype="bfloat16", remat="dots"),
    eval=_JUDGED,
)

REPRODUCTIONS: dict[str, RLConfig] = {
    "tinyzero-countdown": _TINYZERO,
    "tinyzero-multiply": replace(
        _TINYZERO,
        run="runs/tinyzero_multiply",
        data=DataConfig(
            train=("tinyzero:multiply",),  # code: multiply.py, up to 3 digits
            eval=("tinyzero:multiply",),
            eval_count=256,  # ours; code: 4,096
            template="tinyzero_multiply",  # code: multiply.py
        ),
        reward=_reward("tinyzero:multiply"),  # code: 0 / 0.1 / 1
    ),
    "simplerl-zoo": _ZOO,
    "simplerl-v0": replace(
        _ZOO,
        run="runs/simplerl_v0",
        updates=7680,  # inferred: about 120 rollouts of 64 updates
        data=replace(
            _ZOO.data,
            template="qwen_math_cot",  # inferred: its data file says only "qwen prompt"
        ),
        rollout=replace(
            _ZOO.rollout,
            temperature=0.6,  # code; its trainer scores at 1, ours at the same 0.6
            max_tokens=3000,  # code: generate_max_len
        ),
        reward=_reward("simplerl:v0"),  # code: 1 / -0.5 wrong / -1 no box
        loss=replace(
            _ZOO.loss,
            beta=0.01,  # code: init_kl_coef
            kl_estimator="k1",  # code: OpenRLHF's
            kl_as="return",  # code: in the reward of each token
            entropy_bonus=0.0,  # code: none
        ),
        train=replace(
            _ZOO.train,
            updates_per_rollout=64,  # code: train_batch_size 128 of 1,024 x 8
            width=4096,
        ),
    ),
    "openr1": _OPEN_R1,
    "openr1-distill": replace(
        _OPEN_R1,
        run="runs/openr1_distill",
        rollout=replace(_OPEN_R1.rollout, temperature=0.7, max_tokens=2048),  # code
        optimizer=replace(_OPEN_R1.optimizer, lr=1e-6, final=0.1),  # code: min_lr_rate 0.1
        train=replace(_OPEN_R1.train, width=2560),
    ),
    "will-brown": RLConfig(
        run="runs/will_brown",
        updates=1868,  # ours: one epoch of 7,473 problems, 4 at a time
        data=DataConfig(
            train=("hf:openai/gsm8k?split=train&config=main",),  # copy; or a file
            eval=("hf:openai/gsm8k?split=test&config=main",),  # ours
            template="chat",  # copy: the tokenizer's
            system=WILL_BROWN_SYSTEM,  # copy
        ),
        rollout=RolloutConfig(
            prompts=4,  # ours: as the gist is remembered, not checked
            group=16,  # copy: num_generations
            temperature=0.9,  # inferred: TRL's default of the time
            max_prompt=256,  # copy: max_prompt_length
            max_tokens=786,  # ours: as the gist is remembered, not checked
            slots=64,
            dtype="bfloat16",
        ),
        reward=_reward(  # copy: in this order
            "will_brown:xmlcount",
            "will_brown:soft_format",
            "will_brown:strict_format",
            "will_brown:integer",
            "will_brown:correctness",
        ),
        loss=GRPO(
            advantage_std="unbiased",  # inferred: TRL's of the time
            advantage_epsilon=1e-4,  # inferred: as above
            reduction="sequence_mean",  # inferred: as above
            clip_low=0.2,  # inferred: as above; one update per rollout, so it never binds
            clip_high=0.2,  # inferred: as above
            beta=0.04,  # inferred: as above
            importance_cap=None,  # inferred: as above
        ),
        optimizer=OptimizerConfig(
            lr=5e-6,  # copy
            schedule="cosine",  # copy
            warmup=187,  # copy: warmup_ratio 0.1
            final=0.0,  # copy: cosine ends at 0
            b1=0.9,  # copy
            b2=0.99,  # copy
            weight_decay=0.1,  # copy
            clip=0.1,  # copy: max_grad_norm
        ),
        train=TrainConfig(rows=4, width=1280, dtype="bfloat16", remat="dots"),
        eval=_JUDGED,
    ),
}
