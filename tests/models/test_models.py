"""The decoder: one model, whether it is trained, prefilled or decoded, packed or not."""

from __future__ import annotations

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import (
    FAMILIES,
    gradient_difference,
    largest_difference,
    mesh_of,
    on_device,
    packed,
    random_sequences,
    tiny_config,
    tiny_params,
)

from r1jax.data.packing import unpack
from r1jax.models import attention as attn
from r1jax.models import decoder, table
from r1jax.models.decoding.cache import empty
from r1jax.models.layers import rms_norm, rope_frequencies
from r1jax.models.logp import score, token_stats
from r1jax.models.rope import Llama3

PROMPTS = np.array([1, 3, 7, 12], np.int32)
EXTRA = 4


def full_logits(params, config, tokens, lengths):
    """Training forward of right-padded rows, with the logits of every position."""
    ids = (jnp.arange(tokens.shape[1])[None] < lengths[:, None]).astype(jnp.int32)
    positions = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
    hidden = decoder.forward(params, config, tokens, positions, attn.Segments(ids, 1))
    return decoder.logits(params, hidden)


SOME = [
    "windowed",
    *(pytest.param(name, marks=pytest.mark.slow) for name in ("qwen3", "qwen2", "llama", "biased")),
]
"""Layers with and without a window; logits and gradients of all are transformers' (golden)."""


@pytest.mark.parametrize("family", SOME)
def test_training_forward_prefill_and_decode_give_the_same_logits(family):
    config = tiny_config(family)
    params = tiny_params(config)
    weights = decoder.unstack(params, config, jnp.float32)
    tokens = jax.random.randint(jax.random.key(3), (4, 12 + EXTRA), 0, config.vocab_size)
    want = jax.jit(full_logits, static_argnums=1)(params, config, tokens, PROMPTS + EXTRA)

    logits, cache = jax.jit(decoder.prefill, static_argnums=1)(
        weights, config, tokens[:, :12], on_device(PROMPTS)
    )
    rows = np.arange(4)
    np.testing.assert_allclose(logits, want[rows, PROMPTS - 1], rtol=1e-5, atol=1e-5)

    whole = empty(config, 4, 12 + EXTRA, jnp.float32)
    cache = jax.tree.map(lambda old, new: old.at[:, :12].set(new), whole, cache)
    step = jax.jit(decoder.decode_step, static_argnums=1)
    for i in range(EXTRA):
        at = on_device(PROMPTS + i)
        logits, cache = step(weights, config, tokens[rows, at], at, cache)
        np.testing.assert_allclose(logits, want[rows, PROMPTS + i], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", SOME)
def test_packing_changes_neither_log_probabilities_nor_gradients(family):
    config = tiny_config(family)
    params = tiny_params(config)
    sequences = random_sequences([4, 1, 3, 6, 2], [5, 9, 2, 7, 8])

    def run(layout):
        def total(params):
            shown = []
            for batch in packed(sequences, *layout):
                stats, _ = score(params, config, batch, 0.7, chunk=8)
                shown.append(stats.logp * batch.mask)
            return sum(
                jnp.sum(x * b.advantages) for x, b in zip(shown, batches, strict=True)
            ), shown

        batches = packed(sequences, *layout)
        (_, shown), grads = jax.jit(jax.value_and_grad(total, has_aux=True))(params)
        return unpack([np.asarray(x) for x in shown], sequences, *layout), grads

    alone, alone_grads = run((5, 13, 1))
    together, together_grads = run((2, 26, 4))
    assert np.all(alone[0, :5] < 0)
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5)
    assert gradient_difference(together_grads, alone_grads) < 1e-5


def test_a_segment_sees_nothing_of_its_neighbours():
    config = tiny_config("qwen3")
    params = tiny_params(config)
    batch = packed(random_sequences([2, 2, 2], [6, 5, 4]), 1, 24, 4)[0]
    run = jax.jit(lambda tokens: score(params, config, batch.replace(tokens=tokens), 1.0, chunk=24))
    first = batch.segment_ids == 1
    before = run(batch.tokens)[0].logp
    after = run(np.where(first, (batch.tokens + 1) % 97, batch.tokens))[0].logp
    assert not np.array_equal(before[first], after[first])
    np.testing.assert_array_equal(before[~first], after[~first])


def test_activation_checkpointing_and_unrolling_leave_gradients_alone():
    config = tiny_config("qwen3")
    params = tiny_params(config)
    batch = packed(random_sequences([4, 1, 3], [5, 9, 2]), 2, 16, 2)[0]

    def grads(remat, unroll):
        def total(params):
            stats, _ = score(params, config, batch, 1.0, chunk=8, remat=remat, unroll=unroll)
            return jnp.sum((stats.logp + 0.1 * stats.entropy) * batch.mask)

        return jax.jit(jax.grad(total))(params)

    want = grads("none", 1)
    assert max(float(np.max(np.abs(x))) for x in jax.tree.leaves(want)) > 0.1
    for remat, unroll in (("dots", 1), ("full", 3)):
        assert gradient_difference(grads(remat, unroll), want) < 1e-5, (remat, unroll)


