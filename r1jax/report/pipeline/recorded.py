"""What a pipeline has left so far, as its report reads it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1jax.errors import UserError
from r1jax.run.directory import read_json, read_jsonl

Record = Mapping[str, Any]

CHECKPOINTS = {
    "zero": ("Zero", "the base, by rules alone"),
    "cold_start": ("Dev1", "the base, taught readable thoughts of Zero"),
    "reasoning_rl": ("Dev2", "Dev1, by rules and for one language"),
    "general_sft": ("Dev3", "the base, taught Dev2’s right answers and general data"),
    "general_rl": ("R1", "Dev3, by rules and reward models"),
}
"""Stage -> the paper's name of its checkpoint, and what it is."""


@dataclass(frozen=True)
class StageFiles:
    """What one stage has left so far."""

    name: str
    number: int
    path: Path

    @classmethod
    def read(cls, path: Path) -> StageFiles:
        """The stage in a folder NN-name."""
        number, _, name = path.name.partition("-")
        return cls(name, int(number), path)

    def json(self, name: str) -> Any:
        """A file of it, empty where there is none."""
        return _json(self.path / name)

    def lines(self, name: str) -> list[Record]:
        """The rows of a file of it, none where there is none."""
        return read_jsonl(self.path / name) if (self.path / name).exists() else []


@dataclass(frozen=True)
class Recorded:
    """What a pipeline has left so far; whatever is not there yet is empty."""

    path: Path
    config: Record
    environment: Record
    lineage: Record
    summary: Record
    base: Record
    stages: Mapping[str, StageFiles]

    @classmethod
    def read(cls, path: Path) -> Recorded:
        """Raises UserError where `path` is no pipeline's, or a file in it is not JSON."""
        if not (path / "config.json").exists():
            raise UserError(f"{path}: holds no config.json; name the directory of a pipeline")
        folders = sorted((path / "stages").glob("*")) if (path / "stages").exists() else []
        found = [StageFiles.read(f) for f in folders if re.fullmatch(r"\d+-.+", f.name)]
        files = ("config", "environment", "lineage", "summary", "base")
        return cls(
            path,
            *(_json(path / f"{name}.json") for name in files),
            stages={stage.name: stage for stage in sorted(found, key=lambda s: s.number)},
        )

    @property
    def name(self) -> str:
        """That of its directory."""
        return self.path.resolve().name

    def judged(self, name: str) -> Record:
        """What was said of the checkpoint of a stage; empty where there is none."""
        return self.stages[name].json("judged.json") if name in self.stages else {}

    @property
    def sides(self) -> dict[str, Record]:
        """judged.json of the base and of the paper's checkpoints by name; those there are."""
        found = {"Base": self.base} | {
            label: self.judged(name) for name, (label, _) in CHECKPOINTS.items()
        }
        return {name: judged for name, judged in found.items() if judged}

    @property
    def checkpoints(self) -> dict[str, Record]:
        """Their records, each with its scores on general prompts."""
        return {n: judged["record"] | (judged.get("general") or {})
                for n, judged in self.sides.items()}  # fmt: skip

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, judging included where that was measured."""
        spent = self.summary.get("seconds") or _json(self.path / "seconds.json")
        found = {}
        for name, stage in self.stages.items():
            took = spent.get(name, stage.json("summary.json").get("wall_seconds"))
            if took is not None:
                found[name] = took
        return found


def _json(path: Path) -> Any:
    return read_json(path) if path.exists() else {}
