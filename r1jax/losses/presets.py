"""Named GRPO settings, each number with its origin: the paper, inferred from it, or ours."""

from __future__ import annotations

from r1jax.losses.grpo import GRPO

PRESETS: dict[str, GRPO] = {
    # What a careful user would want today: unbiased in length and difficulty, no reference to hold.
    "research": GRPO(
        advantage_std="none",
        reduction="constant",
        clip_low=0.2,
        clip_high=0.28,
        beta=0.0,
        importance_cap=2.0,
    ),
    # DeepSeek-R1, arXiv 2501.12948v2.
    "r1-zero": GRPO(
        advantage_std="population",  # inferred: eq. 3 divides by "std", of which kind is not said
        advantage_epsilon=1e-6,  # ours: eq. 3 has none; it guards against rounding
        reduction="sequence_mean",  # inferred: eq. 1 averages outputs; 1/|o| as in DeepSeekMath
        clip_low=0.2,  # ours: not given for R1-Zero; the 10 of section 3.2.1 is stage 1 only
        clip_high=0.2,  # ours: as above; eq. 1 has one ε for both sides
        dual_clip=None,  # paper (section 2.1): eq. 1 has none
        beta=1e-3,  # paper (section 2.1)
        kl_estimator="k3",  # paper (section 2.1): eq. 2
        importance_cap=None,  # paper (section 2.1): eq. 1 has no such weights
    ),
    # As research: the embedded base on a laptop.
    "demo": GRPO(),
}
