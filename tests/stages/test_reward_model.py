"""Reward models at toy size: what they learn and leave, how they resume, how they reward."""

from __future__ import annotations

import json
import random
import shutil
from dataclasses import replace
from pathlib import Path

import jax
import numpy as np
import pytest
from runs import Interrupted, StopAt, changed, rows, save_model, tiny_run
from tiny import identical, mesh_of

from r1jax.checkpoint import CheckpointConfig
from r1jax.commands import cli
from r1jax.commands import reward_model as command
from r1jax.data.examples.preferences import PreferenceConfig
from r1jax.errors import UserError
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import RewardPool
from r1jax.rollout.policy import load_policy
from r1jax.stages import opening, reward_model, supervised, zero
from r1jax.stages.reward_model import RewardModelConfig
from r1jax.stages.supervised import SFTConfig
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig
from r1jax.training.rl import memory, setup
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.judgement import judge
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.rl.reward_model import load_reward_model, load_scorer, named_reward_model
from r1jax.training.supervised.value import make_value_model
from r1jax.training.weights import trained_weights

pytestmark = pytest.mark.devices(2)

LOW_RANK = {"lora.rank": 2, "lora.targets": ("wq", "up"), "optimizer.lr": 1e-2}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("models") / "tiny")


def write(path, found):
    path.write_text("".join(json.dumps(row) + "\n" for row in found))
    return str(path)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Whoever says 9 is preferred, and safe; three pairs of each prompt."""
    path, r = tmp_path_factory.mktemp("data"), random.Random(0)
    digits = lambda n: [r.choice("1234567") for _ in range(n)]  # noqa: E731
    pairs = []
    for i in range(120):
        good, bad = digits(r.randint(2, 5)), digits(r.randint(3, 6))
        good.insert(r.randint(0, len(good)), "9")
        pairs.append({"prompt": f"{i // 3}?", "chosen": " ".join(good), "rejected": " ".join(bad)})
    write(path / "pairs.jsonl", pairs)
    sides = (("chosen", "safe"), ("rejected", "unsafe"))
    labels = [
        {"prompt": p["prompt"], "response": p[side], "label": label}
        for p in pairs
        for side, label in sides
    ]
    write(path / "labels.jsonl", labels)
    return path


def toy(model, data, path, changes=()):
    """Flags of 24 updates on 16 pairs, 24 pairs held out."""
    config = RewardModelConfig(
        run=str(path),
        model=model,
        updates=24,
        batch=16,
        eval_every=12,
        data=PreferenceConfig(train=(str(data / "pairs.jsonl"),), eval_count=24),
        optimizer=OptimizerConfig(lr=3e-3),
        train=ComputeConfig(rows=8, width=64, max_segments=4, remat="none", kernel="xla"),
        checkpoint=CheckpointConfig(every=5),
    )
    return changed(config, dict(changes))


def pointwise(data):
    return {"kind": "pointwise", "data.train": (str(data / "labels.jsonl"),)}


def summary(path):
    return json.loads((Path(path) / "summary.json").read_text())


def scorer(path):
    """The trained parameters of a run."""
    found = load_reward_model(path)
    return load_scorer(found, mesh_of(data=8))


@pytest.fixture(scope="module")
def runs(model, data, tmp_path_factory):
    """A run of each sort, made when it is first asked for."""
    where, made = tmp_path_factory.mktemp("runs"), {}
    sorts = {"pairs": {}, "labels": pointwise(data), "lora": LOW_RANK}

    def of(name):
        if name not in made:
            made[name] = toy(model, data, where / name, sorts[name])
            reward_model.run(made[name])
        return made[name]

    return of


@pytest.mark.slow
@pytest.mark.parametrize("name", ["pairs", "labels", "lora"])
def test_what_can_be_learnt_is_learnt(runs, name):
    said = summary(runs(name).run)
    assert said["before"]["accuracy"] == 0.5  # a head of zeros prefers nothing
    assert said["after"]["accuracy"] > 0.9
    low, high = said["after"]["accuracy_ci"]
    assert low <= said["after"]["accuracy"] <= high
    assert said["after"]["loss"] < said["before"]["loss"] == pytest.approx(np.log(2))
    assert 0 <= said["after"]["ece"] < 0.3 and said["after"]["reliability"]
    if name == "labels":
        assert said["after"]["auc"] > 0.95 and said["after"]["share_safe"] == 0.5


def test_a_run_leaves_what_runs_leave(runs, capsys):
    path = Path(runs("pairs").run)
    for name in ("config.json", "eval.json", "plots/judged.png", "plots/reliability.png"):
        assert (path / name).exists()
    metrics = rows(path)
    assert [row["update"] for row in metrics] == list(range(1, 25))
    assert {"preference/accuracy", "preference/margin", "loss", "lr", "grad_norm",
            "data/tokens_seen", "data/epoch"} <= metrics[0].keys()  # fmt: skip
    assert [e["update"] for e in json.loads((path / "eval.json").read_text())] == [0, 12, 24]
    said = summary(path)
    assert said["kind"] == "pairwise" and said["examples"] == 96 and said["best"] in (12, 24)
    page = (path / "report.html").read_text()
    assert "held-out accuracy" in page and "How sure the model was" in page
    reward_model.run(runs("pairs"))
    assert "finished already" in capsys.readouterr().out


@pytest.mark.slow
def test_a_killed_run_ends_as_an_undisturbed_one(runs, tmp_path, monkeypatch):
    whole = runs("pairs")
    config = changed(whole, {"run": str(tmp_path / "killed")})
    for stop in (3, 17):
        with monkeypatch.context() as patch:
            patch.setattr(opening, "open_sinks", lambda *_, stop=stop: (StopAt(stop),))
            with pytest.raises(Interrupted):
                reward_model.run(config)
    reward_model.run(config)
    assert identical(scorer(config.run), scorer(whole.run))
    assert rows(Path(config.run)) == rows(Path(whole.run))
    assert (Path(config.run) / "eval.json").read_text() == (
        Path(whole.run) / "eval.json"
    ).read_text()


QUESTIONS = [Problem(str(i), f"{i}?", "", metadata={"kind": "ab"[i % 2]}) for i in range(6)]
TEXTS = ["1 9 2", "1 5 2", "9", "4 4 4 4 4 4", "2 9 9", "3"]
ANSWERS = [Completion.parse(text) for text in TEXTS]


@pytest.mark.parametrize("name", ["pairs", "labels", pytest.param("lora", marks=pytest.mark.slow)])
def test_a_trained_model_is_a_reward(runs, name):
    reward = load_reward_model(runs(name).run)
    found = reward(QUESTIONS, ANSWERS, RewardContext())
    assert min(found[i] for i in (0, 2, 4)) > max(found[i] for i in (1, 3, 5))
    one_by_one = [reward([p], [c], RewardContext())[0]
                  for p, c in zip(QUESTIONS, ANSWERS, strict=True)]  # fmt: skip
    assert found == pytest.approx(one_by_one, abs=1e-4)
    again = load_reward_model(f"{runs(name).run}/checkpoints", mesh=mesh_of(data=2))
    assert again(QUESTIONS, ANSWERS, RewardContext()) == pytest.approx(found, abs=1e-4)
    assert reward([], [], RewardContext()) == []


def test_an_earlier_checkpoint_scores_otherwise(runs):
    first, last = (load_reward_model(runs("pairs").run, step=s) for s in (20, None))
    assert last.step == 24
    assert first.scores(["1?"], ["9"]) != last.scores(["1?"], ["9"])


def test_the_view_decides_what_is_scored(runs):
    kept, whole = (load_reward_model(runs("pairs").run, view=v) for v in (None, "whole"))
    assert kept.view == "summary" and load_reward_model(runs("labels").run).view == "whole"
    thought, plain = "<think>9 9</think> 1 2", "1 2"
    assert kept.scores(["1?"], [thought]) == kept.scores(["1?"], [plain])
    assert whole.scores(["1?"], [thought]) != whole.scores(["1?"], [plain])
    # A thought that never ends leaves an empty summary.
    assert kept.scores(["1?"], ["<think>9 9"]) == kept.scores(["1?"], [""])


def test_problems_of_another_kind_are_left_out(runs):
    name, reward, weight = named_reward_model(f"{runs('pairs').run}?only=kind:a&view=whole=0.5")
    assert (name, weight, reward.view) == ("pairs", 0.5, "whole")
    found = reward(QUESTIONS, ANSWERS, RewardContext())
    assert [value is None for value in found] == [False, True] * 3


def test_it_is_a_term_of_the_reward_in_the_main_process(runs):
    pairs, labels = runs("pairs").run, runs("labels").run
    config = RewardConfig(
        accuracy=0, format=1, model=(f"{pairs}?view=whole=0.5", f"{labels}/checkpoints")
    )
    terms = make_terms(config, 8, 0)
    assert [(t.name, t.weight) for t in terms] == [("format", 1), ("pairs", 0.5), ("labels", 1)]
    context = RewardContext(group_ids=tuple(range(6)))
    with RewardPool(workers=1) as pool:  # nothing of a model reaches a worker
        found = judge(terms, QUESTIONS, ANSWERS, context, pool)
    parts = {name: load_reward_model(runs(name).run).scores([p.question for p in QUESTIONS], TEXTS)
             for name in ("pairs", "labels")}  # fmt: skip
    for name, values in parts.items():
        np.testing.assert_allclose(found.parts[name], values, atol=1e-4)
        assert found.lost[name] == 0
    np.testing.assert_allclose(found.total, 0.5 * parts["pairs"] + parts["labels"], atol=1e-4)


def test_the_memory_plan_counts_it(runs, model, tmp_path):
    config = tiny_run(model, tmp_path / "rl", {"reward.model": (f"{runs('pairs').run}=0.5",)})
    with_it, without = (
        memory.plan(setup.build(c, print))
        for c in (config, replace(config, reward=replace(config.reward, model=())))
    )
    weights = load_reward_model(runs("pairs").run)._loaded.params
    held = sum(max(s.data.nbytes for s in x.addressable_shards) for x in jax.tree.leaves(weights))
    assert with_it["reward models"] == held > 0 == without["reward models"]
    assert with_it["peak"] - without["peak"] == held


@pytest.mark.slow
def test_a_policy_is_trained_on_it(runs, model, tmp_path):
    config = tiny_run(model, tmp_path / "rl", {
        "updates": 2, "reward.random": 0, "reward.model": (f"{runs('pairs').run}=0.5",),
    })  # fmt: skip
    zero.run(config)
    for row in rows(tmp_path / "rl"):
        assert row["reward/mean"] == pytest.approx(0.5 * row["reward/pairs"], abs=1e-5)
        assert row["reward/pairs"] != 0
    sample = rows(tmp_path / "rl", "samples.jsonl")[0]
    score = load_reward_model(runs("pairs").run).scores([sample["question"]], [sample["text"]])
    assert sample["reward/pairs"] == pytest.approx(float(score[0]), abs=1e-4)


def test_it_starts_from_another_runs_policy_and_lora_finds_it_again(model, data, tmp_path):
    sums = write(tmp_path / "sums.jsonl", [{"prompt": "1+1=", "completion": "2"}] * 4)
    compute = ComputeConfig(rows=8, width=64, max_segments=4, remat="none", kernel="xla")
    policy = SFTConfig(
        run=str(tmp_path / "sft"), model=model, updates=1, batch=4, export=False, train=compute,
        optimizer=OptimizerConfig(lr=0.1),
    )  # fmt: skip
    supervised.run(changed(policy, {"data.train": (sums,)}))
    start = {"parent": f"{policy.run}/checkpoints", "updates": 1, "data.eval_count": 0}
    config = toy(model, data, tmp_path / "next", start | LOW_RANK)
    reward_model.run(config)
    said = summary(config.run)
    assert said["parent"]["step"] == 1 and said["after"] == {}
    mesh, plain = mesh_of(data=8), load_policy(model, "plain")
    below = trained_weights(plain, mesh, f"{policy.run}/checkpoints")
    assert identical(scorer(config.run)["embed"], below["embed"])
    assert not identical(below["embed"], trained_weights(plain, mesh)["embed"])


def test_it_does_not_start_from_a_reward_model(runs, model, data, tmp_path):
    config = toy(model, data, tmp_path / "no", {"parent": f"{runs('pairs').run}/checkpoints"})
    with pytest.raises(UserError, match="holds a reward model; name the checkpoints of a policy"):
        reward_model.run(config)


def test_the_settings_of_the_loss_count(model, data, tmp_path):
    """A head of zeros costs log(1 + e^margin); what it then learns is held back by the centre."""
    changes = {"loss.margin": 1.0, "loss.center": 1e4, "updates": 2, "data.eval_count": 0}
    reward_model.run(toy(model, data, tmp_path / "run", changes))
    first, second = rows(tmp_path / "run")
    assert first["loss"] == pytest.approx(np.log(1 + np.e))
    assert second["loss"] > 5


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ("", "--data.train: no source"),
        ("--data.train PAIRS --kind pointwise", "line 1, column label: "),
        ("--data.train LABELS", "line 1: no column chosen; it has prompt, response, label"),
        ("--data.train PAIRS --train.max-segments 3", "--train.max-segments 3: must be even"),
        ("--data.train PAIRS --train.width 8", "chosen and rejected have"),
        ("--data.train PAIRS --data.eval-count 500", "leaves none of 120 examples"),
        ("--data.train LABELS?label=safe --kind pointwise", "every response is safe; both labels"),
        ("--kind pointwise --loss.margin 1", "--loss.*: belongs to --kind pairwise"),
        ("--kind listwise", "--kind listwise: expected one of pairwise, pointwise"),
        ("--parent-step 3", "--parent-step 3: needs --parent"),
    ],
)
def test_mistakes_are_one_line_and_status_2(model, data, tmp_path, capsys, flags, said):
    write(tmp_path / "pairs.jsonl", [{"prompt": "p", "response": "r", "label": "x"}])
    own = {"PAIRS": str((tmp_path if "pointwise" in flags else data) / "pairs.jsonl")}
    own["LABELS"] = str(data / "labels.jsonl")
    for name, path in own.items():
        flags = flags.replace(name, path)
    start = changed(command.PRESETS["demo"], {"run": str(tmp_path / "run"), "model": model})
    assert cli.run(command.main, start, flags.split()) == 2
    error = capsys.readouterr().err.strip()
    assert said in error and error.startswith("error: ") and "\n" not in error


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("nowhere=1", "--reward.model nowhere: no such directory of checkpoints"),
        ("RUN=much", "'much' is not a number"),
        ("RUN?view=thought", "view 'thought'; expected summary or whole"),
        ("RUN?size=3=1", "no option 'size'; there are view, only and unverified"),
        ("RUN?unverified=yes", "unverified 'yes'; expected true or false"),
        ("RUN?only=safety=1", "only 'safety'; expected COLUMN:VALUE"),
    ],
)
def test_a_flag_that_names_no_reward_model_is_refused(runs, text, said):
    with pytest.raises(UserError) as caught:
        named_reward_model(text.replace("RUN", runs("pairs").run))
    assert said in str(caught.value) and str(caught.value).startswith("--reward.model")


def test_one_without_digests_is_taken_where_that_is_asked(runs, tmp_path):
    run = shutil.copytree(runs("pairs").run, tmp_path / "pairs")
    for digest in run.glob("checkpoints/*/digests.*.json"):
        digest.unlink()
    with pytest.raises(UserError, match=r"digests.*; \?unverified=true behind the directory takes"):
        named_reward_model(str(run))
    assert named_reward_model(f"{run}?unverified=true=0.5")[2] == 0.5
    value = lambda unverified: make_value_model(*[None] * 4, str(run), unverified)  # noqa: E731
    with pytest.raises(UserError, match="--value.parent .*digests.*; --checkpoint.unverified"):
        value(False)
    with pytest.raises(UserError, match="--value.parent .*is a reward model of kind pairwise"):
        value(True)


def test_the_papers_numbers():
    r1 = command.PRESETS["r1"]
    assert (r1.epochs, r1.batch, r1.optimizer.lr, r1.train.width) == (1, 256, 6e-6, 2 * 8192)
    assert r1.view == "summary" and changed(r1, {"kind": "pointwise"}).view == "whole"
    assert changed(r1, {"data.view": "whole"}).view == "whole"
