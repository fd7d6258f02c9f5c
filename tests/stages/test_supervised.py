"""Whole supervised runs at toy size: what they learn, what they leave, and how they are resumed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest
from runs import Boundaries, Interrupted, StopAt, changed, rows, save_model, tiny_course, write_rows
from safetensors.numpy import load_file
from tiny import identical, largest_difference

from r1jax.checkpoint import Checkpoints, load_params
from r1jax.commands import cli
from r1jax.commands import sft as command
from r1jax.errors import Stopped, UserError
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models.config import ModelConfig
from r1jax.models.hub import directory as hub
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.stages import opening, supervised
from r1jax.training.supervised import loop as supervised_loop
from r1jax.training.weights import trained_weights

CHAT = (
    "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}<unk>{{ '\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)

LOW_RANK = {"lora.rank": 2, "lora.targets": ("wq", "up")}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """27 sums to learn, 3 of each prompt, and a file of others."""
    path = tmp_path_factory.mktemp("data")
    ask = lambda a, b, n: {"prompt": f"{a}+{b}=", "completion": f" {a + b}" + "!" * n}  # noqa: E731
    pairs = {
        "sums": [ask(a, b, n) for a in range(3) for b in range(3) for n in range(3)],
        "other": [ask(a, 7, 0) for a in range(4)],
    }
    for name, found in pairs.items():
        write_rows(path / f"{name}.jsonl", found)
    return path


def summary(path):
    return json.loads((Path(path) / "summary.json").read_text())


def weights(config, step=None):
    """The weights that a run's checkpoints hold, as any later stage reads them."""
    mesh = make_mesh(MeshConfig())
    return trained_weights(
        load_policy(config.model, "plain"), mesh, f"{config.run}/checkpoints", step
    )


def exported(config):
    policy = load_policy(f"{config.run}/hf", "plain")
    return load_weights(policy, make_mesh(MeshConfig()))


@pytest.fixture(scope="module")
def finished(model, data, tmp_path_factory):
    config = tiny_course(model, data, tmp_path_factory.mktemp("runs") / "whole")
    supervised.run(config)
    return config


@pytest.fixture(scope="module")
def low_rank(model, data, tmp_path_factory):
    config = tiny_course(model, data, tmp_path_factory.mktemp("runs") / "lora", LOW_RANK)
    supervised.run(config)
    return config


def test_a_run_leaves_what_runs_leave(finished, capsys):
    path = Path(finished.run)
    for name in ("config.json", "environment.json", "report.html", "plots/nll.png", "hf"):
        assert (path / name).exists()
    metrics = rows(path)
    assert [row["update"] for row in metrics] == list(range(1, 9))
    assert {"sft/nll", "lr", "grad_norm", "param_norm", "loss", "data/tokens_seen",
            "data/learnt_tokens_seen", "data/epoch"} <= metrics[0].keys()  # fmt: skip
    raw = json.loads((path / "metrics.jsonl").read_text().splitlines()[0])
    assert {"time/update", "perf/train_tokens_per_s"} <= raw.keys()
    evaluations = json.loads((path / "eval.json").read_text())
    assert [(e["update"], e["set"]) for e in evaluations] == [(u, "held out") for u in (0, 3, 6, 8)]
    said = summary(path)
    assert said["schema"] == 1 and said["updates"] == 8 and said["examples"] == 21
    assert said["before"] == evaluations[0] and said["after"] == evaluations[-1]
    assert said["after"]["nll"] < 0.7 * said["before"]["nll"]
    assert said["learnt_tokens_seen"] == metrics[-1]["data/learnt_tokens_seen"]
    assert said["parent"] is None and said["sets"] == {}
    report = (path / "report.html").read_text()
    assert "held-out loss, nats per token" in report and "tokens learnt" in report
    assert "rollouts" not in report
    supervised.run(finished)
    assert "finished already" in capsys.readouterr().out


def test_tokens_are_counted_as_they_are_read(finished, data):
    """21 examples, 3 updates of 6 per pass: two whole passes and two updates."""
    metrics = rows(Path(finished.run))
    seen = [row["data/tokens_seen"] for row in metrics]
    learnt = [row["data/learnt_tokens_seen"] for row in metrics]
    assert all(b > a for a, b in zip(seen, seen[1:], strict=False))
    prompt_tokens = {a - b for a, b in zip(seen, learnt, strict=True)}
    per_prompt = len(load_policy("embedded", "plain").tokenizer("1+1=").input_ids)
    assert prompt_tokens == {6 * per_prompt * u for u in range(1, 9)}
    assert metrics[2]["data/epoch"] == 1.0
    assert [metrics[i]["lr"] for i in (0, 1)] == pytest.approx([5e-3, 1e-2])
    assert metrics[-1]["lr"] < 2e-3


