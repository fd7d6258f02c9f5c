"""The run directory of a stage that makes data: streams, graders, endpoint, and its end."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import jax

from r1jax import mesh as meshes
from r1jax.data.curation.datasheet import datasheet
from r1jax.data.curation.exports import export
from r1jax.data.curation.streams import DROPPED, KEPT, Streams, write_parquet
from r1jax.endpoint import Endpoint, EndpointConfig
from r1jax.errors import UserError
from r1jax.mesh import ProcessConfig
from r1jax.report.markdown import write_datasheet
from r1jax.rewards import RewardPool, SandboxConfig
from r1jax.run.directory import RunDirectory, inspect
from r1jax.run.progress import Alone, Display

# Flags that may differ when a run is resumed.
FREE = (
    "overwrite", "run", "mesh", "process", "workers", "endpoint.key_variable", "endpoint.timeout",
    "endpoint.retries", "endpoint.backoff", "endpoint.longest_wait", "endpoint.concurrency",
)  # fmt: skip
ENDPOINT = "endpoint"


class DataRunConfig(Protocol):
    """The flags that every such stage has."""

    @property
    def run(self) -> str:
        """Run directory."""

    @property
    def overwrite(self) -> bool:
        """Start anew."""

    @property
    def batch(self) -> int:
        """Problems worked on at a time."""

    @property
    def workers(self) -> int | None:
        """Processes that grade answers."""

    @property
    def sandbox(self) -> SandboxConfig:
        """Running programs."""

    @property
    def endpoint(self) -> EndpointConfig:
        """A model behind an address."""

    @property
    def process(self) -> ProcessConfig:
        """Processes."""


@dataclass(frozen=True)
class Place:
    """Where a run works: directory and streams, graders, display, endpoint if it has one."""

    directory: RunDirectory
    streams: Streams
    pool: RewardPool
    endpoint: Endpoint | None
    display: Display
    started: float

    @property
    def note(self) -> Callable[[str], Any]:
        """Shows a line in the first process."""
        return self.display.note if self.directory.write else _silent

    def ask(self, flag: str) -> Endpoint:
        """The endpoint. UserError naming `flag` where there is none."""
        if self.endpoint is None:
            raise UserError(f"{flag} {ENDPOINT}: needs --endpoint.base-url and --endpoint.model")
        return self.endpoint


@contextlib.contextmanager
def opened(config: DataRunConfig, display: Display | None = None) -> Iterator[Place | None]:
    """The place of a run, closed again whatever happens; None where the run is finished."""
    display = display or Alone()
    meshes.start_processes(config.process)
    path = Path(config.run)
    status = inspect(path, config, overwrite=config.overwrite, ignore=FREE)
    meshes.barrier("run directory inspected")
    if status == "finished":
        if jax.process_index() == 0:
            display.result(f"finished already: {path / 'datasheet.md'}")
        yield None
        return
    write = jax.process_index() == 0
    directory = RunDirectory(path, status, write=False)
    if write:
        directory = RunDirectory.start(path, config, overwrite=config.overwrite, ignore=FREE)
    started = time.time()
    with contextlib.ExitStack() as stack:
        fresh = status == "new"
        streams = Streams(path, fresh=fresh, whole=config.batch, write=write)
        stack.callback(streams.close)
        meshes.barrier("streams opened")
        pool = stack.enter_context(
            RewardPool(config.workers if write else 0, **config.sandbox.room)
        )
        endpoint = None
        if write and config.endpoint.base_url:
            endpoint = stack.enter_context(Endpoint(config.endpoint, path / "endpoint.jsonl"))
        yield Place(directory, streams, pool, endpoint, display, started)


def finish(place: Place, title: str, origin: dict[str, Any], layouts: Sequence[str] = ()) -> None:
    """Writes parquet files, further layouts, datasheet and summary, which marks the run's end."""
    if not place.directory.write:
        return
    streams, path = place.streams, place.directory.path
    streams.close()
    for name in (KEPT, DROPPED):
        write_parquet(path / f"{name}.jsonl", path / f"{name}.parquet")
    for layout in layouts:
        export(path / f"{KEPT}.jsonl", path / f"{KEPT}.{layout}.jsonl", layout)
    sheet = datasheet(streams, title, origin)
    write_datasheet(path, sheet)
    place.directory.finish(sheet | {"wall_seconds": time.time() - place.started})
    if place.endpoint:
        place.note(str(place.endpoint.usage))
    said = f"{sheet['kept']:,} of {sheet['samples']:,} samples kept"
    place.display.result(f"{said}\n{path / 'datasheet.md'}")


def _silent(line: str) -> None:
    """Where every process but the first prints."""
