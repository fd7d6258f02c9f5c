"""The README's examples are executed, its commands parsed, its folders looked for."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.commands import cli, load
from r1jax.data import DataConfig, load_file
from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.losses import GRPO, grpo
from r1jax.losses.plugin import load_loss
from r1jax.models.hub.find import model_directory
from r1jax.presets.zero import PRESETS
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import load_reward
from r1jax.types import Stats

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w*)\n(.*?)^```$", README, flags=re.M | re.S)
COMMANDS = [
    line.partition("#")[0].strip()
    for kind, text in BLOCKS
    if not kind
    for line in text.splitlines()
]


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """A folder with my_reward.py, my_loss.py and problems.jsonl as the README has them."""
    for kind, text in BLOCKS:
        if kind == "python":
            (tmp_path / text.split()[1]).write_text(text)
        elif kind == "json":
            (tmp_path / "problems.jsonl").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in ("my_reward", "my_loss"):
        sys.modules.pop(name, None)


def test_every_example_is_there(examples):
    found = {p.name for p in examples.iterdir()}
    assert found == {"loop.py", "my_reward.py", "my_loss.py", "problems.jsonl"}
    assert len(README.splitlines()) < 320


def test_the_data_loads(examples):
    problems, report = load_file("problems.jsonl", DataConfig())
    assert [(p.answer, p.metadata["level"]) for p in problems] == [("36", "easy"), ("4", "hard")]
    assert report.kept == 2


def test_the_rewards_judge(examples):
    texts = ["<think> a b </think> <answer> 36 </answer>", "<answer> 35 </answer>", "none"]
    texts.append(f"<think> {'word ' * 201} </think> <answer> it </answer>")
    completions = [Completion.parse(text) for text in texts]
    problems = [Problem("p", "What is 12*3?", "36")] * len(texts)
    close, brief = (load_reward(f"my_reward:{name}") for name in ("close", "brief"))
    assert close(problems, completions, RewardContext()) == [1.0, 0.5, 0.0, 0.0]
    assert brief(problems, completions, RewardContext()) == [0.0, 0.0, 0.0, -1.0]


@pytest.mark.slow
def test_the_loop_learns(examples):
    """Two steps of it as it stands; the README says what forty do."""
    text = Path("loop.py").read_text().replace("range(40)", "range(2)")
    seen = {}
    exec(text + "    seen[step] = rewards.mean(), metrics\n", {"seen": seen})
    assert list(seen) == [0, 1] and 0 < seen[0][0] < 0.5
    assert all(metrics["grad_norm"] > 0 for _, metrics in seen.values())


def test_the_loss_is_grpos_on_the_policy_that_sampled(examples):
    rng = np.random.default_rng(0)
    sequences = Sequences(
        tokens=rng.integers(2, 9, (3, 7)).astype(np.int32),
        prompt_lengths=np.array([2, 3, 1]),
        lengths=np.array([4, 2, 5]),
        columns={
            "advantages": np.array([1.0, -0.5, 0.25], np.float32),
            "sampler_logp": rng.uniform(-3, -1, (3, 5)).astype(np.float32),
        },
    )
    (batch,) = pack(sequences, 1, 32, 4, Denominators.of(sequences, 8))
    logp = rng.uniform(-3, -1, batch.mask.shape).astype(np.float32)
    mine = load_loss("my_loss:reinforce")
    theirs = grpo(GRPO(reduction="token_mean", importance_cap=None), on_policy=True)
    gradients = [
        jax.grad(lambda x, loss=loss: loss(Stats(x, jnp.ones(x.shape)), batch)[0])(logp)
        for loss in (mine, theirs)
    ]
    np.testing.assert_allclose(*gradients, rtol=1e-6, atol=1e-7)
    assert np.abs(gradients[0]).sum() > 0


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("python -m")])
def test_every_command_parses(command):
    _, _, module, *flags = shlex.split(command)
    command, _ = load(module.removeprefix("experiments."))
    default, rest = cli.choose_preset(command.default, flags, command.presets)
    assert (cli.parse(default, rest, None) != default) == bool(rest)
    assert flags  # a command that says nothing would not be worth a line


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    targets = {c.split()[1] for c in COMMANDS if c.startswith("make")}
    assert targets == {"demo", "test"}
    for target in targets | {"install"}:
        assert re.search(rf"^{target}: ", makefile, flags=re.M)


def test_every_path_exists():
    paths = re.findall(r"`((?:r1jax|experiments|notebooks|tests|docs)/[\w./]*)`", README)
    paths += re.findall(r"\]\((docs/[^)]+)\)", README)
    assert len(paths) > 12
    for path in paths:
        assert (ROOT / path).exists(), path


@pytest.mark.parity
def test_from_a_model_of_transformers_and_back(examples):
    """GSM8K's layout, a run of one update, its export, and what loads it."""
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoTokenizer,
        PreTrainedTokenizerFast,
        Qwen2Config,
    )

    from r1jax.commands import zero

    embedded = model_directory("embedded")
    PreTrainedTokenizerFast.from_pretrained(embedded).save_pretrained("base")
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=1024, hidden_size=48, intermediate_size=64, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, bos_token_id=1, eos_token_id=2,
    )  # fmt: skip
    AutoModelForCausalLM.from_config(config).save_pretrained("base")
    row = {"question": "Ann has 3 pens and buys 2.", "answer": "3 + 2 = <<3+2=5>>5\n#### 5"}
    Path("gsm8k.jsonl").write_text(json.dumps(row) + "\n")
    flags = (
        "--model base --data.train gsm8k.jsonl --data.eval gsm8k.jsonl --export --updates 1"
        " --eval.samples 2 --eval.every 0 --rollout.prompts 1 --rollout.group 8 --rollout.slots 8"
        " --rollout.max-prompt 192 --rollout.max-tokens 16 --train.rows 8 --train.width 224"
        " --reward.workers 0 --reward.random 1 --optimizer.lr 1e-2"
    )
    assert cli.run(zero.main, PRESETS["research"], flags.split()) == 0
    assert 'AutoModelForCausalLM.from_pretrained("runs/zero/hf")' in README
    after = AutoModelForCausalLM.from_pretrained("runs/zero/hf")
    tokenizer = AutoTokenizer.from_pretrained("runs/zero/hf")
    assert type(after).__name__ == "Qwen2ForCausalLM"
    base = AutoModelForCausalLM.from_pretrained("base").state_dict()
    moved = [k for k, v in after.state_dict().items() if not torch.equal(v, base[k])]
    assert len(moved) > 20
    assert tokenizer("3 + 2 = 5")["input_ids"][-1] != tokenizer.eos_token_id
    text = tokenizer("3 + 2 =", return_tensors="pt")
    assert after.generate(text["input_ids"], max_new_tokens=4).shape[1] > 4


@pytest.mark.slow
def test_model_data_reward_and_loss_together(examples):
    """The README's own pieces in one run of one update."""
    from r1jax.commands import zero

    shutil.copytree(model_directory("embedded"), "model")
    flags = (
        "--run runs/mine --updates 1 --model model --data.template mini --data.train problems.jsonl"
        " --data.eval problems.jsonl --reward.user my_reward:close=0.5 my_reward:brief=0.1"
        " --reward.workers 1 --user-loss my_loss:reinforce --eval.samples 2 --eval.every 0"
        " --rollout.prompts 2 --rollout.group 4 --rollout.slots 8 --rollout.max-prompt 64"
        " --rollout.max-tokens 32 --train.rows 8 --train.width 128 --mesh.data 1"
    )
    assert cli.run(zero.main, PRESETS["demo"], flags.split()) == 0
    row = json.loads(Path("runs/mine/metrics.jsonl").read_text())
    assert {"reward/close", "reward/brief", "policy/entropy"} <= row.keys()
    assert Path("runs/mine/report.html").exists()
