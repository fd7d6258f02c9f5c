"""The sampler's choices of experts: kept, carried to the trainer, compared and followed."""

from __future__ import annotations

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from test_deepseek import layer_of, toy
from tiny import mesh_of, on_device, tiny_config

from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import attention as attn
from r1jax.models import decoder, experts, kinds
from r1jax.models.decoding import cache
from r1jax.problem import Problem
from r1jax.rollout.requests import Drawn, Generated, Request, nothing
from r1jax.training import update
from r1jax.training.rl import carried_groups
from r1jax.training.rl.collect import to_sequences
from r1jax.training.rl.setup import with_sampled

RNG = np.random.default_rng(0)


def followed(c, how="followed"):
    return replace(c, experts=replace(c.experts, sampled=how))


def test_a_layer_takes_the_given_experts_with_gates_of_its_own_scores():
    c, layer = toy()[0], layer_of(1)
    e = c.experts
    x = on_device(RNG.normal(size=(1, 6, c.d_model)), jnp.float32)
    segments = attn.Segments(on_device([[1, 1, 1, 2, 2, 0]]), 2)
    run = jax.jit(lambda c, layer: experts.run(c, layer, x, segments, None), static_argnums=0)
    plain, said = run(c, layer)
    sampled = np.sort(RNG.permuted(np.tile(np.arange(e.count), (6, 1)), axis=1)[:, : e.chosen], 1)
    given = layer | {"routes": on_device(sampled[None], jnp.uint8)}
    same, told = run(followed(c, "compared"), given)
    np.testing.assert_array_equal(same, plain)
    np.testing.assert_array_equal(told["differs"][0], (sampled != said["routes"][0]).any(-1))
    y, told = run(followed(c), given)
    # Tokens 2 and 4 are the last of their segments: no sampler has read them.
    taken = np.where(np.isin(np.arange(6), [2, 4])[:, None], said["routes"][0], sampled)
    np.testing.assert_array_equal(told["routes"][0], taken)
    h = np.asarray(decoder.rms_norm(x, layer["ffn_norm"], c.rms_eps)[0], np.float64)
    w = {name: np.asarray(leaf, np.float64) for name, leaf in layer.items()}
    scores = 1 / (1 + np.exp(-h @ w["router"]))
    silu = lambda z: z / (1 + np.exp(-z))  # noqa: E731
    want = silu(h @ w["shared_gate"]) * (h @ w["shared_up"]) @ w["shared_down"]
    for t, chosen in enumerate(taken):
        gates = scores[t, chosen] / scores[t, chosen].sum() * e.scale
        for i, gate in zip(chosen, gates, strict=True):
            inner = silu(h[t] @ w["expert_gate"][i]) * (h[t] @ w["expert_up"][i])
            want[t] += gate * inner @ w["expert_down"][i]
    np.testing.assert_allclose(y[0], want, rtol=2e-4, atol=2e-5)


def test_scores_of_experts_that_were_not_followed_move_no_gate_and_the_others_do():
    c, layer = followed(toy()[0]), layer_of(1)
    x = on_device(RNG.normal(size=(1, 2, c.d_model)), jnp.float32)
    segments = attn.Segments(jnp.ones((1, 2), jnp.int32))
    k = c.experts.chosen
    given = layer | {"routes": jnp.arange(k, dtype=jnp.uint8)[None, None].repeat(2, 1)}

    def first(router):  # of the token whose choice is given
        return jnp.sum(experts.run(c, given | {"router": router}, x, segments, None)[0][0, 0] ** 2)

    slope = np.abs(jax.jit(jax.grad(first))(layer["router"])).max(axis=0)  # [experts]
    assert (slope[:k] > 0).all() and not slope[k:].any()


def test_few_are_ordered_as_many_are():
    x = on_device(RNG.integers(0, 4, (50, 8)), jnp.float32).at[0, :4].set(-jnp.inf)
    want = np.zeros(x.shape, bool)
    np.put_along_axis(want, np.asarray(jax.lax.top_k(x, 3)[1]), True, axis=1)
    np.testing.assert_array_equal(experts._top(x, 3), want)
    wide = jnp.pad(x, ((0, 0), (0, experts.FEW)), constant_values=-9)
    np.testing.assert_array_equal(experts._top(wide, 3)[:, :8], want)


