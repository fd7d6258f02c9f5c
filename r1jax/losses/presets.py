"""Named GRPO settings, each number with its origin: a paper, a project's code, inferred, or ours.

What a setting does not name is off in it. Projects are quoted at one commit each: huggingface/trl
f2cd577, volcengine/verl b178a3c, sail-sg/understand-r1-zero dfca49d, PrimeIntellect-ai/prime-rl
559b447, areal-project/AReaL 4aef98d.
"""

from __future__ import annotations

from dataclasses import replace

from r1jax.losses.config import GRPO

_R1_ZERO = GRPO(
    advantage_std="population",  # inferred: eq. 3 divides by "std", of which kind is not said
    advantage_epsilon=1e-6,  # ours: eq. 3 has none; it guards against rounding
    reduction="sequence_mean",  # inferred: eq. 1 averages outputs; 1/|o| as in DeepSeekMath
    clip_low=0.2,  # ours: not given for R1-Zero; the 10 of section 3.2.1 is stage 1 only
    clip_high=0.2,  # ours: as above; eq. 1 has one ε for both sides
    dual_clip=None,  # paper (section 2.1): eq. 1 has none
    beta=1e-3,  # paper (section 2.1)
    kl_estimator="k3",  # paper (section 2.1): eq. 2
    importance_cap=None,  # paper (section 2.1): eq. 1 has no such weights
)

# What the algorithms below share where their papers are silent.
_PLAIN = GRPO(
    advantage_std="unbiased",  # ours: as in verl
    reduction="token_mean",  # ours: as in DAPO
    clip_low=0.2,  # ours: as in DeepSeekMath's descendants
    clip_high=0.2,  # ours: as above
    importance_cap=None,  # ours: left to the user
)

