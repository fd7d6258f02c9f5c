"""The choices on which GRPO and its descendants differ, each one a flag under --loss."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from r1jax.errors import UserError, check_ranges

Baseline = Literal["group", "others", "length", "second", "token", "critic", "none"]
Std = Literal["none", "population", "unbiased", "batch", "mean"]
Ratio = Literal["token", "sequence", "sequence_token"]
Objective = Literal[
    "clip", "cispo", "cispo_cap", "dppo_tv", "dppo_kl", "ipo", "sapo", "gmpo", "vespo", "reinforce"
]
ReductionName = Literal["sequence_mean", "token_mean", "constant", "sequence_sum", "token_sum"]
EstimatorName = Literal["k1", "abs", "k2", "k3", "k3_clamped"]
KLGradient = Literal["plain", "straight_through", "importance"]
Importance = Literal["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]

OF_THE_POLICY_TERM = (
    "ratio", "objective", "ratio_to", "clip_low", "clip_high", "dual_clip", "gate_positive",
    "gate_negative", "drift", "kl_gradient", "importance", "importance_cap", "importance_floor",
    "off_policy_limit", "geometric_limit", "k3_limit", "veto",
)  # fmt: skip
"""What GRPO's loss alone reads; the others say what advantages, references and marks are."""
BESIDE_THE_POLICY_TERM = ("covariance_weight", "entropy_bonus", "kl_estimator", "reduction")
"""What that loss reads and, where others ask for it, something else."""
TRUST_REGIONS = ("dppo_tv", "dppo_kl", "ipo")
"""Objectives that bound how far a probability moves, in place of a ratio."""


