"""Finds a user's own loss by its name, `package.module:function`, and holds it to its contract."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.errors import UserError
from r1jax.plugin import load_function, users_own
from r1jax.types import Batch, Load, Loss, Max, Mean, Metrics, Quantile, Stats

_EXPECTED = "expected (share, metrics): a number, and a dict of r1jax.types.Mean or Max by name"

_CHECKED: dict[str, tuple[Loss, Loss]] = {}
"""By flag and name what was found there, and the same held to its contract."""


def load_loss(name: str, flag: str = "--loss") -> Loss:
    """The function called `name`, to be used as (stats, batch) -> (share, metrics).

    Raises UserError, naming `flag`, as `r1jax.plugin.load_function` does; the loss does so where
    the function fails, or returns something else.
    """
    loss, what = load_function(name, flag, ("stats", "batch")), f"{flag} {name}"
    before, checked = _CHECKED.get(what, (None, None))
    if before is not loss:  # the same loss shares what is compiled; it need not be hashable
        checked = _checked(loss, what)
        _CHECKED[what] = loss, checked
    return checked


def _checked(loss: Loss, what: str) -> Loss:
    @functools.wraps(loss)
    def one(stats: Stats, batch: Batch) -> tuple[jax.Array, Metrics]:
        with users_own(what, loss, _EXPECTED):
            found = loss(stats, batch)
        if fault := _fault(found):
            raise UserError(f"{what}: returned {fault}; {_EXPECTED}")
        return found

    return one


def _fault(found: Any) -> str:
    """What is wrong with what a loss returned; empty where nothing is."""
    if not isinstance(found, tuple) or len(found) != 2:
        return f"a {type(found).__name__}"
    share, metrics = found
    kind = getattr(share, "dtype", type(share).__name__)
    if np.shape(share) or not (
        isinstance(share, float) or hasattr(share, "dtype") and jnp.issubdtype(kind, jnp.floating)
    ):
        return f"a share of shape {np.shape(share)} and {kind}"
    if not isinstance(metrics, Mapping):
        return f"metrics of type {type(metrics).__name__}"
    known = (Mean, Max, Quantile, Load)
    wrong = (n for n, m in metrics.items() if not (isinstance(n, str) and isinstance(m, known)))
    return next((f"metrics with {n!r:.40} a {type(metrics[n]).__name__}" for n in wrong), "")
