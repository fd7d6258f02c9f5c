"""The loop's further options: truncated completions, rounds, a following reference, KL in the
reward, LoRA."""

from __future__ import annotations

import json
import re
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from runs import changed, go, rows, save_model, tiny_run
from tiny import identical, largest_difference

from r1jax.advantages import group_advantages
from r1jax.checkpoint import Checkpoints, load_params
from r1jax.data.packing import Sequences
from r1jax.errors import UserError
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import decoder
from r1jax.models.attention import Segments
from r1jax.models.lora import merge
from r1jax.presets.zero import PRESETS
from r1jax.problem import Completion, Problem
from r1jax.rollout.engine import Generated
from r1jax.rollout.policy import load_policy, load_weights
from r1jax.stages import zero
from r1jax.training.batches import fit_rows
from r1jax.training.flops import scoring_flops
from r1jax.training.rl import credit, resume, setup
from r1jax.training.rl import loop as training_loop
from r1jax.training.rl.collect import Scored, mixed_count, mixed_first
from r1jax.training.rl.judgement import Judgement
from r1jax.training.rl.judging import JudgedBatch
from r1jax.training.rl.learning import in_the_loss
from r1jax.training.rl.setup import build, initial_state
from r1jax.training.update import sharp_logp

# One set of low-rank programs serves every test of LoRA.
LORA = {"lora.rank": 2, "lora.targets": ("wq", "down"), "loss.beta": 0.1}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