def test_its_weights_are_found_by_later_stages_and_in_hf(finished, model):
    assert identical(weights(finished), exported(finished))
    assert not identical(weights(finished), load_weights(load_policy(model, "plain"),
                                                         make_mesh(MeshConfig())))  # fmt: skip
    checkpoints = Checkpoints(Path(finished.run) / "checkpoints", keep=2)
    losses = {
        e["update"]: e["nll"]
        for e in json.loads((Path(finished.run) / "eval.json").read_text())
        if e["update"]
    }
    assert checkpoints.best() == min(losses, key=losses.get) == summary(finished.run)["best"]
    checkpoints.close()


@pytest.mark.parametrize(
    ("name", "stops"),
    [
        ("finished", [1, 4, 7]),  # the first before anything was saved
        ("low_rank", [5]),
    ],
)
def test_a_killed_run_ends_as_an_undisturbed_one(request, tmp_path, monkeypatch, name, stops):
    whole = request.getfixturevalue(name)
    config = changed(whole, {"run": str(tmp_path / "killed")})
    for stop in stops:
        with monkeypatch.context() as patch:
            patch.setattr(opening, "open_sinks", lambda *_, stop=stop: (StopAt(stop),))
            with pytest.raises(Interrupted):
                supervised.run(config)
    assert not (Path(config.run) / "summary.json").exists()
    supervised.run(config)
    assert identical(weights(config), weights(whole))
    assert rows(Path(config.run)) == rows(Path(whole.run))
    killed, undisturbed = (Path(c.run) / "eval.json" for c in (config, whole))
    assert killed.read_text() == undisturbed.read_text()


def test_it_ends_where_its_operations_are_spent(finished, tmp_path, monkeypatch):
    each = [row["operations/update"] for row in rows(Path(finished.run))]
    flags = {"run": str(tmp_path / "run"), "until_operations": sum(each[:4]) + 1, "export": False}
    config = changed(finished, flags)
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_sinks", lambda *_: (StopAt(3),))
        with pytest.raises(Interrupted):
            supervised.run(config)
    supervised.run(config)
    assert rows(tmp_path / "run") == rows(Path(finished.run))[:5]
    assert summary(tmp_path / "run")["after"] and summary(tmp_path / "run")["updates"] == 5


def test_other_data_under_the_same_name_is_not_resumed(model, data, tmp_path, monkeypatch):
    shutil.copy(data / "sums.jsonl", tmp_path / "sums.jsonl")
    config = tiny_course(model, tmp_path, tmp_path / "run")
    with monkeypatch.context() as patch:
        patch.setattr(opening, "open_sinks", lambda *_: (StopAt(4),))
        with pytest.raises(Interrupted):
            supervised.run(config)
    with (tmp_path / "sums.jsonl").open("a") as file:
        file.write('{"prompt": "9+9=", "completion": " 18"}\n')
    with pytest.raises(UserError, match="saved with another data"):
        supervised.run(config)


def test_stopped_by_signals_it_is_the_same_run(finished, model, data, tmp_path, monkeypatch):
    """As it judges before the first update, between micro-batches, and as it judges later."""
    config, stops = tiny_course(model, data, tmp_path / "run"), []
    for at in (1, 3, 4, 5, 2, 6):
        with monkeypatch.context() as patch:
            Boundaries(patch, at)
            with pytest.raises(Stopped) as stopped:
                supervised.run(config)
            stops.append(str(stopped.value))
    supervised.run(config)
    assert "begins anew" in stops[0] and "goes on from the checkpoint of update" in stops[-1]
    assert rows(tmp_path / "run") == rows(Path(finished.run))
    a, b = ((Path(c.run) / "eval.json").read_text() for c in (config, finished))
    assert a == b


def test_lora_trains_the_factors_alone(low_rank, model):
    config = low_rank
    said = summary(config.run)
    assert said["after"]["nll"] < said["before"]["nll"]
    base = load_weights(load_policy(model, "plain"), make_mesh(MeshConfig()))
    merged = weights(config)
    assert identical(merged, exported(config))
    for name, before in base["stacks"][0].items():
        after = merged["stacks"][0][name]
        assert identical(before, after) == (name not in ("wq", "up")), name
    assert identical([base[k] for k in base if k != "stacks"],
                     [merged[k] for k in base if k != "stacks"])  # fmt: skip
    adapter = load_file(Path(config.run) / "adapter" / "adapter_model.safetensors")
    assert len(adapter) == 1 * 2 * 2  # layers x matrices x factors


