"""How fast the kernels of a DeepSeek-V3 are: grouped products of experts, attention to latents.

    python -m experiments.bench_v3 --shape v3-3b

Tables: each product of an update's experts (forward, rows' and matrices' gradient) for each choice
of tiles beside a dense product of as many rows; the best of them; a decode step's attention to the
cache beside a copy. Every row has its error against sums in float32, of groups of which one is
empty and one a single row. What is `chosen` stands in `r1jax/models/grouped_matmul.py` and
`r1jax/models/decoding/latent_attention.py`, where a faster row belongs. Under 4 minutes on one GPU.
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from experiments.bench import grouped, latents
from experiments.bench.ceilings import measured_ceilings
from experiments.bench.shapes import chosen
from experiments.bench.table import emit
from r1jax.commands import cli
from r1jax.errors import SEEDS, UserError, check_ranges
from r1jax.run.flags import Flags


@dataclass(frozen=True)
class Config(Flags):
    """What is measured."""

    shape: str = "v3-3b"
    """Shape of the model: one with experts and latent attention."""
    tokens: int = 16384
    """Tokens of an update's micro-batch; 0: no products."""
    caches: tuple[str, ...] = ("256x1024", "64x4096")
    """Decode caches, SLOTSxTOKENS; none: no attention."""
    seed: int = 0
    """Seed of the groups' sizes."""
    out: str = ""
    """JSON file for the results; empty: none."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", tokens="[0,]", seed=SEEDS)


def main(config: Config) -> None:
    """Measures and prints; on a CPU the kernels are interpreted, for what they give."""
    name, c = chosen(config.shape)
    if c.experts is None or c.latent is None:
        raise UserError(f"--shape {name}: it has no experts; use v3-3b")
    caches = [_cache(text) for text in config.caches]
    interpret = jax.default_backend() == "cpu"
    rows = []
    for product in grouped.products(c) if config.tokens else ():
        found = grouped.measured(product, c, config.tokens, config.seed, interpret)
        emit(f"{name}, {config.tokens} x {c.experts.chosen} rows, {product.name}", found, "")
        rows += found
    if rows:
        emit(f"{name}, best tiles", grouped.best(rows), "")
    copy = measured_ceilings(jnp.bfloat16).bytes_per_s
    for slots, length in caches:
        found = latents.measured(c, slots, length, copy, interpret)
        emit(f"{name}, {slots} caches of {length}, a copy has {copy / 1e12:.2f} TB/s", found, "")
        rows += found
    if config.out:
        emit(f"{name}, all", rows, config.out)


def _cache(text: str) -> tuple[int, int]:
    """(slots, tokens) of SLOTSxTOKENS."""
    slots, _, length = text.partition("x")
    if not (slots.isdecimal() and length.isdecimal() and int(slots) and int(length) > 1):
        raise UserError(f"--caches {text}: expected SLOTSxTOKENS, such as 256x1024")
    return int(slots), int(length)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
