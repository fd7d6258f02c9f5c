"""A run goes on from a checkpoint of another one: optimizer and counters, with other flags."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from runs import Interrupted, StopAt, changed, rows, save_model, tiny_run
from tiny import identical

from r1jax.checkpoint import load_params
from r1jax.errors import UserError
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.rollout.policy import load_policy
from r1jax.stages import opening, zero
from r1jax.stages.supervised import SFTConfig

FLAGS = {"updates": 6, "eval.every": 2, "checkpoint.every": 2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def first(model, tmp_path_factory):
    """Flags of a run of six updates whose checkpoints after four and six are there."""
    path = tmp_path_factory.mktemp("first")
    config = tiny_run(model, path / "run", FLAGS | {"checkpoint.keep": 3})
    zero.run(config)
    return config


def weights(model, run, step):
    policy, mesh = load_policy(model, "mini"), make_mesh(MeshConfig())
    return load_params(f"{run}/checkpoints", policy.config, mesh, step)


def go_on(first, path, **changes):
    return changed(first, {"run": str(path), "continue_from": first.run} | changes)


def test_with_the_same_flags_it_is_the_rest_of_that_run(first, model, tmp_path):
    zero.run(go_on(first, tmp_path / "rest", continue_step=4))
    assert rows(tmp_path / "rest") == rows(Path(first.run))[4:]
    assert identical(weights(model, tmp_path / "rest", 6), weights(model, first.run, 6))
    summary = json.loads((tmp_path / "rest/summary.json").read_text())
    judged = {e["update"]: e for e in json.loads((tmp_path / "rest/eval.json").read_text())}
    assert sorted(judged) == [4, 6] and summary["updates"] == 6
    assert summary["before"]["pass_at_1"] == judged[4]["pass_at_1"]


def test_other_flags_are_said_in_lineage(first, tmp_path, capsys):
    path = tmp_path / "more"
    flags = {"updates": 8, "optimizer.lr": 1e-3, "loss.beta": 0.1, "rollout.group": 2}
    config = go_on(first, path, **flags)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opening, "open_sinks", lambda *_: (StopAt(8),))
        with pytest.raises(Interrupted):
            zero.run(config)
    said = "goes on from update 6 of "
    assert said in capsys.readouterr().out
    zero.run(config)  # resumed
    shown = capsys.readouterr().out
    assert said in shown and "lost" not in shown
    assert [row["update"] for row in rows(path)] == [7, 8]
    assert [row["rollout"] for row in rows(path)] == [7, 8]
    assert all("policy/kl_ref" in row for row in rows(path))
    assert rows(path)[0]["policy/kl_ref"] == pytest.approx(0, abs=1e-6)
    entries = json.loads((path / "lineage.json").read_text())
    origin, made = entries.items()
    assert origin[0] == f"{first.run}@6" == made[1]["parent"]
    assert made[1]["weights"] != origin[1]["weights"] and made[1]["ended"] == "updates"
    assert "optimizer.lr: 0.003 -> 0.001" in made[1]["changed"]
    assert "updates: 6 -> 8" in made[1]["changed"] and len(made[1]["changed"]) == 4


def test_what_cannot_go_on_is_refused(first, model, tmp_path):
    def refused(said, **changes):
        with pytest.raises(UserError, match=said):
            zero.run(go_on(first, tmp_path / "new", overwrite=True, **changes))

    refused("--updates 6: counts from the start of .*; take more than 6")
    refused("holds no config.json; name the directory of a run", continue_from=str(tmp_path))
    refused("is adamw, whose state goes on; use adamw, or --parent", **{
        "optimizer.kind": "adafactor", "updates": 8})  # fmt: skip
    refused("no checkpoint 5 there; found updates", continue_step=5)
    refused("saved with another lora", **{"lora.rank": 2, "updates": 8})
    other = save_model(tmp_path / "wide", d_ff=64)
    refused("saved with another model .*intermediate_size", model=other, updates=8)
    shutil.copytree(first.run, tmp_path / "spoilt")
    for text in ("[]", "{}", '{"optimizer": 3}'):
        (tmp_path / "spoilt/config.json").write_text(text)
        said = "its config.json holds no flags of a run"
        refused(said, continue_from=str(tmp_path / "spoilt"), updates=8)
    with pytest.raises(UserError, match="is this run itself"):
        changed(first, {"continue_from": f"{first.run}/../run", "overwrite": True})
    with pytest.raises(UserError, match="leave --parent out"):
        go_on(first, tmp_path / "new", parent="x")
    with pytest.raises(UserError, match="--continue-step 4: needs --continue-from"):
        changed(first, {"continue_step": 4})


def test_a_run_of_another_kind_is_refused(first, tmp_path):
    shutil.copytree(first.run, tmp_path / "sft")
    meta = next((tmp_path / "sft/checkpoints").glob("6/meta/*"))
    held = json.loads(meta.read_text())
    del held["taken"]
    meta.write_text(json.dumps(held))
    config = go_on(first, tmp_path / "new", continue_from=str(tmp_path / "sft"), updates=8)
    with pytest.raises(UserError, match="no run of reinforcement learning; --parent"):
        zero.run(config)
    assert not hasattr(SFTConfig(), "continue_from")
