"""A coin as reward moves the policy to the first order nowhere: what its mean moves is drift."""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest
from tiny import gradient_difference, mesh_of, random_sequences, tiny_config, tiny_params

from r1jax.advantages import rollout_advantages
from r1jax.data.packing import pack
from r1jax.losses import PRESETS, grpo
from r1jax.presets import reproductions, zero
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import random_reward
from r1jax.training import update
from r1jax.training.rl.collect import Scored
from r1jax.training.rl.learning import in_the_loss

LOSSES = PRESETS | {n: c.loss for n, c in (zero.PRESETS | reproductions.REPRODUCTIONS).items()}
UNEVEN = ("maxrl",)
"""Divides by the group's mean reward, which is another one when every coin is turned."""

CONFIG = tiny_config("qwen2", n_layers=2)
COMPUTE = update.ComputeConfig(rows=2, width=26, max_segments=4, remat="none", chunk=9)
SEQUENCES = random_sequences([4, 1, 3, 6, 2, 5, 2, 3], [5, 9, 2, 7, 8, 4, 9, 6])
GROUPS = np.repeat([0, 1], 4)
TRUNCATED = SEQUENCES.lengths == 9


def coins():
    """f64[N], of two problems; neither group agrees."""
    problems = [Problem(f"p{g}", "?", "") for g in GROUPS]
    samples = [Completion.parse("7", sample=i % 4) for i in range(len(GROUPS))]
    found = np.asarray(random_reward(0)(problems, samples, RewardContext()))
    assert all(0 < found[GROUPS == g].mean() < 1 for g in (0, 1))
    return found


@pytest.fixture(scope="module")
def model():
    """(log-probabilities of a batch, the gradient of weights that one of theirs means)."""
    params = tiny_params(CONFIG)
    run = update.make_score(CONFIG, mesh_of(), COMPUTE, 1.0)
    through = jax.jit(lambda batch, of: jax.vjp(lambda p: run(p, batch), params)[1](of)[0])
    return jax.jit(lambda batch: run(params, batch)), through


@functools.cache
def slope(config, on_policy):
    """Jitted: the derivative of a share by what the model says of its tokens."""
    return jax.jit(jax.grad(lambda stats, batch: grpo(config, on_policy)(stats, batch)[0]))


def gradient(model, config, rewards, on_policy=True):
    """Of the first update after a rollout: what it gives to the optimizer.

    Where others follow (`on_policy` is off) the old policy is a column, and as yet the policy.
    """
    score, through = model
    advantages = rollout_advantages(config, rewards, GROUPS, SEQUENCES.lengths)
    scored = Scored(replace(SEQUENCES, columns={"advantages": advantages}), GROUPS, TRUNCATED, {})
    sequences, totals = in_the_loss(scored, np.arange(len(GROUPS)), config.truncated, 9)
    total = None
    for batch in pack(sequences, *COMPUTE.shape, totals):
        stats = score(batch)
        noise = np.random.default_rng(0).normal(0, 0.02, stats.logp.shape)  # the sampler's
        sampler = (stats.logp + noise) * batch.mask
        known = {"sampler_logp": sampler} | ({} if on_policy else {"old_logp": stats.logp})
        batch = batch.replace(columns=batch.columns | known)
        part = jax.device_get(through(batch, slope(config, on_policy)(stats, batch)))
        total = part if total is None else jax.tree.map(np.add, total, part)
    return total


@pytest.mark.parametrize(
    "name",
    [
        n if n in ("r1-zero", "gspo") else pytest.param(n, marks=pytest.mark.slow)
        for n in LOSSES
        if n not in UNEVEN
    ],
)
def test_turning_every_coin_turns_the_gradient(name, model):
    """In float32, before the optimizer, without the terms that no reward enters (KL, entropy)."""
    config = replace(LOSSES[name], beta=0.0, entropy_bonus=0.0, drift=0.0)
    for on_policy in (True, False):
        heads = gradient(model, config, coins(), on_policy)
        tails = gradient(model, config, 1 - coins(), on_policy)
        assert max(float(np.max(np.abs(g))) for g in jax.tree.leaves(heads)) > 1e-4
        assert gradient_difference(jax.tree.map(np.negative, tails), heads) < 1e-6


@pytest.mark.parametrize("how", ["keep", "drop", "count"])
def test_whatever_becomes_of_truncated_completions(how, model):
    config = replace(LOSSES["r1-zero"], beta=0.0, truncated=how)
    heads, tails = (gradient(model, config, rewards) for rewards in (coins(), 1 - coins()))
    assert gradient_difference(jax.tree.map(np.negative, tails), heads) < 1e-6


def test_what_divides_by_the_mean_reward_is_uneven(model):
    """MaxRL's success rate is not symmetric: there a fair coin has a mean gradient."""
    heads, tails = (gradient(model, LOSSES["maxrl"], r) for r in (coins(), 1 - coins()))
    assert gradient_difference(jax.tree.map(np.negative, tails), heads) > 0.1
