"""Update, prefill and decode compile ahead of time for a TPU topology, without a TPU."""

from __future__ import annotations

import importlib.util
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import tiny_config

from experiments.plan.compiled import ALONE
from r1jax.losses import GRPO, grpo
from r1jax.mesh import MeshConfig, make_mesh, replicated
from r1jax.models import table
from r1jax.models.attention import Segments, attention
from r1jax.rollout.engine import Engine, EngineConfig
from r1jax.rollout.sampling import Sampling
from r1jax.rollout.slots import Admission
from r1jax.training import train_state, update
from r1jax.training.batches import abstract_batch
from r1jax.training.optimizer import OptimizerConfig, make_optimizer

pytestmark = [
    pytest.mark.aot,
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("libtpu") is None,
        reason="needs libtpu, in the version jax[tpu] asks for",
    ),
]

WIDTH = dict(vocab_size=2048, d_model=256, d_ff=512, n_layers=2, head_dim=64)
COMPUTE = update.ComputeConfig(rows=8, width=256, max_segments=4, dtype="bfloat16")
ENGINE = EngineConfig(slots=16, max_prompt=128, max_tokens=128, prefill=8)
V5E_BYTES = 15.75 * 2**30


@pytest.fixture(scope="module", params=[MeshConfig(1, 4, 2), MeshConfig(8)], ids=["1x4x2", "8x1x1"])
def mesh(request):
    """A mesh over the eight chips of a v5e:2x4 that nobody has."""
    from jax.experimental import topologies

    level = jax.config.jax_optimization_level
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ALONE.items():
            patch.setenv(name, os.environ.get(name, value))
        jax.config.update("jax_optimization_level", "O1")
        topology = topologies.get_topology_desc(platform="tpu", topology_name="v5e:2x4")
        yield make_mesh(request.param, topology.devices)
        jax.config.update("jax_optimization_level", level)


def fits(compiled):
    """Compiled for the TPU, in no more memory than one chip has."""
    assert "num_partitions=8" in compiled.as_text()
    return 0 < compiled.memory_analysis().peak_memory_in_bytes < V5E_BYTES


def splashes(compiled):
    """Calls of a kernel written for TPUs: attention's, which nothing asked for by name."""
    return compiled.as_text().count('custom_call_target="tpu_custom_call"')


@pytest.mark.parametrize(("t", "widths", "kernels"), [(256, (192, 128), 3), (200, (192, 128), 0)])
def test_latent_heads_of_packed_rows_take_splash_where_these_are_whole_blocks(
    mesh, t, widths, kernels
):
    q, k, v = (jax.ShapeDtypeStruct((8, t, 4, w), jnp.bfloat16) for w in (widths[0], *widths))

    def total(q, k, v, ids):
        out = attention(q, k, v, Segments(ids, 4), mesh=mesh, scale=0.1)
        return jnp.sum(out.astype(jnp.float32))

    ids = jax.ShapeDtypeStruct((8, t), jnp.int32)
    lowered = jax.jit(jax.grad(total, (0, 1, 2))).lower(q, k, v, ids)
    assert splashes(lowered.compile()) == kernels


@pytest.mark.parametrize("family", ["qwen2", "qwen3"])
def test_the_update_compiles(mesh, family):
    config = tiny_config(family, **WIDTH)
    optimizer = make_optimizer(OptimizerConfig(), 100, table.decay_mask(config))
    functions = update.make_functions(config, mesh, COMPUTE, grpo(GRPO(beta=0.01)), optimizer)
    total = functions.start.eval_shape()
    params, batch = table.abstract(config, mesh), abstract_batch(COMPUTE, mesh)
    accumulate = functions.accumulate.lower(params, total, batch).compile()
    assert fits(accumulate) and splashes(accumulate) == 4  # forward, again, and two backward
    state = train_state.abstract_state(optimizer, config, mesh)
    assert fits(functions.apply.lower(state, total).compile())


def laid_out(function, *args):
    """ShapeDtypeStructs of what a jitted function returns, where its compiled form puts it."""
    where = function.lower(*args).compile().output_shardings
    place = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)  # noqa: E731
    return jax.tree.map(place, jax.eval_shape(function, *args), where)


def test_prefill_and_decode_compile(mesh):
    config = tiny_config("qwen2", **WIDTH)
    engine = Engine(config, mesh, ENGINE, stop_ids=(1,), dtype=jnp.bfloat16)
    weights = laid_out(engine.programs.prepare, table.abstract(config, mesh))
    slots = laid_out(engine.programs.empty)

    def whole(dtype, *shape):
        return jax.ShapeDtypeStruct(shape, dtype, sharding=replicated(mesh))

    rows, size = ENGINE.prefill, ENGINE.slots
    entering = Admission(
        lengths=whole(np.int32, rows),
        slot=whole(np.int32, size),
        source=whole(np.int32, size),
        key=whole(np.uint32, size, 2),
        limit=whole(np.int32, size),
    )
    sampling = Sampling(0.6, 0.95, 20)
    prefix = weights, whole(np.int32, rows, 128), entering.lengths
    prefill = engine.programs.prefill.lower(*prefix).compile()
    assert fits(prefill) and splashes(prefill) == WIDTH["n_layers"]
    logits, cache = laid_out(engine.programs.prefill, *prefix)
    assert fits(engine.programs.fill.lower(slots.cache, entering, cache).compile())
    books = slots.replace(cache=None)
    assert fits(engine.programs.enter.lower(books, entering, logits, sampling=sampling).compile())
    count = whole(np.int32)
    assert fits(
        engine.programs.decode.lower(weights, slots, count, count, sampling=sampling).compile()
    )
