"""The reference the KL term holds the policy to: how it follows the policy."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from r1jax.types import Params


def follow(reference: Params, params: Params, rate: float = 1.0) -> Params:
    """(1 − rate) · reference + rate · params, leaf by leaf, in the type of the reference.

    A rate of 1 is the hard reset of R1 (every 400 updates: DeepSeek-R1, section 2.1) and copies,
    so that the policy's own arrays stay free to be donated; below 1 it is an exponential moving
    average (TRL's `ref_model_mixup_alpha`, 0.6 every 512 updates).
    """
    if rate == 1.0:
        return jax.tree.map(lambda old, new: jnp.copy(new).astype(old.dtype), reference, params)
    return jax.tree.map(
        lambda old, new: ((1.0 - rate) * old + rate * new).astype(old.dtype), reference, params
    )
