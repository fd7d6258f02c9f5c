"""What each method changes in GRPO's run of the demo; numbers are the presets', the scale ours.

A preset's loss, critic and reward tower are taken as they are; its rates keep their proportion to
the policy's, and at most four updates are made of a rollout. Problems, reward, lengths, completions
of a rollout and the policy's rate are the demo's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from r1jax.losses import PRESETS as LOSSES
from r1jax.presets.distill import ON_POLICY
from r1jax.presets.ppo import PPO
from r1jax.presets.prime import PRIME
from r1jax.training.rl.config import RLConfig
from r1jax.training.teacher import PolicyTeacher

Change = Callable[[RLConfig], RLConfig]

REFERENCE = "grpo"
SEEN = ("experiments.methods.seen:accuracy=0",)
"""Accuracy where it is only to be seen, beside a coin or a teacher's word."""
PARTS = 4
"""Updates of a rollout, where what bounds a ratio is to be seen: in the first, all ratios are 1."""


def loss(**values: Any) -> Change:
    """Some choices of the loss."""
    return lambda run: replace(run, loss=replace(run.loss, **values))


def moved(objective: str, bound: float, **values: Any) -> Change:
    """An objective with one bound for both sides."""
    return loss(objective=objective, clip_low=bound, clip_high=bound, **values)


def named(preset: str) -> Change:
    """The loss of a preset, whole."""
    return lambda run: replace(run, loss=LOSSES[preset])


def parts(count: int, change: Change = lambda run: run) -> Change:
    """So many updates of a rollout."""

    def apply(run: RLConfig) -> RLConfig:
        updates = run.updates * count // run.train.updates_per_rollout
        train = replace(run.train, updates_per_rollout=count)
        return change(replace(run, updates=updates, train=train))

    return apply


def scaled(rate: float, theirs: RLConfig, run: RLConfig) -> float:
    """A rate in the proportion to the policy's that it has in a preset."""
    return float(f"{rate / theirs.optimizer.lr * run.optimizer.lr:.3g}")


