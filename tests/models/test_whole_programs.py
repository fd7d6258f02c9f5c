"""Whole programs as CUDA devices get them: with kernels written here where these serve."""

from __future__ import annotations

import functools
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
import pytest
from tiny import mesh_of

import r1jax
from r1jax.errors import UserError
from r1jax.losses.sft import sft
from r1jax.models import kernels, table
from r1jax.models.config import Experts, Latent
from r1jax.models.decoder import decode_step, unstack
from r1jax.models.decoding import cache
from r1jax.models.hub import directory as hub
from r1jax.training import update
from r1jax.training.batches import abstract_batch

# Its widths are 160 and 56, its rank is 48.
V3_TINY = hub.read_config(Path(r1jax.__file__).parent / "assets" / "v3-tiny")
TOY = replace(
    V3_TINY, d_model=64, n_layers=2, n_heads=4, n_kv_heads=4, head_dim=16, d_ff=64,
    latent=Latent(q_rank=0, kv_rank=32, nope=16, value=16),
    experts=Experts(count=4, chosen=2, width=64, shared=1, groups=1, groups_kept=1),
)  # fmt: skip


def text(c, what, dtype):
    """The program as it would be compiled for a GPU, attention of whole rows being XLA's."""
    mesh = mesh_of()
    device = jax.sharding.AbstractDevice("NVIDIA H200", 132, "gpu")
    with jax.sharding.use_abstract_mesh(mesh.abstract_mesh.update(abstract_device=device)):
        traced = what(c, mesh, dtype)
        return traced.lower(lowering_platforms=("cuda",)).as_text()


def updated(c, mesh, dtype):
    compute = update.ComputeConfig(rows=4, width=80, max_segments=2, dtype=dtype, kernel="xla")
    functions = update.make_functions.__wrapped__(c, mesh, compute, sft, optax.identity())
    total = functions.start.eval_shape()
    params = table.abstract(c, mesh)
    return functions.accumulate.trace(params, total, abstract_batch(compute, mesh))


def decoded(c, mesh, dtype):
    weights = jax.eval_shape(
        functools.partial(unstack, c=c, dtype=jnp.dtype(dtype), mesh=mesh), table.abstract(c, mesh)
    )
    held = jax.eval_shape(lambda: cache.empty(c, 8, 64, dtype))
    numbers = jax.ShapeDtypeStruct((8,), jnp.int32)
    run = jax.jit(lambda weights, *at: decode_step(weights, c, *at, mesh=mesh))
    return run.trace(weights, numbers, numbers, held)


@pytest.mark.parametrize(
    ("c", "dtype", "asked", "kernels_of"),
    [
        (TOY, "bfloat16", "", (12, 2)),  # 3 products, their gradients and the first once more
        pytest.param(TOY, "bfloat16", "xla", (0, 0), marks=pytest.mark.slow),
        pytest.param(TOY, "float32", "auto", (0, 0), marks=pytest.mark.slow),
        (replace(V3_TINY, n_layers=2), "bfloat16", "", (0, 0)),
    ],
    ids=["toy", "xla asked", "float32", "v3-tiny"],
)
def test_an_update_and_a_decode_step_have_the_kernels_that_serve(
    c, dtype, asked, kernels_of, traced_anew, monkeypatch
):
    monkeypatch.setattr(kernels, "platform", lambda mesh: "gpu")
    monkeypatch.setattr(kernels, "capability", lambda mesh: "9.0")
    monkeypatch.setenv("R1JAX_KERNELS", asked)
    found = [text(c, what, dtype).count("xla.gpu.triton") for what in (updated, decoded)]
    assert tuple(found) == kernels_of


def test_the_environment_says_which_kernels_serve(monkeypatch):
    monkeypatch.setattr(kernels, "platform", lambda mesh: "gpu")
    monkeypatch.setattr(kernels, "capability", lambda mesh: "9.0")
    for said, serve in (("", True), ("auto", True), ("xla", False)):
        monkeypatch.setenv("R1JAX_KERNELS", said)
        assert kernels.own_kernels(None) == kernels.hopper_kernels(None) == serve
    monkeypatch.setenv("R1JAX_KERNELS", "cuda")
    with pytest.raises(UserError, match="R1JAX_KERNELS=cuda: expected auto or xla"):
        kernels.own_kernels(None)