def test_a_run_starts_from_another_runs_checkpoint(finished, model, data, tmp_path):
    start = {"parent": f"{finished.run}/checkpoints", "updates": 1}
    config = tiny_course(model, data, tmp_path / "next", start)
    supervised.run(config)
    assert summary(config.run)["before"]["nll"] == summary(finished.run)["after"]["nll"]
    assert summary(config.run)["parent"] == {"directory": f"{finished.run}/checkpoints", "step": 8}
    losses = {e["update"]: e["nll"]
              for e in json.loads((Path(finished.run) / "eval.json").read_text())}  # fmt: skip
    config = tiny_course(model, data, tmp_path / "earlier", start | LOW_RANK | {"parent_step": 6})
    supervised.run(config)
    assert summary(config.run)["before"]["nll"] == pytest.approx(losses[6], rel=1e-6)
    # Its factors belong to the parent's weights, and are merged into those.
    assert identical(weights(config), exported(config))
    assert largest_difference(weights(config), weights(finished, 6)) < 0.1


def test_sets_are_reported_apart_and_shared_prompts_are_said(model, data, tmp_path, capsys):
    both = (str(data / "other.jsonl"), str(data / "sums.jsonl"))
    config = tiny_course(model, data, tmp_path / "run",
                 {"data.eval": both, "data.eval_count": 0, "updates": 2})  # fmt: skip
    supervised.run(config)
    said = summary(config.run)
    assert said["after"]["set"] == "other" and set(said["sets"]) == {"sums"}
    assert said["sets"]["sums"]["before"]["examples"] == said["examples"] == 27
    assert "sums.jsonl: 27 examples share their prompt with a training" in capsys.readouterr().out
    report = (Path(config.run) / "report.html").read_text()
    assert "4 held-out examples" in report


