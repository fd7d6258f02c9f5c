"""Every mesh computes what one device computes, and gathers neither activations nor the head."""

from __future__ import annotations

import re
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny import mesh_of, packed, placed, random_sequences, tiny_config, tiny_params

from r1jax.errors import UserError
from r1jax.losses import GRPO, grpo
from r1jax.mesh import MeshConfig, make_mesh, spec
from r1jax.models import table
from r1jax.rollout import slots as device
from r1jax.rollout.engine import Engine, EngineConfig, Prompt
from r1jax.rollout.sampling import Sampling
from r1jax.training import update

# Eight query and two key-value heads: a tensor axis of 4 or 8 splits the one, not the other.
CONFIG = tiny_config("qwen3", vocab_size=96, n_layers=2, n_heads=8, n_kv_heads=2)
COMPUTE = update.ComputeConfig(rows=8, width=24, max_segments=3, chunk=10)
ENGINE = EngineConfig(slots=8, max_prompt=8, max_tokens=16, prefill=2)
BATCHES = packed(random_sequences([3, 1, 6, 2, 4, 5, 2, 3, 4, 1], [8, 3, 9, 7, 2, 6, 9, 4, 8, 8], 96), 8, 24, 3)
PROMPTS = [Prompt(tuple(range(2, 2 + n)), n, 2) for n in (1, 4, 7, 8, 3)]
MESHES = [(8, 1, 1), (1, 8, 1), (1, 1, 8), (2, 2, 2), (4, 2, 1), (2, 1, 4), (1, 4, 2), (1, 2, 4)]


def measure(mesh):
    """Loss, gradient norm and greedy texts of the toy model on a mesh."""
    params = placed(tiny_params(CONFIG), CONFIG, mesh)
    loss = grpo(GRPO(beta=0.01))
    functions = update.make_functions(CONFIG, mesh, COMPUTE, loss, optax.sgd(0.1))
    state = update.init_state(optax.sgd(0.1), params, mesh)
    engine = Engine(CONFIG, mesh, ENGINE, stop_ids=(1, 2))
    found = engine.generate(engine.prepare(params), PROMPTS, Sampling(0.0), seed=0, rollout=0)
    texts = {(g.prompt, g.sample): g.tokens.tolist() for g in found}
    _, metrics = update.update(functions, state, BATCHES, mesh)
    return metrics, texts


@pytest.fixture(scope="module")
def one_device():
    return measure(mesh_of())


@pytest.mark.parametrize("axes", MESHES, ids=lambda axes: "x".join(map(str, axes)))
def test_every_mesh_gives_the_loss_gradient_and_text_of_one_device(one_device, axes):
    metrics, texts = measure(mesh_of(*axes))
    want, want_texts = one_device
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
    compute = update.ComputeConfig(
        rows=ROWS, width=WIDTH, max_segments=3, chunk=CHUNK, remat=remat
    )
    functions = update.make_functions(WIDE, mesh, compute, grpo(GRPO()), optax.sgd(0.1))
    lowered = functions.accumulate.lower(
        table.abstract(WIDE, mesh),
        jax.eval_shape(functions.start),
        update.abstract_batch(compute, mesh),
    )
    return lowered.compile().as_text()


@pytest.mark.parametrize("axes", [(1, 2, 4), (2, 1, 4), (1, 2, 2)])
def test_the_update_gathers_neither_hidden_states_nor_head_nor_logits(axes):
    text = compiled_accumulate(mesh_of(*axes))
    gathered = collectives(text, "all-gather")
    assert gathered, "the pattern finds the gathers of the weights"
    local = ROWS // (axes[0] * axes[1])
    for shape in gathered:
        size = int(np.prod(shape))
        assert WIDE.vocab_size not in shape, f"the vocabulary is gathered: {shape}"
        assert not (WIDTH in shape or CHUNK in shape), f"activations are gathered: {shape}"
        assert size <= WIDE.vocab_size // axes[2] * WIDE.d_model, f"{shape}"
    del local