PRESETS: dict[str, GRPO] = {
    # What a careful user would want today: unbiased in length and difficulty, no reference to hold.
    "research": GRPO(),
    # As research: the embedded base on a laptop.
    "demo": GRPO(),
    # DeepSeek-R1, arXiv 2501.12948v2.
    "r1-zero": _R1_ZERO,
    "r1-stage1": replace(
        _R1_ZERO,
        clip_low=10.0,  # paper (section 3.2.1): ε = 10, so the lower bound of -9 never binds
        clip_high=10.0,  # paper (section 3.2.1)
    ),
    # GRPOConfig's defaults.
    "trl": GRPO(
        advantage_std="unbiased",  # TRL: scale_rewards="group", torch's std
        advantage_epsilon=1e-4,  # TRL: grpo_trainer.py:2730
        reduction="token_mean",  # TRL: loss_type="dapo"
        clip_low=0.2,  # TRL: epsilon
        clip_high=0.2,  # TRL: epsilon_high=None means epsilon
        dual_clip=None,  # TRL: delta=None
        beta=0.0,  # TRL: beta
        kl_estimator="k3",  # TRL: grpo_trainer.py:3069, without clamp
        importance="sequence_mask",  # TRL: vllm_importance_sampling_mode
        importance_cap=3.0,  # TRL: the cap of that mode; only used with vLLM there
    ),
    # actor.yaml and algorithm.yaml with adv_estimator=grpo.
    "verl": GRPO(
        advantage_std="unbiased",  # verl: norm_adv_by_std_in_grpo, torch.std
        advantage_epsilon=1e-6,  # verl: core_algos.py:267
        reduction="token_mean",  # verl: loss_agg_mode
        clip_low=0.2,  # verl: clip_ratio
        clip_high=0.2,  # verl: clip_ratio
        dual_clip=3.0,  # verl: clip_ratio_c, on by default
        beta=0.0,  # verl: use_kl_loss=False; its kl_loss_coef would be 0.001
        kl_estimator="k3_clamped",  # verl: kl_loss_type=low_var_kl
        importance_cap=None,  # verl: off by default
    ),
    # arXiv 2503.14476. Its dynamic sampling and soft overlong punishment are the rollout's and the
    # reward's.
    "dapo": GRPO(
        advantage_std="unbiased",  # inferred: eq. 9 says "std"; it was run on verl
        advantage_epsilon=1e-6,  # inferred: verl's
        reduction="token_mean",  # paper (section 3.3)
        clip_low=0.2,  # paper (section 4.1)
        clip_high=0.28,  # paper (section 4.1)
        dual_clip=None,  # paper: eq. 8 has none
        truncated="keep",  # inferred: the published best runs are without overlong filtering
        beta=0.0,  # paper (section 2.3)
        importance_cap=None,  # paper: eq. 8 has none
    ),
    # arXiv 2503.20783 and its code.
    "dr_grpo": GRPO(
        advantage_std="none",  # paper (section 3.2)
        reduction="constant",  # code: sum / generate_max_length, mean over sequences
        clip_low=0.2,  # code: cliprange
        clip_high=0.2,  # code: cliprange
        beta=0.0,  # code: beta
        importance_cap=None,  # paper: none
    ),
    # GSPO, arXiv 2507.18071.
    "gspo": replace(
        _PLAIN,
        ratio="sequence",  # paper (section 4.1)
        reduction="sequence_mean",  # paper: eq. 5
        clip_low=3e-4,  # paper (section 5.1)
        clip_high=4e-4,  # paper (section 5.1)
    ),
    # CISPO, MiniMax-M1, arXiv 2506.13585.
    "cispo": replace(
        _PLAIN,
        objective="cispo_cap",  # paper (section 3.1): only the upper bound was tuned
        clip_high=5.0,  # ours: the paper's is not given
    ),
    # RLOO, arXiv 2402.14740.
    "rloo": replace(
        _PLAIN,
        advantage_baseline="others",  # paper
        advantage_std="none",  # paper
        reduction="sequence_sum",  # paper: a completion is one action
        beta=0.05,  # ours
        kl_estimator="k1",  # paper
        kl_as="reward",  # paper
    ),
    # REINFORCE++, arXiv 2501.03262.
    "reinforce++": replace(
        _PLAIN,
        advantage_baseline="none",  # paper
        advantage_std="none",  # paper
        advantage_whiten=True,  # paper
        beta=1e-3,  # ours
        kl_estimator="k1",  # paper
        kl_as="return",  # paper
    ),
    "reinforce++-baseline": replace(
        _PLAIN,
        advantage_std="none",  # paper: the group's mean only
        advantage_whiten=True,  # paper
        beta=1e-3,  # ours
        kl_estimator="k2",  # paper: as a loss
    ),
    # MaxRL, as prime-rl documents it.
    "maxrl": replace(_PLAIN, advantage_std="mean"),
    # DeepSeek-V3.2, arXiv 2512.02556. Not of the loss, so not here: kept routing
    # (--train.replay-routes) and the kept sampling mask (--rollout.keep-set, with top-p or top-k).
    "v3.2": GRPO(
        advantage_std="none",  # paper (section 3.1): r - mean
        reduction="sequence_mean",  # paper (section 3.1): eq. 5 has 1/|o|
        clip_low=0.2,  # ours: not given
        clip_high=0.2,  # ours: as above
        beta=1e-3,  # ours: not given
        kl_estimator="k3",  # paper (section 3.1): eq. 7
        kl_gradient="importance",  # paper (section 3.1): eq. 7
        off_policy_limit=0.5,  # TRL: its paper index; paper: a δ, not given
        importance_cap=None,  # paper: none
    ),
    # ScaleRL, arXiv 2510.13786. Left out: the mean over prompts of each prompt's token mean (here
    # that over tokens), no-positive-resampling, interrupted thoughts and PipelineRL's staleness;
    # groups of equal rewards are filtered by --rollout.max-rounds, and logits are float32 anyway.
    "scale-rl": GRPO(
        objective="cispo_cap",  # paper: CISPO, bounded above
        clip_high=5.0,  # paper: the cap of its recipe
        advantage_std="batch",  # paper: one std for the batch
        advantage_epsilon=1e-6,  # ours: not given
        reduction="token_mean",  # ours: as said above
        beta=0.0,  # paper: no KL
        importance_cap=None,  # inferred: the capped ratio is the only weight
    ),
    # prime-rl's default loss.
    "prime-rl-loss": GRPO(
        advantage_std="none",  # code: orchestrator/algo/grpo.py, r - mean
        objective="dppo_tv",  # code: trainer/rl/loss.py:109-160
        ratio_to="sampler",  # code: trainer against inference
        clip_low=0.2,  # code: the mask's bounds
        clip_high=0.2,  # code: as above
        drift=1e-3,  # code: kl_tau
        reduction="token_mean",  # code: over the global count of tokens
        beta=0.0,  # code: none
        importance_cap=None,  # code: the ratio itself is the weight
    ),
    # AReaL's decoupled PPO with the settings of its GRPO example on GSM8K.
    "areal-loss": GRPO(
        advantage_std="unbiased",  # code: reward_norm by group, std_unbiased
        advantage_epsilon=1e-5,  # code: eps of both norms
        advantage_whiten=True,  # code: adv_norm by batch
        clip_low=0.4,  # code: eps_clip of the example; 0.2 by default
        clip_high=0.4,  # code: as above
        importance="token_mask",  # code: behave_imp_weight_mode
        importance_cap=5.0,  # code: behave_imp_weight_cap
        reduction="token_mean",  # code: over the tokens before masking
        beta=0.0,  # code: kl_ctl of the example
    ),
}
