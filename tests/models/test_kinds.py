"""Kinds of layer that r1jax knows nothing of: another cache, and a loss of their own."""

from __future__ import annotations

import functools
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import drawn, gradient_difference, mesh_of, packed, placed, random_sequences, tiny_config

from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import attention as attn
from r1jax.models import decoder, kinds, lora
from r1jax.models.attention import NEGATIVE
from r1jax.models.config import ModelConfig, Stack
from r1jax.models.decoding.cache import token_bytes
from r1jax.models.layers import linear, rms_norm, rope_tables
from r1jax.models.row import Kept, Matrices, Row, matrix
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.training import update
from r1jax.training.metrics import finish
from r1jax.types import Mean, segment_members

WIDTH, HEADS, ALPHA = 6, 4, 0.7


def aged_rows(c):
    return {
        "latent_norm": Row((c.d_model,), (None,), "a.norm"),
        "wz": matrix(c.d_model, WIDTH, ("embed", None), "a.z", c.init_std),
        "wh": matrix(c.d_model, HEADS * WIDTH, ("embed", "heads"), "a.h", c.init_std),
        "wm": matrix(HEADS * WIDTH, c.d_model, ("heads", "embed"), "a.m", c.init_std),
    }


def aged_mix(layer, x, z, age, position, visible):
    """One latent z[..., L, w] for all heads, as key and as value; what is older counts less."""
    q = linear(layer["wh"], x).reshape(*x.shape[:-1], HEADS, WIDTH)
    scores = jnp.einsum("...hw,...lw->...hl", q, z) / 2
    scores -= 0.1 * (position[..., None] - age)[..., None, :]
    weights = jax.nn.softmax(jnp.where(visible[..., None, :], scores, NEGATIVE))
    mixed = jnp.einsum("...hl,...lw->...hw", weights, z)
    return linear(layer["wm"], mixed.reshape(*x.shape[:-1], -1))


def aged_full(c, layer, x, tables, segments, mesh, kernel):
    x = rms_norm(x, layer["latent_norm"], c.rms_eps)
    ids, t = segments.ids, x.shape[1]
    visible = (ids[:, :, None] == ids[:, None]) & jnp.tri(t, dtype=bool)
    age = jnp.sum(visible, axis=-1, dtype=jnp.int32) - 1
    z = linear(layer["wz"], x)
    mixed = aged_mix(layer, x, z[:, None], age[:, None], age, visible)
    return mixed, {"z": z, "age": age}


def aged_step(c, layer, x, tables, cache, positions, prefix, mesh):
    x = rms_norm(x, layer["latent_norm"], c.rms_eps)
    at = jnp.arange(x.shape[0]), positions
    z, age = cache["z"].at[at].set(linear(layer["wz"], x)), cache["age"].at[at].set(positions)
    visible = jnp.arange(z.shape[1])[None] <= positions[:, None]
    return aged_mix(layer, x, z, age, positions, visible), {"z": z, "age": age}


AGED = kinds.Attention(
    aged_rows,
    lambda c: {"z": Kept((WIDTH,), (None,)), "age": Kept((), (), jnp.int32)},
    aged_full,
    aged_step,
    lambda c: 2 * HEADS * WIDTH,
    Matrices(("wz", "wm"), {}, {}, None),
)


def loud_run(c, layer, x, segments, mesh):
    """Twice a sine, and how loud it is: its mean square over each segment, f32[B, M]."""
    y = linear(layer["out"], jnp.sin(linear(layer["in"], x)))
    if segments is None:
        return y, {}
    members = segment_members(segments.ids, segments.max_segments)
    sums = jnp.einsum("btm,bt->bm", members.astype(y.dtype), jnp.mean(y**2, axis=-1))
    return y, {"loud": sums / jnp.maximum(jnp.sum(members, axis=1), 1)}


def loud_share(c, told, batch):
    assert told["loud"].shape == (3, *batch.lengths.shape)
    total = jnp.sum(told["loud"])
    return ALPHA * total / batch.n_sequences, {
        "loud": Mean(total, jnp.sum(batch.lengths > 0) * 1.0)
    }


LOUD = kinds.FeedForward(
    lambda c: {
        "in": matrix(c.d_model, c.d_ff, ("embed", "ffn"), "f.in", c.init_std),
        "out": matrix(c.d_ff, c.d_model, ("ffn", "embed"), "f.out", c.init_std),
    },
    loud_run,
    Matrices(("in", "out"), {}, {"out": "turned"}, None),
    loud_share,
)


class Toy(ModelConfig):
    """Two stacks that are loud, with one between them that tells nothing."""

    @property
    def stacks(self):
        return Stack("aged", "loud", 2), Stack("aged", "dense", 1), Stack("grouped", "loud", 1)


