"""Presets give their projects' numbers: each dialect once more in numpy, from its own formula.

The batch is that of docs/losses.md. The numpy versions know no packing, no shares and none of the
package's code; the literals are what they give, so that neither side can drift unnoticed.
"""

from __future__ import annotations

import numpy as np
import pytest

from experiments.pages.losses import (
    GROUPS,
    LENGTHS,
    MAX_TOKENS,
    OLD,
    RATIO,
    REFERENCE,
    REWARDS,
    SAMPLER,
    evaluate,
)
from r1jax.advantages import rollout_advantages
from r1jax.losses import GRPO, PRESETS, grpo
from r1jax.types import Batch, Stats

N, TOKENS = len(LENGTHS), int(LENGTHS.sum())
RHO, REF, TIS = ([np.array(x) for x in rows] for rows in (RATIO, REFERENCE, SAMPLER))
LOGP = [np.log(np.array(o) * r) for o, r in zip(OLD, RATIO, strict=True)]


def standardised(ddof, epsilon):
    """(r − mean) / (std + ε) in each group of three."""
    out = np.zeros(N)
    for g in (0, 1):
        r = REWARDS[GROUPS == g]
        out[GROUPS == g] = (r - r.mean()) / (r.std(ddof=ddof) + epsilon)
    return out


def centred():
    return np.concatenate([REWARDS[:3] - REWARDS[:3].mean(), REWARDS[3:] - REWARDS[3:].mean()])


def ppo(rho, a, low, high):
    return np.maximum(-rho * a, -np.clip(rho, 1 - low, 1 + high) * a)


def k3(ratio_to_ref):
    return 1 / ratio_to_ref + np.log(ratio_to_ref) - 1


def whitened(per_token):
    """Over all tokens, with Bessel's correction."""
    flat = np.concatenate(per_token)
    scale = np.sqrt(flat.var(ddof=1) + 1e-8)
    return [(x - flat.mean()) / scale for x in per_token]


def trl():
    """loss_type dapo, sequence_mask with cap 3."""
    total = 0.0
    for rho, a, tis in zip(RHO, standardised(1, 1e-4), TIS, strict=True):
        weight = np.exp(np.log(tis).sum())
        total += (ppo(rho, a, 0.2, 0.2) * (weight if weight <= 3 else 0.0)).sum()
    return total / TOKENS


def verl():
    """token-mean with clip_ratio_c 3."""
    total = 0.0
    for rho, a in zip(RHO, standardised(1, 1e-6), strict=True):
        loss = ppo(rho, a, 0.2, 0.2)
        total += (np.minimum(loss, -3 * a) if a < 0 else loss).sum()
    return total / TOKENS


def dapo():
    pairs = zip(RHO, standardised(1, 1e-6), strict=True)
    return sum(ppo(rho, a, 0.2, 0.28).sum() for rho, a in pairs) / TOKENS


def dr_grpo():
    sums = [ppo(rho, a, 0.2, 0.2).sum() for rho, a in zip(RHO, centred(), strict=True)]
    return np.mean(sums) / MAX_TOKENS


def research():
    terms = zip(RHO, centred(), TIS, strict=True)
    sums = [(ppo(rho, a, 0.2, 0.28) * np.minimum(tis, 2)).sum() for rho, a, tis in terms]
    return np.mean(sums) / MAX_TOKENS


def r1(epsilon):
    """Equations 1-3, token by token."""
    terms = zip(RHO, standardised(0, 1e-6), REF, strict=True)
    return np.mean([(ppo(rho, a, epsilon, epsilon) + 1e-3 * k3(q)).mean() for rho, a, q in terms])


def gspo():
    s = [np.exp(np.log(rho).mean()) for rho in RHO]
    pairs = zip(s, standardised(1, 1e-6), strict=True)
    return np.mean([ppo(si, a, 3e-4, 4e-4) for si, a in pairs])


def cispo():
    terms = zip(RHO, standardised(1, 1e-6), LOGP, strict=True)
    return sum((-np.minimum(rho, 5) * a * logp).sum() for rho, a, logp in terms) / TOKENS


def kl_of_old():
    """k1 of the old policy: log π_old/π_ref = log π/π_ref − log ρ."""
    return [np.log(q) - np.log(rho) for q, rho in zip(REF, RHO, strict=True)]


def rloo():
    r = REWARDS - 0.05 * np.array([k.sum() for k in kl_of_old()])
    others = [(r[GROUPS == g].sum() - x) / 2 for x, g in zip(r, GROUPS, strict=True)]
    pairs = zip(RHO, r - others, strict=True)
    return np.mean([ppo(rho, a, 0.2, 0.2).sum() for rho, a in pairs])


def reinforce_pp():
    returns = [
        r - 1e-3 * np.array([k[t:].sum() for t in range(len(k))])
        for r, k in zip(REWARDS, kl_of_old(), strict=True)
    ]
    pairs = zip(RHO, whitened(returns), strict=True)
    return sum(ppo(rho, a, 0.2, 0.2).sum() for rho, a in pairs) / TOKENS


def reinforce_pp_baseline():
    given = whitened([np.full(n, a) for n, a in zip(LENGTHS, centred(), strict=True)])
    terms = zip(RHO, given, REF, strict=True)
    return sum((ppo(rho, a, 0.2, 0.2) + 1e-3 * np.log(q) ** 2 / 2).sum() for rho, a, q in terms) / (
        TOKENS
    )


def maxrl():
    given = np.array([2.0, -1, -1, 0.5, 0.5, -1])  # means 1/3 and 2/3
    pairs = zip(RHO, given, strict=True)
    return sum(ppo(rho, a, 0.2, 0.2).sum() for rho, a in pairs) / TOKENS


