"""FLOPs of a batch against hand counts, and the share of a known chip's peak."""

from __future__ import annotations

import types

import jax
import numpy as np
import pytest

from r1jax.models import table
from r1jax.training import flops
from tests.tiny import tiny_config

CONFIG = tiny_config("qwen2")


def test_train_flops_by_hand():
    n = table.count(CONFIG)
    wanted = 6 * n * (5 + 2) + 6 * CONFIG.n_layers * CONFIG.n_heads * CONFIG.head_dim * (25 + 4)
    assert flops.train_flops(CONFIG, np.array([5, 2])) == wanted


@pytest.mark.parametrize(
    ("kind", "wanted"), [("NVIDIA H200", 0.5), ("NVIDIA H100 80GB HBM3", 0.5), ("cpu", None)]
)
def test_utilisation_is_a_share_of_all_devices(monkeypatch, kind, wanted):
    device = types.SimpleNamespace(device_kind=kind)
    monkeypatch.setattr(jax, "devices", lambda: [device] * 2)
    monkeypatch.setattr(jax, "device_count", lambda: 2)
    assert flops.utilisation(989e12, 1.0) == wanted
