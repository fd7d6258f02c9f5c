"""The choices on which GRPO and its descendants differ, each one a flag under --loss."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import Any, Literal, get_args, get_origin, get_type_hints

from r1jax.errors import UserError, check_ranges

Baseline = Literal["group", "others", "none"]
Std = Literal["none", "population", "unbiased", "batch", "mean"]
Ratio = Literal["token", "sequence", "sequence_token"]
Objective = Literal["clip", "cispo", "cispo_cap"]
ReductionName = Literal["sequence_mean", "token_mean", "constant", "sequence_sum", "token_sum"]
EstimatorName = Literal["k1", "abs", "k2", "k3", "k3_clamped"]
KLGradient = Literal["plain", "straight_through", "importance"]
Importance = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]


@dataclass(frozen=True)
class GRPO:
    """The choices of a GRPO run; the defaults are the preset `research`."""

    advantage_baseline: Baseline = "group"
    """What is taken from a reward: group (the group's mean), others (RLOO: the mean of the rest of
    the group), none (REINFORCE++)."""
    advantage_std: Std = "none"
    """What the difference is divided by: none (Dr. GRPO), the group's standard deviation as
    population (with G) or unbiased (with G - 1), batch (that of all rewards, with N - 1), or the
    group's mean reward, mean (MaxRL)."""
    advantage_epsilon: float = 1e-6
    """Added to that standard deviation; without effect when advantage_std is none or mean."""
    advantage_whiten: bool = False
    """Bring advantages to mean 0 and variance 1 over all tokens of the rollout (REINFORCE++)."""
    truncated: Literal["keep", "drop", "count"] = "keep"
    """Completions cut off by the token limit: keep them in the loss, drop them from it and from its
    denominators (DAPO's overlong filtering), or drop them but count them in the denominators."""
    ratio: Ratio = "token"
    """Probability ratio of new to old policy: token (GRPO), sequence (GSPO: the geometric mean over
    the sequence), sequence_token (GSPO-token: that value, gradient of the token itself)."""
    objective: Objective = "clip"
    """clip (PPO), cispo (weigh log p by the ratio clipped to [1 - clip_low, 1 + clip_high]) or
    cispo_cap (by min(ratio, clip_high), as TRL does it)."""
    clip_low: float = 0.2
    """Probability ratios below 1 - clip_low are clipped (for clip: where the advantage is
    negative); cispo_cap has no lower bound."""
    clip_high: float = 0.28
    """Probability ratios above 1 + clip_high are clipped (for clip: where the advantage is
    positive); for cispo_cap the largest ratio itself."""
    dual_clip: float | None = None
    """Bound the loss of a negative advantage by this many times its size; above 1, None is off."""
    reduction: ReductionName = "constant"
    """What tokens count: sequence_mean (GRPO: each sequence the same), token_mean (DAPO: each token
    the same), constant (Dr. GRPO: token sum over sequences x max_tokens), sequence_sum (token sum
    over sequences), token_sum (token sum over max_tokens: verl's seq-mean-token-sum-norm)."""
    beta: float = 0.0
    """Weight of the KL term that holds the policy near the reference; 0 needs no reference."""
    kl_estimator: EstimatorName = "k3"
    """Estimator of that KL term; k3 is the paper's, k3_clamped verl's."""
    kl_gradient: KLGradient = "plain"
    """Gradient of the KL loss: plain (the estimator's own), straight_through (k2's, verl's k3+),
    importance (of ratio x estimator, DeepSeek-V3.2)."""
    kl_as: Literal["loss", "reward", "return"] = "loss"
    """Where the KL term goes: loss (GRPO), reward (its sum is taken from the completion's reward,
    before the baseline), return (each token's is taken from the advantages up to it)."""
    importance: Importance = "token_truncate"
    """Weight against the sampler not being the trainer's policy: by token or by the product over
    the sequence; truncate bounds it, mask drops what is out of bounds."""
    importance_cap: float | None = 2.0
    """Largest such weight (trainer / sampler probability); None weighs all alike."""
    importance_floor: float = 0.0
    """Smallest such weight."""
    off_policy_limit: float | None = None
    """Leave out sequences of negative advantage whose mean log(sampler / policy) per token exceeds
    this many nats (DeepSeek-V3.2); None leaves out none."""
    entropy_bonus: float = 0.0
    """Weight of the policy's entropy, which is added to what is maximised."""

    def __post_init__(self) -> None:
        """Raises UserError for a value that means nothing or that nothing would read."""
        _check_choices(self)
        check_ranges(
            self, "--loss.", advantage_epsilon="[0,]", clip_low="[0,]", clip_high="[0,]",
            dual_clip="(1,]", beta="[0,]", importance_cap="(0,]", importance_floor="[0,]",
            off_policy_limit="[0,]",
        )  # fmt: skip
        number = isinstance(self.entropy_bonus, (int, float)) and isfinite(self.entropy_bonus)
        _require(self, "entropy_bonus", number, "a finite number")
        _check_pairs(self)


def _check_choices(config: GRPO) -> None:
    for name, kind in get_type_hints(GRPO).items():
        if get_origin(kind) is Literal:
            choices = get_args(kind)
            right = "one of " + ", ".join(choices)
            _require(config, name, getattr(config, name) in choices, right)


def _check_pairs(config: GRPO) -> None:
    """Settings that contradict each other: one of the two would silently do nothing, or explode."""
    floor, cap = config.importance_floor, config.importance_cap
    _require(config, "importance_floor", floor == 0 or floor < (cap or 0), "below importance_cap")
    clips = config.dual_clip is None or config.objective == "clip"
    _require(config, "dual_clip", clips, f"None with objective {config.objective}")
    plain = config.kl_gradient == "plain" or config.kl_as == "loss"
    _require(
        config, "kl_gradient", plain, f"plain with kl_as {config.kl_as}, which has no gradient"
    )
    based = config.advantage_baseline != "none" or config.advantage_std == "none"
    _require(config, "advantage_std", based, "none with advantage_baseline none (whiten instead)")


def _require(config: GRPO, name: str, holds: bool, right: str) -> None:
    if not holds:
        value: Any = getattr(config, name)
        raise UserError(f"--loss.{name.replace('_', '-')} {value}: must be {right}")
