"""(random) A reward that knows nothing moves TinyZero's base: what drifts, and which way.

python -m experiments.claims --only random --devices 1 --jobs 8 --memory-fraction 0.11
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from experiments.claims import bases, t_tinyzero
from experiments.claims.claim import Claim, Numbers, Picture, Steps, gain
from experiments.claims.trial import BaseAndSeed, Study
from r1jax.training.rl.config import RLConfig

UNBOUND = 1e6
"""A bound that no ratio meets."""
CALLED = {
    "text": "coin of the text", "unclipped": "nothing clipped", "quarter": "a quarter of the rate",
    "sample": "coin of each sample",
}  # fmt: skip


def changes(run: RLConfig, arm: str) -> dict[str, Any]:
    """What an arm changes in TinyZero's run."""
    coin = run.control(user=("experiments.claims.coins:of_text",))
    loss, optimizer = run.loss, run.optimizer
    return {
        "text": coin,
        "unclipped": coin | {"loss": replace(loss, clip_low=UNBOUND, clip_high=UNBOUND)},
        "quarter": coin | {"optimizer": replace(optimizer, lr=optimizer.lr / 4)},
        "sample": run.control(random=1.0),
    }[arm]


def steps(study: Study) -> Steps:
    """Four arms under every seed."""
    c, planned = study.config, t_tinyzero.base_steps(study.config)
    for seed in range(t_tinyzero.seeds_of(study)):
        for arm in CALLED:
            changed = changes(t_tinyzero.countdown(c), arm)
            planned += t_tinyzero.seeded(c, f"countdown-{arm}-s{seed}", seed, **changed)
    return planned


def measure(study: Study, pair: BaseAndSeed) -> Numbers:
    """The numbers of the base and of every arm."""
    found = t_tinyzero.read(study, bases.TINYZERO, "base")
    for arm, called in CALLED.items():
        found |= t_tinyzero.read(study, f"countdown-{arm}-s{pair.seed}", called)
    return found


CLAIM = Claim(
    letter="random",
    title="A random reward moves a base: drift",
    source="One run of the first campaign gained 36.5 points on TinyZero's base from a coin alone; "
    "on the embedded base the same coin lost 16.7.",
    hypothesis="None: it is reported. Turning every coin of a rollout turns its gradient "
    "(`tests/training/test_random_control.py`), so that to the first order a coin moves the mean "
    "nowhere; what mean remains over seeds is drift (the optimizer, curvature, the softmax, the "
    "clip) and says nothing of a reward.",
    protocol="The runs of TinyZero's claim with a coin as only reward, eight seeds each: the coin "
    "of the text, as it was then (equal texts of a group share it); the same with nothing clipped; "
    "the same at a quarter of the rate; and a coin of each sample, as `--reward.random` is now. "
    "One base: the units are the seeds.",
    lines=(),
    beside=(
        *(gain("pass@1", called, "base", 0) for called in CALLED.values()),
        gain("pass@1", "coin of each sample", "coin of the text", 0),
        gain("pass@1", "nothing clipped", "coin of the text", 0),
        *(gain("tries", called, "base", 0, "tries") for called in CALLED.values()),
        *(gain("tokens", called, "base", 0, "tokens") for called in CALLED.values()),
        *(gain("greedy", called, "base", 0) for called in CALLED.values()),
    ),
    picture=Picture("Held-out pass@1", "percent", ("pass@1", "greedy")),
    steps=steps,
    measure=measure,
    minutes=35,
    jobs=8,
    seeds=t_tinyzero.SEEDS,
    one_base=True,
)