def drawn(accuracy, group=2):
    """Completions with this raw accuracy, groups side by side."""
    n = len(accuracy)
    problem = Problem("p", "q", "a")
    generated = [
        Generated(np.array([i]), np.zeros(1), np.zeros(1), i // group, i % group, "stop", ())
        for i in range(n)
    ]
    reasons = ["length" if i % 3 == 0 else "stop" for i in range(n)]
    completions = [Completion.parse(str(i), [i], reason) for i, reason in enumerate(reasons)]
    part = np.asarray(accuracy, np.float32)
    judgement = Judgement(part, {"accuracy": part}, {"accuracy": 1})
    return JudgedBatch([problem] * n, generated, completions, np.arange(n) // group, judgement)


def texts(found):
    return [completion.text for completion in found.completions]


def test_rounds_join_under_group_numbers_of_their_own():
    both = drawn([1, 0, 1, 1]).joined(drawn([0, 1]))
    np.testing.assert_array_equal(both.groups, [0, 0, 1, 1, 2, 2])
    np.testing.assert_array_equal(both.judgement.total, [1, 0, 1, 1, 0, 1])
    assert both.judgement.lost == {"accuracy": 2}
    assert mixed_count(both) == 2


def test_mixed_groups_come_first_and_others_fill_up():
    found = drawn([1, 1, 1, 0, 0, 0, 0, 1])
    assert texts(mixed_first(found, 2)) == ["2", "3", "6", "7"]
    assert texts(mixed_first(found, 3)) == ["2", "3", "6", "7", "0", "1"]
    five = drawn([1, 0, 0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0], group=5)  # shares 0.2, 1, 0.8
    for within, count in [((0, 1), 2), ((0.2, 0.8), 2), ((0.3, 1), 1), ((0.3, 0.7), 0)]:
        assert mixed_count(five, *within) == count
    assert texts(mixed_first(five, 1, 0.3, 1.0)) == ["10", "11", "12", "13", "14"]


@pytest.mark.parametrize(
    ("how", "lengths", "tokens", "sequences"),
    [("keep", [2, 3, 4], 9, 3), ("drop", [2, 4], 6, 2), ("count", [2, 4], 9, 3)],
)
def test_truncated_completions_leave_the_loss_and_its_denominators(how, lengths, tokens, sequences):
    whole = Sequences(np.ones((3, 5), np.int32), np.ones(3, int), np.array([2, 3, 4]))
    scored = Scored(whole, np.arange(3), np.array([False, True, False]), {})
    kept, totals = in_the_loss(scored, np.arange(3), how, 4)
    assert kept.lengths.tolist() == lengths
    assert (totals.n_tokens, totals.n_sequences, totals.max_tokens) == (tokens, sequences, 4)


def test_rounds_go_on_until_enough_groups_are_mixed(model, tmp_path):
    flags = {"reward.accuracy": 1.0, "rollout.max_rounds": 3, "updates": 2}
    parts = build(tiny_run(model, tmp_path, flags), note=print)
    loop = go(parts, tmp_path / "run")
    # A random model is never right, so that no group is mixed and every round is used.
    assert [row["rollout/rounds"] for row in rows(tmp_path / "run")] == [3, 3]
    assert loop.taken == 2 * 3 * 4 and loop.rollout == 3


def test_dynamic_sampling_needs_an_accuracy(model, tmp_path):
    with pytest.raises(UserError, match="--rollout.max-rounds 2: dynamic sampling looks at"):
        tiny_run(model, tmp_path, {"rollout.max_rounds": 2})


def test_a_reward_sees_the_problems_before_a_run_begins(model, tmp_path):
    row = {"question": "1+1?", "answer": "2", "language": "xx"}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    flags = {"data.train": (str(tmp_path / "rows.jsonl"),), "reward.language": 1.0}
    with pytest.raises(UserError, match="the column language says 'xx'"):
        build(tiny_run(model, tmp_path / "run", flags), note=print)


def test_the_reference_follows_by_its_rate(model, tmp_path):
    flags = {"loss.beta": 0.1, "train.reference_every": 1, "train.reference_rate": 0.25}
    parts = build(tiny_run(model, tmp_path, flags | {"updates": 1}), note=print)
    start = initial_state(parts).params
    loop = go(parts, tmp_path / "run")
    wanted = jax.tree.map(lambda old, new: 0.75 * old + 0.25 * new, start, loop.state.params)
    assert largest_difference(loop.reference, wanted) < 1e-6
    with pytest.raises(UserError, match="--train.reference-rate 0.0"):
        tiny_run(model, tmp_path, {"train.reference_rate": 0.0})
    with pytest.raises(UserError, match="--train.reference-rate 0.5: the reference never moves"):
        tiny_run(model, tmp_path, {"train.reference_rate": 0.5})


@pytest.mark.parametrize("kl_as", [pytest.param("reward", marks=pytest.mark.slow), "return"])
def test_the_kl_in_the_reward_reaches_the_advantages(kl_as, model, tmp_path, monkeypatch):
    flags = {"loss.beta": 5.0, "loss.kl_as": kl_as, "loss.kl_estimator": "k1", "updates": 2}
    parts = build(tiny_run(model, tmp_path, flags), note=print)
    seen = []

    def watch(config, rewards, groups, lengths, old, ref, *rest):
        found = original(config, rewards, groups, lengths, old, ref, *rest)
        plain = group_advantages(rewards, groups, config.advantage_std, config.advantage_epsilon)
        seen.append((found, plain, old, ref))
        return found

    original = credit.rollout_advantages
    monkeypatch.setattr(credit, "rollout_advantages", watch)
    go(parts, tmp_path / "run")
    first, second = seen
    column = (lambda a: a[:, 0]) if kl_as == "return" else (lambda a: a)
    np.testing.assert_allclose(column(first[0]), first[1], atol=1e-4)  # the reference is itself
    assert np.abs(second[2] - second[3]).max() > 1e-3
    assert np.abs(column(second[0]) - second[1]).max() > 1e-3


def test_a_baseline_of_tokens_is_told_how_uncertain_each_was(model, tmp_path, monkeypatch):
    """By the policy's log-probabilities at half the temperature: Σ π² of each whole softmax."""
    flags = {"loss.advantage_baseline": "token", "updates": 1}
    parts = build(tiny_run(model, tmp_path, flags), note=print)
    seen, original = [], training_loop.compared
    monkeypatch.setattr(
        training_loop, "compared", lambda *args: seen.append(args[3]) or original(*args)
    )
    go(parts, tmp_path / "run")
    (sequences,) = seen
    starts, ends, c = sequences.prompt_lengths, sequences.totals, parts.policy.config
    places = np.arange(sequences.tokens.shape[1])
    ids = (places < ends[:, None]).astype(np.int32)
    positions = np.broadcast_to(places, ids.shape)

    @jax.jit
    def squares(params, tokens):
        hidden = decoder.forward(params, c, tokens, positions, Segments(ids))
        return jnp.sum(jax.nn.softmax(decoder.logits(params, hidden)) ** 2, axis=-1)

    wanted = np.asarray(squares(initial_state(parts).params, sequences.tokens))
    old, sharp = (sequences.columns[name] for name in ("old_logp", "sharp_logp"))
    for i, (start, end) in enumerate(zip(starts, ends, strict=True)):
        found = np.exp(2 * old[i, : end - start] - sharp[i, : end - start])
        np.testing.assert_allclose(found, wanted[i, start - 1 : end - 1], rtol=1e-4)
    warm = build(tiny_run(model, tmp_path, flags | {"rollout.temperature": 0.8}), note=print)
    assert warm.sharp_logp is sharp_logp(c, warm.mesh, warm.config.train.compute, 0.8)
    assert warm.sharp_logp is not parts.sharp_logp
    (row,) = rows(tmp_path / "run")  # written once, read once
    assert row["operations/rollout"] == 2 * scoring_flops(c, sequences.totals)


def test_lora_trains_factors_alone_and_hands_over_merged_weights(model, tmp_path, monkeypatch):
    flops = []
    monkeypatch.setattr(
        "r1jax.training.rl.learning.train_flops", lambda *args: flops.append(args) or 1.0
    )
    config = tiny_run(model, tmp_path / "run", LORA | {"updates": 3, "export": True})
    zero.run(config)
    assert [lora for _, _, lora in flops] == [config.lora] * 3  # frozen weights cost less
    policy = load_policy(model, "mini")
    mesh = make_mesh(config.mesh)
    base = load_weights(policy, mesh)
    exported = load_weights(load_policy(str(tmp_path / "run" / "hf"), "mini"), mesh)
    moved = {
        name
        for name, weight in exported["stacks"][0].items()
        if not np.array_equal(weight, base["stacks"][0][name])
    }
    assert moved == {"wq", "down"} and identical(exported["embed"], base["embed"])
    saved = load_params(tmp_path / "run" / "checkpoints", policy.config, mesh, base=lambda: base)
    assert largest_difference(saved, exported) < 1e-6
    with pytest.raises(UserError, match="LoRA factors"):
        load_params(tmp_path / "run" / "checkpoints", policy.config, mesh)
    assert (
        rows(tmp_path / "run")[0]["policy/kl_ref"]
        < 1e-6
        < rows(tmp_path / "run")[2]["policy/kl_ref"]
    )
    assert json.loads((tmp_path / "run/hf/config.json").read_text())["model_type"] == "qwen3"
    assert (tmp_path / "run/adapter/adapter_model.safetensors").exists()


@pytest.mark.parametrize(
    "lora", [pytest.param({}, marks=pytest.mark.slow), LORA], ids=["whole", "lora"]
)
def test_a_run_starts_from_its_parents_checkpoint(lora, model, tmp_path):
    first = tiny_run(model, tmp_path / "first", {"updates": 2, "checkpoint.every": 1})
    parent = go(build(first, note=print), tmp_path / "first").state.params
    place = str(tmp_path / "first" / "checkpoints")
    flags = {"updates": 1, "optimizer.lr": 1e-30, "loss.beta": 0.1, "parent": place} | lora
    parts = build(tiny_run(model, tmp_path / "second", flags), note=print)
    assert parts.parent == {"directory": place, "step": 2}
    loop = go(parts, tmp_path / "second")
    parts = setup.with_frozen(parts)
    assert identical(merge(parts.model(loop.state.params)), parent)
    assert identical(merge(parts.model(loop.reference)), parent)
    (tmp_path / "second" / "config.json").unlink()
    other = build(tiny_run(model, tmp_path / "second", flags | {"parent_step": 1}), note=print)
    with pytest.raises(UserError, match=r"another parent \(.*step: 2 -> 1\)"):
        resume.begin(
            other, SimpleNamespace(checkpoints=Checkpoints(tmp_path / "second/checkpoints", 2))
        )


def test_a_parents_step_needs_a_parent(model, tmp_path):
    with pytest.raises(UserError, match="--parent-step 3: needs --parent"):
        tiny_run(model, tmp_path, {"parent_step": 3})
    with pytest.raises(UserError, match="nowhere: no such directory of checkpoints"):
        build(tiny_run(model, tmp_path, {"parent": "nowhere"}), note=print)


def test_a_checkpoint_of_another_rank_is_refused(model, tmp_path):
    config = tiny_run(model, tmp_path / "run", LORA | {"updates": 1})
    go(build(config, note=print), tmp_path / "run")
    (tmp_path / "run" / "config.json").unlink()
    other = build(changed(config, {"lora.rank": 3}), note=print)
    with pytest.raises(UserError, match="another lora .rank: 2 -> 3"):
        resume.begin(
            other, SimpleNamespace(checkpoints=Checkpoints(tmp_path / "run/checkpoints", 2))
        )


def test_merge_leaves_plain_parameters_alone(model):
    base = load_weights(load_policy(model, "mini"), make_mesh(MeshConfig()))
    assert identical(merge(base), base)


def test_rows_are_rounded_up_to_the_devices_and_it_is_said(model, tmp_path):
    said = []
    mesh = make_mesh(MeshConfig(), jax.devices()[:4])
    config = tiny_run(model, tmp_path, {"train.rows": 6})
    assert fit_rows(config, mesh, said.append).train.rows == 8
    assert said == ["--train.rows 6 -> 8: a multiple of data x fsdp x expert = 4"]
    assert fit_rows(changed(config, {"train.rows": 8}), mesh, said.append).train.rows == 8
    assert len(said) == 1


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rollout.group": 1}, "--rollout.group 1: a completion alone has nothing to be better"),
        ({"rollout.stop": ("x", "")}, '--rollout.stop "": every text begins with it'),
        ({"rollout.temperature": float("nan")}, "--rollout.temperature nan: must be above 0"),
        ({"eval.top_p": 1.5}, "--eval.top-p 1.5: must be above 0 and at most 1"),
        ({"rollout.steps": 0}, "--rollout.steps 0: must be at least 1"),
        ({"rollout.max_tokens": 0}, "--rollout.max-tokens 0: must be at least 1"),
    ],
)
def test_flags_that_train_nothing_are_refused(changes, said):
    with pytest.raises(UserError, match=re.escape(said)):
        changed(PRESETS["demo"], changes)
    alone = {"rollout.group": 1, "rollout.prompts": 8, "loss.advantage_baseline": "none"}
    assert changed(PRESETS["demo"], alone).rollout.group == 1
