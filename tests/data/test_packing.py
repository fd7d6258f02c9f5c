"""Packing: nothing is lost, nothing is split, and the batches are the promised shape."""

from __future__ import annotations

import dataclasses
import time

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.data.packing import (
    Denominators,
    Sequences,
    pack,
    packing_efficiency,
    unpack,
)
from r1jax.errors import UserError
from r1jax.types import MissingColumn

PER_TOKEN = ("sampler_logp", "old_logp", "made_up")


def make_sequences(prompt_lengths, lengths, seed=0, **overrides):
    """Sequences whose every token and value is distinct enough to be told apart."""
    rng = np.random.default_rng(seed)
    prompt_lengths, lengths = np.asarray(prompt_lengths, np.int32), np.asarray(lengths, np.int32)
    n, longest = len(lengths), int(lengths.max(initial=0))
    total = int((prompt_lengths + lengths).max(initial=0))
    arrays = {
        "tokens": rng.integers(1, 30_000, (n, total)).astype(np.int32),
        "columns": {
            "advantages": rng.normal(size=n).astype(np.float32),
            **{name: rng.normal(size=(n, longest)).astype(np.float32) for name in PER_TOKEN},
        },
    }
    return Sequences(prompt_lengths=prompt_lengths, lengths=lengths, **(arrays | overrides))


def pack_all(sequences, rows, width, max_segments, max_tokens=64):
    return pack(sequences, rows, width, max_segments, Denominators.of(sequences, max_tokens))


def segments(batches):
    """(tokens, positions, mask, advantages, {name: values}, n) of each segment of the batches."""
    for batch in batches:
        for row, ids in enumerate(batch.segment_ids):
            for segment in range(1, ids.max(initial=0) + 1):
                at = np.flatnonzero(ids == segment)
                values = {name: array[row, at] for name, array in batch.columns.items()}
                values["mask"] = batch.mask[row, at]
                yield (
                    tuple(batch.tokens[row, at]),
                    batch.positions[row, at],
                    batch.advantages[row, at],
                    values,
                    batch.lengths[row, segment - 1],
                )


cases = st.lists(st.tuples(st.integers(1, 6), st.integers(0, 10)), min_size=1, max_size=40)


@settings(max_examples=80, deadline=None)
@given(cases, st.integers(1, 4), st.integers(16, 40), st.integers(1, 5))
def test_round_trip_gives_back_every_sequence_with_its_values(case, rows, width, max_segments):
    sequences = make_sequences(*zip(*case, strict=True))
    batches = pack_all(sequences, rows, width, max_segments)
    wanted = {}
    for i, (prompt, n) in enumerate(case):
        wanted.setdefault(tuple(sequences.tokens[i, : prompt + n]), []).append(i)

    for tokens, positions, advantages, values, length in segments(batches):
        i = wanted[tokens].pop()
        prompt, n = case[i]
        assert length == n
        np.testing.assert_array_equal(positions, np.arange(prompt + n))
        np.testing.assert_array_equal(values["mask"], [0] * prompt + [1] * n)
        np.testing.assert_array_equal(
            advantages[prompt:], np.full(n, sequences.columns["advantages"][i])
        )
        for name in PER_TOKEN:
            np.testing.assert_array_equal(values[name][prompt:], sequences.columns[name][i, :n])
            assert not values[name][:prompt].any()
    assert not any(wanted.values())


