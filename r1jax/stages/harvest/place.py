"""Where a stage that makes data works: its streams, graders and endpoint, and how it ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from r1jax.data.curation.datasheet import datasheet
from r1jax.data.curation.exports import export
from r1jax.data.curation.streams import DROPPED, KEPT, CurationFiles, write_parquet
from r1jax.endpoint import Endpoint, EndpointConfig
from r1jax.errors import UserError
from r1jax.report.markdown import write_datasheet
from r1jax.rewards import RewardPool, SandboxConfig
from r1jax.run import processes
from r1jax.run.names import PART
from r1jax.stages.opening import Run

ENDPOINT = "endpoint"


@dataclass(frozen=True)
class Place:
    """An open run with its streams and graders, and the endpoint by what it is asked for."""

    run: Run
    streams: CurationFiles
    pool: RewardPool
    endpoint: EndpointConfig
    asked: dict[str, Endpoint] = field(default_factory=dict)
    """By flag; each counts for itself, so that a judge without a word is seen beside a generator
    that talks."""

    @property
    def writes(self) -> bool:
        """Whether this process judges and writes: the first one does."""
        return self.run.directory.write

    def ask(self, flag: str) -> Endpoint:
        """The endpoint for what `flag` wants of it. UserError naming it where there is none."""
        if not self.endpoint.base_url:
            raise UserError(f"{flag} {ENDPOINT}: needs --endpoint.base-url and --endpoint.model")
        opened = Endpoint(self.endpoint, self.run.path / "endpoint.jsonl")
        self.asked[flag] = self.run.hold(opened)
        return opened


def open_place(
    run: Run, workers: int | None, sandbox: SandboxConfig, endpoint: EndpointConfig
) -> Place:
    """The place of a run, which closes it."""
    write = run.directory.write
    fresh = run.directory.status == "new"
    streams = CurationFiles(run.path, fresh=fresh, write=write)
    run.held.callback(streams.close)
    if streams.lost:
        run.note(
            f"{run.path}: samples of {streams.lost} prompts are lost from the disk; it goes on "
            "from those before them"
        )
    processes.barrier("streams opened")
    pool = run.hold(RewardPool(workers if write else 0, **sandbox.room))
    return Place(run, streams, pool, endpoint)


def finish(place: Place, title: str, origin: dict[str, Any], layouts: Sequence[str] = ()) -> None:
    """Writes parquet files, further layouts, datasheet and summary, which marks the run's end."""
    if not place.writes:
        return
    streams, path = place.streams, place.run.path
    streams.close()
    for name in (KEPT, DROPPED):
        write_parquet(path / f"{name}.jsonl", path / f"{name}.parquet")
    for layout in layouts:
        export(path / f"{KEPT}.jsonl", path / f"{KEPT}.{layout}.jsonl", layout)
    sheet = datasheet(streams, title, origin)
    write_datasheet(path, sheet)
    (path / PART).unlink(missing_ok=True)
    for flag, endpoint in place.asked.items():
        place.run.note(f"{flag} {ENDPOINT}: {endpoint.usage}")
    place.run.finish(sheet, f"{sheet['kept']:,} of {sheet['samples']:,} samples kept")
