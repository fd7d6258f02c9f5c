"""Matrices in 8 bits: what they are off by, where they are used, on how many devices."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix
import tiny
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import identical, mesh_of, on_device, placed, tiny_config, tiny_params

from r1jax.models import decoder, dense, grouped_query
from r1jax.models.decoding.cache import empty
from r1jax.models.decoding.quantized import Quantized, quantize
from r1jax.models.layers import linear, rms_norm
from r1jax.models.lora import Lora, LoraConfig, attach, merge, rows
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling

CONFIG = tiny_config("qwen2", n_layers=2)
ENGINE = EngineConfig(slots=2, max_prompt=4, max_tokens=12, prefill=1)


def drawn(shape, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def plain(leaf):
    """The matrix [in, out] a leaf stands for."""
    return np.asarray(qwix.dequantize(leaf.matrix)).T * np.asarray(leaf.shrink)[:, None]


def unstacked(params, weights="same", config=CONFIG):
    return jax.jit(lambda p: decoder.unstack(p, config, "float32", weights=weights))(params)


def test_a_product_by_hand():
    leaf = quantize(jnp.array([[448.0, 0.0], [-1.0, 0.0], [52.0, 7.0]]), jnp.array([4.0, 448, 0]))
    np.testing.assert_allclose(leaf.shrink, [112, 1, 0])
    # Rows grow by 4/448, 1 and 0; 4 and 1 are largest in the first column: the scale is 4/448.
    np.testing.assert_array_equal(leaf.matrix.qvalue, [[448, -112, 0], [0, 0, 0]])
    np.testing.assert_allclose(leaf.matrix.scale, [[4 / 448], [1]], rtol=1e-6)
    # 2 x 112 = 224; 17 is a tie between 16 and 18, which is even in its mantissa at 16.
    product = leaf.apply(jnp.array([[2.0, 17.0, 5.0], [9.0, 0.0, 0.0]]))
    np.testing.assert_allclose(product, [[2 * 448 - 16, 0.0], [4 * 448.0, 0.0]], rtol=1e-6)


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), size=st.floats(1e-3, 1e3))
def test_a_weight_is_off_by_a_sixteenth_at_most(seed, size):
    w, reach = size * drawn((24, 5), seed), np.abs(drawn(24, seed + 1)) + 0.1
    # Where numbers are small, half of the smallest, 2^-10, of the column's scale.
    column = np.abs(w * reach[:, None]).max(0) / 448 / reach[:, None]
    bound = np.maximum(np.abs(w) * 2**-4, column * 2**-10)
    assert np.all(np.abs(plain(quantize(on_device(w), on_device(reach))) - w) <= bound * 1.001)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
def test_a_product_is_off_by_what_its_activations_are(dtype):
    x, reach = on_device(drawn((2, 7, 64), 1), dtype), jnp.full(64, 100.0)
    leaf, wide = quantize(on_device(drawn((64, 48), 0)), reach), np.asarray(x, np.float32)
    got = linear(leaf, x)
    assert got.shape == (2, 7, 48) and got.dtype == dtype
    bound = np.maximum(np.abs(wide) * 2**-4, 100 / 448 * 2**-10) @ np.abs(plain(leaf))
    rounding = 1e-4 if dtype == jnp.float32 else 0.2
    off = np.abs(np.asarray(got, np.float32) - wide @ plain(leaf))
    assert np.all(off <= bound + rounding) and off.max() > 1e-2


@settings(max_examples=25)
@given(seed=st.integers(0, 2**16), aligned=st.booleans(), biased=st.booleans())
def test_nothing_is_larger_than_its_reach(seed, aligned, biased):
    c = replace(CONFIG, ffn_bias=biased)
    layer = jax.tree.map(lambda w: w[1], tiny_params(c, seed % 7)["stacks"][0])
    # Rows along a column of a matrix are the worst there can be for it.
    x = drawn((8, 32), seed) if not aligned else np.asarray(layer["up"] * 100).T[:8]
    reach = grouped_query.reach(layer) | dense.reach(layer)
    attention, ffn = (rms_norm(on_device(x), layer[n], 1e-6) for n in ("attn_norm", "ffn_norm"))
    values = attention @ layer["wv"] + layer["bv"]
    gate, up = (ffn @ layer[n] + layer.get(f"b{n}", 0.0) for n in ("gate", "up"))
    hidden = jax.nn.silu(gate) * up
    met = {"wq": attention, "wk": attention, "gate": ffn, "up": ffn, "down": hidden}
    for name, inputs in met.items():
        assert np.all(np.abs(inputs) <= reach[name] * 1.0001), name
        assert np.abs(inputs / reach[name]).max() > 1e-3
    assert np.abs(values).max() <= reach["wo"][0] * 1.0001


def test_matrices_alone_are_in_8_bits():
    params = tiny_params(CONFIG)
    same, narrow = (unstacked(params, w) for w in ("same", "float8"))
    assert identical(same, decoder.unstack(params, CONFIG, "float32"))
    layer = narrow["stacks"][1]
    found = {name for name, w in layer.items() if isinstance(w, Quantized)}
    assert found == {"wqkv", "wo", "gate_up", "down"} < set(layer)
    assert all(layer[n].matrix.qvalue.dtype == jnp.float8_e4m3fn for n in found)
    assert all(layer[n].matrix.shape == same["stacks"][1][n].T.shape for n in found)
    rest = lambda w: [w["embed"], w["norm"], *(x["bqkv"] for x in w["stacks"])]  # noqa: E731
    assert identical(rest(narrow), rest(same))


def test_factors_are_merged_before():
    config = LoraConfig(2, 6.0)
    factors = jax.tree.map(lambda w: w + 0.1, tiny.drawn(rows(CONFIG, config)))
    joined = attach(tiny_params(CONFIG), factors, config)
    got, want = (unstacked(p, "float8") for p in (joined, merge(joined)))
    assert identical(got, want)
    assert not any(isinstance(w, Lora) for layer in got["stacks"] for w in layer.values())


@pytest.mark.parametrize(
    "family", ["windowed", *(pytest.param(n, marks=pytest.mark.slow) for n in ("qwen2", "biased"))]
)
def test_decoding_and_prefill_are_the_same_policy(family):
    config = tiny_config(family)
    params = tiny_params(config)
    weights = unstacked(params, "float8", config)
    tokens = np.array([[5, 9, 2, 40, 7], [3, 3, 8, 1, 60]])
    prefill = jax.jit(lambda w: decoder.prefill(w, config, tokens, np.array([5, 5]))[0])
    step = jax.jit(lambda t, at, cache: decoder.decode_step(weights, config, t, at, cache))
    cache = empty(config, 2, 8, jnp.float32)
    for t in range(5):
        logits, cache = step(tokens[:, t], np.full(2, t), cache)
    whole, exact = prefill(weights), prefill(unstacked(params, config=config))
    # Sums in another order may round an activation to the next step, no more than that.
    np.testing.assert_allclose(logits, whole, atol=0.05)
    assert 0.02 < np.abs(whole - exact).mean() < 0.2 * np.std(exact)


def test_the_sampler_says_the_log_probabilities_of_the_8_bit_policy():
    engine, params = Engine(CONFIG, mesh_of(), ENGINE, stop_ids=(1,)), tiny_params(CONFIG)
    weights = engine.prepare(params, weights="float8")
    g = next(engine.generate(weights, [Prompt((3, 4, 5), 0, 1)], Sampling(), seed=1, rollout=0))
    text = g.tokens.tolist()
    prefixes = np.array([[3, 4, 5, *text[:n], *[0] * (16 - n)] for n in range(len(text))])
    prefill = jax.jit(lambda w: decoder.prefill(w, CONFIG, prefixes, 3 + np.arange(len(text)))[0])
    own, policy = (
        jax.nn.log_softmax(prefill(w))[np.arange(len(text)), text]
        for w in (weights, engine.prepare(params))
    )
    np.testing.assert_allclose(g.logp, own, atol=0.05)
    assert np.abs(g.logp - policy).mean() > 2 * np.abs(g.logp - own).mean()


@pytest.mark.parametrize(
    "axes", [(1, 2, 2), *(pytest.param(m, marks=pytest.mark.slow) for m in ((2, 2, 1), (1, 1, 2)))]
)
def test_a_mesh_computes_what_one_device_does_on_its_part(axes):
    params, mesh = tiny_params(CONFIG), mesh_of(*axes)
    alone = unstacked(params, "float8")
    spread = jax.jit(lambda p: decoder.unstack(p, CONFIG, "float32", mesh, "float8"))
    weights = spread(placed(params, CONFIG, mesh))
    tokens, lengths = np.array([[5, 9, 2], [3, 3, 8], [4, 0, 0], [6, 6, 0]]), np.array([3, 3, 1, 2])
    got, want = (
        jax.jit(lambda w, m=m: decoder.prefill(w, CONFIG, tokens, lengths, m)[0])(w)
        for w, m in ((weights, mesh), (alone, None))
    )
    np.testing.assert_allclose(got, want, atol=0.05)
    down = weights["stacks"][0]["down"].matrix
    part = down.qvalue.sharding.shard_shape(down.shape)
    assert np.prod(part) * axes[1] * axes[2] == np.prod(down.shape)
