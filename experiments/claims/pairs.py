"""Noisy pairs that a hidden gold has labelled, for proxies to learn from.

    python -m experiments.claims.pairs --count 200 --run runs/pairs

Leaves pairs.jsonl, whose labels are turned round with the probability --noise, and held_out.jsonl,
whose prompts and templates are others and whose labels are right; and replies.jsonl, as many
general prompts with one good reply each, to be learnt. A second; no accelerator.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r1jax.commands import cli
from r1jax.data.world.judged_pairs import held_out_rows, helpful_pairs, sft_rows
from r1jax.errors import SEEDS, check_ranges
from r1jax.run.directory import write_jsonl
from r1jax.run.flags import PlaceFlags
from r1jax.run.names import SUMMARY
from r1jax.stages.opening import opened

COLUMNS = ("prompt", "chosen", "rejected")
REPLIES = "replies.jsonl"


@dataclass(frozen=True)
class Config(PlaceFlags):
    """How many pairs, how noisy."""

    run: str = "runs/pairs"
    count: int = 2000
    """Pairs to learn from."""
    held_out: int = 500
    """Pairs to be tested on."""
    noise: float = 0.2
    """Share of the pairs whose labels are turned round; 0.5: they say nothing."""
    seed: int = 0
    """Seed of the pairs."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", count="[1,]", held_out="[1,]", noise="[0,0.5]", seed=SEEDS)


def main(config: Config) -> None:
    """Writes both files."""
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        rows = helpful_pairs(config.count, config.seed, config.noise, template="")
        held = held_out_rows(config.held_out, config.seed, template="")["pairs"]
        write_jsonl(run.path / "pairs.jsonl", bare(rows))
        write_jsonl(run.path / "held_out.jsonl", bare(held))
        replies = sft_rows(config.count, config.seed, template="")
        write_jsonl(run.path / REPLIES, bare(replies, ("prompt", "completion")))
        run.finish({"pairs": len(rows), "held_out": len(held)}, f"{len(rows):,} pairs")


def bare(
    rows: Iterable[Mapping[str, Any]], columns: Sequence[str] = COLUMNS
) -> Iterator[dict[str, str]]:
    """The columns that training reads; the prompt is the question, without a template."""
    for row in rows:
        yield {name: row[name] for name in columns}


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