C = Toy(**vars(tiny_config("qwen3", n_layers=4, vocab_size=96)))


@pytest.fixture(autouse=True)
def known(traced_anew, monkeypatch):
    monkeypatch.setitem(kinds.ATTENTION, "aged", AGED)
    monkeypatch.setitem(kinds.FEED_FORWARD, "loud", LOUD)


def params_of(mesh=None):
    params = drawn(C)
    return params if mesh is None else placed(params, C, mesh)


SEQUENCES = random_sequences([4, 1, 3, 6, 2, 5], [5, 9, 2, 7, 8, 3], vocab=96)


def alone(params, tokens, length):
    """Hidden states of one sequence, layer by layer, and the mean squares added up.

    What stands behind its `length` tokens is seen by none of them, and not counted.
    """
    tokens, own = tokens[None], (jnp.arange(len(tokens)) < length)[None, :, None]
    segments = attn.Segments(jnp.ones_like(tokens), 1)
    tables = rope_tables(C, jnp.arange(tokens.shape[1])[None])
    x, loud = params["embed"][tokens], 0.0
    for stack, of, (attention, ffn) in zip(
        params["stacks"], C.stacks, kinds.of_stacks(C), strict=True
    ):
        for i in range(of.layers):
            layer = {name: w[i] for name, w in stack.items()}
            x = x + attention.full(C, layer, x, tables, segments, None, "xla")[0]
            if of.ffn == "loud":
                y = jnp.sin(x @ layer["in"]) @ layer["out"]
                x, loud = x + y, loud + jnp.sum(y**2 * own) / (length * y.shape[-1])
            else:
                x = x + ffn.run(C, layer, x, None, None)[0]
    return rms_norm(x, params["norm"], C.rms_eps)[0], loud


@functools.cache
def wanted():
    """(share, mean loudness, gradient) of the whole update, sequence by sequence."""

    def one(params, row, start, n):
        hidden, loud = alone(params, row, start + n)
        logp = jax.nn.log_softmax(decoder.logits(params, hidden))[:-1]
        at = jnp.arange(1, len(row))
        chosen = jnp.where((at >= start) & (at < start + n), logp[at - 1, row[1:]], 0.0)
        return -jnp.sum(chosen) / SEQUENCES.lengths.sum() + ALPHA * loud / 6, loud / 6

    each = jax.jit(jax.value_and_grad(one, has_aux=True))
    found = [
        each(params_of(), *given)
        for given in zip(SEQUENCES.tokens, SEQUENCES.prompt_lengths, SEQUENCES.lengths, strict=True)
    ]
    (share, loud), gradient = jax.tree.map(lambda *x: sum(map(np.asarray, x)), *found)
    return float(share), float(loud), gradient


@pytest.mark.parametrize(
    ("rows", "width", "segments", "remat", "axes"),
    [
        pytest.param(2, 40, 4, "none", (1, 1, 1), marks=pytest.mark.slow),
        pytest.param(6, 16, 1, "none", (1, 1, 1), marks=pytest.mark.slow),  # a row for each
        pytest.param(1, 24, 3, "full", (1, 1, 1), marks=pytest.mark.slow),
        pytest.param(8, 24, 3, "full", (8, 1, 1), marks=pytest.mark.slow),
        pytest.param(4, 24, 3, "none", (2, 2, 2), marks=pytest.mark.slow),
        (2, 16, 2, "full", (2, 1, 1)),  # several micro-batches
    ],
    ids=str,
)
def test_a_layers_own_loss_is_added_to_the_update_however_it_is_cut(
    rows, width, segments, remat, axes
):
    compute = update.ComputeConfig(rows, width, segments, remat=remat, chunk=8)
    mesh = mesh_of(*axes)
    functions = update.make_functions(C, mesh, compute, sft, optax.identity())
    batches = packed(SEQUENCES, rows, width, segments)
    total, params = functions.start(), params_of(mesh)
    for batch in batches:
        total = functions.accumulate(params, total, update.place_batch(batch, mesh))
    share, loud, gradient = wanted()
    assert (len(batches) > 1) == (rows == 1 or axes == (2, 1, 1))
    assert float(total.share) == pytest.approx(share, rel=1e-5)
    metrics = finish(jax.device_get(total.metrics))
    assert metrics["loud"] == pytest.approx(loud, rel=1e-5) and metrics["loud"] > 0.01
    assert share - metrics["sft/nll"] == pytest.approx(ALPHA * loud, rel=1e-4)
    assert gradient_difference(total.grads, gradient) < 2e-5


