"""General data of the embedded world: examples, pairs and labels, as files."""

from __future__ import annotations

from dataclasses import dataclass

from r1jax.data.world import judged_pairs as world
from r1jax.run.directory import write_jsonl
from r1jax.run.flags import PlaceFlags
from r1jax.run.names import SUMMARY
from r1jax.run.progress import Display
from r1jax.stages.opening import opened

SFT, HELPFULNESS, SAFETY = "sft.jsonl", "helpfulness.jsonl", "safety.jsonl"
TESTS = {HELPFULNESS: "helpfulness_test.jsonl", SAFETY: "safety_test.jsonl"}
"""What reward models are tested on: other prompts, other wordings, no noise."""
TESTED = 200  # rows of each


@dataclass(frozen=True)
class GeneralDataConfig(PlaceFlags):
    """How much of what is generated; 0 leaves a file out."""

    run: str = "runs/general_data"
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
    with opened(config, display, SUMMARY) as run:
        if run.finished or not run.directory.write:
            return
        seed, noise = config.seed, config.noise
        files = {
            SFT: world.sft_rows(config.sft, seed, config.template),
            # A reward model puts the template around the prompt itself, as it does in RL.
            HELPFULNESS: world.helpful_pairs(config.helpfulness, seed, noise, template=""),
            SAFETY: world.safety_rows(config.safety, seed, noise, template=""),
        }
        tests = world.held_out_rows(TESTED, seed, template="")
        files |= {TESTS[HELPFULNESS]: tests["pairs"] if config.helpfulness else []}
        files |= {TESTS[SAFETY]: tests["labelled"] if config.safety else []}
        for name, rows in files.items():
            (run.path / name).unlink(missing_ok=True)
            if rows:
                write_jsonl(run.path / name, rows)
        said = ", ".join(f"{len(rows):,} rows in {name}" for name, rows in files.items())
        run.finish({"rows": {name: len(rows) for name, rows in files.items()}}, said)
