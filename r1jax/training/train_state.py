"""What an optimizer's step carries from update to update, laid out over a mesh."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh

from r1jax import mesh as meshes
from r1jax.models import table
from r1jax.models.config import ModelConfig
from r1jax.training.optimizer import moment_sharding
from r1jax.types import Params, TrainState


def init_state(optimizer: optax.GradientTransformation, params: Params, mesh: Mesh) -> TrainState:
    """A fresh TrainState around sharded fp32 parameters; moments are sharded like their weights."""
    build = functools.partial(_fresh_state, optimizer)
    where = state_shardings(jax.eval_shape(build, params), params, mesh)
    return jax.jit(_fresh_state, static_argnums=0, out_shardings=where)(optimizer, params)


def abstract_state(
    optimizer: optax.GradientTransformation, model: ModelConfig | table.Rows, mesh: Mesh
) -> TrainState:
    """ShapeDtypeStructs of a TrainState with their shardings; nothing is allocated."""
    params = table.abstract(model, mesh)
    shapes = jax.eval_shape(functools.partial(_fresh_state, optimizer), params)
    where = state_shardings(shapes, params, mesh)
    place = lambda x, s: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=s)  # noqa: E731
    return jax.tree.map(place, shapes, where)


def _fresh_state(optimizer: optax.GradientTransformation, params: Params) -> TrainState:
    zero = jnp.zeros((), jnp.int32)
    return TrainState(params, optimizer.init(params), zero, zero)


def state_shardings(shapes: TrainState, params: Params, mesh: Mesh) -> TrainState:
    """Shardings of a TrainState: in every subtree with the structure of the parameters each leaf is
    laid out like its weight, as far as it has the weight's axes; all else is on every device."""
    like = jax.tree.structure(params)
    whole = meshes.replicated(mesh)
    is_params = lambda x: jax.tree.structure(x) == like  # noqa: E731

    def layout(x: Any) -> Any:
        sharding_of = functools.partial(moment_sharding, whole=whole)
        return jax.tree.map(sharding_of, x, params) if is_params(x) else whole

    return jax.tree.map(layout, shapes, is_leaf=is_params)
