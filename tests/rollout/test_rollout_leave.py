"""The last completions of a rollout may stay unfinished: who is cut, and what that changes."""

from __future__ import annotations

import numpy as np
import pytest
from runs import rows, save_model, tiny_run
from tiny import mesh_of, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.stages import zero
from r1jax.training.rl.config import RolloutConfig

CONFIG = tiny_config(n_layers=1)
PROMPTS = [Prompt((3, 5, 7 + i), i, 4, limit=60 if i == 2 else 6) for i in range(5)]


@pytest.fixture(scope="module")
def rollouts():
    """What `leave` yields, by (prompt, sample), and the decode steps it takes."""
    params = tiny_params(CONFIG)

    def of(leave, **shapes):
        config = EngineConfig(slots=8, max_prompt=4, max_tokens=60, prefill=4, steps=7, **shapes)
        engine = Engine(CONFIG, mesh_of(), config, stop_ids=())
        found = list(engine.generate(engine.prepare(params), PROMPTS, Sampling(), seed=1,
                                     rollout=0, leave=leave))  # fmt: skip
        assert len(found) == len({(g.prompt, g.sample) for g in found}) == 20
        return {(g.prompt, g.sample): g for g in found}, engine

    return of


@pytest.mark.parametrize("shapes", [{}, {"first_length": 16, "tail": 2, "cache_tokens": 256}])
def test_those_left_are_beginnings_of_what_they_would_have_been(rollouts, shapes):
    whole, engine = rollouts(0.0, **shapes)
    steps = engine.steps_taken
    found, engine = rollouts(0.2, **shapes)
    cut = {key for key, g in found.items() if len(g.tokens) < len(whole[key].tokens)}
    assert cut == {(2, sample) for sample in range(4)}  # four of twenty, the long ones
    for key, g in found.items():
        n = len(g.tokens)
        assert n >= 1 and g.finish_reason == "length"
        np.testing.assert_array_equal(g.tokens, whole[key].tokens[:n])
        np.testing.assert_allclose(g.logp, whole[key].logp[:n], atol=1e-5)
    assert engine.steps_taken < steps - 30


@pytest.mark.parametrize("leave", [0.0, 0.04, 0.15])
def test_more_than_the_share_is_waited_for(rollouts, leave):
    found, _ = rollouts(leave)
    cut = sum(len(found[2, sample].tokens) < 60 for sample in range(4))
    assert cut == 0  # four have the same length, and four are more than the share


def test_the_flag_cuts_the_rollouts_of_a_run(tmp_path, monkeypatch):
    model, lengths = save_model(tmp_path / "model"), {}
    for leave in (0.0, 0.5):
        run = tmp_path / f"run{leave}"
        zero.run(tiny_run(model, run, {"updates": 1, "seed": 2, "rollout.leave": leave}))
        (row,) = rows(run)
        lengths[leave] = row["completion/length_mean"], row["completion/truncated_frac"]
    assert lengths[0.5][0] < lengths[0.0][0]
    assert lengths[0.5][1] > lengths[0.0][1]


@pytest.mark.parametrize("share", [-0.1, 1.0])
def test_a_share_is_from_0_to_below_1(share):
    with pytest.raises(UserError, match="--rollout.leave"):
        RolloutConfig(leave=share)
