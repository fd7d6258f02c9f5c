"""PPO: the critic reads the state before a token, learns, is saved, planned for and resumed."""

from __future__ import annotations

import numpy as np
import pytest
from runs import StopAt, go, rows, save_model, tiny_run
from tiny import identical, largest_difference, mesh_of, tiny_config, tiny_params

from r1jax.data.packing import Sequences
from r1jax.errors import UserError
from r1jax.losses import CriticConfig
from r1jax.models import scalar
from r1jax.presets.ppo import PPO
from r1jax.report.curves import charts
from r1jax.training.batches import ComputeConfig, over_completions
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl import memory
from r1jax.training.rl.critic import make_critic
from r1jax.training.rl.setup import build, initial_state

FLAGS = {
    "loss.advantage_baseline": "critic",
    "loss.advantage_whiten": True,
    "loss.beta": 0.1,
    "loss.kl_as": "return",
    "rollout.group": 1,
    "rollout.prompts": 8,
    "train.updates_per_rollout": 2,
    "updates": 5,
    "checkpoint.every": 2,
    "critic.lr": 1e-2,
    "critic.warmup": 1,
    "critic.parts": 2,
}
TOWERS = ("separate", "shared")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def test_a_value_is_of_the_state_before_its_token():
    """Another token changes the values of those after it, and no value up to its own."""
    c, mesh = tiny_config(n_layers=1), mesh_of()
    compute = ComputeConfig(rows=1, width=16, max_segments=2, remat="none", kernel="xla")
    critic = make_critic(
        CriticConfig(), c, mesh, compute, OptimizerConfig(), updates=1, reduction="token_mean"
    )
    params = scalar.body(tiny_params(critic.model)) | {scalar.HEAD: np.ones(c.d_model, np.float32)}
    tokens = np.arange(2, 10)[None]
    changed = tokens.copy()
    changed[0, 5] = 50  # the third of the completion
    one, other = (
        over_completions(
            critic.values, params, Sequences(t, np.array([3]), np.array([5])), compute, mesh
        )
        for t in (tokens, changed)
    )
    np.testing.assert_array_equal(one[0, :3], other[0, :3])
    assert (np.abs(one[0, 3:] - other[0, 3:]) > 1e-4).all()


@pytest.mark.slow
@pytest.mark.parametrize("tower", TOWERS)
def test_a_run_with_a_critic_learns_and_is_resumed_bit_by_bit(tower, model, tmp_path):
    parts = build(tiny_run(model, tmp_path / "whole", FLAGS | {"critic.tower": tower}), note=print)
    whole = go(parts, tmp_path / "whole")
    found = rows(tmp_path / "whole")
    assert {"critic/loss", "critic/grad_norm", "critic/clip_frac"} <= found[1].keys()
    # The first update is the critic's alone, and from the second rollout on it says something.
    assert "policy/entropy" not in found[0] and "policy/entropy" in found[1]
    assert found[0]["critic/explained_variance"] == 0.0 != found[2]["critic/explained_variance"]
    assert "operations/update" not in found[0] and found[1]["operations/update"] > 0
    # The first row of a rollout has its values as well.
    assert found[2]["operations/critic"] > found[3]["operations/critic"] > 0
    assert any(chart.name == "critic" for chart in charts(found, []))
    assert int(whole.tower.update) == 5 * 2 and int(whole.state.update) == 5
    assert largest_difference(initial_state(parts).params, whole.state.params) > 1e-3
    assert (set(whole.tower.params) == {scalar.HEAD}) == (tower == "shared")
    for update in (1, 3, 4):  # before a checkpoint, and in the middle of a rollout
        assert go(parts, tmp_path / "again", StopAt(update)) is None
    again = go(parts, tmp_path / "again")
    assert identical(again.state, whole.state) and identical(again.tower, whole.tower)
    assert rows(tmp_path / "again") == found


@pytest.mark.slow
def test_the_memory_plan_counts_the_critic(model, tmp_path):
    plans = {
        tower: memory.plan(build(tiny_run(model, tmp_path, FLAGS | {"critic.tower": tower}), print))
        for tower in TOWERS
    }
    separate, shared = (plans[tower] for tower in TOWERS)
    width = 32 * 4  # bytes of the head
    assert shared["critic"] == pytest.approx(3 * width, abs=64)  # weights and Adam's moments
    body = separate["critic"] - separate["weights"] - separate["optimizer"]
    assert abs(body) < 4 * width  # a tied body is all of the model; a head more
    assert separate["peak"] > shared["peak"]


def test_a_critic_that_cannot_be_had_is_refused(model, tmp_path):
    for changes, said in [
        ({"critic.lr": 1e-3}, "--critic: is read with --loss.advantage-baseline critic alone"),
        (FLAGS | {"lora.rank": 2}, "--critic.tower separate: .* use --critic.tower shared"),
        (
            FLAGS | {"critic.warmup": 9, "updates": 9},
            "--critic.warmup 9: of 9 updates none is left",
        ),
        (FLAGS | {"critic.parts": 5}, "--critic.parts 5: an update has 4 completions"),
    ]:
        with pytest.raises(UserError, match=said):
            tiny_run(model, tmp_path, changes)


def test_presets_hold_what_their_projects_ran():
    tiny, simple, orz = (PPO[f"ppo-{name}"] for name in ("tinyzero", "simplerl", "orz"))
    for run, numbers in [(tiny, (1e-6, 1e-5, 0.5, 1.0)), (simple, (5e-7, 9e-6, 0.2, 0.95)),
                         (orz, (1e-6, 5e-6, 0.2, 1.0))]:  # fmt: skip
        assert run.loss.advantage_baseline == "critic" and run.loss.advantage_whiten
        assert (run.optimizer.lr, run.critic.lr, run.critic.clip, run.critic.lam) == numbers
    assert (tiny.rollout.prompts, tiny.rollout.group, tiny.train.updates_per_rollout) == (256, 1, 4)
    assert (simple.rollout.prompts, simple.rollout.group, simple.loss.beta) == (1024, 8, 0.01)
    assert (orz.rollout.group, orz.critic.parts, orz.loss.beta) == (64, 12, 0.0)
