"""General data of the embedded world: examples, pairs and labels, as files."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax

from r1jax import mesh as meshes
from r1jax.data.world import judged_pairs as world
from r1jax.run.directory import RunDirectory, inspect
from r1jax.run.progress import Alone, Display

SFT, HELPFULNESS, SAFETY = "sft.jsonl", "helpfulness.jsonl", "safety.jsonl"
TESTS = {HELPFULNESS: "helpfulness_test.jsonl", SAFETY: "safety_test.jsonl"}
"""What reward models are tested on: other prompts, other wordings, no noise."""
TESTED = 200  # rows of each


@dataclass(frozen=True)
class GeneralDataConfig:
    """How much of what is generated; 0 leaves a file out."""

    run: str = "runs/general_data"
    """Run directory."""
    template: str = "mini"
    """Prompt template of the examples."""
    sft: int = 512
    """Examples of general data."""
    helpfulness: int = 2000
    """Pairs for the helpfulness model."""
    safety: int = 2000
    """Labelled responses for the safety model."""
    noise: float = 0.1
    """Share of pairs and labels that are the wrong way round."""
    seed: int = 0
    """Seed of everything."""


def run(config: GeneralDataConfig, display: Display | None = None) -> None:
    """Leaves sft.jsonl, helpfulness.jsonl and safety.jsonl, and what to test the last two on."""
    display = display or Alone()
    path = Path(config.run)
    status = inspect(path, config, ignore=("run",))
    meshes.barrier("run directory inspected")
    if status == "finished" or jax.process_index() > 0:
        return
    directory = RunDirectory.start(path, config, ignore=("run",))
    seed, noise = config.seed, config.noise
    rows = {
        SFT: world.sft_rows(config.sft, seed, config.template),
        # A reward model puts the template around the prompt itself, as it does in the policy's RL.
        HELPFULNESS: world.helpful_pairs(config.helpfulness, seed, noise, template=""),
        SAFETY: world.safety_rows(config.safety, seed, noise, template=""),
    }
    tests = world.held_out_rows(TESTED, seed, template="")
    rows |= {TESTS[HELPFULNESS]: tests["pairs"] if config.helpfulness else []}
    rows |= {TESTS[SAFETY]: tests["labelled"] if config.safety else []}
    counts = {name: _write(path / name, own) for name, own in rows.items()}
    directory.finish({"rows": counts})
    display.result(", ".join(f"{count:,} rows in {name}" for name, count in counts.items()))


def _write(path: Path, rows: Iterable[Mapping[str, Any]]) -> int:
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    path.unlink(missing_ok=True)
    if lines:
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return len(lines)
