"""The fastest a decode step could be: what must be read and multiplied, over the device's rates."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import jax

from experiments.bench.ceilings import Ceilings
from r1jax.models import kinds, table
from r1jax.models.config import ModelConfig
from r1jax.models.decoding.cache import token_bytes


def used_weights(c: ModelConfig) -> int:
    """Weights a token meets in a product; of an untied embedding one row is only looked up."""
    return table.count(c) - (0 if c.tied else c.vocab_size * c.d_model)


def expert_weights(c: ModelConfig) -> int:
    """Weights of a mixture's experts, of which a token meets but the chosen ones."""
    rows = jax.tree.leaves(table.table(replace(c, ahead=None)))
    return sum(math.prod(row.shape) for row in rows if "experts" in row.axes)


def layer_matrices(c: ModelConfig) -> int:
    """Weights in the layers' matrices: what `--rollout.weights` can hold in 8 bits."""
    return sum(math.prod(row.shape) for row in kinds.eight_bit(c, table.table(c)))


def mean_cache(lengths: Sequence[tuple[int, int]]) -> float:
    """Tokens in a slot's cache, averaged over steps, for (prompt, completion) lengths.

    A completion of n tokens after a prompt of p spends its n steps at p + n/2 on average: 256 for
    128 + 256, 640 for 128 + 1,024.
    """
    return sum(n * (p + n / 2) for p, n in lengths) / sum(n for _, n in lengths)


def step_seconds(
    c: ModelConfig,
    slots: float,
    cache: float,
    ceilings: Ceilings,
    *,
    itemsize: int = 2,
    tensor: int = 1,
    spread: int = 1,
    eight_bits: bool = False,
) -> float:
    """Seconds of one decode step on a device with `slots` slots of `cache` tokens each.

    max(weights read, their products) + cache read: the additive roofline; `tensor` devices share
    weights and cache, and experts are `spread` over so many, each of which reads all of its own (a
    step's slots choose them all). With `eight_bits` the layers' matrices are read as a byte a
    number and multiplied at twice the rate, which is what tensor cores do. Prefill, sampling and
    everything else count as nothing.
    """
    narrow = layer_matrices(c) / tensor if eight_bits else 0
    of_experts = expert_weights(c)
    used, idle = used_weights(c), table.count(c) - table.active(c)  # idle: experts not chosen
    held = (used - of_experts * (1 - 1 / spread)) / tensor - narrow
    wide = (used - idle) / tensor - narrow
    read = (held * itemsize + narrow) / ceilings.bytes_per_s
    products = 2 * (wide + narrow / 2) * slots / ceilings.flops_per_s
    cached = slots * cache * token_bytes(c, itemsize) / tensor / ceilings.bytes_per_s
    return max(read, products) + cached
