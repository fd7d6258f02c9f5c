"""What cold-start data and a teacher's samples are compared with, as many of each.

    python -m experiments.claims.traces --like runs/cold_start_data/kept.jsonl --run runs/traces

Reads kept samples and leaves corpus.jsonl, right worked problems from the generator that the base
was trained on (fresh documents, each in the whole envelope), and, where the samples were rewritten,
unrewritten.jsonl, their texts before that. A second; no accelerator.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1jax.commands import cli
from r1jax.data.world.corpus import Mix, documents
from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory, read_jsonl

FREE = ("overwrite", "run")  # flags that may differ when it is repeated
BLOCK = 1000  # documents that are made at a time


@dataclass(frozen=True)
class Config:
    """Which samples, from which corpus."""

    run: str = "runs/traces"
    """Directory to write."""
    overwrite: bool = False
    """Start anew where the directory holds another run."""
    like: str = ""
    """File of kept samples, whose number counts."""
    seed: int = 1000
    """Seed of the corpus; the bases have read others."""
    template: str = "mini"
    """Prompt template of the traces."""


def main(config: Config) -> None:
    """Writes the files."""
    if not Path(config.like).is_file():
        raise UserError(f"--like {config.like}: no such file; name a kept.jsonl")
    directory = RunDirectory.start(config.run, config, overwrite=config.overwrite, ignore=FREE)
    if directory.status == "finished":
        return
    kept = read_jsonl(Path(config.like))
    if not kept:
        raise UserError(f"--like {config.like}: is empty; nothing was kept")
    found = list(itertools.islice(right_traces(config.seed, config.template), len(kept)))
    write(directory.path / "corpus.jsonl", found)
    if "source" in kept[0]:
        write(directory.path / "unrewritten.jsonl", unrewritten(kept))
    directory.finish({"samples": len(kept)})


def right_traces(seed: int, template: str) -> Iterator[dict[str, str]]:
    """Prompts and completions of the corpus that are right, in its order, without end."""
    mix = Mix(templates=((template, 1.0),), tagged=1.0, general=0.0)
    for start in itertools.count(step=BLOCK):
        for document in documents(seed, start, BLOCK, mix):
            if document.correct:
                yield {"prompt": document.prompt, "completion": document.completion}


def unrewritten(kept: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """The samples as they were before they were rewritten."""
    for row in kept:
        yield {"prompt": row["prompt"], "completion": row["source"]}


def write(path: Path, rows: Iterable[Mapping[str, str]]) -> None:
    """One JSON object to a line."""
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


if __name__ == "__main__":
    raise SystemExit(cli.run(main, Config()))