def test_epochs_give_the_updates_and_evaluation_may_be_left_out(model, data, tmp_path):
    changes = {"updates": 0, "epochs": 2, "batch": 12, "data.eval_count": 0, "export": False}
    config = tiny_course(model, data, tmp_path / "run", changes)
    supervised.run(config)
    said = summary(config.run)
    assert said["updates"] == 2 * (27 // 12)
    assert (said["before"], said["after"], said["best"]) == ({}, {}, None)
    assert not (Path(config.run) / "hf").exists()
    assert not (Path(config.run) / "eval.json").exists()


def test_the_end_of_a_chats_turn_becomes_a_stop_token(model, data, tmp_path, capsys):
    shutil.copytree(model, tmp_path / "chat")
    settings = tmp_path / "chat" / "tokenizer_config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"chat_template": CHAT}))
    turns = [("user", "1+1?"), ("assistant", "2"), ("user", "2+2?"), ("assistant", "4")]
    messages = [{"role": role, "content": content} for role, content in turns]
    source = write_rows(tmp_path / "chats.jsonl", [{"messages": messages}] * 6)
    config = tiny_course(str(tmp_path / "chat"), data, tmp_path / "run",
                 {"data.train": (source,), "data.eval_count": 0, "updates": 1,
                  "train.width": 48})  # fmt: skip
    supervised.run(config)
    assert "turns end with <unk>: added to the model's stop tokens" in capsys.readouterr().out
    before, after = (load_policy(p, "chat") for p in (config.model, f"{config.run}/hf"))
    assert set(after.stop_ids) - set(before.stop_ids) == {before.tokenizer.unk_token_id}
    row = rows(Path(config.run))[0]
    assert row["data/learnt_tokens_seen"] == 6 * 4  # two turns of one token and <unk>


def test_what_never_becomes_finite_stops_and_is_kept(model, data, tmp_path):
    config = tiny_course(model, data, tmp_path / "run",
                 {"optimizer.lr": 1e15, "optimizer.warmup": 0, "updates": 20})  # fmt: skip
    with pytest.raises(UserError, match="not finite 5 times in a row; the batch is in .*lower"):
        supervised.run(config)
    kept = np.load(tmp_path / "run" / "nonfinite_batch.npz")
    assert kept["tokens/0"].shape == (8, 32)
    assert [row["skipped"] for row in rows(tmp_path / "run")][-5:] == [1.0] * 5


@pytest.mark.parametrize("spoilt", [1, 2])
def test_weights_that_the_last_update_spoils_are_neither_saved_nor_exported(
    spoilt, model, data, tmp_path, monkeypatch
):
    real, path = supervised_loop.update, tmp_path / "run"

    def update(functions, state, *given):
        if state.update + 1 == spoilt:
            state = state.replace(params=jax.tree.map(lambda x: x * np.inf, state.params))
        return real(functions, state, *given)

    monkeypatch.setattr(supervised_loop, "update", update)
    changes = {"updates": spoilt, "checkpoint.every": 1}
    newest = ("there is no checkpoint", "checkpoint 1 is whole")[spoilt - 1]
    said = rf"\Aupdate {spoilt}: has made weights that are not finite.*; {newest}\Z"
    with pytest.raises(UserError, match=said):
        supervised.run(tiny_course(model, data, path, changes))
    whole = [int(p.name) for p in (path / "checkpoints").iterdir() if p.name.isdigit()]
    assert whole == [1][: spoilt - 1]
    assert not (path / "hf").exists()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--data.train: no source"),
        ("--data.train nowhere.jsonl", "nowhere.jsonl: no such file"),
        ("--batch 0", "--batch 0: must be at least 1"),
        ("--updates -1", "--updates -1: must be at least 0"),
        ("--eval-every -1", "--eval-every -1: must be at least 0"),
        ("--epochs 0 --updates 0", "--epochs 0: must be at least 1"),
        ("--parent-step 3", "--parent-step 3: needs --parent"),
        ("--data.train SUMS --parent nowhere", "nowhere: no such directory of checkpoints"),
        ("--data.train SUMS --train.width 4", "line 1: 7 tokens; --train.width 4 holds no more"),
        ("--data.train SUMS --data.eval-count 27", "leaves none of 27 examples to learn from"),
        ("--data.train SUMS --data.template chat", "has no chat template, which chat messages"),
        ("--data.layuot text", "--data.layuot: unknown flag; did you mean --data.layout?"),
        ("--data.train SUMS --family nowhere:f", "--family nowhere:f"),
        ("--lora.targets wx --lora.rank 2", "--lora.targets"),
    ],
)
def test_mistakes_are_one_line_and_status_2(model, data, tmp_path, capsys, flags, said):
    words = [str(data / "sums.jsonl") if w == "SUMS" else w for w in flags.split()]
    start = changed(command.PRESETS["demo"], {"run": str(tmp_path / "run"), "model": model})
    assert cli.run(command.main, start, words) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.startswith("error: ") and "\n" not in error


def test_the_papers_numbers():
    r1 = command.PRESETS["r1"]
    assert (r1.epochs, r1.batch, r1.train.width) == (2, 128, 32_768)
    assert (r1.optimizer.lr, r1.optimizer.schedule) == (5e-5, "cosine")
    assert r1.optimizer.lr * r1.optimizer.final == pytest.approx(5e-6)


def test_the_command_changes_what_its_flags_say(model, data, tmp_path):
    flags = "--batch 7 --data.template mini --optimizer.lr 0.003 --data.turns last --seed 5"
    start = tiny_course(model, data, tmp_path / "run", {"updates": 1, "export": False})
    assert cli.run(command.main, start, flags.split()) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (config["batch"], config["data"]["turns"], config["seed"]) == (7, "last", 5)
    (row,) = rows(tmp_path / "run")
    per_prompt = len(load_policy("embedded", "plain").tokenizer("User: 1+1=\nAssistant:").input_ids)
    assert row["data/tokens_seen"] - row["data/learnt_tokens_seen"] == 7 * per_prompt
    assert row["lr"] == pytest.approx(0.0015)  # the first of two steps of warm-up


@pytest.mark.slow
def test_the_command_trains_the_embedded_base(data, tmp_path):
    flags = f"--data.train {data}/sums.jsonl --updates 2 --run {tmp_path}/run --data.template mini"
    assert cli.run(command.main, command.PRESETS["demo"], flags.split()) == 0
    trained = load_policy(f"{tmp_path}/run/hf", "mini")
    assert isinstance(trained.config, ModelConfig)
    assert hub.read_config(tmp_path / "run" / "hf") == load_policy("embedded", "mini").config
    found = load_params(f"{tmp_path}/run/checkpoints", trained.config, make_mesh(MeshConfig()))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(jax.device_get(found)))