def test_without_a_share_nothing_is_added(traced_anew, monkeypatch):
    compute = update.ComputeConfig(2, 40, 4, chunk=8)
    (batch,) = packed(SEQUENCES, 2, 40, 4)
    monkeypatch.setitem(kinds.FEED_FORWARD, "loud", LOUD._replace(share=None))
    functions = update.make_functions(C, mesh_of(), compute, sft, optax.identity())
    total = functions.accumulate(
        params_of(), functions.start(), update.place_batch(batch, mesh_of())
    )
    share, loud, _ = wanted()
    assert float(total.share) == pytest.approx(share - ALPHA * loud, rel=1e-5)
    assert set(total.metrics) == {"sft/nll", *(name for name in total.metrics if name != "loud")}


PLAIN = EngineConfig(slots=8, max_prompt=12, max_tokens=40, prefill=4)
LADDER = replace(PLAIN, first_length=32, cache_tokens=8 * 32, tail=2)
PROMPTS = [Prompt(tuple(range(3 + i, 14 - i % 3)), i, 2, limit=40 - 6 * i) for i in range(6)]


@functools.cache
def teacher_forced():
    """(tokens i32[1, T]) -> log-probabilities of every next token, by the training forward."""

    def run(params, tokens):
        ids = jnp.ones_like(tokens)
        places = jnp.broadcast_to(jnp.arange(tokens.shape[1]), tokens.shape)
        hidden = decoder.forward(params, C, tokens, places, attn.Segments(ids, 1))
        return jax.nn.log_softmax(decoder.logits(params, hidden))[0]

    return jax.jit(run)


@functools.cache
def written(config, axes=(1, 1, 1), temperature=1.0):
    mesh = mesh_of(*axes)
    engine = Engine(C, mesh, config, stop_ids=())
    found = engine.generate(
        engine.prepare(params_of(mesh)), PROMPTS, Sampling(temperature), seed=3, rollout=1
    )
    return {(g.prompt, g.sample): g for g in found}, engine


@pytest.mark.parametrize(
    ("config", "axes"),
    [
        (PLAIN, (1, 1, 1)),
        (LADDER, (1, 1, 1)),
        pytest.param(PLAIN, (2, 1, 1), marks=pytest.mark.slow),
        pytest.param(PLAIN, (1, 1, 2), marks=pytest.mark.slow),
    ],
    ids=["plain", "ladder", "together", "tensor"],
)
def test_decoding_from_another_cache_is_teacher_forcing(config, axes):
    found, engine = written(config, axes)
    assert len(found) == 12 and (len(engine.shapes) > 1) == (config is LADDER)
    assert engine.evictions > 0 or config is PLAIN
    params = params_of()
    for (prompt, _), g in found.items():
        start, n = len(PROMPTS[prompt].tokens), len(g.tokens)
        row = np.zeros((1, 52), np.int32)
        row[0, : start + n] = [*PROMPTS[prompt].tokens, *g.tokens]
        logp = teacher_forced()(params, row)[np.arange(start - 1, start + n - 1), g.tokens]
        np.testing.assert_allclose(g.logp, logp, atol=1e-4)
    plain = written(PLAIN)[0]
    assert all(np.array_equal(g.tokens, plain[key].tokens) for key, g in found.items())


def test_greedy_text_is_the_likeliest_of_the_training_forward():
    g = written(PLAIN, temperature=0.0)[0][0, 0]
    row = np.array([[*PROMPTS[0].tokens, *g.tokens]], np.int32)
    likeliest = teacher_forced()(params_of(), np.pad(row, ((0, 0), (0, 52 - row.size)))).argmax(-1)
    start = len(PROMPTS[0].tokens)
    np.testing.assert_array_equal(g.tokens, likeliest[start - 1 : row.size - 1])


def test_what_kinds_say_reaches_who_asks():
    # Three layers leave 6 numbers of 2 bytes and one of 4, the last 2 x 2 heads of 8 numbers.
    assert token_bytes(C, 2) == 3 * (6 * 2 + 4) + 2 * 2 * 8 * 2
    names = [set(stack) for stack in lora.rows(C, lora.LoraConfig(2))["stacks"]]
    assert names == [set(), {"gate", "up", "down"}, {"wq", "wk", "wv", "wo"}]
    assert {"wz", "wm", "in", "out"} < set(kinds.targets())
    with pytest.raises(UserError, match=r"--rollout.weights float8: no bound .* of aged layers"):
        decoder.unstack(params_of(), C, "float32", weights="float8")


@pytest.mark.parametrize("name", ["grouped", "dense"])
def test_a_bound_is_known_for_every_matrix_that_8_bits_take(name):
    kind = (kinds.ATTENTION | kinds.FEED_FORWARD)[name]
    layer = {n: jnp.ones(row.shape) for n, row in kind.rows(C).items()}
    found = kind.matrices.reach(layer)
    assert {n: x.shape for n, x in found.items()} == {
        n: layer[n].shape[:1] for n in kind.matrices.targets
    }
