"""The loop as a whole: what every update is made of, what a run leaves, and how it fails."""

from __future__ import annotations

import json
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from runs import StopAt, changed, go, rows, save_model, tiny_run
from tiny import identical, largest_difference

from r1jax.advantages import group_advantages
from r1jax.checkpoint import Checkpoints
from r1jax.commands import cli
from r1jax.data.packing import ONE_BY_ONE
from r1jax.errors import UserError
from r1jax.mesh import make_mesh
from r1jax.problem import Completion, Problem, RewardContext
from r1jax.rewards import score
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.stages import zero
from r1jax.training import batches
from r1jax.training.rl import judging, learning, resume, setup
from r1jax.training.rl.collect import make_terms
from r1jax.training.rl.reward import RewardConfig
from r1jax.training.rl.setup import build
from r1jax.training.rl.state import Files


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def user_module(tmp_path, monkeypatch):
    """A module of the user's own, importable as `own`."""
    (tmp_path / "own.py").write_text(
        "import jax.numpy as jnp\n"
        "from r1jax.types import Mean\n"
        "def broken(stats, batch):\n"
        "    share = jnp.sum(jnp.where(batch.mask > 0, stats.logp, 0.0)) * jnp.nan\n"
        "    return share, {'own/seen': Mean(jnp.sum(batch.mask), jnp.float32(1.0))}\n"
        "def nothing(stats, batch):\n"
        "    return 0.0 * jnp.sum(jnp.where(batch.mask > 0, stats.logp, 0.0)), {}\n"
        "def length(problems, completions, context):\n"
        "    return [float(len(c.token_ids)) for c in completions]\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "own"
    sys.modules.pop("own", None)


@pytest.fixture(scope="module")
def finished(model, tmp_path_factory):
    """(config, directory, what it printed) of a run from the command line to its report."""
    path = tmp_path_factory.mktemp("finished") / "run"
    config = tiny_run(
        model, path, {"export": True, "updates": 4, "memory": "warn", "eval.greedy": True}
    )
    with pytest.MonkeyPatch.context() as patch:
        said: list[str] = []
        patch.setattr("builtins.print", lambda *words, **_: said.append(" ".join(map(str, words))))
        assert cli.run(zero.run, config, []) == 0
    return config, path, said


def test_a_run_says_its_plan_and_where_the_report_is(finished):
    _, path, said = finished
    assert said[0] == "4 prompts x 4 = 16 completions -> 1 update of 16; 4 updates"
    assert said[1].startswith(
        ("memory plan per device (MiB): weights 0, ", "memory plan per device")
    )
    assert said[-1].splitlines()[-1] == str(path / "report.html")
    assert "<html" in (path / "report.html").read_text().lower()


def test_summary_says_what_the_issue_asks_for(finished):
    summary = json.loads((finished[1] / "summary.json").read_text())
    wanted = {
        "pass_at_1",
        "pass_at_1_strict",
        "pass_at_1_greedy",
        "cons_at_2",  # the number of samples; 16 by default
        "pass_at_2",
        "format",
        "length_mean",
        "truncated",
    }
    assert wanted <= summary["before"].keys() and wanted <= summary["after"].keys()
    assert set(summary["gain"]) == {"pass_at_1", "ci"}
    gain = summary["after"]["pass_at_1"] - summary["before"]["pass_at_1"]
    assert summary["gain"]["pass_at_1"] == pytest.approx(gain)
    low, high = summary["gain"]["ci"]
    assert low <= summary["gain"]["pass_at_1"] <= high
    assert summary["schema"] == 1 and summary["wall_seconds"] > 0
    assert (summary["updates"], summary["rollouts"]) == (4, 4)
    assert summary["memory_plan"]["peak"] >= summary["memory_plan"]["weights"] * 4
    assert len(summary["transcripts"]) == 3
    evaluations = json.loads((finished[1] / "eval.json").read_text())
    assert [e["update"] for e in evaluations] == [0, 4]


def test_sampler_and_trainer_agree_and_the_coin_is_fair(finished):
    metrics = rows(finished[1])
    assert [row["rollout"] for row in metrics] == [1, 2, 3, 4]
    assert max(row["policy/logp_diff_max"] for row in metrics) <= 1e-5
    samples = rows(finished[1], "samples.jsonl")
    coins = [s["reward/random"] for s in samples]
    assert set(coins) == {0.0, 1.0}
    assert abs(np.mean(coins) - 0.5) < 3 * 0.5 / len(coins) ** 0.5
    assert all(s["reward"] == s["reward/random"] for s in samples)


def test_the_export_is_a_model_directory_with_the_trained_weights(finished, model):
    config, path, _ = finished
    policy = load_policy(str(path / "hf"), "mini")
    mesh = make_mesh(config.mesh)
    exported = load_weights(policy, mesh)
    parts = build(config, note=print)
    checkpoints = Checkpoints(path / "checkpoints", 2)
    saved = checkpoints.restore(4, setup.initial_state(parts), parts.policy.identity)
    checkpoints.close()
    assert identical(exported, saved.state.params)
    assert largest_difference(exported, load_weights(load_policy(model, "mini"), mesh)) > 1e-3
    assert policy.stop_ids == parts.policy.stop_ids


def test_a_finished_run_says_where_its_report_is(finished, capsys):
    config, path, _ = finished
    before = {p: p.stat().st_mtime_ns for p in path.rglob("*")}
    assert cli.run(zero.run, config, []) == 0
    assert capsys.readouterr().out == f"finished already: {path}/report.html\n"
    assert {p: p.stat().st_mtime_ns for p in path.rglob("*")} == before


def test_a_finished_run_without_report_gets_one(finished, capsys):
    config, path, _ = finished
    (path / "report.html").unlink()
    assert cli.run(zero.run, config, []) == 0
    assert (path / "report.html").exists() and "finished already" in capsys.readouterr().out


def test_other_flags_end_with_status_2_and_the_difference(finished, capsys):
    assert cli.run(zero.run, finished[0], ["--seed", "1"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "seed: 0 -> 1" in said and "--overwrite" in said


def test_overwrite_starts_anew(finished, tmp_path):
    parts = build(changed(finished[0], {"run": str(tmp_path / "run")}), note=print)
    assert go(parts, tmp_path / "run", StopAt(3)) is None
    again = replace(parts, config=changed(parts.config, {"overwrite": True}))
    assert go(again, tmp_path / "run", StopAt(2)) is None
    assert [row["update"] for row in rows(tmp_path / "run")] == [1, 2]


@pytest.fixture
def watched(monkeypatch):
    """What went into packing, and the rewards with their groups, in the order of the calls."""
    packed, judged = [], []
    pack, judge = learning.pack, judging.judge

    def watch_pack(sequences, *shape):
        packed.append(sequences)
        return pack(sequences, *shape)

    def watch_judge(terms, problems, completions, context, pool, early):
        found = judge(terms, problems, completions, context, pool, early)
        judged.append((found.total, np.asarray(context.group_ids)))
        return found

    monkeypatch.setattr(learning, "pack", watch_pack)
    layout = ONE_BY_ONE._replace(pack=watch_pack)
    monkeypatch.setattr(batches.over_completions, "__defaults__", (layout,))
    monkeypatch.setattr(judging, "judge", watch_judge)
    return packed, judged


def texts(sequences):
    """Each sequence as hashable bytes with its advantage."""
    totals = sequences.totals
    return [
        (sequences.tokens[i, : totals[i]].tobytes(), float(sequences.columns["advantages"][i]))
        for i in range(len(totals))
    ]


def test_several_updates_share_one_rollout(model, tmp_path, watched):
    packed, judged = watched
    changes = {"updates": 8, "train.updates_per_rollout": 4, "loss.advantage_std": "population"}
    parts = build(tiny_run(model, tmp_path / "run", changes), note=print)
    passes = []
    counted = replace(parts, logp=lambda p, b: passes.append(1) or parts.logp(p, b))
    go(counted, tmp_path / "run")
    assert len(packed) == 2 * (1 + 4) and len(judged) == 2
    for rollout, (total, groups) in enumerate(judged):
        whole, *portions = packed[5 * rollout : 5 * rollout + 5]
        expected = group_advantages(total, groups, "population", 1e-6)
        assert np.abs(expected).max() > 0
        whole = whole.with_columns(advantages=expected)  # of whole groups, before the split
        assert [len(p.lengths) for p in portions] == [4, 4, 4, 4]
        used = [text for portion in portions for text in texts(portion)]
        assert Counter(used) == Counter(texts(whole)) and used != texts(whole)
        assert all("old_logp" in p.columns for p in portions)
    assert len(passes) == 2  # one micro-batch holds a rollout, and is scored once
    found = rows(tmp_path / "run")
    first = [row for row in found if row["update"] in (1, 5)]
    assert all(row["policy/ratio_mean"] == pytest.approx(1, abs=1e-5) for row in first)
    later = [row for row in found if row["update"] not in (1, 5)]
    assert any(abs(row["policy/ratio_mean"] - 1) > 1e-3 for row in later)
    assert ["reward/mean" in row for row in found] == [True, False, False, False] * 2


def test_the_reference_is_replaced_every_so_many_updates(model, tmp_path):
    changes = {"updates": 5, "loss.beta": 0.1, "train.reference_every": 3}
    parts = build(tiny_run(model, tmp_path / "run", changes), note=print)
    loop = go(parts, tmp_path / "run")
    kl = {row["update"]: row["policy/kl_ref"] for row in rows(tmp_path / "run")}
    assert kl[1] == pytest.approx(0, abs=1e-6) and kl[4] == pytest.approx(0, abs=1e-6)
    assert min(kl[2], kl[3], kl[5]) > 1e-5
    assert largest_difference(loop.reference, loop.state.params) > 1e-4


def test_without_a_kl_term_no_reference_is_held(model, tmp_path):
    parts = build(tiny_run(model, tmp_path / "run"), note=print)
    assert not parts.needs_reference
    loop = resume.begin(parts, Files(_Nothing(), _Nothing(), (), _Nothing(), _Nothing()))
    assert loop.reference is None and resume.saved(parts, loop).reference is None


class _Nothing:
    """Files of a run that has none."""

    write = False

    def latest(self):
        return None

    def cut(self, update, rollout):
        assert (update, rollout) == (-1, 0)


def test_nonfinite_updates_are_skipped_then_stop_the_run(model, tmp_path, user_module, capsys):
    path = tmp_path / "run"
    changes = {"user_loss": f"{user_module}:broken", "train.max_skipped": 3}
    config = tiny_run(model, path, changes)
    start = setup.initial_state(build(config, note=print))
    assert cli.run(zero.run, config, []) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: update 3: loss or gradient was not finite 3 times in a row")
    assert said.count("\n") == 1 and str(path / "nonfinite_batch.npz") in said
    found = rows(path)
    assert [(row["update"], row["skipped"], row["loss"]) for row in found] == [
        (1, 1.0, None),
        (2, 1.0, None),
        (3, 1.0, None),
    ]
    with np.load(path / "nonfinite_batch.npz") as batch:
        assert batch["tokens/0"].shape == (8, 64)
        assert batch["mask/0"].sum() == found[2]["own/seen"]
    checkpoints = Checkpoints(path / "checkpoints", 2)
    assert checkpoints.latest() is None  # update 3 was to be the first
    checkpoints.close()
    assert not (path / "summary.json").exists()
    assert int(start.skipped) == 0


def test_a_users_reward_and_loss_take_part(model, tmp_path, user_module):
    changes = {
        "updates": 2,
        "reward.user": (f"{user_module}:length=0.5",),
        "user_loss": f"{user_module}:nothing",
    }
    parts = build(tiny_run(model, tmp_path / "run", changes), note=print)
    loop = go(parts, tmp_path / "run")
    assert identical(loop.state.params, setup.initial_state(parts).params)
    for row in rows(tmp_path / "run"):
        assert row["reward/length"] == row["completion/length_mean"]
        assert row["reward/mean"] == pytest.approx(
            row["reward/random"] + 0.5 * row["reward/length"]
        )


PROBLEM = Problem("p", "1 + 2", "3")
STRICT = "<think> 1 + 2 = 3 </think> <answer> 3 </answer>"
CASES = [  # (flags, text, token count, total)
    ({"accuracy": 2.0}, STRICT, 9, 2.0),
    ({"accuracy": 2.0}, STRICT.replace("3 </answer>", "4 </answer>"), 9, 0.0),
    ({"accuracy": 1.0, "answer": "boxed"}, STRICT, 9, 0.0),
    ({"accuracy": 1.0, "answer": "boxed"}, r"so \boxed{3}", 9, 1.0),
    ({"format": 0.5}, STRICT, 9, 0.5),
    ({"format": 0.5}, "3", 1, 0.0),
    ({"tag_count": 1.0}, "<think> 3 </think>", 4, 0.5),
    ({"overlong": 1.0, "overlong_cache": 8}, STRICT, 16, -0.5),
    ({"overlong": 1.0, "overlong_cache": 4}, STRICT, 16, 0.0),
    ({"overlong": 2.0, "overlong_cache": 4}, STRICT, 19, -1.5),
    ({"repetition": 1.0}, "a b c d e f", 6, 0.0),
]


@pytest.mark.parametrize(("flags", "text", "tokens", "total"), CASES, ids=str)
def test_every_weight_has_its_effect(flags, text, tokens, total):
    config = RewardConfig(**{"accuracy": 0, "format": 0} | flags)
    completion = Completion.parse(text, range(tokens))
    terms = make_terms(config, max_tokens=20, seed=0)
    assert len(terms) == 1
    assert score(terms, [PROBLEM], [completion], RewardContext())[0] == [pytest.approx(total)]


def test_repetition_and_the_coin_have_their_effect():
    config = RewardConfig(accuracy=0, format=0, repetition=1.0)
    loop = Completion.parse("a b c " * 10)
    terms = make_terms(config, max_tokens=20, seed=0)
    assert score(terms, [PROBLEM], [loop], RewardContext())[0][0] < -0.5
    many = [Completion.parse("7", sample=i) for i in range(400)]
    config = RewardConfig(accuracy=0, format=0, random=3.0)
    first, second = (
        score(make_terms(config, 20, seed), [PROBLEM] * 400, many, RewardContext())[0]
        for seed in (0, 1)
    )
    assert set(first) == {0.0, 3.0} and first != second
    assert abs(np.mean(first) / 3 - 0.5) < 3 * 0.5 / 20


def test_rewards_that_are_all_off_are_refused():
    with pytest.raises(UserError, match="every weight is 0"):
        make_terms(RewardConfig(accuracy=0, format=0), 20, 0)
    with pytest.raises(UserError, match="'much' is not a number"):
        make_terms(RewardConfig(user=("r1jax.rewards:strict_format=much",)), 20, 0)
    for odd in ("nan", "inf"):
        with pytest.raises(UserError, match=f"--reward.user .*: '{odd}' is not a number"):
            make_terms(RewardConfig(user=(f"r1jax.rewards:strict_format={odd}",)), 20, 0)
    with pytest.raises(UserError, match="terms accuracy, format, tag_count, tag_count: each needs"):
        make_terms(RewardConfig(user=("r1jax.rewards:tag_count",) * 2), 20, 0)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train.updates_per_rollout": 3}, "must divide the 16 completions"),
        ({"updates": 0}, "--updates 0: must be at least 1"),
        ({"rollout.temperature": 0.0}, "--rollout.temperature 0.0"),
        ({"rollout.prompts": 0}, "--rollout.prompts 0"),
    ],
)
def test_flags_that_cannot_train_are_refused(changes, words, model, tmp_path):
    with pytest.raises(UserError, match=words.replace("(", r"\(")):
        tiny_run(model, tmp_path, changes)
