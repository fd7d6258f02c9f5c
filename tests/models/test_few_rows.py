"""Matrices laid out for few rows: the same products, where they are used, in how many pieces."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_deepseek import toy
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


@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)])
def test_experts_turned_give_each_its_product(shape):
    rng = np.random.default_rng(0)
    x, w = (on_device(rng.normal(size=s), jnp.float32) for s in (shape, (5, 6, 4)))
    found = Turned(w.mT).apply(x)
    np.testing.assert_allclose(found, np.einsum("...d,edw->...ew", x, w), atol=1e-5)


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


ENGINE = EngineConfig(slots=4, max_prompt=4, max_tokens=9, prefill=2)
PROMPTS = [Prompt((3, 5 + i, 7), i, 2) for i in range(3)]
MODELS = {
    "dense": (tiny_config("qwen2", d_ff=384, n_layers=1), {Turned, Pieces}),
    "experts": (replace(toy()[0], n_layers=1, dense_layers=0), {Turned}),
}


def written(c, **axes):
    """(tokens, log-probabilities) by prompt and sample, and the first layer's weights."""
    mesh = mesh_of(**axes)
    engine = Engine(c, mesh, ENGINE, stop_ids=[])
    weights = engine.prepare(placed(tiny_params(c), c, mesh))
    found = engine.generate(weights, PROMPTS, Sampling(), seed=1, rollout=0)
    texts = {(g.prompt, g.sample): (g.tokens, g.logp) for g in found}
    return texts, weights["stacks"][0]


@pytest.fixture(scope="module")
def plain():
    return {name: written(c)[0] for name, (c, _) in MODELS.items()}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "axes",
    [
        {},
        *(pytest.param({n: 2}, marks=pytest.mark.slow) for n in ("data", "tensor", "expert")),
    ],
    ids=str,
)
def test_a_model_laid_out_so_writes_the_same(plain, model, axes, traced_anew, monkeypatch):
    c, forms = MODELS[model]
    monkeypatch.setattr(decoder, "wanted", lambda mesh: True)
    found, layer = written(c, **axes)
    # A mesh that cuts matrices by columns, or spreads experts, keeps them as they are.
    kept = axes == {"tensor": 2} or (model == "experts" and axes == {"expert": 2})
    assert {type(w) for w in layer.values()} & {Turned, Pieces} == (set() if kept else forms)
    assert found.keys() == plain[model].keys()
    for key, (tokens, logp) in plain[model].items():
        np.testing.assert_array_equal(found[key][0], tokens)
        np.testing.assert_allclose(found[key][1], logp, atol=1e-5)
