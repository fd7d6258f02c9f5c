"""The supervised loop: every sequence once per pass, only completions learnt, and it learns."""

from __future__ import annotations

from collections import Counter
from itertools import islice

import jax
import numpy as np
import pytest
from tiny import mesh_of, placed, random_sequences, tiny_config, tiny_params

from r1jax.data.packing import Sequences
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import table
from r1jax.training.optimizer import OptimizerConfig, make_optimizer
from r1jax.training.sft import fit, passes, updates_of
from r1jax.training.update import ComputeConfig, init_state, make_functions

COMPUTE = ComputeConfig(rows=4, width=32, max_segments=4, remat="none", chunk=32, kernel="xla")
CONFIG = tiny_config("qwen3", n_layers=1)


def pairs(n, seed=0):
    lengths = np.random.default_rng(seed).integers(2, 8, (2, n))
    whole = random_sequences(*lengths, seed=seed)
    return Sequences(whole.tokens, whole.prompt_lengths, whole.lengths)


def test_passes_deal_every_sequence_once_in_a_new_order():
    sequences = pairs(12)
    dealt = [s.tokens[:, 0].tolist() for s in islice(passes(sequences, 4, seed=0), 6)]
    first, second = sum(dealt[:3], []), sum(dealt[3:], [])
    assert Counter(first) == Counter(second) == Counter(sequences.tokens[:, 0].tolist())
    assert first != second
    again = [s.tokens[:, 0].tolist() for s in islice(passes(sequences, 4, seed=0), 6)]
    assert again == dealt


@pytest.mark.parametrize(
    ("count", "batch", "epochs", "updates"),
    [(12, 4, 1, 3), (13, 4, 2, 6), (3, 4, 2, 2), (1, 1, 5, 5)],
)
def test_updates_of_some_epochs(count, batch, epochs, updates):
    sequences = pairs(count)
    assert updates_of(sequences, batch, epochs) == updates
    dealt = list(islice(passes(sequences, batch, seed=0), updates))
    assert {len(s.lengths) for s in dealt} == {min(batch, count)}


def training(lr):
    mesh = mesh_of()
    optimizer = make_optimizer(OptimizerConfig(lr=lr), 20, table.decay_mask(CONFIG))
    functions = make_functions(CONFIG, mesh, COMPUTE, sft, optimizer)
    state = init_state(optimizer, placed(tiny_params(CONFIG), CONFIG, mesh), mesh)
    return functions, state, mesh


def test_completions_are_learnt_and_prompts_are_not():
    sequences, seen = pairs(8), []
    functions, state, mesh = training(3e-2)
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
    functions, state, mesh = training(3e-2)
    other = Sequences(moved, sequences.prompt_lengths, sequences.lengths)
    fit(functions, state, other, COMPUTE, mesh, updates=1, batch=8,
        each=lambda step, metrics: seen.append((step, metrics["sft/nll"])))  # fmt: skip
    assert seen[-1][1] == seen[0][1]


def test_nothing_to_learn_is_refused():
    empty = pairs(2).take(np.zeros(0, np.int64))
    with pytest.raises(UserError, match="0 sequences"):
        fit(None, None, empty, COMPUTE, None, updates=1, batch=2)
    with pytest.raises(UserError, match="0 updates"):
        fit(None, None, pairs(2), COMPUTE, None, updates=0, batch=2)


def test_what_never_becomes_finite_stops():
    functions, state, mesh = training(1e-3)
    broken = jax.tree.map(lambda w: w * np.nan, state.params)
    with pytest.raises(UserError, match="update 5: .* 5 times in a row"):
        fit(functions, state.replace(params=broken), pairs(4), COMPUTE, mesh, updates=9, batch=4)
