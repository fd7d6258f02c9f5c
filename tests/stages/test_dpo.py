"""Direct preference optimisation at toy size: margins rise, references are computed once."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from runs import Interrupted, StopAt, changed, rows, save_model
from tiny import identical, mesh_of

from r1jax.checkpoint import CheckpointConfig
from r1jax.commands import cli
from r1jax.commands import dpo as command
from r1jax.data.examples.encoding import Encoder
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.losses.preference import DPOConfig
from r1jax.mesh import make_mesh
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.stages import dpo, opening
from r1jax.stages.dpo import DPORunConfig
from r1jax.training.batches import ComputeConfig, over_completions
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.weights import trained_weights

pytestmark = pytest.mark.devices(2)

LOW_RANK = {"lora.rank": 2, "lora.targets": ("wq", "up"), "optimizer.lr": 3e-2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Whoever says 9 is preferred."""
    path, r = tmp_path_factory.mktemp("data") / "pairs.jsonl", random.Random(0)
    digits = lambda n: [r.choice("1234567") for _ in range(n)]  # noqa: E731
    found = []
    for i in range(120):
        good, bad = digits(r.randint(2, 5)), digits(r.randint(3, 6))
        good.insert(r.randint(0, len(good)), "9")
        found.append({"prompt": f"{i}?", "chosen": " ".join(good), "rejected": " ".join(bad)})
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


def toy(model, data, path, changes=()):
    """Flags of 12 updates on 16 pairs, 40 pairs held out."""
    config = DPORunConfig(
        run=str(path),
        model=model,
        updates=12,
        batch=16,
        eval_every=6,
        data=PreferenceConfig(train=(data,), eval_count=40),
        optimizer=OptimizerConfig(lr=3e-3),
        train=ComputeConfig(rows=8, width=64, max_segments=4, remat="none", chunk=64, kernel="xla"),
        checkpoint=CheckpointConfig(every=5),
    )
    return changed(config, dict(changes))


@pytest.fixture(scope="module")
def runs(model, data, tmp_path_factory):
    """A run of each sort, made when it is first asked for."""
    where, made = tmp_path_factory.mktemp("runs"), {}
    sorts = {"whole": {}, "lora": LOW_RANK}

    def of(name):
        if name not in made:
            made[name] = toy(model, data, where / name, sorts[name])
            dpo.run(made[name])
        return made[name]

    return of


def summary(path):
    return json.loads((Path(path) / "summary.json").read_text())


def weights(config):
    policy = load_policy(config.model, "plain")
    return trained_weights(policy, mesh_of(data=8), f"{config.run}/checkpoints")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["whole", "lora"])
def test_the_margin_rises_on_pairs_that_were_held_out(runs, name):
    said = summary(runs(name).run)
    # The reference is the policy as it starts, so nothing is preferred before the first update.
    assert said["before"]["margin"] == pytest.approx(0, abs=1e-6)
    assert said["before"]["accuracy"] == 0.5
    assert said["before"]["loss"] == pytest.approx(np.log(2))
    assert said["after"]["accuracy"] > 0.75 and said["after"]["margin_ci"][0] > 0.1
    assert said["kind"] == "dpo" and said["examples"] == 80
    first = rows(Path(runs(name).run))[0]
    assert first["loss"] == pytest.approx(np.log(2), abs=1e-5)
    assert first["preference/margin"] == pytest.approx(0, abs=1e-5)


def test_a_run_leaves_a_policy(runs):
    config = runs("whole")
    exported = load_weights(load_policy(f"{config.run}/hf", "plain"), mesh_of(data=8))
    assert identical(exported, weights(config))
    page = (Path(config.run) / "report.html").read_text()
    assert "held-out accuracy" in page and "implicit rewards of a policy" in page
    assert (Path(config.run) / "plots" / "margin.png").exists()


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(runs, tmp_path, monkeypatch):
    whole = runs("whole")
    config = changed(whole, {"run": str(tmp_path / "killed")})
    for stop in (3, 8):
        with monkeypatch.context() as patch:
            patch.setattr(opening, "open_sinks", lambda *_, stop=stop: (StopAt(stop),))
            with pytest.raises(Interrupted):
                dpo.run(config)
    dpo.run(config)
    assert identical(weights(config), weights(whole))
    assert rows(Path(config.run)) == rows(Path(whole.run))


def test_the_reference_is_the_policys_own_log_probability(model, data):
    """Held against a row for each sequence: no packing, no bringing back."""
    config = toy(model, data, "unused")
    policy, mesh = load_policy(model, "plain"), make_mesh(config.mesh)
    encoder = Encoder(policy.tokenizer, policy.stop_ids)
    pairs, _ = dpo.read_judged_data(config, "pairwise", config.view, encoder, lambda line: None)
    (known,) = dpo.with_reference(config, policy, mesh, None, pairs)
    part = known.take(np.arange(5))
    logp = dpo.token_logp(policy.config, mesh, config.train, temperature=1.0)
    alone = replace(config.train, max_segments=2)
    weights = load_weights(policy, mesh)
    apart = over_completions(logp, weights, part, alone, mesh, dpo.preference.PAIRS)
    ref = part.columns["ref_logp"]
    np.testing.assert_allclose(ref, apart[:, : ref.shape[1]], atol=1e-5)
    for values, n in zip(ref, part.lengths, strict=True):
        assert (values[:n] < 0).all() and not values[n:].any()


@pytest.mark.parametrize(
    ("changes", "loss"),
    [
        ({"loss.kind": "ipo"}, 25.0),  # (1 / (2 x 0.1))^2
        pytest.param({"loss.kind": "hinge", "loss.beta": 0.2}, 1.0, marks=pytest.mark.slow),
        pytest.param({"loss.label_smoothing": 0.2}, np.log(2), marks=pytest.mark.slow),
        ({"loss.reference_free": True}, None),
    ],
)
def test_each_setting_of_the_loss_counts(runs, model, data, tmp_path, changes, loss):
    short = {"updates": 2, "eval_every": 0, "export": False}
    config = toy(model, data, tmp_path / "run", changes | short)
    dpo.run(config)
    first, second = rows(tmp_path / "run")
    usual = rows(Path(runs("whole").run))
    if loss is None:
        assert abs(first["preference/margin"]) > 0.01
    else:
        assert first["loss"] == pytest.approx(loss, rel=1e-4) and second["loss"] < first["loss"]
    assert second["loss"] != pytest.approx(usual[1]["loss"], rel=1e-3)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--data.train: no source"),
        ("--data.train nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("--loss.beta 0", "--loss.beta 0.0: must be above 0"),
        ("--loss.kind orpo", "--loss.kind orpo: expected one of sigmoid, ipo, hinge"),
        ("--data.train PAIRS --train.width 8", "line 1: chosen and rejected have"),
    ],
)
def test_mistakes_are_one_line_and_status_2(model, data, tmp_path, capsys, flags, said):
    start = changed(command.PRESETS["demo"], {"run": str(tmp_path / "run"), "model": model})
    assert cli.run(command.main, start, flags.replace("PAIRS", data).split()) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.startswith("error: ") and "\n" not in error


def test_what_is_learnt_is_the_whole_response_unless_asked():
    config = DPORunConfig()
    assert config.view == "whole" and config.loss == DPOConfig()
    assert changed(config, {"data.view": "summary"}).view == "summary"
