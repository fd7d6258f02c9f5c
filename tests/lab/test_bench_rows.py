"""What the bench of an update trains on, and the products its statistics are compared with."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import largest_difference

from experiments.bench.products import bare_products, stats_and_gradients
from experiments.bench.rows import Case, batches_of, cases_of, draw
from r1jax.data.packing import packing_efficiency
from r1jax.types import Stats

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("case", cases_of(["4x8192", "1x32768"], ["packed"]), ids=str)
@pytest.mark.parametrize("seed", range(4))
def test_rows_of_lengths_like_those_of_gsm8k_are_nearly_full(case, seed):
    sequences = draw(case, 151_936, seed)
    (batch,) = batches_of(case, sequences)
    assert packing_efficiency([batch]) > 0.95
    assert sequences.totals.sum() == np.count_nonzero(batch.segment_ids)
    longer = max(1, case.width / 8192)
    assert 85 < sequences.prompt_lengths.mean() < 115
    assert 170 * longer < sequences.lengths.mean() < 265 * longer
    assert batch.lengths.shape[1] == batch.segment_ids.max()
    again = draw(case, 151_936, seed)
    assert np.array_equal(again.tokens, sequences.tokens)
    assert not np.array_equal(draw(case, 151_936, seed + 1).totals[:5], sequences.totals[:5])


def test_single_sequences_fill_their_rows():
    sequences = draw(Case(16, 1024, "single"), 97, 0)
    assert sequences.totals.tolist() == [1024] * 16
    assert sequences.tokens.max() < 97


def test_cases_by_their_names():
    assert [case.name for case in cases_of(["16x1024", "4x8192", "1x32768"])] == [
        "16x1024 single", "4x8192 packed", "1x32768 packed", "1x32768 single",
    ]  # fmt: skip
    assert [case.name for case in cases_of(["1x32768"], ["single"])] == ["1x32768 single"]


@pytest.mark.parametrize("tied", [True, False])
def test_the_bare_products_are_the_four(tied):
    rng = np.random.default_rng(0)
    h, w = rng.normal(size=(2, 7, 5)), rng.normal(size=(5, 11))
    params = {"embed": jnp.asarray(w.T)} if tied else {"head": jnp.asarray(w)}
    first, of_params, of_hidden = bare_products(params, jnp.asarray(h), chunk=3)
    z = h @ w
    np.testing.assert_allclose(first, z[..., 0], rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(of_hidden, z @ w.T, rtol=1e-4, atol=1e-4)
    of_head = np.einsum("bcd,bcv->dv", h, z)
    (found,) = of_params.values()
    np.testing.assert_allclose(found, of_head.T if tied else of_head, rtol=1e-4, atol=1e-4)
    traced = jax.make_jaxpr(bare_products, static_argnums=2)(params, jnp.asarray(h), 3)
    assert str(traced).count("dot_general") == 4


def test_what_they_are_compared_with_is_the_log_probability_and_its_gradient():
    keys = jax.random.split(jax.random.key(0), 5)
    params = {"head": jax.random.normal(keys[0], (5, 11))}
    hidden = jax.random.normal(keys[1], (2, 7, 5))
    targets = jax.random.randint(keys[2], (2, 7), 0, 11)
    given = Stats(*(jax.random.normal(key, (2, 7)) for key in keys[3:]))

    def plain(params, hidden):
        logp = jax.nn.log_softmax(hidden @ params["head"])
        chosen = jnp.take_along_axis(logp, targets[..., None], -1)[..., 0]
        return chosen, -jnp.sum(jnp.exp(logp) * logp, -1)

    def differentiated(params, hidden):
        values, back = jax.vjp(plain, params, hidden)
        return values, *back((given.logp, given.entropy))

    ours = jax.jit(stats_and_gradients, static_argnums=4)
    stats, of_params, of_hidden = ours(params, hidden, targets, given, 3)
    found = (stats.logp, stats.entropy), of_params, of_hidden
    assert largest_difference(found, jax.jit(differentiated)(params, hidden)) < 1e-4
