"""Every mesh computes what one device computes, and gathers neither activations nor the head."""

from __future__ import annotations

import re
from dataclasses import replace

import jax
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from tiny import mesh_of, packed, placed, random_sequences, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.losses import GRPO, grpo
from r1jax.mesh import MeshConfig, make_mesh, spec
from r1jax.models import table
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.training import update
from r1jax.training.batches import abstract_batch
from r1jax.training.metrics import finish

# Eight query and two key-value heads: a tensor axis of 4 or 8 splits the one, not the other.
CONFIG = tiny_config("qwen3", vocab_size=96, n_layers=2, n_heads=8, n_kv_heads=2)
EVERYTHING = dict(attention_bias=True, output_bias=True, ffn_bias=True, window=5)
SPECIAL = replace(CONFIG, **EVERYTHING, windowed=(False, True))
COMPUTE = update.ComputeConfig(rows=8, width=24, max_segments=3, chunk=10)
ENGINE = EngineConfig(slots=8, max_prompt=8, max_tokens=8, prefill=4)
LENGTHS = np.random.default_rng(0).integers(2, 10, (2, 20))
BATCHES = packed(random_sequences(*LENGTHS, vocab=96), 8, 24, 3)
PROMPTS = [Prompt(tuple(range(2 * i, 2 * i + 7)), i, 2) for i in range(5)]
MESHES = [(2, 2, 2)]
MORE_MESHES = [
    (8, 1, 1), (2, 1, 1, 2, 2), (1, 1, 2, 1, 4), (1, 8, 1), (1, 1, 8), (4, 2, 1), (2, 1, 4),
    (1, 4, 2), (1, 2, 4),
]  # fmt: skip


def mesh_id(axes):
    return "x".join(map(str, axes))


def measure(mesh, config=CONFIG):
    """Loss, gradient norm, entropy and greedy texts of the toy model on a mesh."""
    params = placed(tiny_params(config), config, mesh)
    functions = update.make_functions(
        config, mesh, COMPUTE, grpo(GRPO(beta=0.01)), optax.identity()
    )
    total = functions.start()
    for batch in BATCHES:
        total = functions.accumulate(params, total, update.place_batch(batch, mesh))
    numbers = finish(jax.device_get(total.metrics))
    norm = jax.jit(optax.global_norm)(total.grads)
    numbers |= {"loss": float(total.share), "grad_norm": float(norm)}

    engine = Engine(config, mesh, ENGINE, stop_ids=(1, 2))
    found = engine.generate(engine.prepare(params), PROMPTS, Sampling(0.0), seed=0, rollout=0)
    return numbers, {(g.prompt, g.sample): g.tokens.tolist() for g in found}


@pytest.fixture(scope="module")
def one_device():
    return measure(mesh_of())


@pytest.mark.parametrize(
    "axes",
    [*MESHES, *(pytest.param(m, marks=pytest.mark.slow) for m in MORE_MESHES)],
    ids=mesh_id,
)
def test_every_mesh_gives_the_loss_gradient_and_text_of_one_device(one_device, axes):
    assert_same(measure(mesh_of(*axes)), one_device)


@pytest.mark.slow
def test_biases_and_windows_are_those_of_one_device():
    assert_same(measure(mesh_of(2, 2, 2), SPECIAL), measure(mesh_of(), SPECIAL))


def assert_same(found, wanted):
    metrics, texts = found
    want, want_texts = wanted
    assert want["loss"] != 0 and want["grad_norm"] > 0.01
    for name in ("loss", "grad_norm", "policy/entropy", "policy/kl_ref"):
        assert metrics[name] == pytest.approx(want[name], rel=1e-5), name
    assert texts == want_texts


# Sizes that tell an array's dimensions apart in the compiled text.
WIDE = replace(CONFIG, vocab_size=352, d_model=64, d_ff=80, n_layers=4)
ROWS, WIDTH, CHUNK = 8, 44, 11


def collectives(text, kind):
    """Shapes of the results of all collectives of a kind in compiled HLO."""
    found = []
    for line in text.splitlines():
        match = re.search(rf"= (.*?) {kind}(?:-start)?\(", line)
        if match:
            shapes = re.findall(r"\w+\[([\d,]*)\]", match.group(1))
            found += [tuple(map(int, s.split(","))) for s in shapes if s]
    return found


def compiled_accumulate(mesh, remat="full"):
    compute = update.ComputeConfig(rows=ROWS, width=WIDTH, max_segments=3, chunk=CHUNK, remat=remat)
    functions = update.make_functions(WIDE, mesh, compute, grpo(GRPO()), optax.sgd(0.1))
    lowered = functions.accumulate.lower(
        table.abstract(WIDE, mesh),
        jax.eval_shape(functions.start),
        abstract_batch(compute, mesh),
    )
    return lowered.compile().as_text()


@pytest.mark.parametrize(
    "axes",
    [(2, 2, 2), *(pytest.param(m, marks=pytest.mark.slow) for m in [(1, 2, 4), (1, 2, 1, 1, 4)])],
)
def test_the_update_moves_weights_rather_than_activations(axes):
    text = compiled_accumulate(mesh_of(*axes))
    gathered, tensor = collectives(text, "all-gather"), axes[2]
    head = {(64, 352 // tensor), (352 // tensor, 64)}
    assert {*head, (64, 80 // tensor)} & set(gathered), "the pattern finds gathers of weights"
    for shape in gathered:
        assert tensor == 1 or WIDE.vocab_size not in shape, f"the vocabulary is whole: {shape}"
        hidden = {WIDTH, CHUNK} & set(shape) and WIDE.d_model in shape
        assert not hidden, f"hidden states are gathered: {shape}"
    # The head travels once per micro-batch, not once per chunk.
    looped = "\n".join(line for line in text.splitlines() if "shard_map/while" in line)
    kinds = ("all-gather", "all-reduce", "reduce-scatter")
    moved = [shape for kind in kinds for shape in collectives(looped, kind)]
    assert (moved or tensor == 1) and not head & set(moved)


@pytest.mark.parametrize(
    "axes",
    [
        MeshConfig(3),
        MeshConfig(2, 2, 2, 2),
        MeshConfig(2, 2, 4),
        MeshConfig(-1, 3, 1),
        MeshConfig(-1, 0, 1),
    ],
)
def test_axes_that_do_not_make_the_devices_are_refused(axes):
    with pytest.raises(UserError, match="does not make 8 devices"):
        make_mesh(axes, jax.devices()[:8])


def test_what_does_not_divide_is_left_whole():
    mesh = mesh_of(fsdp=2, tensor=4)
    assert spec(mesh, ("vocab", "embed"), (97, 32)) == PartitionSpec(None, ("fsdp",))
    assert spec(mesh, ("batch", None), (6, 5)) == PartitionSpec(("fsdp",), None)
    assert spec(mesh, ("batch", None), (5, 5)) == PartitionSpec(None, None)
    assert spec(mesh_of(data=2), ("embed", "ffn"), (8, 8)) == PartitionSpec(None, None)
    mesh = mesh_of(fsdp=2, expert=2, context=2)
    assert spec(mesh, ("experts", "embed"), (6, 8)) == PartitionSpec(
        ("expert",), ("fsdp", "context")
    )
