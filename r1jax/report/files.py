"""What a run has left in its directory so far, as a report reads it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r1jax.errors import UserError
from r1jax.run.directory import read_json, read_jsonl


@dataclass(frozen=True)
class RecordedFiles:
    """The files of a run, a stage or a pipeline; one that is not there yet is empty."""

    path: Path

    @classmethod
    def of(cls, path: str | Path, what: str) -> RecordedFiles:
        """Raises UserError where `path` is not the directory of a `what`, such as a run."""
        if not (Path(path) / "config.json").exists():
            raise UserError(f"{path}: holds no config.json; name the directory of a {what}")
        return cls(Path(path))

    @property
    def name(self) -> str:
        """That of the directory."""
        return self.path.resolve().name

    def json(self, name: str) -> Any:
        """What a JSON file holds; raises UserError where it is not JSON."""
        return read_json(self.path / name) if (self.path / name).exists() else {}

    def rows(self, name: str) -> list[dict[str, Any]]:
        """The rows of a JSON Lines file."""
        return read_jsonl(self.path / name) if (self.path / name).exists() else []
