"""Matrices laid out for few rows: the same products, where they are used, in how many pieces."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import mesh_of, on_device, placed, tiny_config, tiny_params

from r1jax.models import decoder
from r1jax.models.decoding import few_rows
from r1jax.models.decoding.few_rows import Pieces, Turned
from r1jax.models.layers import linear
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)])
def test_both_layouts_are_the_plain_product(shape):
    rng = np.random.default_rng(0)
    x, w = (on_device(rng.normal(size=s), jnp.float32) for s in (shape, (6, 4)))
    bias = jnp.arange(4.0)
    for leaf in (Turned(w.T), Pieces(w.reshape(3, 2, 4))):
        np.testing.assert_allclose(linear(leaf, x, bias), x @ w + bias, atol=1e-6)


def test_pieces_are_summed_in_float32():
    # Alone, 256 + 1 is 256 again in bfloat16.
    x, pieces = jnp.ones((2, 3), jnp.bfloat16), on_device([256, 1, 1], jnp.bfloat16)
    product = Pieces(pieces.reshape(3, 1, 1)).apply(x)
    assert product.dtype == jnp.bfloat16
    np.testing.assert_array_equal(product, [[258], [258]])


@pytest.mark.parametrize("rows", [few_rows.FEW, few_rows.FEW + 1])
def test_many_rows_take_the_pieces_as_one_matrix(rows):
    apply = jax.jit(Pieces(jnp.ones((2, 3, 4))).apply)
    text = apply.lower(jnp.ones((rows, 6))).as_text()
    assert ("batching_dims" in text) == (rows == few_rows.FEW)


@pytest.mark.parametrize(
    ("n_in", "n_out", "pieces"),
    [(8960, 1536, 5), (4864, 896, 4), (18944, 3584, 2), (14336, 4096, 2), (1536, 8960, 1)],
)
def test_pieces_by_hand(n_in, n_out, pieces):
    # 8,960 x 1,536 has 2 x 12 tiles of 256 rows; 5 x 24 of them run on 132 multiprocessors, and
    # 8,960 / 5 = 28 x 64. 4,864 = 76 x 64 is cut by 4 where 9 would fit.
    assert few_rows._pieces(n_in, n_out) == pieces


C = tiny_config("qwen2", d_ff=384, n_layers=1)
ENGINE = EngineConfig(slots=4, max_prompt=4, max_tokens=9, prefill=2)
PROMPTS = [Prompt((3, 5 + i, 7), i, 2) for i in range(3)]


def written(**axes):
    """(tokens, log-probabilities) by prompt and sample, and the first layer's weights."""
    mesh = mesh_of(**axes)
    engine = Engine(C, mesh, ENGINE, stop_ids=[])
    weights = engine.prepare(placed(tiny_params(C), C, mesh))
    found = engine.generate(weights, PROMPTS, Sampling(), seed=1, rollout=0)
    texts = {(g.prompt, g.sample): (g.tokens, g.logp) for g in found}
    return texts, weights["stacks"][0]


@pytest.fixture(scope="module")
def plain():
    return written()[0]


@pytest.mark.parametrize(
    "axes",
    [{}, *(pytest.param({name: 2}, marks=pytest.mark.slow) for name in ("data", "tensor"))],
    ids=str,
)
def test_a_model_laid_out_so_writes_the_same(plain, axes, traced_anew, monkeypatch):
    monkeypatch.setattr(decoder, "wanted", lambda mesh: True)
    found, layer = written(**axes)
    # A mesh that cuts matrices by columns keeps them as they are.
    kinds = {Turned, Pieces} if axes != {"tensor": 2} else set()
    assert {type(w) for w in layer.values()} & {Turned, Pieces} == kinds
    assert found.keys() == plain.keys()
    for key, (tokens, logp) in plain.items():
        np.testing.assert_array_equal(found[key][0], tokens)
        np.testing.assert_allclose(found[key][1], logp, atol=1e-5)