@pytest.mark.parametrize("temperature", [0.6, 1.0])
@pytest.mark.parametrize(
    "chunk", [3, 10, *(pytest.param(n, marks=pytest.mark.slow) for n in (5, 16))]
)
def test_chunked_statistics_equal_the_full_log_softmax(chunk, temperature):
    keys = jax.random.split(jax.random.key(0), 4)
    hidden, head = jax.random.normal(keys[0], (2, 10, 8)), jax.random.normal(keys[1], (8, 31))
    targets = jax.random.randint(keys[2], (2, 10), 0, 31)
    weights = jax.random.normal(keys[3], (2, 2, 10))

    def full(hidden, head):
        p = jax.nn.log_softmax(hidden @ head / temperature)
        chosen = jnp.take_along_axis(p, targets[..., None], axis=-1)[..., 0]
        return jnp.stack([chosen, -jnp.sum(jnp.exp(p) * p, axis=-1)])

    def chunked(hidden, head):
        stats = token_stats(hidden, targets, head, temperature, chunk)
        return jnp.stack([stats.logp, stats.entropy])

    def values_and_grads(run):
        total = lambda hidden, head: (jnp.sum(weights * run(hidden, head)), run(hidden, head))  # noqa: E731
        return jax.jit(jax.grad(total, argnums=(0, 1), has_aux=True))(hidden, head)

    assert largest_difference(values_and_grads(chunked), values_and_grads(full)) < 2e-5


def equations(jaxpr):
    """Every equation of a program, those inside loops and calls too."""
    for eqn in jaxpr.eqns:
        yield eqn
        for value in jax.tree.leaves(tuple(eqn.params.values())):
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from equations(inner)


def test_the_products_of_half_precision_stay_in_it():
    """Operands of every product in bfloat16, sums in float32: gradients are as near as it gets."""
    keys = jax.random.split(jax.random.key(1), 4)
    hidden = jax.random.normal(keys[0], (2, 24, 16), jnp.bfloat16)
    head = jax.random.normal(keys[1], (16, 97), jnp.bfloat16)
    targets = jax.random.randint(keys[2], (2, 24), 0, 97)
    weights = jax.random.normal(keys[3], (2, 2, 24))

    def total(hidden, head):
        stats = token_stats(hidden, targets, head, 0.8, chunk=8)
        return jnp.sum(weights * jnp.stack([stats.logp, stats.entropy]))

    gradient = jax.grad(total, argnums=(0, 1))
    kinds = [eqn.invars for eqn in equations(jax.make_jaxpr(gradient)(hidden, head).jaxpr)
             if eqn.primitive.name == "dot_general"]  # fmt: skip
    gradient = jax.jit(gradient)
    assert len(kinds) == 4  # two for the logits, one for each gradient
    assert {x.aval.dtype for pair in kinds for x in pair} == {jnp.dtype(jnp.bfloat16)}
    exact = gradient(hidden.astype(jnp.float32), head.astype(jnp.float32))
    for got, want in zip(gradient(hidden, head), exact, strict=True):
        error = jnp.linalg.norm(got.astype(jnp.float32) - want) / jnp.linalg.norm(want)
        assert error < 6e-3, float(error)


@pytest.mark.parametrize("dtype, limit", [(jnp.bfloat16, 5e-3), (jnp.float32, 1e-6)])
def test_the_heads_gradient_is_summed_over_devices(dtype, limit):
    keys = jax.random.split(jax.random.key(2), 3)
    hidden = jax.random.normal(keys[0], (8, 6, 16), dtype)
    head = jax.random.normal(keys[1], (16, 40), dtype)
    targets = jax.random.randint(keys[2], (8, 6), 0, 40)

    def gradient(mesh):
        total = lambda head: jnp.sum(token_stats(hidden, targets, head, 1.0, 3, mesh).logp)  # noqa: E731
        return jax.jit(jax.grad(total))(head).astype(jnp.float32)

    whole = gradient(None)
    for mesh in (mesh_of(data=4, fsdp=2), mesh_of(fsdp=2, tensor=2)):
        error = jnp.linalg.norm(gradient(mesh) - whole) / jnp.linalg.norm(whole)
        assert error < limit, float(error)


def test_the_first_token_of_a_segment_is_predicted_by_nothing():
    config = tiny_config()
    batch = packed(random_sequences([2, 3], [6, 5]), 1, 20, 2)[0]
    stats, _ = jax.jit(lambda params: score(params, config, batch, 1.0, chunk=20))(
        tiny_params(config)
    )
    silent = (batch.positions == 0) | (batch.segment_ids == 0)
    assert np.all(np.asarray(stats.logp)[silent] == 0)
    assert np.all(np.asarray(stats.logp)[~silent] < 0)
    assert np.all(np.asarray(stats.entropy)[~silent] > 0)