@dataclass(frozen=True)
class GRPO:
    """The choices of a GRPO run; the defaults are the preset `research`."""

    advantage_baseline: Baseline = "group"
    """What is taken from a reward: group (the group's mean), others (RLOO: the mean of the rest of
    the group), length (OPO: the mean weighed by tokens), second (pass@k: only the group's best one
    counts, by how far it is above the second), token (OTB: at each token the mean of the group,
    weighed by how uncertain a completion has been so far),
    critic (PPO: a value model, --critic), none (REINFORCE++)."""
    advantage_of: Literal["total", "each"] = "total"
    """Compare a group's completions by their total reward, or by each term of it alone, the
    advantages then added up by weight (GDPO, with advantage_whiten; TRL's normalize_then_sum)."""
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
    """clip (PPO), cispo (weigh log p by the ratio clipped to [1 - clip_low, 1 + clip_high]),
    cispo_cap (by min(ratio, clip_high), as TRL does it), dppo_tv and dppo_kl (silence a token whose
    probability has moved too far where its advantage pushes it, by the change itself or by the KL
    of "this token or another"), ipo (by the change, either way), sapo (a sigmoid of the ratio),
    gmpo (the geometric mean of clipped ratios), vespo (log p by a smooth weight of the sequence's
    ratio), reinforce (log p, without a ratio)."""
    ratio_to: Literal["old", "sampler"] = "old"
    """What the ratio is to: the policy at the start of the rollout's updates, or the one that drew
    the token, by what the sampler said of it (verl's bypass, prime-rl)."""
    clip_low: float = 0.2
    """Probability ratios below 1 - clip_low are clipped (for clip: where the advantage is
    negative); cispo_cap has no lower bound. For dppo_* and ipo the bound of the change, for gmpo of
    the log-ratio."""
    clip_high: float = 0.28
    """Probability ratios above 1 + clip_high are clipped (for clip: where the advantage is
    positive); for cispo_cap the largest ratio itself; dppo_*, ipo, gmpo as clip_low."""
    dual_clip: float | None = None
    """Bound the loss of a negative advantage by this many times its size; above 1, None is off. Of
    dppo_* and ipo: weigh log p by the ratio up to this (verl: 20); None takes the ratio itself."""
    gate_positive: float = 1.0
    """Steepness of sapo's sigmoid where the advantage is positive."""
    gate_negative: float = 1.05
    """The same where it is negative."""
    drift: float = 0.0
    """Weight of (log ratio)², which holds the policy near the one the ratio is to (Kimi K2,
    prime-rl; with reinforce and half its beta DRO)."""
    top_entropy: float = 1.0
    """Share of the rollout's tokens, those of highest entropy, that the policy term teaches (0.2:
    Beyond the 80/20 rule); below 1 it takes a pass over the rollout of its own."""
    covariance: Literal["none", "clip", "kl"] = "none"
    """What is done to the few tokens whose advantage and log p deviate together, where entropy is
    lost: clip silences some at random (Clip-Cov), kl holds the highest by |log ratio| (KL-Cov)."""
    covariance_share: float = 2e-4
    """How many those are, as a share of the rollout's tokens, at least one."""
    covariance_low: float = 1.0
    """clip draws from covariances above this."""
    covariance_high: float = 5.0
    """clip draws from covariances below this."""
    covariance_weight: float = 1.0
    """Weight of |log ratio| under kl."""
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
    geometric_limit: float | None = None
    """Leave out sequences whose geometric mean of trainer / sampler probability is further than
    this from 1 (SkyRL: 0.01); None leaves out none."""
    k3_limit: float | None = None
    """Leave out sequences whose mean k3 of trainer and sampler is above this (verl's seq_mean_k3);
    None leaves out none."""
    veto: float | None = None
    """Leave out sequences with a token of trainer / sampler probability below this (verl: 1e-4);
    None leaves out none."""
    entropy_bonus: float = 0.0
    """Weight of the policy's entropy, which is added to what is maximised."""
    entropy_target: float | None = None
    """Nats per token; the bonus then begins at entropy_bonus, grows by entropy_step after a rollout
    with less entropy and falls after one with more, where it does not count (Skywork-OR1)."""
    entropy_step: float = 0.005
    """That step."""

    @property
    def kl_in_reward(self) -> bool:
        """Whether the KL term is settled with the advantages, and no part of the loss."""
        return self.beta > 0 and self.kl_as != "loss"

    @property
    def corrects(self) -> bool:
        """Whether tokens that another policy drew are weighed for it."""
        return self.importance_cap is not None or self.ratio_to == "sampler"

    @property
    def masks_tokens(self) -> bool:
        """Whether some tokens of a rollout are left out by what they are among all others."""
        return self.top_entropy < 1 or self.covariance == "clip"

    @property
    def idle(self) -> dict[str, str]:
        """Fields that nothing reads, and when they would be."""
        name, found = self.objective, {}
        if not self.beta:
            names = "kl_estimator", "kl_gradient", "kl_as"
            found |= dict.fromkeys(names, "with a beta above 0")
        if name not in ("clip", "cispo", "gmpo", *TRUST_REGIONS):
            found["clip_low"] = f"with another objective than {name}"
            if name != "cispo_cap":
                found["clip_high"] = found["clip_low"]
        if self.advantage_std in ("none", "mean"):
            found["advantage_epsilon"] = "with advantage-std population, unbiased or batch"
        if self.importance_cap is None:
            found["importance"] = "with an importance-cap"
        return found

    def __post_init__(self) -> None:
        """Raises UserError for a value that means nothing or that nothing would read."""
        _check_choices(self)
        number = isinstance(self.entropy_bonus, (int, float))
        _require(self, "entropy_bonus", number, "a finite number")
        check_ranges(
            self, "--loss.", advantage_epsilon="[0,]", clip_low="[0,]", clip_high="[0,]",
            dual_clip="(1,]", beta="[0,]", importance_cap="(0,]", importance_floor="[0,]",
            off_policy_limit="[0,]", geometric_limit="(0,]", k3_limit="(0,]", veto="(0,1)",
            gate_positive="(0,]", gate_negative="(0,]", drift="[0,]", top_entropy="(0,1]",
            covariance_share="(0,1]", covariance_weight="[0,]",
            covariance_low="(,)", covariance_high="(,)", entropy_target="[0,]", entropy_step="(0,]",
            entropy_bonus="(,)",
        )  # fmt: skip
        _check_pairs(self)
        _check_read(self)


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
    name = config.objective
    clips = config.dual_clip is None or name in ("clip", *TRUST_REGIONS)
    _require(config, "dual_clip", clips, f"None with objective {name}")
    tokenwise = config.ratio == "token" or name in ("clip", "cispo", "cispo_cap")
    _require(config, "ratio", tokenwise, f"token with objective {name}")
    same = config.importance_cap is None or config.ratio_to == "old"
    _require(config, "importance_cap", same, "None with ratio_to sampler, which corrects as well")
    apart = config.advantage_of == "total" or not (config.beta > 0 and config.kl_as == "reward")
    _require(config, "kl_as", apart, "loss or return with advantage_of each")
    ordered = config.covariance_low < config.covariance_high
    _require(config, "covariance_low", ordered, "below covariance_high")
    plain = config.kl_gradient == "plain" or config.kl_as == "loss"
    _require(
        config, "kl_gradient", plain, f"plain with kl_as {config.kl_as}, which has no gradient"
    )
    based = config.advantage_baseline != "none" or config.advantage_std == "none"
    _require(config, "advantage_std", based, "none with advantage_baseline none (whiten instead)")
    if config.advantage_baseline in ("critic", "token"):
        other = f"with advantage_baseline {config.advantage_baseline}"
        alone, total = config.advantage_std == "none", config.advantage_of == "total"
        _require(config, "advantage_std", alone, f"none {other} (whiten instead)")
        _require(config, "advantage_of", total, f"total {other}")
    if config.advantage_baseline == "critic":
        _require(config, "kl_as", config.kl_as != "reward", "loss or return with a critic")


def _check_read(config: GRPO) -> None:
    """A setting of what is not asked for would silently do nothing."""
    readers = {
        "objective sapo": (config.objective == "sapo", ("gate_positive", "gate_negative")),
        "covariance": (config.covariance != "none", ("covariance_share",)),
        "covariance clip": (config.covariance == "clip", ("covariance_low", "covariance_high")),
        "covariance kl": (config.covariance == "kl", ("covariance_weight",)),
        "entropy_target": (config.entropy_target is not None, ("entropy_step",)),
    }
    usual = {f.name: f.default for f in fields(config)}
    for reader, (asked, names) in readers.items():
        for name in names:
            read = asked or getattr(config, name) == usual[name]
            _require(config, name, read, f"{usual[name]}: only {reader} reads it")


def _require(config: GRPO, name: str, holds: bool, right: str) -> None:
    if not holds:
        value: Any = getattr(config, name)
        raise UserError(f"--loss.{name.replace('_', '-')} {value}: must be {right}")
