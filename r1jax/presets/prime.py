"""PRIME as its authors and verl's recipe ran it; where each number comes from stands beside it.

code and ours as in `r1jax.presets.reproductions`; PRIME-RL/PRIME 18ad596 (arXiv 2502.01456) and
verl-project/verl-recipe 48ea0a7. Both start from PRIME-RL/Eurus-2-7B-SFT; what either asks for and
never reads (PRIME's rm_coef 5, the recipe's KL in the reward) is left out.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.losses import GRPO, PrimeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig, RolloutConfig, TrainConfig
from r1jax.training.rl.reward import RewardConfig

_PRIME = RLConfig(
    run="runs/prime",
    updates=2400,  # ours: not read
    rollout=RolloutConfig(
        prompts=256,  # code: train_batch_size
        group=4,  # code: n_samples
        temperature=1.0,  # code: temperature
        max_prompt=1024,  # code: max_prompt_length
        max_tokens=3072,  # code: max_response_length
        max_rounds=8,  # ours; code: refilled without end, and surplus prompts asked again
        accuracy_low=0.2,  # code: accuracy_lower_bound
        accuracy_high=0.8,  # code: accuracy_upper_bound
        slots=512,  # ours
        dtype="bfloat16",  # code: dtype
    ),
    reward=RewardConfig(accuracy=1.0, format=0.0),  # code: the verifier's 0 or 1, weighing 1
    loss=GRPO(
        advantage_baseline="others",  # code: adv_estimator rloo
        advantage_std="none",  # code: none beside the whitening
        advantage_whiten=True,  # code: masked_whiten
        reduction="token_mean",  # code: masked_mean
        clip_low=0.2,  # code: clip_ratio
        clip_high=0.2,  # code: as above
        beta=0.0,  # code: kl_coef 0
        entropy_bonus=0.0,  # code: entropy_coeff 0
        importance_cap=None,  # code: none
    ),
    prime=PrimeConfig(
        weight=1.0,  # code: both returns are added as they are
        beta=0.05,  # code: beta_train
        lr=1e-6,  # code: prime_model.optim.lr
        clip=10.0,  # code: prime_model.optim.grad_clip
        parts=4,  # code: mini_batch_size 256 of 256 x 4
        update="after",  # code: update
        norm="batch",  # code: prime_norm batch_norm, there on each worker's share
        times_beta=False,  # code: compute_implicit_reward gives q
        last_token=True,  # code: as above
    ),
    optimizer=OptimizerConfig(
        lr=5e-7,  # code: actor.optim.lr
        b2=0.999,  # code: torch's
        weight_decay=0.01,  # code: torch's
        clip=1.0,  # code: grad_clip
    ),
    train=TrainConfig(
        updates_per_rollout=4,  # code: ppo_mini_batch_size 256 of 256 x 4
        rows=1,  # ours
        width=4096,  # ours: prompt and completion
        dtype="bfloat16",  # code: autocast
        remat="full",  # ours
    ),
    eval=EvalSchedule(every=64, samples=4),  # ours; code: test_freq 16 rollouts
)

PRIME: dict[str, RLConfig] = {
    "prime": _PRIME,
    "prime-verl": replace(
        _PRIME,
        run="runs/prime_verl",
        updates=600,  # ours: not read
        rollout=replace(
            _PRIME.rollout,
            prompts=64,  # code: train_batch_size of the script
            max_rounds=4,  # code: oversample_factor 4, there drawn at once, and cut groups last
        ),
        reward=RewardConfig(accuracy=5.0, format=0.0),  # code: reward_gt_coef
        loss=replace(
            _PRIME.loss,
            dual_clip=3.0,  # code: clip_ratio_c, verl's default
            entropy_bonus=0.001,  # code: entropy_coeff
        ),
        prime=replace(
            _PRIME.prime,
            weight=5.0,  # code: reward_dpo_coef
            parts=4,  # code: mini_batch_size 64 of 64 x 4
            update="before",  # code: update
            times_beta=True,  # code: r = q * beta
            last_token=False,  # code: token_level_score ends one before the last
        ),
        train=replace(
            _PRIME.train,
            updates_per_rollout=1,  # code: ppo_mini_batch_size 64, which verl multiplies by n
        ),
    ),
}
