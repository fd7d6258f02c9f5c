"""Finds a user's own loss by its name, `package.module:function`."""

from __future__ import annotations

from r1jax.plugin import load_function
from r1jax.types import Loss


def load_loss(name: str, flag: str = "--loss") -> Loss:
    """The function called `name`, to be used as (stats, batch) -> (share, metrics).

    Raises UserError, naming `flag`, as `r1jax.plugin.load_function` does.
    """
    return load_function(name, flag, ("stats", "batch"))
