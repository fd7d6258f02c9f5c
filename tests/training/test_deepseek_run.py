"""A run of reinforcement learning on a toy DeepSeek-V3: sampled, scored, trained, exported."""

from __future__ import annotations

import numpy as np
import pytest
from runs import StopAt, go, rows, save_model, tiny_run
from tiny import identical, mesh_of

from r1jax.models.config import Ahead, Experts, Latent
from r1jax.rollout.policy import load_policy, load_weights, save_policy
from r1jax.training.rl.setup import build

pytestmark = pytest.mark.slow

SHAPE = dict(
    family="deepseek_v3", qk_norm=False, tied=False, n_layers=3, n_kv_heads=4, head_dim=4,
    latent=Latent(12, 8, 6, 5), experts=Experts(8, 3, 12, 1, 4, 2, 1.7), dense_layers=1,
    ahead=Ahead(),
)  # fmt: skip


def test_a_policy_with_experts_learns_and_comes_back_from_its_export(tmp_path):
    model = save_model(tmp_path / "model", **SHAPE)
    learnt = {"balance": 1e-3, "router_step": 0.01, "ahead": 0.1}
    flags = {f"train.auxiliary.{name}": value for name, value in learnt.items()}
    wanted = tiny_run(model, tmp_path / "run", flags | {"updates": 3, "memory": "warn"})
    loop = go(build(wanted, note=print), tmp_path / "run")
    found = rows(tmp_path / "run")
    assert len(found) == 3
    for row in found:
        assert row["policy/logp_diff_max"] < 1e-4
        assert (
            row["experts/balance"] > 0.5 and row["experts/load_max"] >= 1 and row["ahead/nll"] > 1
        )
        assert row["policy/route_diff_frac"] == 0 and row["ahead/load_max"] >= 1
    policy = load_policy(model, "mini")
    old, new = load_weights(policy, mesh_of()), loop.state.params
    save_policy(tmp_path / "hf", policy, new)
    exported = load_policy(str(tmp_path / "hf"), "mini")
    assert exported.config == policy.config and identical(load_weights(exported, mesh_of()), new)
    steps = np.asarray(new["stacks"][1]["router_bias"] - old["stacks"][1]["router_bias"]) / 0.01
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-4)
    assert np.abs(steps).max() >= 1
    for stack in ("ahead", "norm"):
        assert any(
            np.any(a != b) for a, b in zip(*map(_leaves, (old[stack], new[stack])), strict=True)
        )


def test_a_run_that_follows_the_samplers_experts_resumes_as_if_it_had_not_ended(tmp_path):
    """Carried groups, several updates of a rollout, a reference: each with the routes it needs."""
    model = save_model(tmp_path / "model", **SHAPE)
    flags = {
        "train.replay_routes": True, "train.updates_per_rollout": 2, "updates": 6,
        "rollout.leave": 0.5, "rollout.carry": 2, "rollout.slots": 8, "loss.importance_cap": 1.5,
        "loss.beta": 0.1, "optimizer.lr": 1e-2,
    }  # fmt: skip
    parts = build(tiny_run(model, tmp_path / "whole", flags), note=print)
    whole = go(parts, tmp_path / "whole")
    found = rows(tmp_path / "whole")
    assert found[0]["policy/logp_diff_max"] < 1e-4 and found[0]["policy/route_diff_frac"] == 0
    # Routers move: the second update of a rollout would choose other experts, but does not.
    assert found[1]["policy/route_diff_frac"] > 0.01
    assert any(row.get("rollout/stale_frac") for row in found)
    cut = tmp_path / "cut"
    assert go(parts, cut, StopAt(4)) is None  # a checkpoint in mid-rollout is at update 3
    again = go(parts, cut)
    assert identical(again.state.params, whole.state.params) and rows(cut) == found


def _leaves(tree):
    return [np.asarray(x) for x in (tree.values() if isinstance(tree, dict) else [tree])]
