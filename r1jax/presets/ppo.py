"""PPO with a critic as three projects ran it; where each number comes from stands beside it.

paper, code, inferred and ours as in `r1jax.presets.reproductions`; Open-Reasoner-Zero at 3fdd9a0.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.losses import GRPO, CriticConfig
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.config import EvalSchedule, RLConfig, RolloutConfig, TrainConfig
from r1jax.training.rl.reward import RewardConfig

_TINYZERO, _SIMPLERL = REPRODUCTIONS["tinyzero-countdown"], REPRODUCTIONS["simplerl-v0"]

PPO: dict[str, RLConfig] = {
    "ppo-tinyzero": replace(
        _TINYZERO,
        run="runs/ppo_tinyzero",
        rollout=replace(
            _TINYZERO.rollout,
            prompts=256,  # code: train_batch_size
            group=1,  # code: n
        ),
        loss=replace(
            _TINYZERO.loss,
            advantage_baseline="critic",  # code: adv_estimator gae
            advantage_std="none",  # code: none beside the whitening
            advantage_whiten=True,  # code: masked_whiten
            entropy_bonus=0.001,  # code: entropy_coeff
        ),
        critic=CriticConfig(
            lr=1e-5,  # code: critic.optim.lr
            warmup=0,  # code: critic_warmup
            clip=0.5,  # code: cliprange_value
            gamma=1.0,  # code: gamma
            lam=1.0,  # code: lam
        ),
    ),
    "ppo-simplerl": replace(
        _SIMPLERL,
        run="runs/ppo_simplerl",
        loss=replace(
            _SIMPLERL.loss,
            advantage_baseline="critic",  # code: OpenRLHF's PPO
            advantage_std="none",  # code: none beside the whitening
            advantage_whiten=True,  # code: over the replay buffer, there with the biased variance
            reduction="sequence_mean",  # code: of both losses
        ),
        critic=CriticConfig(
            lr=9e-6,  # code: critic_learning_rate
            clip=0.2,  # code: value_clip
            gamma=1.0,  # code: gamma
            lam=0.95,  # code: lambd
        ),
        optimizer=OptimizerConfig(
            lr=5e-7,  # code: actor_learning_rate
            schedule="cosine",  # code: cosine_with_min_lr
            warmup=230,  # code: 3 % of the updates
            final=0.1,  # code: to 10 %
            b1=0.9,  # code: adam_betas
            b2=0.95,  # code: as above
        ),
    ),
    "ppo-orz": RLConfig(
        run="runs/ppo_orz",
        updates=1000,  # ours: not read
        rollout=RolloutConfig(
            prompts=128,  # code: rollout_batch_size
            group=64,  # code: n_samples_per_prompt
            temperature=1.0,  # code: temperature
            max_prompt=2048,  # code: prompt_max_len
            max_tokens=8000,  # code: generate_max_len
            slots=512,  # ours
            dtype="bfloat16",  # ours: not read
        ),
        # code: 1 if right and ended; here a cut answer that names the right number counts as well
        reward=RewardConfig(accuracy=1.0, format=0.0),
        loss=GRPO(
            advantage_baseline="critic",  # code
            advantage_whiten=True,  # inferred: OpenRLHF's, on which it is built
            reduction="token_mean",  # inferred: not read
            clip_low=0.2,  # code: eps_clip
            clip_high=0.2,  # code: as above
            beta=0.0,  # code: no KL
            importance_cap=None,  # code: none
        ),
        critic=CriticConfig(
            lr=5e-6,  # code: critic_learning_rate
            parts=12,  # code: critic_update_steps
            clip=0.2,  # code: value_clip
            gamma=1.0,  # code: gamma
            lam=1.0,  # code: lambd
        ),
        optimizer=OptimizerConfig(
            lr=1e-6,  # code: actor_learning_rate
            warmup=50,  # code: num_warmup_steps
            b2=0.95,  # inferred: OpenRLHF's
        ),
        train=TrainConfig(
            updates_per_rollout=1,  # code: policy_update_steps
            rows=1,  # ours
            width=10_240,  # ours: prompt and completion
            dtype="bfloat16",  # ours: not read
            remat="full",  # ours
        ),
        eval=EvalSchedule(every=50, samples=4),  # ours
    ),
}
