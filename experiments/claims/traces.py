"""What cold-start data and a teacher's samples are compared with, as many of each.

    python -m experiments.claims.traces --like runs/cold_start_data/kept.jsonl --run runs/traces

Reads kept samples and leaves corpus.jsonl, right worked problems from the generator that the base
was trained on (fresh documents, each in the whole envelope), and, where the samples were rewritten,
unrewritten.jsonl, their texts before that. A second; no accelerator.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from r1jax.commands import cli
from r1jax.data.world.corpus import Mix, documents
from r1jax.errors import SEEDS, UserError, check_ranges
from r1jax.run.directory import read_jsonl, write_jsonl
from r1jax.run.flags import PlaceFlags
from r1jax.run.names import SUMMARY
from r1jax.stages.opening import opened

BLOCK = 1000  # documents that are made at a time


@dataclass(frozen=True)
class Config(PlaceFlags):
    """Which samples, from which corpus."""

    run: str = "runs/traces"
    like: str = ""
    """File of kept samples, whose number counts."""
    seed: int = 1000
    """Seed of the corpus; the bases have read others."""
    template: str = "mini"
    """Prompt template of the traces."""

    def __post_init__(self) -> None:
        """Raises UserError when a value is out of range."""
        super().__post_init__()
        check_ranges(self, "--", seed=SEEDS)


def main(config: Config) -> None:
    """Writes the files."""
    if not Path(config.like).is_file():
        raise UserError(f"--like {config.like}: no such file; name a kept.jsonl")
    kept = read_jsonl(Path(config.like))
    if not kept:
        raise UserError(f"--like {config.like}: is empty; nothing was kept")
    with opened(config, page=SUMMARY) as run:
        if run.finished:
            return
        traces = itertools.islice(right_traces(config.seed, config.template), len(kept))
        write_jsonl(run.path / "corpus.jsonl", traces)
        if "source" in kept[0]:  # what they were before they were rewritten
            before = ({"prompt": row["prompt"], "completion": row["source"]} for row in kept)
            write_jsonl(run.path / "unrewritten.jsonl", before)
        run.finish({"samples": len(kept)}, f"{len(kept):,} samples")


def right_traces(seed: int, template: str) -> Iterator[dict[str, str]]:
    """Prompts and completions of the corpus that are right, in its order, without end."""
    mix = Mix(templates=((template, 1.0),), tagged=1.0, general=0.0)
    for start in itertools.count(step=BLOCK):
        for document in documents(seed, start, BLOCK, mix):
            if document.correct:
                yield {"prompt": document.prompt, "completion": document.completion}


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
