"""The rows of a run as a power cut may leave them: what makes them last, and what of them is left.

A row is appended and not waited for. Before a checkpoint counts all rows are put onto the disk, so
that it has those of the updates it holds; where they are lost all the same, that is said.
"""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from r1jax.errors import UserError
from r1jax.run import names
from r1jax.run.directory import RunDirectory, read_jsonl, write_json, write_jsonl

ROWS = (names.METRICS, names.SAMPLES, names.TRANSCRIPTS)


def settle(run: RunDirectory) -> None:
    """Returns once all rows and evaluations so far are on the disk itself."""
    if not run.write:
        return
    for name in ROWS:
        if (run.path / name).exists():
            _sync(run.path / name)
    with contextlib.suppress(OSError):  # some filesystems sync no folders: they keep them anyway
        _sync(run.path)


def cut(run: RunDirectory, update: int, rollout: int, since: tuple[int, int] = (0, 0)) -> list[str]:
    """Drops what was recorded after the restored counters, and a last line not written whole.

    Returns a line for each file in which rows are missing, but those up to the update and rollout
    `since`, which were another run's. Raises UserError when a line in the
    middle of a file is not JSON, and when an update stands there twice: two processes have written,
    and the checkpoints may be of either.
    """
    if not run.write:
        return []

    def kept(row: Mapping[str, Any]) -> bool:
        return row.get("update", 0) <= update and row.get("rollout", 0) <= rollout

    paths = [run.path / name for name in ROWS]
    left = {p.name: [*filter(kept, read_jsonl(p, torn=True))] if p.exists() else [] for p in paths}
    for before, row in itertools.pairwise(left[names.METRICS]):
        if row.get("update", 0) <= before.get("update", 0):
            raise UserError(
                f"{run.path / names.METRICS}: update {row['update']} stands behind "
                f"{before['update']}: two processes have written to this run; start anew with "
                "--overwrite"
            )
    for path in paths:
        if path.exists():
            write_jsonl(path, left[path.name])
    if (run.path / names.EVALUATIONS).exists():
        write_json(run.path / names.EVALUATIONS, [*filter(kept, run.evaluations())])
    run.known.clear()
    expected = {
        names.METRICS: ("update", since[0], update),
        names.SAMPLES: ("rollout", since[1], rollout),
    }
    lines = []
    for name, (counter, first, last) in expected.items():
        if lost := {*range(first + 1, last + 1)}.difference(row.get(counter) for row in left[name]):
            lines.append(
                f"{run.path / name}: the rows of {len(lost)} of {last} {counter}s are lost, the "
                f"first is {counter} {min(lost)}; the run goes on without them"
            )
    return lines


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