@settings(max_examples=80, deadline=None)
@given(cases, st.integers(1, 4), st.integers(16, 40), st.integers(1, 5))
def test_shapes_segments_and_totals(case, rows, width, max_segments):
    sequences = make_sequences(*zip(*case, strict=True))
    batches = pack_all(sequences, rows, width, max_segments)
    total = sum(n for _, n in case)
    assert sum(batch.mask.sum() for batch in batches) == total
    assert sum(batch.lengths.sum() for batch in batches) == total
    used = [int((batch.segment_ids > 0).any(axis=1).sum()) for batch in batches]
    assert len(batches) == -(-sum(used) // rows)
    assert max(used) - min(used) <= 1
    for batch in batches:
        assert batch.tokens.shape == batch.mask.shape == (rows, width)
        assert batch.lengths.shape == (rows, max_segments)
        assert batch.n_tokens == max(total, 1)
        assert batch.n_sequences == max(sum(n > 0 for _, n in case), 1)
        assert batch.max_tokens == 64
        assert batch.segment_ids.max() <= max_segments
        for ids in batch.segment_ids:
            filled = ids[ids > 0]
            np.testing.assert_array_equal(ids[: len(filled)], filled)
            assert set(np.diff(filled)) <= {0, 1} and (len(filled) == 0 or filled[0] == 1)
        padding = batch.segment_ids == 0
        assert not batch.mask[padding].any() and not batch.positions[padding].any()


@settings(max_examples=30, deadline=None)
@given(cases, st.integers(1, 4), st.integers(16, 40), st.integers(1, 5))
def test_unpack_is_the_inverse_of_pack(case, rows, width, max_segments):
    sequences = make_sequences(*zip(*case, strict=True))
    shape = rows, width, max_segments
    batches = pack_all(sequences, *shape)
    got = unpack([batch.old_logp for batch in batches], sequences, *shape)
    inside = np.arange(got.shape[1]) < sequences.lengths[:, None]
    np.testing.assert_array_equal(got, np.where(inside, sequences.columns["old_logp"], 0))


@settings(max_examples=80, deadline=None)
@given(cases, st.integers(1, 4), st.integers(16, 40), st.integers(1, 5), st.integers(0, 99))
def test_what_is_not_learnt_is_packed_as_a_prompt_is(case, rows, width, max_segments, seed):
    whole = make_sequences(*zip(*case, strict=True))
    shape = len(case), int(whole.lengths.max())
    learn = np.random.default_rng(seed).random(shape) < 0.6
    masked = dataclasses.replace(whole, learn=learn)
    inside = np.arange(shape[1]) < whole.lengths[:, None]
    counts = (learn & inside).sum(1)
    np.testing.assert_array_equal(masked.learnt, counts)
    batches = pack_all(masked, rows, width, max_segments)
    assert batches == [] or batches[0].n_tokens == max(counts.sum(), 1)
    assert batches == [] or batches[0].n_sequences == max(np.count_nonzero(counts), 1)

    wanted = {}
    for i, (prompt, n) in enumerate(case):
        wanted.setdefault(tuple(whole.tokens[i, : prompt + n]), []).append(i)
    for tokens, positions, advantages, values, length in segments(batches):
        i = wanted[tokens].pop()
        prompt, n = case[i]
        own = np.concatenate([np.zeros(prompt, bool), learn[i, :n]])
        assert length == own.sum() == counts[i]
        np.testing.assert_array_equal(positions, np.arange(prompt + n))
        np.testing.assert_array_equal(values["mask"], own)
        np.testing.assert_array_equal(advantages, np.where(own, whole.columns["advantages"][i], 0))
        for name in PER_TOKEN:
            padded = np.concatenate([np.zeros(prompt), whole.columns[name][i, :n]])
            np.testing.assert_array_equal(values[name], np.where(own, padded, 0))
    assert not any(wanted.values())


def test_a_mask_of_all_is_no_mask_bit_for_bit():
    rng = np.random.default_rng(3)
    whole = make_sequences(rng.integers(1, 6, 20), rng.integers(0, 9, 20))
    masked = dataclasses.replace(whole, learn=np.ones((20, int(whole.lengths.max())), bool))
    for a, b in zip(pack_all(whole, 3, 20, 4), pack_all(masked, 3, 20, 4), strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


def test_unpack_brings_back_what_was_not_learnt_as_well():
    whole = make_sequences([1, 2], [3, 2])
    masked = dataclasses.replace(whole, learn=np.zeros((2, 3), bool))
    packed = [batch.tokens for batch in pack_all(masked, 1, 8, 2)]
    got = unpack(packed, masked, 1, 8, 2)
    np.testing.assert_array_equal(got[0], whole.tokens[0, 1:4])
    np.testing.assert_array_equal(got[1], [*whole.tokens[1, 2:4], 0])


def test_literal_layout():
    sequences = make_sequences([1, 2, 1, 1], [2, 3, 1, 1], tokens=np.arange(20).reshape(4, 5))
    first, second = pack_all(sequences, rows=1, width=7, max_segments=2)
    # The one of 5 goes first and takes the earliest of the two of 2; the 3 and the other 2 follow.
    np.testing.assert_array_equal(first.tokens, [[5, 6, 7, 8, 9, 10, 11]])
    np.testing.assert_array_equal(first.positions, [[0, 1, 2, 3, 4, 0, 1]])
    np.testing.assert_array_equal(first.segment_ids, [[1, 1, 1, 1, 1, 2, 2]])
    np.testing.assert_array_equal(first.mask, [[0, 0, 1, 1, 1, 0, 1]])
    np.testing.assert_array_equal(first.lengths, [[3, 1]])
    np.testing.assert_array_equal(second.tokens, [[0, 1, 2, 15, 16, 0, 0]])
    np.testing.assert_array_equal(second.segment_ids, [[1, 1, 1, 2, 2, 0, 0]])
    np.testing.assert_array_equal(second.mask, [[0, 1, 1, 0, 1, 0, 0]])
    assert (first.n_tokens, first.n_sequences) == (7, 4)


def test_best_fit_takes_the_tightest_row():
    # Rows of 10: 7 leaves 3, 5 leaves 5; the 3 must close the first although the second has room.
    sequences = make_sequences([1, 1, 1, 1], [6, 4, 2, 4])
    batches = pack_all(sequences, rows=2, width=10, max_segments=4)
    assert packing_efficiency(batches) == 1.0


def test_max_segments_closes_a_row():
    sequences = make_sequences([1] * 6, [1] * 6)
    (batch,) = pack_all(sequences, rows=3, width=12, max_segments=2)
    np.testing.assert_array_equal(batch.segment_ids.max(axis=1), [2, 2, 2])


def test_batches_are_balanced_rather_than_the_last_nearly_empty():
    sequences = make_sequences([1] * 9, [7] * 9)
    batches = pack_all(sequences, rows=4, width=8, max_segments=1)
    assert [int(batch.mask.sum()) for batch in batches] == [21, 21, 21]


def test_packing_is_deterministic():
    rng = np.random.default_rng(5)
    sequences = make_sequences(rng.integers(1, 9, 60), rng.integers(1, 30, 60))
    once, again = (pack_all(sequences, 4, 48, 6) for _ in range(2))
    for a, b in zip(once, again, strict=True):
        jax.tree.map(np.testing.assert_array_equal, a, b)


@pytest.mark.parametrize("seed", range(3))
def test_log_normal_lengths_pack_well_and_fast(seed):
    rng = np.random.default_rng(seed)
    lengths = np.clip(rng.lognormal(5.0, 0.6, 4096), 1, 900).astype(np.int32)
    sequences = make_sequences(np.full(4096, 60), lengths)
    started = time.perf_counter()
    batches = pack_all(sequences, rows=16, width=1024, max_segments=32)
    assert time.perf_counter() - started < 10
    assert packing_efficiency(batches) > 0.9


def test_too_long_a_sequence_names_the_flag():
    sequences = make_sequences([4, 5], [3, 9])
    with pytest.raises(UserError, match=r"--train.width 12: .* 14 tokens \(5 of prompt"):
        pack_all(sequences, 2, 12, 2)


def test_supervised_pairs_pack_and_what_was_not_measured_cannot_be_read():
    full = make_sequences([2, 1], [2, 3])
    pairs = Sequences(full.tokens, full.prompt_lengths, full.lengths)
    (batch,) = pack_all(pairs, 1, 8, 2)
    assert batch.mask.sum() == 5 and batch.columns == {}
    for name in ("advantages", "old_logp", "ref_logp", "sampler_logp"):
        with pytest.raises(MissingColumn, match=f"reads the column {name} .* there are: none"):
            getattr(batch, name)
    with pytest.raises(UserError, match="reads the column novelty .* there are: age, value"):
        batch.replace(columns={"value": batch.mask, "age": batch.mask}).column("novelty")


def test_take_splits_a_rollout():
    sequences = make_sequences([1, 2, 3], [3, 2, 1])
    part = sequences.take(np.array([2, 0]))
    np.testing.assert_array_equal(part.lengths, [1, 3])
    assert part.columns.keys() == sequences.columns.keys()
    for name, values in part.columns.items():
        np.testing.assert_array_equal(values, sequences.columns[name][[2, 0]])
    np.testing.assert_array_equal(part.tokens, sequences.tokens[[2, 0]])
    assert part.learn is None
    learn = np.array([[True, True, False], [False, True, True], [True, False, False]])
    masked = dataclasses.replace(sequences, learn=learn).take(np.array([2, 0]))
    np.testing.assert_array_equal(masked.learn, learn[[2, 0]])
    np.testing.assert_array_equal(masked.learnt, [1, 2])


def test_no_sequences_no_batches():
    nothing = make_sequences([1], [1]).take(slice(0, 0))
    assert pack_all(nothing, 2, 8, 2) == []
    assert unpack([], nothing, 2, 8, 2).shape == (0, 0)
    assert packing_efficiency([]) == 0.0


@pytest.mark.parametrize(("prompts", "lengths"), [([0], [2]), ([1], [-1])])
def test_impossible_lengths_are_refused(prompts, lengths):
    with pytest.raises(ValueError, match="at least one token"):
        Sequences(np.zeros((1, 4), np.int32), np.array(prompts), np.array(lengths))


def test_lengths_beyond_the_tokens_are_refused():
    with pytest.raises(ValueError, match=r"exceed tokens of shape \(1, 4\)"):
        Sequences(np.zeros((1, 4), np.int32), np.array([2]), np.array([3]))


@pytest.mark.parametrize("shape", [(3,), (2, 2), (2, 3, 1), (1, 3)])
def test_a_column_of_another_shape_is_refused(shape):
    whole = make_sequences([1, 2], [3, 2])
    with pytest.raises(ValueError, match=r"column odd: f32\[2\] or f32\[2, 3\] wanted, got \("):
        whole.with_columns(odd=np.zeros(shape))
    assert whole.with_columns(odd=np.zeros((2, 9))).columns["odd"].shape == (2, 9)
