"""Toy models, meshes and rollouts that several test files share."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tracemalloc
from dataclasses import replace

import jax
import numpy as np
import pytest

from r1jax import mesh as meshes
from r1jax.data.packing import Denominators, Sequences, pack
from r1jax.mesh import MeshConfig, make_mesh
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.models.rope import Llama3

FAMILIES = ("qwen2", "qwen3", "llama")
SPECIAL = {
    "biased": ("llama", dict(attention_bias=True, output_bias=True, ffn_bias=True)),
    "windowed": ("qwen3", dict(window=5, windowed=(True, False, True))),
}
"""Families with what only some of their models have."""


def tiny_config(kind="qwen2", **changes):
    """A decoder of 3 layers; every family brings its peculiarity, and qwen3 an untied head."""
    family, own = SPECIAL.get(kind, (kind, {}))
    config = ModelConfig(
        family=family,
        vocab_size=97,
        d_model=32,
        d_ff=48,
        n_layers=3,
        n_heads=4,
        n_kv_heads=2,
        head_dim=8,
        max_position=256,
        rope_scaling=Llama3(4.0, 1.0, 4.0, 32) if family == "llama" else None,
        attention_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        tied=family != "qwen3",
        eos_ids=(1,),
        init_std=0.2,
    )
    return replace(config, **(own | changes))


def on_device(x, dtype=None):
    """What `jnp.asarray` gives of numbers of the host, which compiles a program for each shape."""
    return jax.device_put(np.asarray(x, dtype))


def drawn(model, seed=0):
    """Fresh weights like `table.init`'s, drawn by numpy: nothing has to be compiled for them."""
    rng = np.random.default_rng(seed)

    def one(row):
        x = np.ones(row.shape) if row.std is None else rng.normal(0, row.std, row.shape)
        return on_device(x, row.dtype(np.float32))

    return jax.tree.map(one, table.rows_of(model))


def tiny_params(config, seed=0):
    """Random weights, with norms and biases off their neutral start so that they matter."""
    rng = np.random.default_rng(seed)

    def moved(x):
        return on_device(np.asarray(x) + rng.normal(0, 0.1, x.shape), x.dtype)

    return jax.tree.map(moved, drawn(config, seed + 1000))


def mesh_of(*axes, **named):
    """A mesh over the first devices; axes that are not given have one."""
    config = MeshConfig(*axes, **named) if axes else MeshConfig(**({"data": 1} | named))
    return make_mesh(config, jax.devices()[: math.prod(dataclasses.astuple(config))])


@contextlib.contextmanager
def only(count):
    """Whatever takes all devices inside takes the first `count`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(meshes, "available", lambda: jax.devices()[:count])
        yield


def placed(params, config, mesh):
    """The parameters laid out over a mesh; by way of the host, as jax compiles cuts of arrays."""
    return jax.device_put(jax.device_get(params), table.shardings(config, mesh))


def random_sequences(prompt_lengths, lengths, vocab=97, seed=0):
    """A scored rollout of random tokens, with plausible log-probabilities."""
    rng = np.random.default_rng(seed)
    prompt_lengths, lengths = np.asarray(prompt_lengths, np.int32), np.asarray(lengths, np.int32)
    n, longest = len(lengths), int(lengths.max())
    logp = rng.uniform(-6, -3, (n, longest)).astype(np.float32)
    near = lambda: logp + rng.normal(0, 0.1, logp.shape).astype(np.float32)  # noqa: E731
    return Sequences(
        tokens=rng.integers(2, vocab, (n, int((prompt_lengths + lengths).max()))).astype(np.int32),
        prompt_lengths=prompt_lengths,
        lengths=lengths,
        columns={
            "advantages": rng.normal(size=n).astype(np.float32),
            "sampler_logp": near(),
            "old_logp": near(),
            "ref_logp": near(),
        },
    )


def packed(sequences, rows, width, max_segments, max_tokens=16):
    """Micro-batches of one update."""
    denominators = Denominators.of(sequences, max_tokens)
    return pack(sequences, rows, width, max_segments, denominators)


def largest_difference(a, b):
    """max |a - b| over two equal trees."""
    return max(
        float(np.max(np.abs(np.asarray(x) - np.asarray(y))))
        for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    )


def gradient_difference(a, b):
    """The largest difference of two gradients, leaf by leaf, over the largest entry of the leaf."""
    pairs = zip(*(jax.tree.leaves(jax.device_get(tree)) for tree in (a, b)), strict=True)
    return max(float(np.max(np.abs(x - y)) / np.max(np.abs(y))) for x, y in pairs)


def identical(a, b):
    """Whether two trees hold the same bits."""
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(np.array_equal(np.asarray(x), np.asarray(y)) for x, y in pairs)


def host_peak(run):
    """Most bytes Python and numpy held at a time, when all is compiled.

    A thread of the runtime lets go of what was copied, sooner or later: the better of two runs.
    """
    run()
    peaks = []
    tracemalloc.start()
    try:
        for _ in range(2):
            tracemalloc.reset_peak()
            before = tracemalloc.get_traced_memory()[0]
            run()
            peaks.append(tracemalloc.get_traced_memory()[1] - before)
    finally:
        tracemalloc.stop()
    return min(peaks)
