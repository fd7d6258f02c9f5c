"""What the page says of every method, family by family."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodFamily:
    """Methods that are drawn and read together, beside what they are compared with."""

    name: str
    title: str
    says: str
    reference: str
    methods: dict[str, str]
    """What each is, in half a line."""


FAMILIES = (
    MethodFamily(
        "advantages", "What a reward is compared with",
        "One update of a rollout, as the demo has it: no ratio differs from 1.", "grpo",
        {
            "grpo": "r − mean of the group (research: no std, a constant denominator)",
            "rloo": "the mean of the others; KL in the reward, tokens added up (2402.14740)",
            "opo": "a baseline weighed by length (2505.23585)",
            "pass-at-k": "the best of a group alone, by its lead over the second (2503.19595)",
            "otb": "a baseline of each token, weighed by the uncertainty so far (2602.07078)",
            "gdpo": "accuracy and format normalised apart, then whitened (2601.05242)",
            "reinforce++": "no group, whitened over all tokens, KL in the return (2501.03262)",
            "reinforce++-baseline": "r − mean of the group, then whitened; k2 as a loss",
            "maxrl": "(r − mean) / mean",
            "r1-zero": "the paper's: population std, mean over each sequence, 0.001 · k3",
            "trl": "TRL's defaults",
        },
    ),
    MethodFamily(
        "critic", "A critic",
        "PPO as three projects ran it; the critic's rate keeps its proportion to the policy's.",
        "grpo",
        {
            "ppo-tinyzero": "groups of 1, four updates of a rollout, KL in the return",
            "ppo-simplerl": "λ 0.95, mean over each sequence, four updates of a rollout",
            "ppo-orz": "no KL, twelve steps of the critic to one of the policy",
        },
    ),
    MethodFamily(
        "tokens", "Rewards of tokens and of steps",
        "PRIME's filter draws up to eight (verl: four) rounds, which count as the student's.",
        "grpo",
        {
            "prime": "PRIME, the authors' code (2502.01456); four updates of a rollout",
            "prime-verl": "PRIME, verl's recipe",
            "process": "0.5 of a process reward model's word on every step, learnt from 4,096 "
            "solutions of the base whose steps the world has judged (the model's operations are "
            "not counted)",
        },
    ),
    MethodFamily(
        "objectives", "Ratios, bounds and trust regions",
        "Four updates of a rollout: ratios differ from 1 in the last three.", "grpo-4",
        {
            "grpo-4": "GRPO with four updates of a rollout, ε 0.2 and 0.28",
            "gspo": "the sequence's ratio (2507.18071)",
            "luspo": "the same ratio, bounds 2e-3 and 2.5e-3, no std, tokens added up: longer "
            "answers count more (2602.05261)",
            "cispo": "log π by the capped ratio (2506.13585)",
            "sapo": "a sigmoid of the ratio (2511.20347)",
            "gmpo": "the geometric mean of clipped ratios (2507.20673)",
            "vespo": "a smooth weight of the sequence's ratio (2602.10693)",
            "dppo-tv": "silent where a probability has moved by 0.2 (2602.04879)",
            "dppo-kl": "the same by a KL of 0.05",
            "ipo": "silent where it has moved by 0.1 from the sampler's, either way (prime-rl)",
            "dro": "log π, with ½ · 0.05 (log ρ)²",
        },
    ),
    MethodFamily(
        "recipes", "Projects' own settings",
        "Four updates of a rollout; of each preset the loss alone. In the last two a tenth of the "
        "groups goes on in later rollouts (`--rollout.leave 0.1 --rollout.carry 2`).", "grpo-4",
        {
            "verl": "verl's defaults", "dapo": "DAPO (2503.14476), its loss",
            "dr_grpo": "Dr. GRPO (2503.20783)", "v3.2": "DeepSeek-V3.2 (2512.02556)",
            "scale-rl": "ScaleRL (2510.13786), its loss", "prime-rl-loss": "prime-rl's default",
            "stale": "grpo-4 with tokens of older weights",
            "decoupled": "decoupled PPO with AReaL's settings, likewise",
        },
    ),
    MethodFamily(
        "entropy", "Entropy",
        "Four updates of a rollout.", "grpo-4",
        {
            "kl-cov": "KL-Cov on 0.2 % of the tokens (2505.22617), nothing clipped",
            "clip-cov": "Clip-Cov on 0.2 % of the tokens",
            "top-entropy": "the fifth of the tokens with most entropy alone (2506.01939)",
            "adaptive-entropy": "a bonus that holds 0.2 nats (Skywork-OR1)",
            "entropy-bonus": "a bonus of 0.01",
        },
    ),
    MethodFamily(
        "teachers", "A teacher",
        "The teacher is GRPO's last policy of the same seed, whose training is not counted; the "
        "student begins at the base.", "grpo",
        {
            "on-policy": "log π_T − log π of each token that the student wrote, no reward",
            "gkd": "Jensen-Shannon divergence of whole distributions there, no reward (GKD)",
            "taught": "the teacher's word beside the reward",
            "sdpo": "no other teacher: its own moving average, shown another right answer of the "
            "group (SDPO, 2601.20802), no reward. From this base it unlearns to answer: a prompt "
            "that holds an answer already is nothing that its corpus had",
            "off-policy": "supervised training on the teacher's right samples",
        },
    ),
    MethodFamily(
        "search", "Search",
        "Rounds of {search 192 problems, learn from the right solutions, value model}, the last "
        "one whole; `docs/search.md` says what a search is worth beside the policy alone.", "grpo",
        {
            "search-beam": "a beam of steps",
            "search-mcts": "MCTS over steps",
            "search-sample": "the control: whole samples for the same tokens",
        },
    ),
    MethodFamily(
        "controls", "Controls",
        "What needs no rule for answers, or no loop.", "grpo",
        {
            "coin": "GRPO on a coin for every sample",
            "unverified": "supervised training on the base's own samples, right or wrong (SSD)",
            "rejection": "the same on the right ones, twice",
        },
    ),
)  # fmt: skip
