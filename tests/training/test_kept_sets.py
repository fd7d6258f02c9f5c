"""Sampling from a part of the vocabulary: its sets are stored, and everybody scores over them."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
from runs import StopAt, go, rows, save_model, tiny_run
from tiny import identical, mesh_of

from r1jax.data.packing import Denominators, pack, unpack
from r1jax.errors import UserError
from r1jax.models.logp import token_stats
from r1jax.problem import Problem
from r1jax.rollout.requests import Drawn, Generated, Request, nothing
from r1jax.stages.opening import opened
from r1jax.training.batches import over_completions
from r1jax.training.rl import carried_groups, memory
from r1jax.training.rl import loop as rl
from r1jax.training.rl.collect import to_sequences
from r1jax.training.rl.resume import begin
from r1jax.training.rl.setup import build

RNG = np.random.default_rng(0)
VOCAB = 11
SETS = {
    "rollout.top_p": 0.5,
    "rollout.keep_set": 128,  # of 1,024: sets of this model have 101 to 153 tokens
    "rollout.slots": 8,
    "train.updates_per_rollout": 2,
    "loss.beta": 0.1,
    "optimizer.lr": 2e-2,
}
CARRY = SETS | {"rollout.leave": 0.5, "rollout.carry": 2, "loss.importance_cap": 1.5, "updates": 7}


def toy_sets(shape, size):
    """1 + ids, of other sizes for each token; the first of all has none."""
    ids = np.zeros((*shape, size), np.int32)
    for at in list(np.ndindex(shape))[1:]:
        count = RNG.integers(1, size + 1)
        ids[at][:count] = 1 + RNG.permutation(VOCAB)[:count]
    return ids


def directly(hidden, head, targets, sets, temperature):
    """(log p, entropy) f64[2, B, T] with softmax over each token's own set."""
    z = hidden.astype(np.float64) @ head.astype(np.float64) / temperature
    found = np.zeros((2, *targets.shape))
    for at in np.ndindex(targets.shape):
        inside = sets[at][sets[at] > 0] - 1 if sets[at].any() else np.arange(VOCAB)
        p = np.exp(z[at][inside] - np.logaddexp.reduce(z[at][inside]))
        found[0][at] = np.log(p[list(inside).index(targets[at])])
        found[1][at] = -np.sum(p * np.log(p))
    return found


def test_statistics_and_gradients_are_of_the_set_alone():
    hidden, head = (RNG.normal(size=s).astype(np.float32) for s in ((2, 5, 4), (4, VOCAB)))
    sets = toy_sets((2, 5), 6)
    targets = np.where(sets[..., 0] > 0, sets[..., 0] - 1, 3)
    weights = RNG.normal(size=(2, 2, 5))

    def run(hidden, head):
        stats = token_stats(hidden, targets, head, 0.8, chunk=2, support=sets)
        parts = stats.logp, stats.entropy
        return sum((w * s).sum() for w, s in zip(weights, parts, strict=True)), stats

    gradients, stats = jax.jit(jax.grad(run, argnums=(0, 1), has_aux=True))(hidden, head)
    wanted = directly(hidden, head, targets, sets, 0.8)
    np.testing.assert_allclose(np.stack([stats.logp, stats.entropy]), wanted, atol=2e-6)
    for i, gradient in enumerate(gradients):  # along a direction, by finite differences in float64
        ends = []
        way = RNG.normal(size=gradient.shape)
        for step in (1e-5, -1e-5):
            parts = [hidden.astype(np.float64), head.astype(np.float64)]
            parts[i] = parts[i] + step * way
            ends.append(np.sum(weights * directly(*parts, targets, sets, 0.8)))
        assert np.sum(gradient * way) == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-4)


def test_a_set_of_the_whole_vocabulary_changes_nothing():
    hidden, head = (RNG.normal(size=s).astype(np.float32) for s in ((2, 5, 4), (4, VOCAB)))
    targets = RNG.integers(0, VOCAB, (2, 5))
    sets = 1 + RNG.permuted(np.tile(np.arange(VOCAB, dtype=np.int32), (2, 5, 1)), axis=-1)
    run = jax.jit(lambda support: token_stats(hidden, targets, head, 0.8, 2, support=support))
    plain, all_of_it, none = (jax.tree.leaves(run(s)) for s in (None, sets, 0 * sets))
    np.testing.assert_allclose(all_of_it, plain, rtol=1e-6)
    np.testing.assert_allclose(none, plain, rtol=1e-6)