def test_rms_norm_by_hand():
    x, scale = jnp.array([3.0, 4.0]), jnp.array([1.0, 2.0])
    want = np.array([3.0, 8.0]) / math.sqrt(12.5)
    np.testing.assert_allclose(rms_norm(x, scale, 0.0), want, rtol=1e-6)


def test_rotary_frequencies_by_hand():
    plain = tiny_config("qwen2", head_dim=8, rope_theta=10000.0)
    np.testing.assert_allclose(rope_frequencies(plain), [1, 0.1, 0.01, 0.001], rtol=1e-6)
    # Over 100 positions the four turn 15.9, 1.59, 0.159 and 0.0159 times: kept above 4 turns,
    # divided by 8 below 1, and between them mixed with weight (1.5915 - 1) / (4 - 1) = 0.19718.
    scaled = tiny_config("llama", rope_scaling=Llama3(8.0, 1.0, 4.0, 100))
    want = [1, 0.1 * (0.19718 + (1 - 0.19718) / 8), 0.01 / 8, 0.001 / 8]
    np.testing.assert_allclose(rope_frequencies(scaled), want, rtol=1e-4)


def test_segment_starts_by_hand():
    ids = jnp.array([[1, 1, 1, 2, 3, 3, 0, 0], [0] * 8])
    starts, lengths = attn.segment_starts(ids, 4)
    assert starts.tolist() == [[0, 3, 4, -1, -1], [-1] * 5]
    assert lengths.tolist() == [[3, 1, 2, -1], [-1] * 4]


@pytest.mark.parametrize("family", FAMILIES)
def test_init_shardings_and_shapes_all_follow_the_weight_table(family):
    config, mesh = tiny_config(family), mesh_of(fsdp=2, tensor=2)
    params = jax.eval_shape(functools.partial(table.init, config), jax.random.key(0))
    rows = table.table(config)
    assert jax.tree.structure(params) == jax.tree.structure(rows)
    assert jax.tree.map(lambda x: x.shape, params) == jax.tree.map(lambda row: row.shape, rows)
    assert table.count(config) == sum(x.size for x in jax.tree.leaves(params))
    abstract = jax.tree.leaves(table.abstract(config, mesh))
    for shape, layout in zip(abstract, jax.tree.leaves(table.shardings(config, mesh)), strict=True):
        assert shape.sharding == layout
        layout.shard_shape(shape.shape)


def test_count_by_hand():
    # 97·32 embedding, 32 norm; a layer: 2·32 norms, q 32·32 + 32, k and v 32·16 + 16 each,
    # o 32·32, feed-forward 3·32·48.
    layer = 64 + (1024 + 32) + 2 * (512 + 16) + 1024 + 4608
    assert table.count(tiny_config("qwen2")) == 3104 + 32 + 3 * layer
    qwen3 = 3104 + 32 + 3 * (layer - 64 + 16) + 3104
    assert table.count(tiny_config("qwen3")) == qwen3


def test_matrices_are_sharded_over_both_axes():
    config, mesh = tiny_config(vocab_size=96), mesh_of(fsdp=2, tensor=4)
    layout = table.shardings(config, mesh)
    assert layout["embed"].shard_shape((96, 32)) == (24, 16)
    stack, shapes = layout["stacks"][0], table.abstract(config)["stacks"][0]
    shards = {name: stack[name].shard_shape(shapes[name].shape) for name in ("wq", "wo", "down")}
    assert shards == {"wq": (3, 16, 8), "wo": (3, 8, 16), "down": (3, 12, 16)}


def test_initial_scale_of_the_weights():
    config = tiny_config("qwen3", d_model=256, d_ff=512, n_layers=2, init_std=0.02)
    init = jax.jit(table.init, static_argnums=0)
    params = init(config, jax.random.key(0))
    stack = params["stacks"][0]
    assert float(jnp.std(params["embed"])) == pytest.approx(0.02, rel=0.05)
    assert float(jnp.std(stack["gate"])) == pytest.approx(0.02, rel=0.05)
    assert float(jnp.std(stack["down"])) == pytest.approx(0.02 / 2, rel=0.05)
    assert np.all(np.asarray(stack["q_norm"]) == 1)
    assert not np.any(init(tiny_config("qwen2"), jax.random.key(0))["stacks"][0]["bq"])


def test_weight_decay_skips_norms_and_biases():
    named, _ = jax.tree_util.tree_flatten_with_path(table.decay_mask(tiny_config("qwen2")))
    spared = {path[-1].key for path, decays in named if not decays}
    assert spared == {"norm", "attn_norm", "ffn_norm", "bq", "bk", "bv"}
    named, _ = jax.tree_util.tree_flatten_with_path(table.decay_mask(tiny_config("qwen3")))
    decayed = {path[-1].key for path, decays in named if decays}
    assert decayed == {"embed", "head", "wq", "wk", "wv", "wo", "gate", "up", "down"}
