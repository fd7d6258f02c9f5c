"""A run ends before its last update where the policy has collapsed, or gains nothing more."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from runs import Interrupted, StopAt, changed, go, rows, save_model, tiny_run
from tiny import identical

from r1jax.checkpoint import Checkpoints, load_params
from r1jax.errors import UserError
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.stages import opening, zero
from r1jax.training.rl import early_stop
from r1jax.training.rl import loop as rl
from r1jax.training.rl.early_stop import collapse, noted, plateaued
from r1jax.training.rl.setup import build

WELL = {"entropy": 0.4, "length": 200.0, "truncated": 0.1, "format": 0.6}


def history(*parts):
    """The history after so many rollouts of each kind of signs."""
    found = []
    for count, signs in parts:
        named = {early_stop.SIGNS[sign]: value for sign, value in (WELL | signs).items()}
        for _ in range(count):
            found = noted(found, named)
    return found


@pytest.mark.parametrize(
    ("signs", "said"),
    [
        ({"entropy": 0.007}, "entropy 0.4 -> 0.007 nats per token"),
        ({"entropy": 3.0}, "entropy 0.4 -> 3 nats per token"),
        ({"length": 15.0}, "length 200 -> 15 tokens"),
        ({"truncated": 0.95}, "length: 10% -> 95% of completions cut"),
        ({"format": 0.2}, "format 0.60 at its best -> 0.20"),
    ],
)
def test_what_has_collapsed_is_told_with_its_numbers(signs, said):
    assert collapse(history((20, {}), (5, signs))).startswith(said)
    assert collapse(history((20, {}), (3, signs))) is None
    assert collapse(history((2, {}), (7, signs))) is None  # too early to tell


@pytest.mark.parametrize(
    "signs",
    [
        {"entropy": 0.05, "length": 30.0, "truncated": 0.8, "format": 0.4},
        {"entropy": 1.9, "length": 900.0, "format": 1.0},
        {"entropy": math.nan},
    ],
)
def test_what_sharpens_or_grows_has_not_collapsed(signs):
    assert collapse(history((10, {}), (10, signs))) is None


def test_a_format_never_reached_is_no_collapse_and_the_best_is_remembered():
    assert collapse(history((10, {"format": 0.1}), (10, {"format": 0.0}))) is None
    assert len(history((100, {}))) == 2 * early_stop.WINDOW
    assert "format 0.90" in collapse(history((5, {}), (5, {"format": 0.9}), (50, {"format": 0.4})))


def test_a_plateau_is_less_than_a_point_over_the_last_evaluations():
    assert not plateaued([0.5, 0.5, 0.5], 0)
    assert plateaued([0.5, 0.505, 0.509], 2) and not plateaued([0.5, 0.505, 0.511], 2)
    assert not plateaued([0.5, 0.505], 2)
    assert plateaued([0.1, 0.6, 0.4, 0.605], 2)  # one lucky evaluation is no fall and rise


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


EVERY = {"eval.every": 2, "updates": 8, "checkpoint.every": 2}


def with_scores(patch, *scores):
    """Evaluations that find these; the last one again and again."""
    real, left = rl.recorded, list(scores)

    def recorded(parts, params, run, update):
        found = real(parts, params, run, update)
        found[0].record["pass_at_1"] = scores[min(update // 2, len(left) - 1)]
        return found

    patch.setattr(rl, "recorded", recorded)


@pytest.fixture
def plateau(model, tmp_path, monkeypatch):
    with_scores(monkeypatch, 0.1, 0.3, 0.305, 0.2)
    return tiny_run(model, tmp_path / "whole", EVERY | {"until_plateau": 2})


def test_a_stage_ends_at_a_plateau_and_says_so(plateau, tmp_path, monkeypatch):
    zero.run(plateau)
    whole = tmp_path / "whole"
    summary = json.loads((whole / "summary.json").read_text())
    assert (summary["updates"], summary["ended"]) == (6, "plateau")
    assert len(rows(whole)) == 6
    killed = changed(plateau, {"run": str(tmp_path / "killed")})
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_sinks", lambda *_: (StopAt(5),))
        with pytest.raises(Interrupted):
            zero.run(killed)
    zero.run(killed)
    assert rows(tmp_path / "killed") == rows(whole)
    assert json.loads((tmp_path / "killed/summary.json").read_text())["updates"] == 6


def spent(path):
    """The policy's operations so far, update by update."""
    own = ("operations/rollout", "operations/update")
    return np.cumsum([sum(row.get(name, 0.0) for name in own) for row in rows(path)])


