"""lineage.json: which checkpoint and which data every stage of a pipeline came from, by hash."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

from r1jax.errors import UserError
from r1jax.run.directory import read_json, write_json
from r1jax.types import Params


@dataclass(frozen=True)
class Entry:
    """What one stage made, and from what; a model that nothing here made has weights alone.

    `parent` is the entry whose weights it started from, None where it trained nothing; `weights`
    the digest of the weights it left, None likewise; `used` the entries whose weights it worked
    with (its parent, a checkpoint it sampled, a reward model) with their digests then; `data` maps
    the files it read to their digests, `made` those it wrote for later stages. `ended` says
    what ended a reinforcement learning: its updates, or operations or a plateau before them;
    `changed` the flags in which a run differs from the one it goes on from.
    """

    parent: str | None = None
    weights: str | None = None
    used: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    ended: str = ""
    changed: Sequence[str] = field(default_factory=list)


def weights_digest(params: Params) -> str:
    """SHA-256 of every weight's path, shape, type and bytes; every process calls it."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree.leaves_with_path(params):
        whole = leaf
        if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
            whole = multihost_utils.process_allgather(leaf, tiled=True)
        x = np.asarray(whole)
        digest.update(f"{jax.tree_util.keystr(path)} {x.shape} {x.dtype}\n".encode())
        digest.update(np.ascontiguousarray(x).view(np.uint8).reshape(-1).data)
    return digest.hexdigest()


def file_digest(path: str | Path) -> str:
    """SHA-256 of a file's bytes; UserError where there is none."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None


def read_lineage(path: str | Path) -> dict[str, Entry]:
    """Entries by stage, in the order in which they were made; empty where there is no file."""
    path = Path(path)
    raw: dict[str, Any] = read_json(path) if path.exists() else {}
    return {name: Entry(**entry) for name, entry in raw.items()}


def add_entry(path: str | Path, name: str, entry: Entry) -> None:
    """Writes what stage `name` came from; made again, a stage takes the place of its old entry.

    Raises UserError where the parent is not on file, or where the weights are those of another
    stage: then something has been trained on nothing.
    """
    known = read_lineage(path)
    if entry.parent is not None and entry.parent not in known:
        raise UserError(f"{path}: {name} descends from {entry.parent}, which is not there yet")
    for other, made in known.items():
        if other != name and entry.parent is not None and made.weights == entry.weights:
            raise UserError(f"{path}: {name} left the very weights of {other}")
    write_json(Path(path), {k: asdict(v) for k, v in (known | {name: entry}).items()})


def drop_entries(path: str | Path, names: Collection[str]) -> None:
    """Forgets stages that are to be made again."""
    known = read_lineage(path)
    if known.keys() & set(names):
        left = {k: asdict(v) for k, v in known.items() if k not in names}
        write_json(Path(path), left)


def outdated(lineage: Mapping[str, Entry], name: str) -> list[str]:
    """What `name` was made from, near or far, that has been made anew since: weights and files."""
    entry = lineage[name]
    makers = {file: maker for maker, record in lineage.items() for file in record.made}
    weights = [k for k, v in entry.used.items() if k in lineage and lineage[k].weights != v]
    files = [k for k, v in entry.data.items() if k in makers and lineage[makers[k]].made[k] != v]
    sources = [k for k in entry.used if k in lineage] + [
        makers[k] for k in entry.data if k in makers
    ]
    far = [changed for source in sources for changed in outdated(lineage, source)]
    return list(dict.fromkeys([*weights, *files, *far]))


def ancestors(lineage: Mapping[str, Entry], name: str) -> list[str]:
    """The entries that `name` descends from by its weights, nearest first, up to a base."""
    parents: list[str] = []
    while (parent := lineage[name].parent) is not None:
        parents.append(parent)
        name = parent
    return parents
