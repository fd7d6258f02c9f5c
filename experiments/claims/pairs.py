"""Noisy pairs that a hidden gold has labelled, for proxies to learn from.

    python -m experiments.claims.pairs --count 200 --run runs/pairs

Leaves pairs.jsonl, whose labels are turned round with the probability --noise, and held_out.jsonl,
whose prompts and templates are others and whose labels are right. A second; no accelerator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from experiments.claims.traces import FREE, write
from r1jax.commands import cli
from r1jax.data.world.judged_pairs import held_out_rows, helpful_pairs
from r1jax.run.directory import RunDirectory

COLUMNS = ("prompt", "chosen", "rejected")


@dataclass(frozen=True)
class Config:
    """How many pairs, how noisy."""

    run: str = "runs/pairs"
    """Directory to write."""
    overwrite: bool = False
    """Start anew where the directory holds another run."""
    count: int = 2000
    """Pairs to learn from."""
    held_out: int = 500
    """Pairs to be tested on."""
    noise: float = 0.2
    """Share of the pairs whose labels are turned round."""
    seed: int = 0
    """Seed of the pairs."""


def main(config: Config) -> None:
    """Writes both files."""
    directory = RunDirectory.start(config.run, config, overwrite=config.overwrite, ignore=FREE)
    if directory.status == "finished":
        return
    rows = helpful_pairs(config.count, config.seed, config.noise, template="")
    held = held_out_rows(config.held_out, config.seed, template="")["pairs"]
    write(directory.path / "pairs.jsonl", bare(rows))
    write(directory.path / "held_out.jsonl", bare(held))
    directory.finish({"pairs": len(rows), "held_out": len(held)})


def bare(rows: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """The columns that training reads; the prompt is the question, without a template."""
    for row in rows:
        yield {name: row[name] for name in COLUMNS}


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
