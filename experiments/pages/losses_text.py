"""What docs/losses.md compares: the dialects, each with the reason for its number."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from r1jax.losses import GRPO, PRESETS


@dataclass(frozen=True)
class Dialect:
    """A dialect: what it is called, what it is, why it gives what it gives."""

    name: str
    config: GRPO
    why: str
    teacher: float = 0.0  # weight of a teacher, which is the reference
    rewards: bool = True


def choice(name: str, why: str, **fields: Any) -> Dialect:
    """The base with other values in some fields."""
    return Dialect(name, GRPO(**(BASE | fields)), why)


BASE: dict[str, Any] = {"importance_cap": None, "reduction": "token_mean"}

WHY = {
    "research": "A = r − mean without std and a constant denominator, sequences × `max_tokens`: "
        "short and long answers, easy and hard prompts pull alike. Weights min(π_old / π_sampler, "
        "2).",
    "r1-zero": "divides by the population std (G in the denominator) and averages within each "
        "sequence first, so a token of a short answer weighs more; adds 0.001 · k3.",
    "r1-stage1": "ε = 10 allows ratios in [−9, 11]: the lower bound never binds and 11 is far, so "
        "here this is the unclipped policy gradient.",
    "trl": "unbiased std (G − 1), token mean, ε 0.2 on both sides. A sequence has one weight, the "
        "product of its tokens' ratios to the sampler, and 0 above 3: completion 3 with its 1.6 · "
        "1.5 · 1.4 = 3.36 is dropped, yet its tokens stay in the denominator.",
    "verl": "as TRL without weights, but a negative advantage costs at most 3 |A| (dual clip, on "
        "by default): the token with ratio 4 has no gradient.",
    "dapo": "as verl without dual clip and with the upper bound at 1.28: the ratio of 1.25 is "
        "inside and teaches, the ratio of 4 under a negative advantage is unbounded.",
    "dr_grpo": "as `research` with one ε of 0.2, outside of which 1.25 lies, and without weights.",
    "gspo": "one ratio per sequence, the geometric mean; its bounds of 0.0003 and 0.0004 are so "
        "narrow that a sequence is either wholly in or wholly out.",
    "cispo": "the value is a weighted log-likelihood and not comparable; the gradient is −min(ρ, "
        "5) · A, so no token is ever silenced.",
    "rloo": "the baseline is the mean of the others, which is G/(G − 1) times r − mean; 0.05 · Σ "
        "k1 is taken from each reward before; tokens are added up and divided by sequences, not "
        "tokens.",
    "reinforce++": "no group: r − 0.001 · Σ k1 of the tokens to come, whitened over all tokens, so "
        "even a group of equal rewards teaches.",
    "reinforce++-baseline": "r − mean of the group, then whitened over all tokens: long "
        "completions count more in mean and variance. The KL is a loss, k2.",
    "maxrl": "(r − mean) / mean: a right answer to a prompt solved 1 time in 3 gets 2, to one "
        "solved 2 times in 3 gets 0.5.",
    "v3.2": "as `dr_grpo` but averaged within each sequence, plus 0.001 · ρ · k3. No sequence with "
        "A < 0 is 0.5 nats from its sampler (the farthest: 0.39), so none is left out.",
    "scale-rl": "as `cispo` with one std for all prompts. ScaleRL's mean over prompts is left out, "
        "as are its resampling and its interruptions.",
    "prime-rl-loss": "the ratio is to the sampler, so that no further weight corrects for it; a "
        "token that has moved by 0.2 where A pushes it is silent. 0.001 · log² of the ratio. Rare "
        "tokens with ratios far from 1 go on teaching: 0.02 · 2 is a move of 0.02.",
    "areal-loss": "whitened twice, in the group and over all tokens; ε 0.4 on π / π_old, weights "
        "π_old / π_sampler up to 5, so all of them.",
}  # fmt: skip
PROJECTS = [Dialect(f"`{name}`", PRESETS[name], why) for name, why in WHY.items()]

CHOICES = {
    "Advantages": [
        choice("base", "A = r − mean.", advantage_std="none"),
        choice("population std", "A / std with G in the denominator: EasyDeL, MaxText, lmpo.",
               advantage_std="population"),
        choice("unbiased std", "with G − 1: TRL, verl, Tunix. Smaller by √(G/(G − 1)), 22 % here, "
               "3 % at G = 16.", advantage_std="unbiased"),
        choice("batch std", "one std for all prompts (TRL's `scale_rewards=batch`): difficulty "
               "does not rescale.", advantage_std="batch"),
        choice("leave one out", "RLOO's baseline: exactly G/(G − 1) = 1.5 times the base.",
               advantage_baseline="others"),
        choice("whitened", "over tokens with Bessel's correction (REINFORCE++-baseline).",
               advantage_whiten=True),
        choice("OPO", "r − Σ l r / Σ l: the baseline weighed by length, 2/9 and 1/2 here "
               "(2505.23585).", advantage_baseline="length"),
        choice("pass@k", "only the best of a group, by its lead over the second: group 0 has one "
               "right answer, with A = 1; group 1 has two, and no lead (verl's GRPO_PASSK).",
               advantage_baseline="second"),
        choice("OTB", "Gₜ − Σ G W / Σ W over those of a group that have a token t, W the sum of "
               "1 − 2π + Σ π² up to it, here with Σ π² = π² + (1 − π)²/2. A token that one "
               "completion alone has, as the last of completion 2, gets 0 (2602.07078); verl's "
               "`handle_zero_tail` gives it its whole return.",
               advantage_baseline="token"),
        choice("GDPO", "with a second reward 1 1 0 0 1 0: each divided by its own std in the "
               "group, added, then whitened over tokens (2601.05242).", advantage_of="each",
               advantage_std="unbiased", advantage_whiten=True),
    ],
    "From tokens to a number": [
        choice("token_mean", "Σ l / Σ n: DAPO; exact over any split, which verl's and TRL's `bnpo` "
               "means of means are not."),
        choice("sequence_mean", "mean over sequences of the mean over tokens; TRL divides by all "
               "rows, Tunix by the non-empty ones, as here.", reduction="sequence_mean"),
        choice("constant", "Σ l / (N · `max_tokens`): Dr. GRPO; EasyDeL takes the padded width "
               "instead of `max_tokens`.", reduction="constant"),
        choice("sequence_sum", "Σ l / N: verl's seq-mean-token-sum, Tunix's sum-norm; with the "
               "sequence ratio LUSPO.", reduction="sequence_sum"),
        choice("token_sum", "Σ l / `max_tokens`: verl's seq-mean-token-sum-norm, its Dr. GRPO, "
               "lacks the division by N, so the step grows with the batch.", reduction="token_sum"),
        choice("overlong filtering", "the two completions cut off leave numerator and denominator "
               "(DAPO).", truncated="drop"),
        choice("overlong, counted", "they leave the numerator only: the same direction, a smaller "
               "step (TRL's `grpo`).", truncated="count"),
    ],
    "Ratio and bounds": [
        choice("ε 0.2 / 0.28", "clip-higher: 1.25 under A > 0 is inside."),
        choice("ε 0.2 / 0.2", "1.25 is outside and has no gradient.", clip_high=0.2),
        choice("dual clip 3", "the ratio of 4 under A < 0 costs 3 |A| and has no gradient.",
               dual_clip=3.0),
        choice("GSPO", "the mean log-ratio; each token's gradient is that of the whole sequence / "
               "n.", ratio="sequence"),
        choice("GSPO-token", "the same, under every reduction, as long as the tokens of a sequence "
               "share one advantage and one weight: n equal terms each pass on 1/n. With an "
               "advantage per token only the value is.", ratio="sequence_token"),
        choice("CISPO, clipped", "−sg(clip(ρ, 0.8, 1.28)) A log π: verl's. EasyDeL forgets the "
               "stop-gradient.", objective="cispo"),
        choice("CISPO, capped", "−sg(min(ρ, 1.28)) A log π: in TRL `epsilon_high` is the cap "
               "itself, not 1 + ε.", objective="cispo_cap", clip_high=1.28),
        choice("LUSPO", "GSPO's ratio, tokens added up: the step grows with length.",
               ratio="sequence", clip_low=2e-3, clip_high=2.5e-3, reduction="sequence_sum"),
    ],
    "Trust regions and smooth weights": [
        choice("DPPO-TV", "silent where π − π_old passes 0.2 the way A pushes; −sg(min(ρ, 20)) A "
               "log π, as verl has it.", objective="dppo_tv", clip_low=0.2, clip_high=0.2,
               dual_clip=20.0),
        choice("DPPO-TV, as −ρA", "the same gradient as long as ρ < 20; another value.",
               objective="dppo_tv", clip_low=0.2, clip_high=0.2),
        choice("DPPO-KL", "the KL of \"this token or another\" above 0.05.", objective="dppo_kl",
               clip_low=0.05, clip_high=0.05, dual_clip=20.0),
        choice("IPO, to the sampler", "silent where |π − μ| > 0.1, whatever A pushes; 0.001 · log² "
               "of the ratio stays (prime-rl's other loss).", objective="ipo", ratio_to="sampler",
               clip_low=0.1, clip_high=0.1, drift=1e-3),
        choice("SAPO", "a sigmoid of the ratio: that of 4 has little pull left (2511.20347).",
               objective="sapo", reduction="sequence_mean"),
        choice("SAPO, τ 3", "three times as steep.", objective="sapo", reduction="sequence_mean",
               gate_positive=3.0, gate_negative=3.0),
        choice("GMPO", "one term per sequence, the geometric mean of ratios clipped to e^±0.4 "
               "(2507.20673).", objective="gmpo", reduction="sequence_mean", clip_low=0.4,
               clip_high=0.4),
        choice("VESPO", "log π by a smooth weight of the sequence's product, k 2 and 3, λ 3 and 2 "
               "(2602.10693).", objective="vespo"),
        choice("DRO", "−A log π + ½ · 0.05 (log ρ)²: `reinforce` and `drift` 0.025.",
               objective="reinforce", drift=0.025),
    ],
    "KL, β = 0.1": [
        choice("k1 as loss", "a constant push on every token; its expected gradient is 0. Tunix's "
               "default.", beta=0.1, kl_estimator="k1"),
        choice("abs", "gradient ±β whatever the distance (verl's abs).",
               beta=0.1, kl_estimator="abs"),
        choice("k2", "gradient β log(π/π_ref), the KL's own.", beta=0.1, kl_estimator="k2"),
        choice("k3", "gradient β (1 − π_ref/π); one token, 20 times likelier under the reference, "
               "rules the batch.", beta=0.1),
        choice("k3 clamped", "verl stops at 10, where the gradient ends; that token falls silent.",
               beta=0.1, kl_estimator="k3_clamped"),
        choice("k3, gradient of k2", "the value of k3, the gradient of k2 (verl's k3+).",
               beta=0.1, kl_gradient="straight_through"),
        choice("ρ · k3", "gradient β ρ log(π/π_ref): the KL's own when old samples are reweighted "
               "(DeepSeek-V3.2, TRL's bias correction).", beta=0.1, kl_gradient="importance"),
        choice("k1 in the reward", "β Σ k1 changes the advantages of the whole group; nothing is "
               "left to differentiate.", beta=0.1, kl_estimator="k1", kl_as="reward"),
        choice("k1 in the return", "each token pays for itself and for what follows it.",
               beta=0.1, kl_estimator="k1", kl_as="return"),
    ],
    "Data from another policy": [
        choice("no weights", "trusts the sampler to be the trainer."),
        choice("token, truncate 2", "min(w, 2) per token: 2.5 counts as 2 (Tunix, verl).",
               importance_cap=2.0),
        choice("token, mask 0.75-2", "the tokens with 2.5 and 0.7 are dropped.",
               importance="token_mask", importance_cap=2.0, importance_floor=0.75),
        choice("sequence, truncate 3", "the product over the sequence: 3.36 counts as 3.",
               importance="sequence_truncate", importance_cap=3.0),
        choice("sequence, mask 3", "that completion is dropped: TRL's default.",
               importance="sequence_mask", importance_cap=3.0),
        choice("off-policy mask 0.1", "completion 6 has A < 0 and a mean log(sampler/π) of 0.39 "
               "nats: dropped (DeepSeek-V3.2).", off_policy_limit=0.1),
        choice("decoupled, truncated", "clip 0.2 on π / π_old, weight π_old / π_sampler in "
               "[0.5, 2] (AReaL).", clip_high=0.2, importance_cap=2.0, importance_floor=0.5),
        choice("decoupled, masked", "out of [0.5, 2] no weight; all tokens still divide.",
               clip_high=0.2, importance="token_mask", importance_cap=2.0, importance_floor=0.5),
        choice("geometric mask 0.01", "geometric means 0.995 1.189 1.498 1 1.059 0.915: "
               "completions 1 and 4 stay (SkyRL).", geometric_limit=0.01),
        choice("k3 mask 0.05", "mean k3 0.005 0.152 0.096 0 0.009 0.014: 2 and 3 are dropped "
               "(verl's seq_mean_k3).", k3_limit=0.05),
        choice("worst token 0.75", "completion 6 has a token with 0.7: dropped whole.", veto=0.75),
    ],
    "Tokens chosen, entropy held": [
        choice("top 20 % entropy", "the 4 tokens of highest entropy, for which −log π_old stands "
               "here, teach; all 17 divide.", top_entropy=0.2),
        choice("Clip-Cov", "one token in ten, drawn from those whose covariance of A and log π is "
               "in (0.1, 9), is silent.", covariance="clip", covariance_share=0.1,
               covariance_low=0.1, covariance_high=9.0),
        choice("KL-Cov", "the one of highest covariance also pays 0.5 |log ρ|; nothing is clipped.",
               covariance="kl", covariance_share=0.1, covariance_weight=0.5, clip_low=9.0,
               clip_high=9.0),
        choice("entropy target 2", "1 nat in the rollout before is less: the bonus has grown from "
               "0.01 to 0.02.", entropy_bonus=0.01, entropy_target=2.0, entropy_step=0.01),
        choice("entropy bonus 0.01", "each token here has 1 nat of entropy: 0.01 less; the "
               "gradient goes through the entropy and does not show in this table.",
               entropy_bonus=0.01),
    ],
}  # fmt: skip
TAUGHT = [
    Dialect("a teacher alone", GRPO(**BASE), "no reward: A = log π_T − log π_old of each token, "
            "nothing of later ones. The first token of completion 5 is 1.2 times likelier under "
            "the old policy than under the teacher, so A = −0.18; the last of completion 2 is as "
            "likely under both, so A = 0.", teacher=1.0, rewards=False),
    Dialect("a teacher beside the reward", GRPO(**BASE), "the same added to r − mean, whatever the "
            "reward (slime).", teacher=1.0),
    Dialect("a teacher, weight 0.5", GRPO(**BASE), "half of it.", teacher=0.5),
]  # fmt: skip
