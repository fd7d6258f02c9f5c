"""The scalar head: read at each sequence's last token, whatever the packing, mesh or adapter."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import (
    drawn,
    gradient_difference,
    identical,
    mesh_of,
    on_device,
    packed,
    random_sequences,
    tiny_config,
    tiny_params,
)

from r1jax.data.examples.judged import pack_pairs
from r1jax.data.packing import Denominators
from r1jax.losses.preference import PairwiseConfig, pairwise
from r1jax.models import attention as attn
from r1jax.models import decoder, scalar, table
from r1jax.models.lora import LoraConfig, merge
from r1jax.training.batches import place_batch

SEQUENCES = random_sequences([3, 2, 4, 1, 2, 5], [4, 6, 1, 3, 5, 2])


def with_head(config, seed=0):
    head = np.random.default_rng(seed).normal(0, 0.3, config.d_model).astype(np.float32)
    return {**scalar.body(tiny_params(config)), scalar.HEAD: on_device(head)}


def by_themselves(params, config, sequences):
    """Scores of sequences that have a row each: no packing, no choice of the last token."""
    tokens = on_device(sequences.tokens)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    whole = attn.Segments(jnp.ones_like(tokens), 1)
    run = jax.jit(lambda p: decoder.forward(p, config, tokens, positions, whole, kernel="xla"))
    hidden = run(params)
    return [float(h[n - 1] @ params[scalar.HEAD]) for h, n in
            zip(hidden, sequences.totals.tolist(), strict=True)]  # fmt: skip


def scores_of(params, config, batch, mesh=None):
    tokens = scalar.every_token(params, config, batch, mesh=mesh, kernel="xla")[0]
    return scalar.at_last_token(tokens, batch.segment_ids, batch.lengths.shape[1])


compiled = jax.jit(scores_of, static_argnums=1)


@pytest.mark.parametrize(
    "family", ["qwen3", *(pytest.param(n, marks=pytest.mark.slow) for n in ("qwen2", "llama"))]
)
def test_a_score_is_the_head_at_the_last_token_of_its_sequence(family):
    config = tiny_config(family)
    params = with_head(config)
    wanted = sorted(by_themselves(params, config, SEQUENCES))
    found = []
    for batch in packed(SEQUENCES, 2, 24, 4):
        scores = np.asarray(compiled(params, config, batch))
        assert scores.shape == (2, 4) and scores.dtype == np.float32
        assert not scores[batch.lengths == 0].any()
        found += scores[batch.lengths > 0].tolist()
    assert sorted(found) == pytest.approx(wanted, abs=1e-5)


def test_pairs_keep_their_order():
    config = tiny_config()
    params = with_head(config)
    found = {}
    for batch in pack_pairs(SEQUENCES, 1, 24, 4, Denominators.of(SEQUENCES, 1)):
        scores = np.asarray(compiled(params, config, batch))
        for row, segment in np.argwhere(batch.lengths > 0).tolist():
            place = batch.tokens[row][batch.segment_ids[row] == segment + 1]
            found[tuple(place.tolist())] = (segment % 2, float(scores[row, segment]))
    for i, wanted in enumerate(by_themselves(params, config, SEQUENCES)):
        side, score = found[tuple(SEQUENCES.tokens[i, : SEQUENCES.totals[i]].tolist())]
        assert side == i % 2
        assert score == pytest.approx(wanted, abs=1e-5)


def test_at_last_token_by_hand():
    ids = on_device([[1, 1, 2, 3, 3, 0], [1, 1, 1, 1, 1, 1]])
    values = jnp.arange(12.0).reshape(2, 6)
    found = scalar.at_last_token(values, ids, 4)
    np.testing.assert_array_equal(found, [[1, 2, 4, 0], [11, 0, 0, 0]])
    np.testing.assert_array_equal(
        scalar.per_token(found, ids), [[1, 1, 2, 4, 4, 0], [11, 11, 11, 11, 11, 11]]
    )


@pytest.mark.parametrize(
    "shape", [pytest.param({"data": 4}, marks=pytest.mark.slow), {"fsdp": 2, "tensor": 2}]
)
def test_sharded_is_unsharded(shape):
    config = replace(tiny_config(), n_layers=1)
    params, mesh = with_head(config), mesh_of(**shape)
    (batch,) = pack_pairs(SEQUENCES, 4, 24, 4, Denominators.of(SEQUENCES, 1))
    loss = pairwise(PairwiseConfig(center=0.1))

    def share(mesh):
        return lambda p, b: loss(scores_of(p, config, b, mesh), b)[0]

    plain = jax.jit(jax.value_and_grad(share(None)))(params, batch)
    placed = jax.device_put(params, table.shardings(scalar.rows(config), mesh))
    spread = jax.jit(jax.value_and_grad(share(mesh)))(placed, place_batch(batch, mesh))
    assert float(spread[0]) == pytest.approx(float(plain[0]), rel=1e-5)
    assert gradient_difference(jax.device_get(spread[1]), plain[1]) < 1e-4


def test_the_head_starts_at_zero_beside_a_body_without_logits():
    config = tiny_config("qwen3")  # which has an output matrix of its own
    rows = scalar.rows(config)
    assert "head" in table.table(config) and "head" not in rows
    fresh = table.init(rows, jax.random.key(0))
    assert fresh[scalar.HEAD].shape == (config.d_model,) and not fresh[scalar.HEAD].any()
    decayed = table.decay_mask(rows)
    assert not decayed[scalar.HEAD] and decayed["embed"]


def test_the_head_stays_in_float32():
    params = scalar.cast(with_head(tiny_config()), jnp.bfloat16)
    assert params["embed"].dtype == jnp.bfloat16 and params[scalar.HEAD].dtype == jnp.float32


def test_lora_trains_factors_and_head_on_a_frozen_body():
    config, lora = tiny_config(), LoraConfig(rank=2, targets=("wq", "up"))
    base = with_head(config)
    head = base.pop(scalar.HEAD)
    factors = {**drawn(scalar.rows(config, lora), 1), scalar.HEAD: head}
    (batch,) = packed(SEQUENCES, 4, 24, 4)

    @jax.jit
    def scores(factors, base):
        return scores_of(scalar.join(factors, base, lora), config, batch)

    untouched = compiled({**base, scalar.HEAD: head}, config, batch)
    np.testing.assert_allclose(scores(factors, base), untouched, atol=1e-6)
    assert set(factors) == {"stacks", scalar.HEAD} and set(factors["stacks"][0]) == {"wq", "up"}
    moved = jax.tree.map(lambda x: x + 0.1, factors)
    merged = merge(scalar.join(moved, base, lora))
    assert not identical(scores(moved, base), untouched)
    np.testing.assert_allclose(
        scores(moved, base), compiled(merged, config, batch), rtol=1e-4, atol=1e-5
    )
    slope = jax.grad(lambda f: scores(f, base).sum())(moved)
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(slope))


def test_another_packing_gives_the_same_gradient():
    config = replace(tiny_config(), n_layers=1)
    params, loss = with_head(config), pairwise(PairwiseConfig(margin=0.2, center=0.05))

    def gradient(rows, width, segments):
        batches = pack_pairs(SEQUENCES, rows, width, segments, Denominators.of(SEQUENCES, 1))
        total = lambda p: sum(loss(scores_of(p, config, b), b)[0] for b in batches)  # noqa: E731
        return jax.jit(jax.value_and_grad(total))(params)

    one, many = gradient(1, 38, 6), gradient(1, 16, 2)
    assert float(one[0]) == pytest.approx(float(many[0]), rel=1e-5)
    assert gradient_difference(many[1], one[1]) < 1e-4
