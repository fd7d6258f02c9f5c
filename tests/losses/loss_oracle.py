"""What every loss is held against: a loop over sequences in float64 that knows no batch.

`still` is the policy inside every stop-gradient. With `still` held fixed, finite differences of
`objective` by `logp` are the gradient a loss must have, detached parts included.
"""

from __future__ import annotations

import itertools

import jax
import numpy as np

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.losses import GRPO
from r1jax.types import Stats

MAX_TOKENS = 12
CLIPS = [
    {"clip_low": 0.2, "clip_high": 0.28},
    {"clip_low": 10.0, "clip_high": 10.0},
    {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 1.5},
    {"ratio": "sequence", "clip_low": 0.05, "clip_high": 0.1},
    {"ratio": "sequence_token", "clip_low": 0.05, "clip_high": 0.1},
    {"objective": "cispo"},
    {"objective": "cispo_cap", "clip_high": 1.2},
    {"objective": "cispo", "ratio": "sequence"},
    {"objective": "dppo_tv", "clip_low": 0.03, "clip_high": 0.05},
    {"objective": "dppo_tv", "clip_low": 0.03, "clip_high": 0.05, "dual_clip": 1.3},
    {"objective": "dppo_kl", "clip_low": 0.005, "clip_high": 0.01, "dual_clip": 20.0},
    {"objective": "ipo", "clip_low": 0.05, "clip_high": 0.05, "ratio_to": "sampler",
     "importance_cap": None, "drift": 0.1},
    {"objective": "sapo", "gate_positive": 2.0, "gate_negative": 3.0},
    {"objective": "gmpo", "clip_low": 0.1, "clip_high": 0.2},
    {"objective": "vespo"},
    {"objective": "reinforce", "drift": 0.2},
]  # fmt: skip
WEIGHTS = [
    {"importance_cap": None},
    {"importance_cap": 1.1},
    {"importance": "token_mask", "importance_cap": 1.1, "importance_floor": 0.8},
    {"importance": "sequence_truncate", "importance_cap": 1.1, "importance_floor": 0.3},
    {"importance": "sequence_mask", "importance_cap": 3.0},
    {"off_policy_limit": 0.05},
    {"geometric_limit": 0.2, "importance_cap": None},
    {"k3_limit": 0.08, "veto": 0.5},
    {"top_entropy": 0.5},
    {"covariance": "kl", "covariance_weight": 0.3},
]
KL = [
    {"beta": 0.1, "kl_estimator": "k1"},
    {"beta": 0.1, "kl_estimator": "abs"},
    {"beta": 0.1, "kl_estimator": "k2"},
    {"beta": 0.1, "kl_estimator": "k3"},
    {"beta": 0.1, "kl_estimator": "k3_clamped"},
    {"beta": 0.1, "kl_gradient": "straight_through"},
    {"beta": 0.1, "kl_gradient": "importance"},
    {"beta": 0.1, "kl_gradient": "importance", "ratio": "sequence"},
    {"beta": 0.1, "kl_as": "reward"},
    {"entropy_bonus": 0.3},
    {"entropy_target": 0.3},
]
REDUCED = ["sequence_mean", "token_mean", "constant", "sequence_sum", "token_sum"]
# Every value of every option, each reduction with each kind of ratio.
OPTIONS = [
    GRPO(**(one | {"reduction": reduction}))
    for one, reduction in [
        *itertools.product(CLIPS[2:5], REDUCED),
        *zip([*CLIPS, *WEIGHTS, *KL], itertools.cycle(REDUCED), strict=False),
    ]
]


def label(config):
    """What a configuration changes, as the name of its test."""
    usual = vars(GRPO())
    changed = {k: v for k, v in vars(config).items() if v != usual[k]}
    return ",".join(f"{k}={v}" for k, v in changed.items()) or "research"