def v32():
    """ρ · k3, all sequences near enough to their sampler."""
    drift = [-np.log(rho * tis).mean() for rho, tis in zip(RHO, TIS, strict=True)]
    terms = zip(RHO, centred(), REF, drift, strict=True)
    return np.mean([
        ((a >= 0 or d <= 0.5) * ppo(rho, a, 0.2, 0.2) + 1e-3 * rho * k3(q)).mean()
        for rho, a, q, d in terms
    ])  # fmt: skip


def scale_rl():
    given = centred() / (REWARDS.std(ddof=1) + 1e-6)
    terms = zip(RHO, given, LOGP, strict=True)
    return sum((-np.minimum(rho, 5) * a * logp).sum() for rho, a, logp in terms) / TOKENS


def prime_rl():
    total = 0.0
    for rho, a, tis, logp in zip(RHO, centred(), TIS, LOGP, strict=True):
        ratio = rho * tis  # π / μ
        moved = np.exp(logp) * (1 - 1 / ratio)  # π − μ
        keep = moved <= 0.2 if a > 0 else moved >= -0.2
        total += (-a * keep * ratio + 1e-3 * np.log(ratio) ** 2).sum()
    return total / TOKENS


def areal():
    given = whitened([np.full(n, a) for n, a in zip(LENGTHS, standardised(1, 1e-5), strict=True)])
    terms = zip(RHO, given, TIS, strict=True)
    return sum((ppo(rho, a, 0.4, 0.4) * tis * (tis <= 5)).sum() for rho, a, tis in terms) / TOKENS


DIALECTS = {
    "research": (research, 0.162625),
    "demo": (research, 0.162625),
    "r1-zero": (lambda: r1(0.2), 0.118603),
    "r1-stage1": (lambda: r1(10.0), 0.025304),
    "trl": (trl, 0.386717),
    "verl": (verl, 0.336221),
    "dapo": (dapo, 0.363051),
    "dr_grpo": (dr_grpo, 0.151389),
    "gspo": (gspo, 0.037517),
    "cispo": (cispo, -0.749869),
    "rloo": (rloo, 0.881527),
    "reinforce++": (reinforce_pp, 0.149027),
    "reinforce++-baseline": (reinforce_pp_baseline, 0.104182),
    "maxrl": (maxrl, 0.480882),
    "v3.2": (v32, 0.057032),
    "scale-rl": (scale_rl, -0.790431),
    "prime-rl-loss": (prime_rl, 0.209691),
    "areal-loss": (areal, 0.074489),
}


@pytest.mark.parametrize("name", PRESETS)
def test_preset_gives_its_projects_number(name):
    dialect, literal = DIALECTS[name]
    assert dialect() == pytest.approx(literal, abs=5e-7)
    assert evaluate(PRESETS[name])[0] == pytest.approx(literal, abs=2e-6)


def test_dr_grpo_and_r1_zero_by_hand():
    """One prompt, rewards 1 and 0, lengths 1 and 2, limit 4, ratios 1.5 | 0.5 1.1, π/π_ref 2 | 1 1.

    Dr. GRPO: A = ±½, losses −1.2·½ | 0.8·½ 1.1·½, their sum −0.6 + 0.95 = 0.35, over 2 · 4.
    R1: A = ±1, losses −1.2 + 0.001 · (½ + ln 2 − 1) | 0.8 1.1; ½ (−1.2 + 0.000193 + 0.95).
    """
    rewards, groups, lengths = np.array([1.0, 0.0]), np.array([7, 7]), np.array([1, 2])
    old = np.log([[0.4, 1.0], [0.6, 0.5]])
    new = old + np.log([[1.5, 1.0], [0.5, 1.1]])

    def loss(config):
        given = rollout_advantages(config, rewards, groups, lengths)
        batch = Batch(
            tokens=np.zeros((2, 2), np.int32),
            positions=np.zeros((2, 2), np.int32),
            segment_ids=np.array([[1, 0], [1, 1]], np.int32),
            mask=np.array([[1.0, 0.0], [1.0, 1.0]], np.float32),
            columns={
                "advantages": np.repeat(given[:, None], 2, axis=1),
                "old_logp": old,
                "ref_logp": new - np.log([[2.0, 1.0], [1.0, 1.0]]),
                "sampler_logp": old,
            },
            lengths=lengths[:, None].astype(np.float32),
            n_tokens=3.0,
            n_sequences=2.0,
            max_tokens=4.0,
        )
        return float(grpo(config)(Stats(new, np.zeros((2, 2))), batch)[0])

    assert loss(PRESETS["dr_grpo"]) == pytest.approx(0.35 / 8, abs=1e-6)
    assert loss(PRESETS["r1-zero"]) == pytest.approx((-1.2 + 0.000193 + 0.95) / 2, abs=1e-6)


def test_presets_hold_the_numbers_they_promise():
    zero, stage1, research_ = (PRESETS[n] for n in ("r1-zero", "r1-stage1", "research"))
    assert (zero.beta, zero.kl_estimator, zero.advantage_std) == (1e-3, "k3", "population")
    assert (zero.clip_low, zero.clip_high, zero.importance_cap) == (0.2, 0.2, None)
    assert (stage1.clip_low, stage1.clip_high, stage1.beta) == (10.0, 10.0, 1e-3)
    assert research_ == GRPO() == PRESETS["demo"]
    assert (PRESETS["trl"].advantage_epsilon, PRESETS["verl"].advantage_epsilon) == (1e-4, 1e-6)
    for preset in PRESETS.values():
        assert hash(preset) == hash(GRPO(**vars(preset)))  # static under jit
