"""What a pipeline has left so far, as its report reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from r1jax.report.files import RecordedFiles
from r1jax.run.directory import Record
from r1jax.run.names import CHECKPOINTS, JUDGED, SECONDS, SUMMARY

MEANINGS = {
    "Zero": "the base, by rules alone",
    "Dev1": "the base, taught readable thoughts of Zero",
    "Dev2": "Dev1, by rules and for one language",
    "Dev3": "the base, taught Dev2’s right answers and general data",
    "R1": "Dev3, by rules and reward models",
}
"""What the paper's checkpoints are."""


@dataclass(frozen=True)
class Recorded:
    """What a pipeline has left so far; whatever is not there yet is empty."""

    files: RecordedFiles
    config: Record
    environment: Record
    lineage: Record
    summary: Record
    base: Record
    stages: Mapping[str, RecordedFiles]
    """By name, in the order of their numbers."""

    @classmethod
    def read(cls, path: str | Path) -> Recorded:
        """Raises UserError where `path` is no pipeline's, or a file in it is not JSON."""
        files = RecordedFiles.of(path, "pipeline")
        names = ("config", "environment", "lineage", "summary", "base")
        folders = [f for f in files.path.glob("stages/*") if re.fullmatch(r"\d+-.+", f.name)]
        folders.sort(key=lambda f: int(f.name.partition("-")[0]))
        return cls(
            files,
            *(files.json(f"{name}.json") for name in names),
            stages={folder.name.partition("-")[2]: RecordedFiles(folder) for folder in folders},
        )

    def judged(self, name: str) -> Record:
        """What was said of the checkpoint of a stage; empty where there is none."""
        return self.stages[name].json(JUDGED) if name in self.stages else {}

    @property
    def sides(self) -> dict[str, Record]:
        """judged.json of the base and of the paper's checkpoints by name; those there are."""
        by_name = {"Base": self.base} | {
            label: self.judged(name) for name, label in CHECKPOINTS.items()
        }
        return {name: judged for name, judged in by_name.items() if judged}

    @property
    def checkpoints(self) -> dict[str, Record]:
        """Their records, each with its scores on general prompts."""
        return {n: judged["record"] | (judged.get("general") or {})
                for n, judged in self.sides.items()}  # fmt: skip

    @property
    def sets(self) -> dict[str, dict[str, Record]]:
        """The checkpoints' records on every held-out set, by checkpoint and set."""
        return {n: {judged["record"]["set"]: judged["record"]} | judged["sets"]
                for n, judged in self.sides.items()}  # fmt: skip

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, judging included where that was measured."""
        spent = self.summary.get("seconds") or self.files.json(SECONDS)
        seconds = {}
        for name, stage in self.stages.items():
            took = spent.get(name, stage.json(SUMMARY).get("wall_seconds"))
            if took is not None:
                seconds[name] = took
        return seconds