def make_rollout(n, seed):
    """(sequences, logp[N, C], entropy[N, C]) with ratios on both sides of every clip."""
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, MAX_TOKENS + 1, n).astype(np.int32)
    prompts = rng.integers(1, 4, n).astype(np.int32)
    logp, *noise = rng.normal(0, 0.4, (4, n, MAX_TOKENS)).astype(np.float32)
    logp -= 2.0
    sequences = Sequences(
        tokens=rng.integers(1, 99, (n, MAX_TOKENS + 4)).astype(np.int32),
        prompt_lengths=prompts,
        lengths=lengths,
        columns={
            "advantages": rng.normal(size=n).astype(np.float32),
            "old_logp": logp + noise[0],
            "ref_logp": logp + noise[1],
            "sampler_logp": logp + noise[0] + noise[2],
        },
    )
    entropy = rng.uniform(0, 3, logp.shape).astype(np.float32)
    marks = rng.integers(0, 2, (2, n, MAX_TOKENS)).astype(np.float32)
    known = {"token_keep": marks[0], "token_pull": marks[1], "entropy_weight": rng.random(n)}
    return sequences.with_columns(**known), logp, entropy


def pack_scored(rollout, shape, order=None):
    """[(stats, batch)] of a rollout; outside the mask `stats` is NaN, which no loss may notice."""
    sequences, logp, entropy = rollout
    denominators = Denominators.of(sequences, MAX_TOKENS)
    order = np.arange(len(logp)) if order is None else order
    carrier = sequences.with_columns(logp=logp, entropy=entropy)
    scored = []
    for batch, stats in zip(
        pack(sequences.take(order), *shape, denominators),
        pack(carrier.take(order), *shape, denominators),
        strict=True,
    ):
        unseen = np.where(batch.mask > 0, 0, np.nan).astype(np.float32)
        known = (stats.column(name) + unseen for name in ("logp", "entropy"))
        scored.append((Stats(*known), batch))
    return scored


def rows_of(stats, batch):
    """Each row of a micro-batch as a micro-batch of its own."""
    for row in range(batch.tokens.shape[0]):
        one = slice(row, row + 1)
        cut = lambda x, one=one: x[one] if np.ndim(x) == 2 else x  # noqa: E731
        yield jax.tree.map(cut, stats), jax.tree.map(cut, batch)


def oracle(config, rollout):
    """The loss of an update."""
    sequences, logp, entropy = rollout
    return objective(config, sequences, logp, entropy, still=logp)


def objective(config: GRPO, sequences: Sequences, logp, entropy, still):
    """The loss of an update, sequence by sequence."""
    lengths, columns, total = sequences.lengths, sequences.columns, 0.0
    names = ("old_logp", "ref_logp", "sampler_logp", "token_keep", "token_pull")
    for i, n in enumerate(lengths):
        new, frozen, old, ref, sampler, kept, pulled, ent = (
            np.asarray(a[i, :n], np.float64)
            for a in (logp, still, *(columns[name] for name in names), entropy)
        )
        a = float(columns["advantages"][i])
        start = sampler if config.ratio_to == "sampler" else old
        ratio, held = ratios(config, new, frozen, start)
        losses = policy_term(config, a, ratio, held, new, frozen, start)
        if config.covariance == "kl":
            losses = losses + config.covariance_weight * pulled * abs(new - start)
        losses = losses * weights(config, old, sampler) * near(config, old, sampler)
        if config.off_policy_limit is not None and a < 0:
            losses *= (sampler - frozen).mean() <= config.off_policy_limit
        if config.top_entropy < 1:
            losses = losses * kept
        losses = losses + config.drift * (new - start) ** 2
        if config.kl_as == "loss":
            losses = losses + config.beta * kl(config, new, frozen, ref, ratio)
        adapts = config.entropy_target is not None
        losses = losses - (columns["entropy_weight"][i] if adapts else config.entropy_bonus) * ent
        total += (
            losses.sum()
            * {
                "sequence_mean": 1 / (len(lengths) * n),
                "token_mean": 1 / lengths.sum(),
                "constant": 1 / (len(lengths) * MAX_TOKENS),
                "sequence_sum": 1 / len(lengths),
                "token_sum": 1 / MAX_TOKENS,
            }[config.reduction]
        )
    return total


