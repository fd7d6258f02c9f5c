"""FLOPs of a batch against hand counts, and the share of a known chip's peak."""

from __future__ import annotations

import types

import jax
import numpy as np
import pytest
from tiny import mesh_of, tiny_config

from r1jax.losses import CriticConfig
from r1jax.models import table
from r1jax.models.lora import LoraConfig
from r1jax.training import flops
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl.critic import make_critic

CONFIG = tiny_config("qwen2")


def test_train_flops_by_hand():
    n = table.count(CONFIG)
    wanted = 6 * n * (5 + 2) + 6 * CONFIG.n_layers * CONFIG.n_heads * CONFIG.head_dim * (25 + 4)
    assert flops.train_flops(CONFIG, np.array([5, 2])) == wanted


def test_a_window_hides_pairs_of_tokens():
    c = tiny_config("windowed")  # 5 tokens, in two of three layers
    wanted = 6 * table.count(c) * 9 + 6 * 32 * (81 + 2 * (81 - 16))
    assert flops.train_flops(c, np.array([9])) == wanted


def test_frozen_weights_have_no_gradient_of_their_own():
    n, lora = table.count(CONFIG), LoraConfig(rank=3, targets=("wq", "down"))
    # wq is [32, 32], down [48, 32], in each of 3 layers.
    factors = 3 * 3 * (32 + 32 + 48 + 32)
    wanted = (4 * n + 6 * factors) * 7 + 6 * 3 * 32 * (25 + 4)
    assert flops.train_flops(CONFIG, np.array([5, 2]), lora) == wanted


def test_a_critic_has_no_logits_and_a_shared_trunk_no_gradient():
    """Per token: the tower's products thrice, of a shared trunk the forward alone."""
    products = table.count(CONFIG) - CONFIG.vocab_size * CONFIG.d_model
    pairs = 2 * CONFIG.n_layers * CONFIG.n_heads * CONFIG.head_dim * (25 + 4)
    forward, totals = 2 * products * (5 + 2) + pairs, np.array([5, 2])
    for tower, learning in [("separate", 3), ("shared", 1)]:
        learnt = ComputeConfig(), OptimizerConfig(), 1, "constant"
        critic = make_critic(CriticConfig(tower), CONFIG, mesh_of(), *learnt)
        assert critic.operations(totals, True) == pytest.approx(learning * forward)
        assert critic.operations(totals, False) == pytest.approx(forward)
    assert flops.scoring_flops(CONFIG, totals) == pytest.approx(
        forward + 2 * CONFIG.vocab_size * CONFIG.d_model * 7
    )


@pytest.mark.parametrize(
    ("kind", "wanted"), [("NVIDIA H200", 0.5), ("NVIDIA H100 80GB HBM3", 0.5), ("cpu", None)]
)
def test_utilisation_is_a_share_of_all_devices(monkeypatch, kind, wanted):
    device = types.SimpleNamespace(device_kind=kind)
    monkeypatch.setattr(jax, "devices", lambda: [device] * 2)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert flops.utilisation(989e12, 1.0) == wanted
