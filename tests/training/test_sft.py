"""The supervised loop: every example once per pass, only what is to be learnt, and it learns."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import identical, mesh_of, on_device, placed, random_sequences, tiny_config, tiny_params

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import table
from r1jax.training.batches import ComputeConfig
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.supervised.examine import loss_examiner
from r1jax.training.supervised.loop import chosen, fit, updates_of
from r1jax.training.train_state import init_state
from r1jax.training.update import make_functions, make_score

COMPUTE = ComputeConfig(rows=4, width=32, max_segments=4, remat="none", chunk=32, kernel="xla")
CONFIG = tiny_config("qwen3", n_layers=1)


def pairs(n, seed=0, masked=False):
    lengths = np.random.default_rng(seed).integers(2, 8, (2, n))
    whole = random_sequences(*lengths, seed=seed)
    learn = np.random.default_rng(seed).random((n, int(whole.lengths.max()))) < 0.6
    return Sequences(
        whole.tokens, whole.prompt_lengths, whole.lengths, learn=learn if masked else None
    )


def dealt(count, batch, seed, steps):
    return [chosen(count, batch, seed, step).tolist() for step in steps]


def test_every_pass_deals_every_example_once_in_a_new_order():
    first, second = (sum(dealt(12, 4, 0, steps), []) for steps in (range(3), range(3, 6)))
    assert sorted(first) == sorted(second) == list(range(12))
    assert first != second
    assert dealt(12, 4, 0, range(3)) != dealt(12, 4, 1, range(3))


def test_what_is_dealt_depends_on_the_update_alone():
    in_order = dealt(13, 4, 7, range(9))
    assert [dealt(13, 4, 7, [step])[0] for step in reversed(range(9))] == in_order[::-1]


def test_a_rest_that_fills_no_batch_waits():
    passes = [sum(dealt(13, 4, 0, range(3 * e, 3 * e + 3)), []) for e in range(40)]
    assert all(len(set(one)) == 12 for one in passes)
    counts = Counter(sum(passes, []))
    assert set(counts) == set(range(13)) and min(counts.values()) > 30


@pytest.mark.parametrize(
    ("count", "batch", "epochs", "updates"),
    [(12, 4, 1, 3), (13, 4, 2, 6), (3, 4, 2, 2), (1, 1, 5, 5)],
)
def test_updates_of_some_epochs(count, batch, epochs, updates):
    assert updates_of(pairs(count), batch, epochs) == updates
    assert {len(c) for c in dealt(count, batch, 0, range(updates))} == {min(batch, count)}


@functools.cache
def compiled():
    """Mesh, optimizer and functions that the tests share."""
    mesh = mesh_of()
    optimizer = make_optimizer(OptimizerConfig(lr=3e-2), 20, table.decay_mask(CONFIG))
    return mesh, optimizer, make_functions(CONFIG, mesh, COMPUTE, sft, optimizer)


def training():
    mesh, optimizer, functions = compiled()
    state = init_state(optimizer, placed(tiny_params(CONFIG), CONFIG, mesh), mesh)
    return functions, state, mesh


@functools.cache
def alone():
    """Jitted (params, batch) -> −Σ log p of the masked tokens, with its gradient."""
    score = make_score(CONFIG, mesh_of(), COMPUTE, 1.0)

    def loss(params, batch):
        return -jnp.sum(jnp.where(batch.mask > 0, score(params, batch).logp, 0.0))

    return jax.jit(jax.value_and_grad(loss))


def one_by_one(params, sequences):
    """Mean −log p of the learnt tokens, its gradient, their number: each sequence by itself."""
    total, gradient, count = 0.0, jax.tree.map(lambda w: np.zeros(w.shape, w.dtype), params), 0
    for i, n in enumerate(sequences.lengths):
        one = sequences.take([i])
        (batch,) = pack(one, 4, 32, 4, Denominators.of(one, 1))
        loss, grads = jax.device_get(alone()(params, batch))
        total, gradient = total + float(loss), jax.tree.map(np.add, gradient, grads)
        count += int(n if sequences.learn is None else sequences.learn[i, :n].sum())
    return total / count, jax.tree.map(lambda g: g / count, gradient), count


def test_completions_are_learnt_and_prompts_are_not():
    sequences, seen = pairs(8), []
    functions, state, mesh = training()
    state, metrics = fit(
        functions, state, sequences, COMPUTE, mesh,
        updates=20, batch=8, each=lambda step, metrics: seen.append((step, metrics["sft/nll"])),
    )  # fmt: skip
    assert [step for step, _ in seen] == list(range(1, 21))
    assert metrics["sft/nll"] == seen[-1][1] < 0.5 * seen[0][1]
    assert int(state.update) == 20

    moved = sequences.tokens.copy()
    for i, n in enumerate(sequences.prompt_lengths):
        moved[i, n + sequences.lengths[i] :] = 5  # what follows a completion is never read
    functions, state, mesh = training()
    other = Sequences(moved, sequences.prompt_lengths, sequences.lengths)
    fit(functions, state, other, COMPUTE, mesh, updates=1, batch=8,
        each=lambda step, metrics: seen.append((step, metrics["sft/nll"])))  # fmt: skip
    assert seen[-1][1] == seen[0][1]


def test_fit_makes_the_updates_that_are_missing():
    functions, state, mesh = training()
    whole, _ = fit(functions, state, pairs(9), COMPUTE, mesh, updates=5, batch=4, seed=3)
    functions, state, mesh = training()
    state, _ = fit(functions, state, pairs(9), COMPUTE, mesh, updates=2, batch=4, seed=3)
    state, _ = fit(functions, state, pairs(9), COMPUTE, mesh, updates=5, batch=4, seed=3)
    assert identical(whole, state)


@pytest.mark.parametrize("masked", [False, True])
def test_held_out_loss_is_the_mean_over_all_learnt_tokens(monkeypatch, masked):
    sequences, mesh = pairs(11, seed=2, masked=masked), mesh_of()
    params = placed(tiny_params(CONFIG), CONFIG, mesh)
    examine = loss_examiner(CONFIG, mesh, COMPUTE)
    nll, _, count = one_by_one(params, sequences)
    found = examine(params, sequences, None).record
    assert found["nll"] == pytest.approx(nll, rel=1e-6)
    assert found["perplexity"] == pytest.approx(np.exp(nll), rel=1e-5)
    assert (found["tokens"], found["examples"]) == (count, 11)
    monkeypatch.setattr("r1jax.training.supervised.examine.EVAL_CHUNK", 4)
    again = examine(params, sequences, None).record
    assert again["nll"] == pytest.approx(found["nll"], rel=1e-6)


def test_the_gradient_of_packed_masked_examples_is_that_of_each_by_itself():
    sequences = pairs(7, seed=4, masked=True)
    functions, state, _ = training()
    total = functions.start()
    for batch in pack(sequences, 4, 32, 4, Denominators.of(sequences, 1)):
        total = functions.accumulate(state.params, total, batch)
    loss, gradient, _ = one_by_one(state.params, sequences)
    assert float(total.share) == pytest.approx(loss, rel=1e-6)
    largest = max(float(np.abs(g).max()) for g in jax.tree.leaves(gradient))
    for a, b in zip(jax.tree.leaves(total.grads), jax.tree.leaves(gradient), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-6 * largest)


def test_unlearnt_tokens_of_a_completion_are_read():
    sequences = pairs(1, seed=5)
    learn = np.zeros((1, int(sequences.lengths[0])), bool)
    learn[0, -1] = True
    sequences = replace(sequences, learn=learn)
    _, state, _ = training()
    losses = []
    for change in (0, 1):
        tokens = sequences.tokens.copy()
        tokens[0, sequences.prompt_lengths[0]] += change  # before the one that is learnt
        losses.append(one_by_one(state.params, replace(sequences, tokens=tokens))[0])
    assert losses[0] != losses[1]


def test_nothing_to_learn_is_refused():
    empty = pairs(2).take(np.zeros(0, np.int64))
    with pytest.raises(UserError, match="0 sequences"):
        fit(None, None, empty, COMPUTE, None, updates=1, batch=2)
    with pytest.raises(UserError, match="0 updates"):
        fit(None, None, pairs(2), COMPUTE, None, updates=0, batch=2)


def test_what_never_becomes_finite_stops():
    functions, state, mesh = training()
    # Finite themselves, and too large to be multiplied.
    broken = jax.tree.map(lambda w: on_device(np.full(w.shape, 1e15, w.dtype)), state.params)
    with pytest.raises(UserError, match="update 5: .* 5 times in a row"):
        fit(functions, state.replace(params=broken), pairs(4), COMPUTE, mesh, updates=9, batch=4)