def ratios(config, new, frozen, old):
    """The ratio, and its value inside a stop-gradient."""
    if config.ratio == "token":
        return np.exp(new - old), np.exp(frozen - old)
    held = np.full(len(old), np.exp((frozen - old).mean()))
    if config.ratio == "sequence":
        return np.full(len(old), np.exp((new - old).mean())), held
    return held * np.exp(new - frozen), held


def policy_term(config, a, ratio, held, new, frozen, start):
    low, high = 1 - config.clip_low, 1 + config.clip_high
    if config.objective in ("dppo_tv", "dppo_kl", "ipo"):
        keep = inside_region(config, a, np.exp(frozen), np.exp(start))
        if config.dual_clip is None:
            return -ratio * a * keep
        return -np.minimum(held, config.dual_clip) * a * new * keep
    if config.objective == "sapo":
        tau = config.gate_positive if a > 0 else config.gate_negative
        return -a * 4 / tau / (1 + np.exp(-tau * (ratio - 1)))
    if config.objective == "gmpo":
        ell, s = new - start, np.sign(a)
        held = s * np.minimum(s * ell, s * np.clip(ell, -config.clip_low, config.clip_high))
        return np.full(len(new), -a * np.exp(held.mean()))
    if config.objective == "vespo":
        k, rate = (2, 3) if a >= 0 else (3, 2)
        w = np.prod(held)
        return -np.exp(rate) * w**k * np.exp(-rate * w) * a * new
    if config.objective == "reinforce":
        return -a * new
    if config.objective == "cispo":
        return -np.clip(held, low, high) * a * new
    if config.objective == "cispo_cap":
        return -np.minimum(held, config.clip_high) * a * new
    gain = np.minimum(ratio * a, np.clip(ratio, low, high) * a)
    if config.dual_clip is not None and a < 0:
        gain = np.maximum(gain, config.dual_clip * a)
    return -gain


def inside_region(config, a, p, q):
    """Whether a token of probability p, held to q, still teaches."""
    low, high = config.clip_low, config.clip_high
    if config.objective == "ipo":
        return (p - q <= high) & (p - q >= -low)
    if config.objective == "dppo_tv":
        return p - q <= high if a > 0 else p - q >= -low
    kl = q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))
    return (kl <= high) | (p <= q) if a > 0 else (kl <= low) | (p >= q)


def near(config, old, sampler):
    """Whether the sampler of a sequence was near enough."""
    w = np.exp(old - sampler)
    far = config.geometric_limit is not None
    far = far and abs(np.prod(w) ** (1 / len(w)) - 1) > config.geometric_limit
    if config.k3_limit is not None:
        far = far or np.mean(w - 1 - np.log(w)) > config.k3_limit
    return not (far or (config.veto is not None and w.min() < config.veto))


def weights(config, old, sampler):
    if config.importance_cap is None:
        return np.ones(len(old))
    ratio = np.exp(old - sampler)
    if config.importance.startswith("sequence"):
        ratio = np.full(len(old), np.prod(ratio))
    low, high = config.importance_floor, config.importance_cap
    if config.importance.endswith("truncate"):
        return np.clip(ratio, low, high)
    return ratio * (ratio >= low) * (ratio <= high)


def kl(config, new, frozen, ref, ratio):
    def estimate(x):
        d = ref - x
        k3 = np.exp(d) - d - 1
        clamped = np.minimum(k3, 10)
        every = {"k1": -d, "abs": abs(d), "k2": d * d / 2, "k3": k3, "k3_clamped": clamped}
        return every[config.kl_estimator]

    if config.kl_gradient == "straight_through":
        return estimate(frozen) + (ref - new) ** 2 / 2 - (ref - frozen) ** 2 / 2
    if config.kl_gradient == "importance":
        return ratio * estimate(new)
    return estimate(new)