@pytest.mark.slow
def test_meshes_change_no_statistics_over_sets():
    hidden, head = (RNG.normal(size=s).astype(np.float32) for s in ((4, 6, 8), (8, VOCAB + 1)))
    sets = toy_sets((4, 6), 5)
    targets = np.where(sets[..., 0] > 0, sets[..., 0] - 1, 3)

    def gradient(mesh):
        def total(head):
            stats = token_stats(hidden, targets, head, 1.0, 3, mesh, sets)
            return stats.logp.sum() + stats.entropy.sum()

        return jax.jit(jax.value_and_grad(total))(head)

    whole = gradient(None)
    for mesh in (mesh_of(data=2, fsdp=2), mesh_of(fsdp=2, tensor=2), mesh_of(context=2)):
        for a, b in zip(gradient(mesh), whole, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


def drawn(n, first=1, whole=()):
    """n tokens; those of `whole` were drawn from a set too large, the others from two ids."""
    sets = first + np.arange(2 * n, dtype=np.int32).reshape(n, 2)
    sets[list(whole)] = 0
    half = np.full(n, np.log(0.5), np.float32)
    return Drawn(np.arange(n, dtype=np.int32), 2 * half, half, support=sets)


def test_sets_go_with_a_request_through_an_eviction_into_a_packed_batch():
    request = Request(0, 0, 0, (5,) * 3, 9, count=2)
    request.kept = request.drawn(Drawn(*drawn(9).arrays, support=drawn(9).support))
    request.count = 4  # what was kept keeps its first sets, whatever the new slot's row holds
    done = request.ended(request.drawn(drawn(9, 101)).cut(0, 3), "stop")
    np.testing.assert_array_equal(done.support, [[1, 2], [3, 4], [105, 106]])
    other = replace(done, **{"support": drawn(3, 11, [1]).support})
    sequences = to_sequences([done, other])
    (batch,) = pack(sequences, 1, 16, 2, Denominators.of(sequences, 9))
    assert batch.support.dtype == np.int32 and batch.support.shape == (1, 16, 2)
    none = [[0, 0]]
    wanted = none * 3 + done.support.tolist() + none * 3 + other.support.tolist() + none * 4
    assert batch.support[0].tolist() == wanted
    # Of a set too large to be told, log p of the whole vocabulary.
    half, told = np.log(0.5), np.array([[0, 0, 0], [0, 1, 0]])
    wanted = half + half * told
    np.testing.assert_allclose(sequences.columns["sampler_logp"], wanted, rtol=1e-6)
    with pytest.raises(ValueError, match="column support"):
        sequences.with_columns(support=np.zeros((2, 3), np.int32))


def test_carried_groups_keep_their_sets_in_a_checkpoint():
    problem, none = Problem("p", "", ""), np.zeros(3, np.int64)
    whose = 0, 0, None, (5,) * 4
    begun = [Generated(*d.arrays, *whose, **d.beside) for d in (drawn(3), drawn(2, 50))]
    texts = (*begun, Generated(*nothing().arrays, *whose))
    group = carried_groups.Group(problem, 0, 1, texts, none, none)
    stream = type("Stream", (), {"take": lambda self, place, n: [problem]})()
    policy = type("Policy", (), {"prompt": lambda self, p: (5,) * 4})()
    (again,) = carried_groups.from_arrays(carried_groups.to_arrays([group]), stream, policy)
    for a, b in zip(again.completions, group.completions, strict=True):
        np.testing.assert_array_equal(a.support, b.support)
        np.testing.assert_array_equal(a.tokens, b.tokens)


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def rollout(model, tmp_path_factory):
    """(parts, first rollout, parameters) of a run that keeps sets."""
    parts = build(tiny_run(model, tmp_path_factory.mktemp("run") / "run", SETS), note=print)
    with opened(parts.config) as run:
        files = run.files(parts.config)
        loop = begin(parts, files)
        return parts, rl.new_rollout(parts, loop, files), loop.state.params


def test_sampler_policy_and_reference_agree_on_what_nobody_has_changed(rollout):
    _, scored, _ = rollout
    known = scored.sequences.columns
    inside = np.arange(known["old_logp"].shape[1]) < scored.sequences.lengths[:, None]
    for name in ("old_logp", "ref_logp"):
        np.testing.assert_allclose(known[name][inside], known["sampler_logp"][inside], atol=1e-5)
    unknown = ~known["support"].any(-1)[inside]
    assert scored.metrics["rollout/set_unknown_frac"] == pytest.approx(unknown.mean())
    assert 0 < unknown.mean() < 1
    assert 50 < scored.metrics["rollout/set_size_mean"] <= 128


def test_packed_is_unpacked_and_without_the_sets_it_is_another_distribution(rollout):
    parts, scored, params = rollout
    compute, mesh = parts.config.train, parts.mesh
    some = scored.sequences.take(np.arange(5))
    together = over_completions(parts.logp, params, some, compute, mesh)
    for i in range(5):
        alone = over_completions(parts.logp, params, some.take([i]), compute, mesh)
        np.testing.assert_allclose(alone[0], together[i, : alone.shape[1]], atol=1e-5)
    told = some.columns["support"]
    width = (compute.rows, compute.width, compute.max_segments)
    batches = pack(some, *width, Denominators.of(some, 1))
    for k in (0, told.shape[-1] - 1):
        back = unpack([b.support[..., k] for b in batches], some, *width)
        for i, n in enumerate(some.lengths):
            np.testing.assert_array_equal(back[i, :n], told[i, :n, k])
    none = over_completions(
        parts.logp, params, some.with_columns(support=np.zeros_like(told)), compute, mesh
    )
    gain = (together - none)[told[..., 0] > 0]
    np.testing.assert_allclose(gain, np.log(2), atol=0.02)  # sets have just over half of the mass


@pytest.mark.slow
def test_the_memory_plan_counts_the_sets(model, tmp_path):
    plan = memory.plan(build(tiny_run(model, tmp_path, SETS), note=print))
    assert plan["kept sets"] == 4 * 128 * 8 * 8  # slots, tokens


@pytest.mark.slow
def test_all_kept_is_the_plain_loss(model, tmp_path):
    """Top-k of the whole vocabulary cuts nothing, and the first update is that of no top-k."""
    found = []
    for i, flags in enumerate(({}, {"rollout.top_k": 1024, "rollout.keep_set": 1024})):
        parts = build(tiny_run(model, tmp_path / str(i), {"loss.beta": 0.1} | flags), note=print)
        go(replace(parts, config=replace(parts.config, updates=1)), tmp_path / str(i))
        found.append(rows(tmp_path / str(i)))
    for plain, kept in zip(*found, strict=True):
        assert kept.pop("rollout/set_unknown_frac", 0) == 0
        assert kept.pop("rollout/set_size_mean", 1024) == 1024
        assert kept.keys() == plain.keys()
        for name, value in plain.items():
            assert kept[name] == pytest.approx(value, rel=1e-5, abs=1e-6), name


@pytest.mark.slow
def test_a_resumed_run_that_keeps_sets_and_carries_is_uninterrupted(model, tmp_path):
    """Checkpoints lie in the middle of a rollout and between two, with groups under way."""
    parts = build(tiny_run(model, tmp_path / "whole", CARRY), note=print)
    expected = go(parts, tmp_path / "whole")
    for update in (5, 7):
        assert go(parts, tmp_path / "run", StopAt(update)) is None
    loop = go(parts, tmp_path / "run")
    assert identical(loop.state, expected.state) and loop.carried
    for a, b in zip(loop.carried, expected.carried, strict=True):
        for mine, theirs in zip(a.completions, b.completions, strict=True):
            np.testing.assert_array_equal(mine.support, theirs.support)
    whole = rows(tmp_path / "whole")
    assert rows(tmp_path / "run") == whole
    # Nothing has changed before the first update, and something before the second.
    assert whole[0]["policy/ratio_mean"] == pytest.approx(1, abs=1e-5)
    assert whole[0]["policy/sampler_ratio_max"] == pytest.approx(1, abs=1e-4)
    assert whole[0]["policy/kl_ref"] < 1e-6 < whole[1]["policy/kl_ref"]


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"top_p": 0.9}, r"--rollout.top-p 0.9: training .* set --rollout.keep-set \(64\)"),
        ({"top_k": 20}, r"--rollout.top-k 20: training .* set --rollout.keep-set \(20\)"),
        ({"top_p": 0.9, "top_k": 2}, "--rollout.top-p 0.9 --rollout.top-k 2: training"),
        ({"keep_set": 8}, "--rollout.keep-set 8: every token is kept"),
        ({"top_k": 9, "keep_set": 8}, "--rollout.top-k 9: keeps more than --rollout.keep-set 8"),
        ({"top_p": 0.0, "keep_set": 8}, "--rollout.top-p 0.0: must be above 0 and at most 1"),
        ({"top_k": -1, "keep_set": 8}, "--rollout.top-k -1: must be at least 0"),
    ],
)
def test_what_does_not_go_together_is_refused(flags, words, tmp_path):
    with pytest.raises(UserError, match=words):
        tiny_run("embedded", tmp_path, {f"rollout.{name}": value for name, value in flags.items()})


def test_more_ids_than_the_vocabulary_has_are_refused(model, tmp_path):
    flags = {"rollout.top_p": 0.9, "rollout.keep_set": 1025}
    with pytest.raises(UserError, match="--rollout.keep-set 1025: the vocabulary has 1024 tokens"):
        build(tiny_run(model, tmp_path, flags), note=print)