def test_the_cache_holds_what_each_layer_chose_of_prompts_and_of_steps():
    c, params = toy()
    tokens = on_device(RNG.integers(0, c.vocab_size, (2, 7)))
    positions = jnp.broadcast_to(jnp.arange(7), tokens.shape)
    segments = attn.Segments(jnp.ones_like(tokens))
    _, told = jax.jit(decoder.forward_told, static_argnums=1)(
        params, c, tokens, positions, segments
    )
    want = np.concatenate([t["routes"] for t in told if t], 0)  # [layers, B, T, k]
    want = np.moveaxis(want, 0, 2).reshape(2, 7, -1)
    weights = decoder.unstack(params, c, jnp.float32)
    prefill = jax.jit(decoder.prefill, static_argnums=1)
    _, kept = prefill(weights, c, tokens[:, :5], jnp.full(2, 5))
    kept = cache.each(lambda _, x: cache.lengthened(x, 7), c, kept)
    step = jax.jit(decoder.decode_step, static_argnums=1)
    for t in (5, 6):
        _, kept = step(weights, c, tokens[:, t], jnp.full(2, t), kept)
    found = np.stack([cache.routes(kept, jnp.int32(slot)) for slot in (0, 1)])
    np.testing.assert_array_equal(found, want)
    assert found.dtype == np.uint8 and found.shape[2:] == kinds.routes(c).shape


def generated(prompt, n, sample=0):
    """A completion of n tokens; each token's routes are its own number."""
    ids = np.arange(prompt + n - 1, dtype=np.uint8)[:, None] + np.zeros(4, np.uint8) + 10 * sample
    rows = np.zeros(n, np.int32), np.zeros(n, np.float32), np.zeros(n, np.float32)
    return Generated(*rows, 0, sample, None, (5,) * prompt, routes=ids)


def test_routes_go_with_a_request_through_an_eviction_into_a_packed_batch():
    request = Request(0, 0, 0, (5,) * 3, 9, count=4)
    zeros = lambda: Drawn(np.zeros(9, np.int32), np.zeros(9), np.zeros(9))  # noqa: E731
    cached = np.arange(12, dtype=np.uint8)[:, None].repeat(4, 1)
    request.kept = request.drawn(zeros(), cached)
    np.testing.assert_array_equal(request.kept.routes[:, 0], np.arange(6))  # 3 + 4 - 1
    request.count = 6  # what was kept keeps its first routes, whatever another prefill chose
    both = request.drawn(zeros(), cached + 100)
    np.testing.assert_array_equal(both.routes[:, 0], [*range(6), 106, 107])
    done = request.ended(both.cut(0, 5), "stop")
    np.testing.assert_array_equal(done.routes[:, 0], [*range(6), 106])
    assert Request(0, 0, 0, (5,) * 3, 9, count=4).drawn(zeros()).routes is None  # a dense model
    sequences = to_sequences([done, generated(2, 3, 1)])
    assert sequences.take([1]).columns["routes"].shape == (1, 8, 4)
    (batch,) = pack(sequences, 1, 16, 2, Denominators.of(sequences, 9))
    row = batch.routes[0, :, 0].tolist()
    assert row == [0, 1, 2, 3, 4, 5, 106, 0, 10, 11, 12, 13, 0, 0, 0, 0]
    assert batch.routes.dtype == np.uint8 and batch.columns.keys() == {"sampler_logp", "routes"}
    with pytest.raises(ValueError, match="column routes"):
        Sequences(np.zeros((2, 5), int), np.ones(2, int), np.ones(2, int),
                  {"routes": np.zeros((2, 4, 4), np.uint8)})  # fmt: skip


def test_carried_groups_keep_their_routes_in_a_checkpoint():
    problem, none = Problem("p", "", ""), np.zeros(3, np.int64)
    begun = generated(4, 3), replace(generated(4, 2, 1), finish_reason="stop")
    waiting = Generated(*nothing().arrays, 0, 2, None, (5,) * 4)
    group = carried_groups.Group(problem, 0, 1, (*begun, waiting), none, none)
    stream = type("Stream", (), {"take": lambda self, place, n: [problem]})()
    policy = type("Policy", (), {"prompt": lambda self, p: (5,) * 4})()
    (again,) = carried_groups.from_arrays(carried_groups.to_arrays([group]), stream, policy)
    for a, b in zip(again.completions, group.completions, strict=True):
        np.testing.assert_array_equal(a.routes, b.routes)
    assert again.completions[2].routes is None
    untold = carried_groups.to_arrays([replace(group, completions=(waiting,) * 3)])
    assert "routes" not in untold


def test_what_learns_from_a_sampler_asks_for_its_routes_and_a_dense_model_has_none():
    c = toy()[0]
    assert with_sampled(c, True).experts.sampled == "followed"
    compute = update.ComputeConfig(2, 8, 2, chunk=8)
    for how, asked in (("compared", True), ("", False)):
        f = update.make_functions(followed(c, how), mesh_of(), compute, sft, optax.identity())
        assert ("routes" in f.columns()) == asked
    dense = tiny_config("qwen2")
    assert with_sampled(dense, False) is dense and kinds.routes(dense) is None
    with pytest.raises(
        UserError, match=r"\A--train.replay-routes: the model has no experts[^\n]*\Z"
    ):
        with_sampled(dense, True)