def test_a_run_ends_where_its_operations_are_spent_and_is_judged_there(model, tmp_path):
    once = tiny_run(model, tmp_path / "once", {"until_operations": 1.0})
    zero.run(once)
    (first,) = spent(tmp_path / "once")
    most = 1.01 * float(first)
    config = tiny_run(model, tmp_path / "run", {"until_operations": most})
    parts = build(config, note=print)
    assert go(parts, tmp_path / "run", StopAt(1)) is None
    assert go(parts, tmp_path / "run").update == 2
    assert spent(tmp_path / "run")[0] == first < most <= spent(tmp_path / "run")[1]
    assert Checkpoints(tmp_path / "run/checkpoints", 2).latest() == 2
    judged = json.loads((tmp_path / "once/summary.json").read_text())
    assert (judged["updates"], judged["ended"]) == (1, "operations") and judged["after"]


def test_a_plateau_needs_evaluations(model, tmp_path):
    with pytest.raises(UserError, match=r"--until-plateau 2: .* set --eval.every"):
        tiny_run(model, tmp_path, {"until_plateau": 2})


def test_a_collapse_leaves_the_best_checkpoint_as_a_model(model, tmp_path, monkeypatch):
    run = tmp_path / "run"
    with_scores(monkeypatch, 0.1, 0.5, 0.2)
    monkeypatch.setattr(rl, "collapse", lambda found: "entropy gone" if len(found) >= 5 else None)
    config = tiny_run(model, run, EVERY | {"stop_on_collapse": True, "export_every": 4})
    said = r"update 5: the policy has collapsed: entropy gone; .* best checkpoint \(update 2, .*hf"
    with pytest.raises(UserError, match=said):
        zero.run(config)
    assert (run / "report.html").exists() and not (run / "summary.json").exists()
    policy, mesh = load_policy(model, "mini"), make_mesh(MeshConfig())
    for folder, step in (("hf", 2), ("exports/4", 4)):
        made = load_weights(load_policy(str(run / folder), "mini"), mesh)
        assert identical(made, load_params(run / "checkpoints", policy.config, mesh, step))
    # The same command says the same at once; without the flag it goes on.
    with monkeypatch.context() as patch:
        patch.setattr(rl, "learn", None)
        with pytest.raises(UserError, match="update 5: .* has collapsed"):
            zero.run(config)
    zero.run(changed(config, {"stop_on_collapse": False}))
    assert len(rows(run)) == 8 and (run / "exports/8/config.json").exists()


def test_updates_that_are_not_finite_are_a_collapse(model, tmp_path, monkeypatch):
    real = rl.learn

    def learn(parts, loop):
        if loop.update >= 2:
            scored = loop.scored.sequences
            scored.columns["advantages"] = np.full_like(scored.columns["advantages"], np.nan)
        return real(parts, loop)

    monkeypatch.setattr(rl, "learn", learn)
    flags = EVERY | {"stop_on_collapse": True, "train.max_skipped": 2}
    with pytest.raises(UserError, match=r"not finite 2 times .* best checkpoint \(update 2, .*/hf"):
        zero.run(tiny_run(model, tmp_path / "run", flags))
    assert Checkpoints(tmp_path / "run/checkpoints", 2).best() == 2
