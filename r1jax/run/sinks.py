"""Where metrics go besides `metrics.jsonl`: TensorBoard and Weights & Biases, each by a flag."""

from __future__ import annotations

import importlib
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Protocol

from r1jax.errors import UserError
from r1jax.run.directory import RunDirectory, read_json, to_json, write_json
from r1jax.run.names import WANDB


@dataclass(frozen=True)
class LogConfig:
    """Further places to send the metrics to."""

    tensorboard: bool = False
    """Also write event files to <run>/tensorboard (needs the extra r1jax[tensorboard])."""
    wandb: str | None = None
    """Also send metrics to this Weights & Biases project (needs the extra r1jax[wandb])."""


class Sink(Protocol):
    """Receives the metrics of each update; `close` is called once, at the end."""

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Records the metrics of one update."""

    def samples(self, update: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Shows completions that the update to come learns from: text and numbers by name."""

    def close(self) -> None:
        """Flushes what is pending."""


class TensorBoardSink:
    """Scalars in event files, one per metric name."""

    def __init__(self, run: RunDirectory, update: int) -> None:
        """Events of a killed run after the restored `update` are hidden from the curves."""
        writer = _require("tensorboardX", "tensorboard", "--log.tensorboard").SummaryWriter
        purge = update + 1 if run.status == "resume" else None
        self._writer = writer(str(run.path / "tensorboard"), purge_step=purge)

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Records the metrics of one update."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, float(value), update)

    def samples(self, update: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """Text, one tag for each place in the list; what a model wrote is shown as it stands."""
        for i, row in enumerate(rows):
            parts = (f"**{key}**\n\n{_indented(value)}" for key, value in row.items())
            self._writer.add_text(f"samples/{i}", "\n\n".join(parts), update)

    def close(self) -> None:
        """Flushes the event file."""
        self._writer.close()


class WandbSink:
    """One Weights & Biases run, continued under the same id when the run is resumed."""

    def __init__(self, run: RunDirectory, project: str, config: Any) -> None:
        """Starts or continues the run; its id is kept in `wandb.json`."""
        wandb = _require("wandb", "wandb", "--log.wandb")
        identity = run.path / WANDB
        if not identity.exists():
            write_json(identity, {"id": secrets.token_hex(8)})
        self._table = wandb.Table
        self._run = wandb.init(
            project=project,
            name=run.path.name,
            id=read_json(identity)["id"],
            resume="allow",
            config=to_json(config),
            dir=str(run.path),
        )

    def log(self, update: int, metrics: Mapping[str, float]) -> None:
        """Records the metrics of one update."""
        self._run.log({name: float(value) for name, value in metrics.items()}, step=update)

    def samples(self, update: int, rows: Sequence[Mapping[str, Any]]) -> None:
        """A table with a row for each completion."""
        columns = list(rows[0])
        table = self._table(columns=columns, data=[[row[c] for c in columns] for row in rows])
        self._run.log({"samples": table}, step=update)

    def close(self) -> None:
        """Waits until everything is sent."""
        self._run.finish()


def open_sinks(log: LogConfig, run: RunDirectory, config: Any, update: int = 0) -> tuple[Sink, ...]:
    """The sinks that `log` asks for, none in a process that does not write.

    `config` is the whole configuration of the run, `update` the restored counter. Raises
    UserError, naming the extra to install, when a package is absent.
    """
    sinks: list[Sink] = []
    if run.write and log.tensorboard:
        sinks.append(TensorBoardSink(run, update))
    if run.write and log.wandb is not None:
        sinks.append(WandbSink(run, log.wandb, config))
    return tuple(sinks)


def _indented(value: Any) -> str:
    """A value as a block of code in Markdown, in which nothing has a meaning."""
    return "\n".join(f"    {line}" for line in str(value).split("\n"))


def _require(module: str, extra: str, flag: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except ImportError:
        raise UserError(
            f"{flag}: the package {module} is not installed; pip install 'r1jax[{extra}]'"
        ) from None
