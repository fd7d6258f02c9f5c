"""The published recipes: their numbers as stated, and each experiment run small on the base."""

from __future__ import annotations

import json

import pytest
from runs import CHAT, changed, model_with, rows

from r1jax.commands import cli, load
from r1jax.presets.reproductions import REPRODUCTIONS
from r1jax.training.rl.collect import make_terms

PLANS = {
    "tinyzero-countdown": "32 prompts x 8 = 256 completions -> 4 updates of 64; 800 updates",
    "tinyzero-multiply": "32 prompts x 8 = 256 completions -> 4 updates of 64; 800 updates",
    "simplerl-zoo": "1024 prompts x 8 = 8192 completions -> 4 updates of 2048; 400 updates",
    "simplerl-v0": "1024 prompts x 8 = 8192 completions -> 64 updates of 128; 7680 updates",
    "openr1": "28 prompts x 16 = 448 completions -> 1 update of 448; 3300 updates",
    "openr1-distill": "28 prompts x 16 = 448 completions -> 1 update of 448; 3300 updates",
    "will-brown": "4 prompts x 16 = 64 completions -> 1 update of 64; 1868 updates",
}


@pytest.mark.parametrize("name", PLANS)
def test_plans(name):
    config = REPRODUCTIONS[name]
    assert config.plan == PLANS[name] and len(PLANS) == len(REPRODUCTIONS)
    assert config.train.width >= config.rollout.max_prompt + config.rollout.max_tokens


def test_published_rewards_are_the_terms():
    names = {
        name: [(term.name, term.weight) for term in make_terms(config.reward, 64, 0)]
        for name, config in REPRODUCTIONS.items()
    }
    assert names["tinyzero-countdown"] == [("countdown", 1.0)]
    assert names["tinyzero-multiply"] == [("multiply", 1.0)]
    assert (names["simplerl-zoo"], names["simplerl-v0"]) == ([("zoo", 1.0)], [("v0", 1.0)])
    assert names["openr1"] == [("accuracy", 1.0), ("format", 1.0), ("tag_count", 1.0)]
    assert [name for name, _ in names["will-brown"]] == [
        "xmlcount", "soft_format", "strict_format", "integer", "correctness",
    ]  # fmt: skip


SMALL = {
    "updates": 1,
    "data.eval_count": 2,
    "rollout.prompts": 2,
    "rollout.group": 2,
    "rollout.max_prompt": 320,
    "rollout.max_tokens": 8,
    "rollout.slots": 4,
    "rollout.prefill": 4,
    "rollout.dtype": "float32",
    "reward.workers": 0,
    "train.updates_per_rollout": 1,
    "train.rows": 1,
    "train.width": 384,
    "train.max_segments": 4,
    "train.dtype": "float32",
    "train.remat": "none",
    "train.kernel": "xla",
    "eval.every": 0,
    "eval.samples": 1,
    "eval.temperature": 1.0,
    "eval.top_p": 1.0,
    "eval.greedy": False,
    "memory": "off",
}


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """(model directory with a chat template, problems) of the small runs."""
    path = tmp_path_factory.mktemp("world")
    problems = [{"id": f"p{i}", "problem": f"What is {i}+{i}?", "answer": 2 * i} for i in range(9)]
    (path / "quiz.jsonl").write_text("".join(json.dumps(row) + "\n" for row in problems))
    return model_with(path / "model", CHAT), str(path / "quiz.jsonl")


@pytest.mark.parametrize(
    "module, preset",
    [
        ("tinyzero_countdown", "tinyzero-countdown"),
        ("tinyzero_multiply", "tinyzero-multiply"),
        ("simplerl", "simplerl-zoo"),
        ("simplerl", "simplerl-v0"),
        ("openr1", "openr1"),
        ("will_brown", "will-brown"),
    ],
)
@pytest.mark.slow
def test_an_experiment_small(module, preset, world, tmp_path, monkeypatch):
    model, quiz = world
    config = changed(REPRODUCTIONS[preset], SMALL | {"model": model, "run": str(tmp_path / "run")})
    if not config.data.train[0].startswith("tinyzero"):
        config = changed(config, {"data.train": (quiz,), "data.eval": (quiz,)})
    assert cli.run(load(module)[0].main, config, []) == 0
    (update,) = rows(tmp_path / "run")
    terms = [term.name for term in make_terms(config.reward, 8, 0)]
    assert all(f"reward/{name}" in update for name in terms)
    samples = rows(tmp_path / "run", "samples.jsonl")
    prefill = "<think>" if preset.startswith("tinyzero") else ""
    assert samples and all(row["text"].startswith(prefill) for row in samples)