def critic(preset: str) -> Change:
    """PPO as a project ran it; groups no larger than the demo's, the completions as many."""
    theirs = PPO[preset]

    def apply(run: RLConfig) -> RLConfig:
        size = run.rollout.prompts * run.rollout.group
        group = min(theirs.rollout.group, run.rollout.group)
        rollout = replace(run.rollout, prompts=size // group, group=group)
        rate = scaled(theirs.critic.lr, theirs, run)
        run = replace(
            run, rollout=rollout, loss=theirs.loss, critic=replace(theirs.critic, lr=rate)
        )
        return parts(min(PARTS, theirs.train.updates_per_rollout))(run)

    return apply


def prime(preset: str) -> Change:
    """PRIME in one of its readings, with its filter of groups and the weight of its outcomes."""
    theirs = PRIME[preset]

    def apply(run: RLConfig) -> RLConfig:
        names = ("max_rounds", "accuracy_low", "accuracy_high")
        kept = {name: getattr(theirs.rollout, name) for name in names}
        times = theirs.reward.accuracy
        reward = replace(
            run.reward, accuracy=times * run.reward.accuracy, format=times * run.reward.format
        )
        rate = scaled(theirs.prime.lr, theirs, run)
        run = replace(
            run, rollout=replace(run.rollout, **kept), reward=reward, loss=theirs.loss,
            prime=replace(theirs.prime, lr=rate),
        )  # fmt: skip
        return parts(min(PARTS, theirs.train.updates_per_rollout))(run)

    return apply


def taught(kind: str, alone: bool = True) -> Change:
    """A teacher's word on every token, alone or beside the reward."""

    def apply(run: RLConfig) -> RLConfig:
        run = replace(run, teacher=PolicyTeacher(model=run.model, kind=kind))
        if not alone:
            return run
        return loss(reduction="token_mean")(replace(run, reward=run.reward.only(user=SEEN)))

    return apply


def shown(run: RLConfig) -> RLConfig:
    """The policy's own moving average as its teacher, shown a right answer (SDPO)."""
    theirs = ON_POLICY["sdpo"]
    names = ("reference_every", "reference_rate")
    follows = {name: getattr(theirs.train, name) for name in names}
    train = replace(run.train, **follows, rows=run.train.rows // 2, width=2 * run.train.width)
    return replace(
        run, teacher=theirs.teacher, loss=theirs.loss, reward=run.reward.only(), train=train
    )


def coin(run: RLConfig) -> RLConfig:
    """A coin for every sample."""
    return replace(run, **run.control(random=1.0, user=SEEN))


def carried(run: RLConfig) -> RLConfig:
    """A tenth of the groups goes on in the next rollouts, under newer weights."""
    return replace(run, rollout=replace(run.rollout, leave=0.1, carry=2))


CHANGES: dict[str, Change] = {
    REFERENCE: lambda run: run,
    "rloo": named("rloo"),
    "ppo-tinyzero": critic("ppo-tinyzero"),
    "prime": prime("prime"),
    "prime-verl": prime("prime-verl"),
    "on-policy": taught("sampled"),
    "gkd": taught("jsd"),
    "taught": taught("sampled", alone=False),
    "sdpo": shown,
    "grpo-4": parts(PARTS),
    "dppo-tv": parts(PARTS, moved("dppo_tv", 0.2, dual_clip=20.0)),
    "dppo-kl": parts(PARTS, moved("dppo_kl", 0.05, dual_clip=20.0)),
    "sapo": parts(PARTS, loss(objective="sapo", reduction="sequence_mean")),
    "gmpo": parts(PARTS, moved("gmpo", 0.4, reduction="sequence_mean")),
    "opo": loss(advantage_baseline="length"),
    "pass-at-k": loss(advantage_baseline="second"),
    "gdpo": loss(advantage_of="each", advantage_std="unbiased", advantage_whiten=True),
    "gspo": parts(PARTS, named("gspo")),
    "cispo": parts(PARTS, named("cispo")),
    "kl-cov": parts(
        PARTS, loss(covariance="kl", covariance_share=2e-3, clip_low=9.0, clip_high=9.0)
    ),
    "clip-cov": parts(PARTS, loss(covariance="clip", covariance_share=2e-3)),
    "top-entropy": parts(PARTS, loss(top_entropy=0.2)),
    "adaptive-entropy": parts(PARTS, loss(entropy_target=0.2)),
    "stale": lambda run: carried(parts(PARTS)(run)),
    "decoupled": lambda run: carried(parts(PARTS, named("areal-loss"))(run)),
    "ppo-simplerl": critic("ppo-simplerl"),
    "ppo-orz": critic("ppo-orz"),
    "coin": coin,
    "vespo": parts(PARTS, loss(objective="vespo")),
    "ipo": parts(PARTS, moved("ipo", 0.1, drift=1e-3, ratio_to="sampler", importance_cap=None)),
    "dro": parts(PARTS, loss(objective="reinforce", drift=0.025)),
    "entropy-bonus": parts(PARTS, loss(entropy_bonus=0.01)),
    "r1-zero": named("r1-zero"),
    "reinforce++": named("reinforce++"),
    "reinforce++-baseline": named("reinforce++-baseline"),
    "maxrl": named("maxrl"),
    "trl": named("trl"),
    "verl": parts(PARTS, named("verl")),
    "dapo": parts(PARTS, named("dapo")),
    "dr_grpo": parts(PARTS, named("dr_grpo")),
    "v3.2": parts(PARTS, named("v3.2")),
    "scale-rl": parts(PARTS, named("scale-rl")),
    "prime-rl-loss": parts(PARTS, named("prime-rl-loss")),
    "otb": loss(advantage_baseline="token"),
    "luspo": parts(
        PARTS,
        loss(ratio="sequence", clip_low=2e-3, clip_high=2.5e-3, reduction="sequence_sum"),
    ),
}
"""What every arm of reinforcement learning makes of GRPO's run, the most asked for first."""
